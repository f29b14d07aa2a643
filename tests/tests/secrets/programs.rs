//! The real programs print no secret: neither the planes, logging all they can, nor any command of the command line.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use sluice_tests::{
    endpoint::{Endpoint, status},
    events::event,
    process::{asked_again, binary},
};

use crate::mark::{MARK, assert_clean, assert_clean_below};

/// A plane that is ended when it is dropped.
struct Running {
    process: Child,
    address: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts a plane that logs everything into `log`.
fn start(program: &str, log: &Path, arguments: &[&str]) -> Running {
    let mut command = Command::new(binary(program));
    command.env_clear().args(["--listen", "127.0.0.1:0", "--log", "trace"]);
    command.args(["--insecure-open", "--allow-http", "--allow-private-destinations"]).args(arguments);
    command.stdout(Stdio::piped()).stderr(File::create(log).unwrap());
    let mut process = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ").expect(&line);
    Running { address: format!("http://{address}"), process }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_programs_print_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let endpoint = Endpoint::start().await;
    endpoint.always(status(400).echo());
    let logs = ["control.log", "node.log"].map(|name| folder.path().join(name));
    let control_plane = start("sluice-control-plane", &logs[0], &["--data-dir", &path("control")]);
    let of_node = ["--data-dir", &path("node"), "--control-plane", &control_plane.address, "--name", "n1"];
    let node = start("sluice-node", &logs[1], &of_node);

    let manifest = format!(
        "name: orders\nenabled: true\ndestination:\n  url: {}\n  headers:\n    - name: Authorization\n      secret: {{value: \"Bearer \
         ${{env:HOOK_TOKEN}}\"}}\nevents: {{original: {{}}}}\n",
        endpoint.url("/")
    );
    std::fs::write(path("sync.yaml"), &manifest).unwrap();
    std::fs::write(path("changed.yaml"), manifest.replace("name: orders", "name: orders\ndisplay_name: All orders"))
        .unwrap();
    std::fs::write(path("bad.yaml"), manifest.replace("name: Authorization", "name: \"Bad name\"")).unwrap();
    let broken = manifest.replace("name: orders", "name: broken");
    let broken = broken.replace("{original: {}}", "{template: {source: \"${input.nothing}\"}}");
    std::fs::write(path("broken.yaml"), broken).unwrap();
    std::fs::write(path("event.json"), event("order", "u")).unwrap();

    let addresses = [&control_plane, &node].map(|plane| plane.address.clone());
    let run = |arguments: &[&str]| {
        let mut command = Command::new(binary("sluice"));
        command.env_clear().env("SLUICE_CONTROL_PLANE", &addresses[0]).env("SLUICE_NODE", &addresses[1]);
        command.env("HOOK_TOKEN", MARK).args(arguments).stdin(Stdio::null());
        let output = command.output().unwrap();
        let told = [output.stdout, output.stderr].concat();
        assert_clean(&arguments.join(" "), &told);
        (output.status.success(), String::from_utf8(told).unwrap())
    };
    let ok = |arguments: &[&str]| {
        let (success, told) = run(arguments);
        assert!(success, "{arguments:?}: {told}");
        told
    };
    ok(&["sync", "apply", "-f", &path("sync.yaml"), "--dry-run"]);
    ok(&["sync", "apply", "-f", &path("sync.yaml")]);
    ok(&["sync", "apply", "-f", &path("changed.yaml"), "--dry-run"]);
    ok(&["sync", "apply", "-f", &path("broken.yaml")]);
    assert!(!run(&["sync", "apply", "-f", &path("bad.yaml")]).0, "a wrong header is refused");
    for format in ["table", "json", "yaml"] {
        ok(&["sync", "get", "orders", "-o", format]);
        ok(&["sync", "list", "-o", format]);
        ok(&["sync", "preview", "orders", "--event", &path("event.json"), "-o", format]);
        let tested = run(&["sync", "test", "orders", "--event", &path("event.json"), "-o", format]).1;
        assert!(tested.contains("400"), "the endpoint has answered, and echoed the secret: {tested}");
    }
    ok(&["sync", "export", "--dir", &path("export")]);
    ok(&["events", "send", &path("event.json")]);
    asked_again("a dead letter", async || {
        ok(&["dead-letters", "list", "--sync", "broken", "-o", "json"]).contains("syncs/broken").then_some(())
    })
    .await;
    for arguments in [
        &["attempts", "list", "orders", "-o", "json"][..],
        &["metrics", "orders", "-o", "json"],
        &["audit", "list", "-o", "json"],
        &["nodes", "list", "-o", "json"],
        &["ledger"],
        &["dead-letters", "export", &path("dead.ndjson")],
        &["store", "backup", "--data-dir", &path("control"), "--to", &path("copy.sqlite")],
    ] {
        ok(arguments);
    }
    drop((node, control_plane));
    ok(&["spool", "verify", "--data-dir", &path("node")]);
    ok(&["spool", "stats", "--data-dir", &path("node")]);

    let received = endpoint.received();
    assert!(received.iter().all(|request| request.header("authorization") == format!("Bearer {MARK}")));
    for log in &logs {
        let log = std::fs::read_to_string(log).unwrap();
        assert!(log.len() > 10_000, "the planes log all they can: {} bytes", log.len());
        assert!(!log.contains("u@example.com"), "no event's body is logged");
        for line in log.lines() {
            let fact = serde_json::from_str::<serde_json::Value>(line);
            assert!(fact.is_ok_and(|fact| fact.is_object()), "a log that is no terminal is JSON: {line}");
        }
    }
    assert_clean_below(folder.path());
}
