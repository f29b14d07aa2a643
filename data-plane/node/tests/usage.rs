//! What `sluice-node` says of its own options.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::{Command, Output};

fn run(args: &[&str]) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice-node"));
    command
        .args(["--insecure-open", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder.path().join("data"))
        .args(args);
    let Output { status, stderr, .. } = command.output().unwrap();
    (status.code().unwrap(), String::from_utf8_lossy(&stderr).into_owned())
}

#[test]
fn a_name_that_cannot_be_one_is_refused_with_the_rule() {
    let (code, error) = run(&["--name", "Node One"]);
    assert_eq!(code, 1);
    assert!(error.contains("`Node One` cannot be a node's name: an id is 1 to 63 characters"), "{error}");
}

#[test]
fn an_address_that_is_none_is_refused_with_an_example() {
    for address in ["control-plane", "ftp://x:1", "http://"] {
        let (code, error) = run(&["--control-plane", address]);
        assert_eq!(code, 1, "{address}");
        assert!(error.contains("give one like http://127.0.0.1:7600"), "{error}");
    }
}

#[test]
fn a_ca_file_without_certificates_is_refused() {
    let (code, error) = run(&["--ca-file", "/nonexistent/ca.pem"]);
    assert_eq!(code, 1);
    assert!(error.contains("the CA file /nonexistent/ca.pem cannot be used"), "{error}");
}

#[test]
fn a_missing_configuration_file_is_wrong_usage() {
    let (code, error) = run(&["--config", "/nonexistent/node.toml"]);
    assert_eq!(code, 2);
    assert!(error.contains("/nonexistent/node.toml"), "{error}");
}
