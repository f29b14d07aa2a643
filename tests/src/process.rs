//! The real binaries as processes, ended with the test.

use std::{
    ffi::OsString,
    fs::OpenOptions,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use crate::endpoint::PATIENCE;

/// Path of a binary of this workspace. `cargo test --workspace` builds them all.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    // Binaries lie in the profile's folder, tests and examples one below it.
    let paths: Vec<PathBuf> = own.ancestors().skip(1).take(2).map(|folder| folder.join(name)).collect();
    let built = paths.iter().find(|path| path.exists());
    built.unwrap_or_else(|| panic!("{name} is not built: run cargo build --workspace --bins first")).clone()
}

/// Asks another process until there is an answer; gives up after [`PATIENCE`]. Unlike [`crate::cluster::eventually`] it leaves
/// the processor to the one that is asked.
pub async fn asked_again<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let answer = tokio::time::timeout(PATIENCE, async {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        loop {
            ticks.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    });
    answer.await.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"))
}

/// What a node gets beside its folder, its address and its control plane.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Its name, if not `n1`.
    pub name: Option<String>,
    /// Variables of its environment.
    pub env: Vec<(&'static str, OsString)>,
    /// More arguments.
    pub args: Vec<String>,
    /// Where its log is appended, in place of this process's standard error.
    pub log: Option<PathBuf>,
}

/// A running plane. Dropping it kills it.
pub struct Plane {
    child: Child,
    address: SocketAddr,
}

impl Plane {
    /// Starts `sluice-control-plane` on its folder and waits until it listens.
    pub async fn control_plane(data_dir: &Path, listen: &str) -> Self {
        Self::control_plane_with(data_dir, listen, &[]).await
    }

    /// The same with more arguments.
    pub async fn control_plane_with(data_dir: &Path, listen: &str, arguments: &[String]) -> Self {
        let mut command = Command::new(binary("sluice-control-plane"));
        command.args(["--insecure-open", "--allow-http", "--allow-private-destinations"]);
        command.args(["--listen", listen, "--log", "warn"]);
        command.arg("--data-dir").arg(data_dir).args(arguments);
        Self::start(command).await.expect("the control plane has ended")
    }

    /// Starts `sluice-node` on its folder and waits until it listens.
    pub async fn node(data_dir: &Path, listen: &str, control_plane: SocketAddr) -> Self {
        Self::node_with(data_dir, listen, control_plane, &Setup::default()).await.expect("the node has ended")
    }

    /// The same with a setup of its own.
    ///
    /// # Errors
    /// The exit status, if the node ends before it listens.
    pub async fn node_with(
        data_dir: &Path,
        listen: &str,
        control_plane: SocketAddr,
        setup: &Setup,
    ) -> Result<Self, ExitStatus> {
        Self::start(Self::node_command(data_dir, listen, control_plane, setup)).await
    }

    /// Starts `sluice-node` and ends it with SIGKILL after `life`, wherever it is by then.
    pub async fn node_killed_after(
        life: Duration,
        data_dir: &Path,
        listen: &str,
        control_plane: SocketAddr,
        setup: &Setup,
    ) {
        let mut command = Self::node_command(data_dir, listen, control_plane, setup);
        let mut child = command.kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        // Not a wait for something: the length of the life is the fault.
        tokio::time::sleep(life).await;
        child.kill().await.unwrap();
    }

    fn node_command(data_dir: &Path, listen: &str, control_plane: SocketAddr, setup: &Setup) -> Command {
        let mut command = Command::new(binary("sluice-node"));
        command.args(["--insecure-open", "--allow-http", "--allow-private-destinations"]);
        command.args(["--name", setup.name.as_deref().unwrap_or("n1"), "--log", "warn"]);
        command.args(["--listen", listen, "--control-plane", &format!("http://{control_plane}")]);
        command.arg("--data-dir").arg(data_dir).args(&setup.args).envs(setup.env.iter().cloned());
        if let Some(path) = &setup.log {
            command.stderr(OpenOptions::new().create(true).append(true).open(path).unwrap());
        }
        command
    }

    async fn start(mut command: Command) -> Result<Self, ExitStatus> {
        command.kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said =
            tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("the process does not listen").unwrap();
        let Some(said) = said else { return Err(child.wait().await.unwrap()) };
        let address = said.strip_prefix("listening on ").and_then(|address| address.parse().ok()).expect(&said);
        Ok(Self { child, address })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id().expect("the process has ended")
    }

    /// SIGKILL, and waits until it is gone.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM, and waits until it has ended.
    pub async fn terminate(mut self) -> ExitStatus {
        self.signal("TERM").await;
        self.ended().await
    }

    /// Sends a signal, such as `TERM`.
    pub async fn signal(&self, name: &str) {
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.id())]).status().await.unwrap();
        assert!(sent.success(), "cannot send {name}");
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("the process does not end").unwrap()
    }
}
