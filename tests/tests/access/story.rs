//! How an operator sets up both planes in earnest: the real programs, from the first admin key to the first event.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use sluice_tests::{
    closed::Authority,
    endpoint::{Endpoint, status},
    events::event,
    process::{asked_again, binary},
};

/// A process that is ended when it is dropped, and where it listens.
struct Running(Child, String);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(program: &str, arguments: &[&str]) -> Running {
    let mut command = Command::new(binary(program));
    command.env_clear().args(arguments).args(["--listen", "127.0.0.1:0", "--log", "error"]).stdout(Stdio::piped());
    let mut process = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on 127.0.0.1:").unwrap();
    Running(process, format!("https://localhost:{address}"))
}

/// What every call of the command line is given.
struct Sluice<'a> {
    control_plane: &'a str,
    node: &'a str,
    ca: &'a str,
}

impl Sluice<'_> {
    fn output(&self, key_file: &Path, arguments: &[&str]) -> Output {
        let mut command = Command::new(binary("sluice"));
        command.env_clear().env("SLUICE_CONTROL_PLANE", self.control_plane).env("SLUICE_NODE", self.node);
        command.env("SLUICE_TLS_CA", self.ca).env("SLUICE_API_KEY_FILE", key_file);
        command.args(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs it to a good end; gives what it prints.
    fn run(&self, key_file: &Path, arguments: &[&str]) -> String {
        let output = self.output(key_file, arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn from_the_first_admin_key_to_the_first_event() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let shown = |name: &str| path(name).display().to_string();
    let authority = Authority::new(folder.path());
    let (cert, key) = authority.server();
    let (cert, key, ca) = (cert.display().to_string(), key.display().to_string(), shown("ca.pem"));
    let allowed = ["--allow-http", "--allow-private-destinations", "--tls-cert", &cert, "--tls-key", &key];
    let endpoint = Endpoint::start().await;
    endpoint.always(status(200));

    let data_dir = shown("control");
    let control_plane = start("sluice-control-plane", &[&allowed[..], &["--data-dir", &data_dir]].concat());
    let admin = path("control/admin.key");
    let sluice = Sluice { control_plane: &control_plane.1, node: "https://localhost:1", ca: &ca };
    assert!(sluice.run(&admin, &["keys", "whoami"]).contains("keys/admin-file, admin of every project"));
    let node_key = shown("node.key");
    sluice.run(&admin, &["keys", "create", "--role", "node", "--out", &node_key]);
    let data_dir = shown("node");
    let of_node = ["--data-dir", &data_dir, "--control-plane", &control_plane.1, "--control-plane-ca", &ca];
    let node = start("sluice-node", &[&allowed[..], &of_node, &["--api-key-file", &node_key]].concat());

    let sluice = Sluice { node: &node.1, ..sluice };
    std::fs::write(
        path("sync.yaml"),
        format!(
            "name: orders\nenabled: true\ndestination:\n  url: {}\nevents: {{original: {{}}}}\n",
            endpoint.url("/")
        ),
    )
    .unwrap();
    sluice.run(&admin, &["sync", "apply", "-f", &shown("sync.yaml")]);
    let ingest_key = path("ingest.key");
    std::fs::write(&ingest_key, sluice.run(&admin, &["keys", "create", "--role", "ingest", "--id", "shop"])).unwrap();
    std::fs::write(path("event.ndjson"), event("order", "u")).unwrap();
    let send = ["events", "send", &shown("event.ndjson")];
    // The node hears of the key by itself, within a moment.
    asked_again("the node knows the key", async || sluice.output(&ingest_key, &send).status.success().then_some(()))
        .await;
    endpoint.wait_for(1).await;

    let listed = sluice.run(&admin, &["keys", "list"]);
    assert!(
        listed.contains("shop")
            && listed.contains("ingest")
            && !listed.contains(std::fs::read_to_string(&ingest_key).unwrap().trim()),
        "{listed}"
    );
    let refused = sluice.output(&ingest_key, &["sync", "list"]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(7), "{told}");
    assert!(told.contains("keys/shop may not call") && told.contains("viewer"), "{told}");
    sluice.run(&admin, &["keys", "revoke", "shop"]);
    asked_again("the node forgets the key", async || {
        (!sluice.output(&ingest_key, &send).status.success()).then_some(())
    })
    .await;
    let refused = sluice.output(&ingest_key, &send);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("unknown or was revoked"), "{told}");
    drop((node, control_plane));
}
