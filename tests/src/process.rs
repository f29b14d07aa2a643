//! The real binaries as processes, ended with the test.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    sync::watch,
};

use crate::endpoint::PATIENCE;

/// Path of a binary of this workspace. `cargo test --workspace` builds them all.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join(name);
    assert!(path.exists(), "{} is not built: run cargo build --workspace --bins first", path.display());
    path
}

/// A running plane. Dropping it kills it.
pub struct Plane {
    child: Child,
    address: SocketAddr,
}

impl Plane {
    /// Starts `sluice-control-plane` on its folder and waits until it listens.
    pub async fn control_plane(data_dir: &Path, listen: &str) -> Self {
        let mut command = Command::new(binary("sluice-control-plane"));
        command.args(["--allow-http", "--allow-private-destinations", "--listen", listen, "--log-json"]);
        command.arg("--data-dir").arg(data_dir);
        Self::start(command).await
    }

    /// Starts `sluice-node` on its folder and waits until it listens.
    pub async fn node(data_dir: &Path, listen: &str, control_plane: SocketAddr) -> Self {
        let mut command = Command::new(binary("sluice-node"));
        command.args(["--allow-http", "--allow-private-destinations", "--name", "n1", "--log-json"]);
        command.args(["--listen", listen, "--control-plane", &format!("http://{control_plane}")]);
        command.arg("--data-dir").arg(data_dir);
        Self::start(command).await
    }

    async fn start(mut command: Command) -> Self {
        command.kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (found, mut address) = watch::channel(None);
        // Reads on to the end, so that the process never waits for a full pipe.
        tokio::spawn(async move {
            let mut seen = Vec::new();
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(address) = address_in(&line) {
                    found.send_if_modified(|known| known.replace(address).is_none());
                }
                seen.push(line);
            }
            if found.borrow().is_none() {
                eprintln!("{}", seen.join("\n"));
            }
        });
        let known = tokio::time::timeout(PATIENCE, address.wait_for(Option::is_some)).await;
        let address = known.expect("the process does not listen").expect("the process has ended").unwrap();
        Self { child, address }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// SIGKILL, and waits until it is gone.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// The address in the log line that says where a plane listens.
fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("\"address\":\"")?;
    rest.split_once('"')?.0.parse().ok()
}
