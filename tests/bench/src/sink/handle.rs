//! A sink from outside: its process, and what it has counted.

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use sluice_tests::endpoint::PATIENCE;

use super::{Listening, Protocol, Stats};
use crate::{child::Child, http};

/// Between two looks at a count that grows.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Whether it takes what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It does.
    Up,
    /// It answers 503.
    Down,
}

/// A running sink.
pub struct Sink {
    child: Child,
    listening: Listening,
    protocol: Protocol,
    admin: http::Connection,
}

impl Sink {
    /// Starts one in a process of its own.
    pub async fn start(protocol: Protocol, hosts: usize, hang: Duration, ca_file: &Path) -> Self {
        let (hosts, hang) = (hosts.to_string(), hang.as_millis().to_string());
        let mut child = Child::start(&[
            "sink",
            "--protocol",
            protocol.name(),
            "--hosts",
            &hosts,
            "--hang-ms",
            &hang,
            "--ca-file",
            &ca_file.to_string_lossy(),
        ]);
        let listening: Listening = child.says().await;
        let admin = http::Connection::open(listening.admin).await;
        Self { child, listening, protocol, admin }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where the bench's questions are answered.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.listening.admin
    }

    /// Address of a host.
    #[must_use]
    pub fn address(&self, host: usize) -> SocketAddr {
        self.listening.hosts[host]
    }

    /// What it speaks.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// URL of `path` on a host.
    #[must_use]
    pub fn url(&self, host: usize, path: &str) -> String {
        let address = self.address(host);
        match self.protocol {
            Protocol::Http1 => format!("http://{address}{path}"),
            Protocol::Tls | Protocol::H2 => format!("https://localhost:{}{path}", address.port()),
        }
    }

    /// What it has counted.
    pub async fn stats(&mut self) -> Stats {
        self.ask("/stats").await
    }

    /// Counts anew.
    pub async fn reset(&mut self) {
        self.ask("/reset").await;
    }

    /// Goes down or comes up.
    pub async fn set(&mut self, mode: Mode) {
        self.ask(if mode == Mode::Up { "/up" } else { "/down" }).await;
    }

    /// Waits until a count is reached. Gives up when nothing has moved for [`PATIENCE`].
    pub async fn wait_for(&mut self, count: u64, which: fn(&Stats) -> u64) -> Stats {
        let (mut last, mut moved) = (0, Instant::now());
        loop {
            let stats = self.stats().await;
            let now = which(&stats);
            if now >= count {
                return stats;
            }
            if now > last {
                (last, moved) = (now, Instant::now());
            }
            assert!(moved.elapsed() < PATIENCE, "only {now} of {count} requests came");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn ask(&mut self, path: &str) -> Stats {
        serde_json::from_slice(&self.admin.get(path).await).expect("a sink's answer")
    }
}
