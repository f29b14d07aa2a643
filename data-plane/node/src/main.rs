//! The node as a process: configuration, start, run until a signal, stop, exit code.

use std::{io::Write as _, process::ExitCode};

use clap::Parser as _;
use sluice_host::logs;
use sluice_node::config::Args;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    let settings = match Args::parse().settings() {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("sluice-node: {error:#}");
            return ExitCode::from(2);
        }
    };
    logs::init(&settings.log, settings.log_json);
    if settings.config.insecure_listen {
        tracing::warn!("listening without access control: everybody who reaches the port can send events");
    }
    let node = match sluice_node::start(settings.config).await {
        Ok(node) => node,
        Err(error) => {
            let code = error.exit_code();
            eprintln!("sluice-node: {:#}", anyhow::Error::from(error));
            return ExitCode::from(code);
        }
    };
    // For whoever chose port 0; nobody may read it.
    let _ = writeln!(std::io::stdout(), "listening on {}", node.address());
    wait_for_signal().await;
    node.stop().await;
    ExitCode::SUCCESS
}

async fn wait_for_signal() {
    let terminate = signal(SignalKind::terminate());
    let interrupt = signal(SignalKind::interrupt());
    match (terminate, interrupt) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        // Without signals the process runs until it is killed, which the spool survives.
        _ => std::future::pending().await,
    }
}
