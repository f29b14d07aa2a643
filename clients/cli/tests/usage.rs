//! The built command line: wrong usage and exit codes, without a server.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    io::Write,
    net::TcpListener,
    path::Path,
    process::{Command, Output, Stdio},
};

struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("it ended by itself"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    // Nothing of the machine's own settings, and an address at which nobody listens.
    command.env_clear().env("SLUICE_CONTROL_PLANE", nobody()).env("SLUICE_NODE", nobody()).args(arguments);
    command
}

fn sluice(arguments: &[&str]) -> Run {
    command(arguments).stdin(Stdio::null()).output().unwrap().into()
}

fn sluice_reading(arguments: &[&str], input: &str) -> Run {
    let mut child =
        command(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap().into()
}

/// An address of this machine at which nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn help_teaches_with_examples() {
    let run = sluice(&["--help"]);
    assert_eq!(run.code, 0);
    for part in ["sluice demo", "sluice dev", "Exit codes", "SLUICE_CONTROL_PLANE"] {
        assert!(run.stdout.contains(part), "{part}: {}", run.stdout);
    }
    let run = sluice(&["sync", "apply", "--help"]);
    assert!(run.stdout.contains("${env:NAME}") && run.stdout.contains("event_types"), "{}", run.stdout);
}

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in [
        &[][..],
        &["frobnicate"],
        &["sync", "apply"],
        &["sync", "get"],
        &["sync", "get", "Not/A/Name"],
        &["sync", "preview", "--event", "-"],
        &["sync", "preview", "orders", "-f", "x", "--event", "-"],
        &["sync", "preview", "-f", "-", "--event", "-"],
        &["sync", "enable", "orders", "--wait=soon"],
        &["attempts", "list", "orders", "--since", "10"],
        &["attempts", "list", "orders", "--outcome", "lost"],
        &["attempts", "list", "orders", "--limit", "0"],
        &["metrics", "orders", "--window", "3h"],
        &["metrics", "orders", "--to", "2026-11-23T08:00:00Z"],
        &["metrics", "orders", "--from", "yesterday"],
        &["demo", "--events", "0"],
        &["nodes", "list", "-o", "xml"],
        &["nodes", "list", "--control-plane", "127.0.0.1:7600"],
        &["sync", "list", "--project", "No Project"],
        &["dead-letters", "list", "--reason", "lost"],
        &["dead-letters", "list", "--since", "yesterday"],
        &["dlq", "count", "--sync", "Not/A/Name"],
        &["dlq", "show"],
        &["dlq", "export"],
        &["dlq", "export", "-", "--mark", "--no-mark"],
        &["ledger", "Node 1"],
        &["nodes", "drain"],
        &["nodes", "drain", "n1", "--timeout", "1m"],
        &["spool", "stats"],
        &["spool", "stats", "n1", "--data-dir", "x"],
        &["spool", "verify"],
    ] {
        let run = sluice(arguments);
        assert_eq!(run.code, 2, "{arguments:?}: {}", run.stderr);
        assert!(!run.stderr.is_empty() && !run.stderr.contains("panicked"), "{arguments:?}: {}", run.stderr);
    }
}

#[test]
fn a_missing_server_exits_with_5_and_says_what_to_start() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = file(folder.path(), "sync.yaml", "name: orders\n");
    let events = file(folder.path(), "events.ndjson", "{\"event_type\":\"a\"}\n");
    for arguments in [
        &["sync", "list"][..],
        &["sync", "apply", "-f", &manifest],
        &["sync", "delete", "orders"],
        &["attempts", "tail"],
        &["metrics", "orders"],
        &["nodes", "list"],
        &["nodes", "drain", "n1"],
        &["ledger"],
        &["spool", "stats", "n1"],
        &["dead-letters", "count"],
        &["dlq", "redeliver", "--yes"],
        &["events", "send", &events],
    ] {
        let run = sluice(arguments);
        assert_eq!(run.code, 5, "{arguments:?}: {}", run.stderr);
        assert!(run.stderr.starts_with("error: nobody answers at http://127.0.0.1:"), "{}", run.stderr);
        assert!(run.stderr.contains("sluice dev"), "{}", run.stderr);
    }
}

#[test]
fn dead_letters_are_not_redelivered_unasked() {
    let run = sluice(&["dead-letters", "redeliver", "--sync", "orders"]);
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(run.stderr.contains("give --yes"), "{}", run.stderr);
}

#[test]
fn an_export_takes_no_other_files_place() {
    let folder = tempfile::tempdir().unwrap();
    let there = file(folder.path(), "dead.ndjson", "kept\n");
    let run = sluice(&["dead-letters", "export", &there]);
    assert_eq!(run.code, 4, "{}", run.stderr);
    assert_eq!(std::fs::read_to_string(&there).unwrap(), "kept\n");
    let new = folder.path().join("new.ndjson").to_str().unwrap().to_owned();
    assert_eq!(sluice(&["dead-letters", "export", &new]).code, 5);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing half is left");
}

#[test]
fn an_invalid_manifest_exits_with_3_and_says_everything_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = file(
        folder.path(),
        "syncs.yaml",
        "name: orders\nenabeld: true\ndestination:\n  url: 7\n  heders: []\n---\nname: mails\nurl: x\n---\nenabled: true\n",
    );
    let run = sluice(&["sync", "apply", "-f", &manifest]);
    assert_eq!(run.code, 3, "{}", run.stderr);
    for part in [
        "projects/default/syncs/orders",
        "enabeld: unknown field; did you mean `enabled`?",
        "destination.url: expected a text, got a number: put it in quotes",
        "destination.heders: unknown field; did you mean `headers`?",
        "projects/default/syncs/mails",
        "url: unknown field; did you mean `destination.url`?",
        "syncs.yaml, document 3",
        "name: is missing",
    ] {
        assert!(run.stderr.contains(part), "{part}: {}", run.stderr);
    }
}

#[test]
fn a_manifest_with_a_missing_secret_exits_with_3_and_names_the_field() {
    let manifest = "name: orders\ndestination:\n  headers:\n    - name: Authorization\n      secret: { value: '${env:CRM_TOKEN}' }\n";
    let run = sluice_reading(&["sync", "apply", "-f", "-"], manifest);
    assert_eq!(run.code, 3, "{}", run.stderr);
    let problem = "destination.headers[0].secret.value: the environment variable `CRM_TOKEN` is not set";
    assert!(run.stderr.contains(problem), "{}", run.stderr);
}

#[test]
fn files_that_are_not_there_or_not_readable_fail_with_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("nothing").to_str().unwrap().to_owned();
    for arguments in [&["sync", "apply", "-f", &missing][..], &["events", "send", &missing]] {
        let run = sluice(arguments);
        assert_eq!(run.code, 1, "{arguments:?}: {}", run.stderr);
        assert!(run.stderr.contains(&missing), "{}", run.stderr);
    }
    let broken = file(folder.path(), "broken.yaml", "name: [\n");
    let run = sluice(&["sync", "apply", "-f", &broken]);
    assert_eq!((run.code, run.stderr.contains("cannot be parsed")), (3, true), "{}", run.stderr);
}

#[test]
fn dev_cannot_start_where_the_port_or_the_folder_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let data = folder.path().join("data").to_str().unwrap().to_owned();
    let run = sluice(&["dev", "--data-dir", &data, "--control-plane-port", &port, "--node-port", "0"]);
    assert_eq!(run.code, 6, "{}", run.stderr);
    assert!(run.stderr.contains(&port), "{}", run.stderr);

    let foreign = folder.path().join("foreign/control-plane");
    std::fs::create_dir_all(&foreign).unwrap();
    std::fs::write(foreign.join("thesis.txt"), "mine").unwrap();
    let data = folder.path().join("foreign").to_str().unwrap().to_owned();
    let run = sluice(&["dev", "--data-dir", &data, "--control-plane-port", "0", "--node-port", "0"]);
    assert_eq!(run.code, 6, "{}", run.stderr);
    assert_eq!(std::fs::read_to_string(foreign.join("thesis.txt")).unwrap(), "mine");
}
