//! `sluice dev`: a whole Sluice on this machine.

use std::path::PathBuf;

use clap::Args;

use crate::{
    exit::{Exit, Failure},
    local::{LocalPlanes, Ports},
    output::{note, say},
};

/// Where to run and what to keep.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sluice dev
  sluice dev --data-dir /tmp/try --control-plane-port 8600 --node-port 8601
  RUST_LOG=sluice_node=debug sluice dev

Both planes run in this process, open to everybody on this machine and to nobody else, until Ctrl-C. Webhooks may go to
http and to addresses of this machine and its network, but not to Sluice itself. Syncs, events and open deliveries stay
in the data folder for the next start.")]
pub(crate) struct DevArgs {
    /// Folder for what is stored, made if it is not there
    #[arg(long, value_name = "DIR", default_value = "./sluice-data")]
    data_dir: PathBuf,
    /// Port of the control plane; 0 is any free one
    #[arg(long, value_name = "PORT", default_value_t = 7600)]
    control_plane_port: u16,
    /// Port of the node; 0 is any free one
    #[arg(long, value_name = "PORT", default_value_t = 7601)]
    node_port: u16,
}

pub(crate) async fn run(args: DevArgs) -> Result<(), Failure> {
    sluice_telemetry::logs::init("warn", sluice_telemetry::logs::LogFormat::Text)
        .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    let stop = stop_signal()?;
    let ports = Ports { control_plane: args.control_plane_port, node: args.node_port };
    let planes = LocalPlanes::start(&args.data_dir, ports).await?;
    let (control_plane, node) = (planes.control_plane_url(), planes.node_url());
    let variables = if args.control_plane_port == 7600 && args.node_port == 7601 {
        String::new()
    } else {
        format!("  export SLUICE_CONTROL_PLANE={control_plane} SLUICE_NODE={node}\n")
    };
    let told = say(format!(
        "Sluice runs, for this machine only.\n\n\
         \x20 control plane  {control_plane}\n\
         \x20 node           {node}\n\
         \x20 data           {}\n\n\
         Next, in a second terminal:\n\
         {variables}\
         \x20 sluice sync apply -f sync.yaml      which events go where; `sluice sync apply --help` shows one\n\
         \x20 sluice events send events.ndjson    one JSON object a line\n\
         \x20 sluice attempts tail                watch the deliveries\n\n\
         Ctrl-C stops both.",
        args.data_dir.display()
    ));
    if told.is_ok() {
        stop.await;
        note("stopping");
    }
    planes.stop().await;
    told
}

/// Done at Ctrl-C or SIGTERM, whichever comes first. From here on they do not end the process themselves.
fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error: std::io::Error| Failure::failed(format!("signals cannot be waited for: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
