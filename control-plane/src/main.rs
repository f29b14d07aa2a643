//! The control plane as a process of its own.

mod settings;

use std::{error::Error, io::Write as _, process::ExitCode};

use clap::Parser as _;
use sluice_control_plane::{ControlPlane, StartError, StoreError, start};

use self::settings::{Flags, Settings, SettingsError};

/// It failed for a reason of its own.
const FAILED: u8 = 1;
/// It was called wrongly; clap says the same.
const USAGE: u8 = 2;
/// The port or the data folder is somebody else's.
const CANNOT_START: u8 = 6;

/// Much is made on one thread and given back on another: what is made for that costs less than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let settings = match Settings::read(Flags::parse()) {
        Ok(settings) => settings,
        Err(error) => return fail(&error, error.exit_code()),
    };
    let levels = match sluice_telemetry::logs::init(&settings.log, settings.log_format) {
        Ok(levels) => levels,
        Err(error) => return fail(&error, USAGE),
    };
    settings.warn();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, FAILED),
    };
    runtime.spawn(levels.follow_hangups());
    runtime.block_on(run(settings))
}

async fn run(settings: Settings) -> ExitCode {
    let control_plane = match start(settings.config()).await {
        Ok(control_plane) => control_plane,
        Err(error) => return fail(&error, exit_code(&error)),
    };
    let ended = until_told_to_stop(&control_plane).await;
    control_plane.stop().await;
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, FAILED),
    }
}

/// For whoever chose port 0. Nobody may read it.
fn announce(control_plane: &ControlPlane) {
    let _ = writeln!(std::io::stdout(), "listening on {}", control_plane.address());
}

#[cfg(unix)]
async fn until_told_to_stop(control_plane: &ControlPlane) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    announce(control_plane);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

#[cfg(not(unix))]
async fn until_told_to_stop(control_plane: &ControlPlane) -> std::io::Result<()> {
    announce(control_plane);
    tokio::signal::ctrl_c().await
}

fn exit_code(error: &StartError) -> u8 {
    match error {
        StartError::Listen(_) | StartError::DataFolder(_) => CANNOT_START,
        StartError::SecretsKey(_) | StartError::Store(StoreError::OtherKey | StoreError::Newer { .. }) => CANNOT_START,
        StartError::AdminKey(_) | StartError::Tls(_) | StartError::Telemetry(_) => CANNOT_START,
        StartError::Store(_) | StartError::Reflection(_) => FAILED,
    }
}

impl SettingsError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Unreadable { .. } | Self::Invalid { .. } | Self::Insecure(_) | Self::Tls(_) => USAGE,
            Self::Telemetry(_) => USAGE,
            Self::SecretsKey(_) | Self::AdminKey(_) => CANNOT_START,
        }
    }
}

/// Says what went wrong, with its causes.
fn fail(error: &dyn Error, code: u8) -> ExitCode {
    eprint!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprint!(": {error}");
        cause = error.source();
    }
    eprintln!();
    ExitCode::from(code)
}
