//! The real binaries as processes, ended with the test.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
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
        command.args(["--allow-http", "--allow-private-destinations", "--listen", listen, "--log", "warn"]);
        command.arg("--data-dir").arg(data_dir);
        Self::start(command).await
    }

    /// Starts `sluice-node` on its folder and waits until it listens.
    pub async fn node(data_dir: &Path, listen: &str, control_plane: SocketAddr) -> Self {
        let mut command = Command::new(binary("sluice-node"));
        command.args(["--allow-http", "--allow-private-destinations", "--name", "n1", "--log", "warn"]);
        command.args(["--listen", listen, "--control-plane", &format!("http://{control_plane}")]);
        command.arg("--data-dir").arg(data_dir);
        Self::start(command).await
    }

    async fn start(mut command: Command) -> Self {
        command.kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said =
            tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("the process does not listen").unwrap();
        let said = said.expect("the process has ended");
        let address = said.strip_prefix("listening on ").and_then(|address| address.parse().ok()).expect(&said);
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
