//! What the binaries say when they cannot start, and with which exit code.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    net::TcpListener,
    path::Path,
    process::{Command, Output, Stdio},
};

use sluice_tests::process::{Plane, binary};

fn run(name: &str, args: &[&str], data_dir: &Path) -> (i32, String) {
    let mut command = Command::new(binary(name));
    command.arg("--insecure-open").args(args).arg("--data-dir").arg(data_dir).stdin(Stdio::null());
    let Output { status, stderr, .. } = command.output().unwrap();
    (status.code().unwrap(), String::from_utf8_lossy(&stderr).into_owned())
}

const PLANES: [&str; 2] = ["sluice-control-plane", "sluice-node"];

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for plane in PLANES {
        let folder = tempfile::tempdir().unwrap();
        let (code, error) = run(plane, &["--listen", &address.to_string()], &folder.path().join("data"));
        assert_eq!(code, 6, "{error}");
        assert!(error.contains(&format!("port {} of 127.0.0.1 is in use", address.port())), "{error}");
    }
}

#[test]
fn a_folder_that_is_not_ours_is_left_alone() {
    for plane in PLANES {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("thesis.tex"), "mine").unwrap();
        let (code, error) = run(plane, &["--listen", "127.0.0.1:0"], folder.path());
        assert_eq!(code, 6, "{error}");
        assert!(error.contains("not one of Sluice's"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

#[tokio::test]
async fn a_folder_in_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let running = Plane::control_plane(folder.path(), "127.0.0.1:0").await;
    let (code, error) = run("sluice-control-plane", &["--listen", "127.0.0.1:0"], folder.path());
    assert_eq!(code, 6, "{error}");
    assert!(error.contains("in use by another process"), "{error}");
    let (code, error) = run("sluice-node", &["--listen", "127.0.0.1:0"], folder.path());
    assert_eq!(code, 6, "{error}");
    drop(running);
}

#[test]
fn a_start_without_tls_needs_a_word() {
    for plane in PLANES {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(binary(plane));
        let Output { status, stderr, .. } = command.arg("--data-dir").arg(folder.path()).output().unwrap();
        let error = String::from_utf8_lossy(&stderr);
        assert_eq!(status.code(), Some(2), "{error}");
        assert!(error.contains("--tls-cert") && error.contains("--insecure-plaintext"), "{error}");
    }
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for plane in PLANES {
        let folder = tempfile::tempdir().unwrap();
        let (code, error) = run(plane, &["--listne", "x"], &folder.path().join("data"));
        assert_eq!(code, 2, "{error}");
        assert!(error.contains("--listen"), "suggests the right one: {error}");
        let config = folder.path().join("config.toml");
        std::fs::write(&config, "lisstn = \"127.0.0.1:1\"\n").unwrap();
        let (code, error) = run(plane, &["--config", config.to_str().unwrap()], &folder.path().join("data"));
        assert_eq!(code, 2, "{error}");
        assert!(error.contains("lisstn"), "{error}");
    }
}
