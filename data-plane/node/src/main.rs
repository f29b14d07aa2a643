//! The node as a process: configuration, start, run until a signal, stop, exit code.

use std::{io::Write as _, process::ExitCode};

use clap::Parser as _;
use sluice_node::config::Args;
use sluice_telemetry::logs;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Much is made on one thread and given back on another: what is made for that costs less than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let settings = match Args::parse().settings() {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("sluice-node: {error:#}");
            return ExitCode::from(2);
        }
    };
    match logs::init(&settings.log, settings.log_format) {
        Ok(levels) => drop(tokio::spawn(levels.follow_hangups())),
        Err(error) => {
            eprintln!("sluice-node: {error}");
            return ExitCode::from(2);
        }
    }
    settings.warn();
    let node = match sluice_node::start(settings.config).await {
        Ok(node) => node,
        Err(error) => {
            let code = error.exit_code();
            eprintln!("sluice-node: {:#}", anyhow::Error::from(error));
            return ExitCode::from(code);
        }
    };
    let mut signals = Signals::listen();
    // For whoever chose port 0; nobody may read it.
    let _ = writeln!(std::io::stdout(), "listening on {}", node.address());
    signals.next().await;
    tokio::select! {
        () = node.stop_within(settings.stop_grace) => {}
        () = signals.next() => {
            tracing::warn!("a second signal: requests in flight are cut off, their deliveries will be made again");
            // Everything that was acked is on disk. Returning would wait for what is under way.
            std::process::exit(0);
        }
    }
    ExitCode::SUCCESS
}

/// What asks the process to end. Without signals it runs until it is killed, which the spool survives.
struct Signals(Option<(Signal, Signal)>);

impl Signals {
    fn listen() -> Self {
        Self(signal(SignalKind::terminate()).ok().zip(signal(SignalKind::interrupt()).ok()))
    }

    /// Waits for the next one.
    async fn next(&mut self) {
        match &mut self.0 {
            Some((terminate, interrupt)) => {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            }
            None => std::future::pending().await,
        }
    }
}
