//! Both planes in this process, for development and the demo: open, and for this machine only.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use sluice_control_plane::ControlPlane;
use sluice_host::clock::Clock;
use sluice_node::Node;
use sluice_pipeline::sync::Rules;
use sluice_telemetry::TelemetryConfig;
use tokio::time::{Instant, sleep};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::exit::{Exit, Failure};

/// For how long the node may take to serve.
const START_TIMEOUT: Duration = Duration::from_secs(15);
/// For how long requests in flight may go on when the planes stop.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// For how long the planes may take to stop in all.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A running control plane and a running node.
pub(crate) struct LocalPlanes {
    control_plane: ControlPlane,
    node: Node,
}

/// Where both planes listen; port 0 stands for any free one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) control_plane: u16,
    pub(crate) node: u16,
}

impl LocalPlanes {
    /// Starts both planes with their data under `data_dir`, which is made if need be, and waits until the node serves.
    pub(crate) async fn start(data_dir: &Path, ports: Ports) -> Result<Self, Failure> {
        let ports = Ports { control_plane: chosen(ports.control_plane)?, node: chosen(ports.node)? };
        let rules = Rules {
            allow_http: true,
            allow_private_destinations: true,
            own_ports: vec![ports.control_plane, ports.node],
            ..Rules::default()
        };
        let clock = Clock::system();
        let telemetry = TelemetryConfig::from_env().map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
        std::fs::create_dir_all(data_dir).map_err(|error| {
            Failure::new(Exit::CannotStart, format!("the data folder {} cannot be made: {error}", data_dir.display()))
        })?;
        let control_plane = sluice_control_plane::start(sluice_control_plane::Config {
            listen: loopback(ports.control_plane),
            telemetry: telemetry.clone(),
            ..sluice_control_plane::Config::on_loopback(data_dir.join("control-plane"), rules.clone(), clock.clone())
        })
        .await
        .map_err(|error| {
            use sluice_control_plane::StartError;
            let exit = match &error {
                StartError::Store(_) | StartError::Reflection(_) => Exit::Failed,
                _ => Exit::CannotStart,
            };
            cannot_start("the control plane", exit, &error)
        })?;
        let node = sluice_node::start(sluice_node::Config {
            listen: loopback(ports.node),
            telemetry,
            ..sluice_node::Config::on_loopback("local", control_plane.address(), data_dir.join("node"), rules, clock)
        })
        .await;
        let node = match node {
            Ok(node) => node,
            Err(error) => {
                use sluice_node::StartError;
                let exit = match &error {
                    StartError::Listen(_) | StartError::DataFolder(_) | StartError::SecretsKey(_) => Exit::CannotStart,
                    _ => Exit::Failed,
                };
                let failure = cannot_start("the node", exit, &error);
                control_plane.stop().await;
                return Err(failure);
            }
        };
        let planes = Self { control_plane, node };
        match planes.wait_until_serving().await {
            Ok(()) => Ok(planes),
            Err(failure) => {
                planes.stop().await;
                Err(failure)
            }
        }
    }

    /// `http://host:port` of the control plane.
    pub(crate) fn control_plane_url(&self) -> String {
        format!("http://{}", self.control_plane.address())
    }

    /// `http://host:port` of the node.
    pub(crate) fn node_url(&self) -> String {
        format!("http://{}", self.node.address())
    }

    /// Stops both, the node first. One that does not end in time is left to the end of the process: nothing acked is lost.
    pub(crate) async fn stop(self) {
        let stopped = async {
            self.node.stop_within(STOP_GRACE).await;
            self.control_plane.stop().await;
        };
        if tokio::time::timeout(STOP_TIMEOUT, stopped).await.is_err() {
            tracing::warn!(seconds = STOP_TIMEOUT.as_secs(), "the planes did not stop in time");
        }
    }

    async fn wait_until_serving(&self) -> Result<(), Failure> {
        let channel = sluice_client::connect(&self.node_url()).await?;
        let mut health = HealthClient::new(channel);
        let until = Instant::now() + START_TIMEOUT;
        loop {
            let response = health.check(HealthCheckRequest { service: String::new() }).await?.into_inner();
            if response.status() == ServingStatus::Serving {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(Failure::new(Exit::Unavailable, "the node has started but got no catalog in time"));
            }
            sleep(POLL_INTERVAL).await;
        }
    }
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// The port itself, or for 0 one that is free now: the rules name our own ports before anything listens.
fn chosen(port: u16) -> Result<u16, Failure> {
    if port != 0 {
        return Ok(port);
    }
    std::net::TcpListener::bind(loopback(0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| Failure::new(Exit::CannotStart, format!("there is no free port: {error}")))
}

fn cannot_start(what: &str, exit: Exit, error: &dyn std::error::Error) -> Failure {
    let mut failure = Failure::new(exit, format!("{what} cannot start: {error}"));
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !failure.message.contains(&text) {
            failure.details.push(text);
        }
        source = cause.source();
    }
    failure
}
