//! Starting and stopping, as a part of another process and as a process of its own.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, Command, Stdio},
};

use sluice_control_plane::StartError;
use sluice_host::{data_folder::DataFolderError, listen::ListenError};
use sluice_proto::sync::v1::{CreateSyncRequest, GetSyncRequest, sync_service_client::SyncServiceClient};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use self::support::{Plane, start_on, sync};

#[tokio::test]
async fn a_port_in_use_is_told() {
    let plane = Plane::start().await;
    let folder = tempfile::tempdir().unwrap();
    let Err(error) = start_on(plane.address(), folder.path()).await else { panic!("two on one port") };
    assert!(matches!(error, StartError::Listen(ListenError::InUse { .. })), "{error}");
}

#[tokio::test]
async fn a_data_folder_that_is_locked_or_not_ours_is_told() {
    let plane = Plane::start().await;
    let any = "127.0.0.1:0".parse().unwrap();
    let Err(error) = start_on(any, &plane.store()).await else { panic!("two in one folder") };
    assert!(matches!(error, StartError::DataFolder(DataFolderError::Locked { .. })), "{error}");

    let foreign = tempfile::tempdir().unwrap();
    std::fs::write(foreign.path().join("thesis.txt"), "mine").unwrap();
    let Err(error) = start_on(any, foreign.path()).await else { panic!("in a foreign folder") };
    assert!(matches!(error, StartError::DataFolder(DataFolderError::NotOurs { .. })), "{error}");
}

#[tokio::test]
async fn a_store_that_is_none_is_told_and_left_alone() {
    let mut plane = Plane::start().await;
    plane.stop().await;
    let file = plane.store().join("control-plane.sqlite");
    for log in ["control-plane.sqlite-wal", "control-plane.sqlite-shm"] {
        let _ = std::fs::remove_file(plane.store().join(log));
    }
    std::fs::write(&file, "this is no database, whatever its name says".repeat(100)).unwrap();
    let Err(error) = start_on("127.0.0.1:0".parse().unwrap(), &plane.store()).await else { panic!("no store") };
    assert!(matches!(error, StartError::Store(_)), "{error}");
    assert!(std::fs::read_to_string(file).unwrap().starts_with("this is no database"));
}

#[tokio::test]
async fn health_and_reflection_answer() {
    let plane = Plane::start().await;
    let mut health = HealthClient::new(plane.channel.clone());
    for service in ["", "sluice.sync.v1.SyncService", "sluice.node.v1.NodeSessionService"] {
        let request = HealthCheckRequest { service: service.into() };
        let answer = health.check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut reflection = ServerReflectionClient::new(plane.channel.clone());
    let requests = tokio_stream::once(request);
    let mut answers = reflection.server_reflection_info(requests).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(listed)) =
        answers.message().await.unwrap().unwrap().message_response
    else {
        panic!("no list of services");
    };
    let listed: Vec<_> = listed.service.into_iter().map(|service| service.name).collect();
    for service in ["sluice.sync.v1.SyncService", "sluice.delivery.v1.DeliveryService", "grpc.health.v1.Health"] {
        assert!(listed.contains(&service.to_owned()), "{service} is not in {listed:?}");
    }
}

fn spawn(folder: &Path, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_sluice-control-plane"))
        .arg("--insecure-open")
        .arg("--data-dir")
        .arg(folder)
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn exit(mut child: Child) -> (i32, String) {
    let mut told = String::new();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    (child.wait().unwrap().code().unwrap(), told)
}

/// Starts the process on a free port and gives its address.
fn serving(folder: &Path) -> (Child, String) {
    let mut child = spawn(folder, &["--listen=127.0.0.1:0"]);
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ").unwrap().to_owned();
    (child, address)
}

#[tokio::test]
async fn what_was_answered_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, address) = serving(folder.path());
    let mut syncs = SyncServiceClient::connect(format!("http://{address}")).await.unwrap();
    let request = CreateSyncRequest {
        parent: "projects/default".into(),
        sync_id: "orders".into(),
        sync: Some(sync()),
        validate_only: false,
        ..Default::default()
    };
    let created = syncs.create_sync(request).await.unwrap().into_inner();
    child.kill().unwrap();
    child.wait().unwrap();

    let (mut child, address) = serving(folder.path());
    let mut syncs = SyncServiceClient::connect(format!("http://{address}")).await.unwrap();
    let read = syncs.get_sync(GetSyncRequest { name: created.name.clone() }).await.unwrap().into_inner();
    assert_eq!(read, created);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[cfg(unix)]
#[test]
fn the_process_says_where_it_listens_and_stops_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let (child, address) = serving(folder.path());

    let other = tempfile::tempdir().unwrap();
    let (code, told) = exit(spawn(other.path(), &["--listen", &address]));
    assert_eq!(code, 6);
    assert!(told.contains("is in use"), "{told}");
    let (code, told) = exit(spawn(folder.path(), &["--listen=127.0.0.1:0"]));
    assert_eq!(code, 6);
    assert!(told.contains("in use by another process"), "{told}");

    let kill = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let (code, told) = exit(child);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("control plane stopped"), "{told}");
}

#[test]
fn wrong_usage_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (code, told) = exit(spawn(folder.path(), &["--listen=nonsense"]));
    assert_eq!(code, 2);
    assert!(told.contains("--listen"), "{told}");

    let file = folder.path().join("config.toml");
    std::fs::write(&file, "allow-htp = true\n").unwrap();
    let (code, told) = exit(spawn(&folder.path().join("data"), &["--config", file.to_str().unwrap()]));
    assert_eq!(code, 2);
    assert!(told.contains("config.toml") && told.contains("allow-htp"), "{told}");
}
