//! The arguments: the commands, and what holds for all of them.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{commands, demo};

/// Sluice sends product events to webhooks.
///
/// Product events happen in one place and are needed, differently shaped, in many. You say in a sync which events go
/// where, in which shape; Sluice delivers each one, tries again for four hours when an endpoint fails, and accounts for
/// every attempt.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 120, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
Try it:
  sluice demo                                 # everything at work in ten seconds, in a temporary folder
  sluice dev                                  # control plane and node on this machine, until Ctrl-C

Then, in a second terminal:
  sluice sync apply -f sync.yaml              # say which events go where
  sluice events send events.ndjson            # send some
  sluice attempts tail                        # watch them arrive
  sluice metrics orders                       # count what became of them
  sluice top                                  # watch syncs and nodes

Exit codes:
  0 done   1 failed   2 wrong usage   3 invalid input   4 not found, or changed by somebody else
  5 server unavailable, or waited too long   6 cannot start (port in use, data folder not usable)
  7 not allowed: the API key is missing, unknown, or may not do that";

/// The heading of options that few need to look at.
const ACCESS: &str = "Access";

/// Variable that may hold the API key. There is no flag for it: other users of the machine see the arguments of processes.
pub(crate) const API_KEY_VARIABLE: &str = "SLUICE_API_KEY";

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Address of the control plane
    #[arg(
        long,
        global = true,
        env = "SLUICE_CONTROL_PLANE",
        value_name = "URL",
        default_value = "http://127.0.0.1:7600"
    )]
    pub(crate) control_plane: String,
    /// Address of the node that takes events
    #[arg(long, global = true, env = "SLUICE_NODE", value_name = "URL", default_value = "http://127.0.0.1:7601")]
    pub(crate) node: String,
    /// File with the API key to show; else the variable SLUICE_API_KEY holds it, else none is shown
    #[arg(long, global = true, env = "SLUICE_API_KEY_FILE", value_name = "FILE", help_heading = ACCESS)]
    pub(crate) api_key_file: Option<PathBuf>,
    /// PEM file with the authorities to trust, instead of the system's
    #[arg(long, global = true, env = "SLUICE_TLS_CA", value_name = "FILE", help_heading = ACCESS)]
    pub(crate) tls_ca: Option<PathBuf>,
    /// PEM file with the certificate to show
    #[arg(long, global = true, env = "SLUICE_TLS_CERT", value_name = "FILE", help_heading = ACCESS, requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// PEM file with its private key
    #[arg(long, global = true, env = "SLUICE_TLS_KEY", value_name = "FILE", help_heading = ACCESS, requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Show the API key over http to other machines too, where something else encrypts the connection
    #[arg(long, global = true, env = "SLUICE_INSECURE_PLAINTEXT", help_heading = ACCESS)]
    pub(crate) insecure_plaintext: bool,
    /// Project that short names such as `orders` belong to
    #[arg(long, global = true, env = "SLUICE_PROJECT", value_name = "ID", default_value = sluice_proto::name::DEFAULT_PROJECT)]
    pub(crate) project: String,
    /// How results are printed; json and yaml hold every field, under its name in the API
    #[arg(short, long, global = true, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Format,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// JSON in protobuf's mapping
    Json,
    /// The same as YAML
    Yaml,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a control plane and a node on this machine, for development
    Dev(commands::dev::DevArgs),
    /// Show everything at work: start both planes and a receiver, send events, check every delivery
    Demo(demo::DemoArgs),
    /// Manage syncs: which events go where, in which shape
    #[command(subcommand)]
    Sync(commands::sync::SyncCommand),
    /// Send events
    #[command(subcommand)]
    Events(commands::events::EventsCommand),
    /// Follow the single requests
    #[command(subcommand)]
    Attempts(commands::attempts::AttemptsCommand),
    /// See to deliveries that ended without a 2xx: list, show, redeliver and export them
    #[command(subcommand, visible_alias = "dlq")]
    DeadLetters(commands::dead_letters::DeadLettersCommand),
    /// Count what became of a sync's deliveries
    Metrics(commands::metrics::MetricsArgs),
    /// Watch syncs and nodes, live
    Top(commands::top::TopArgs),
    /// Show the nodes, and drain one
    #[command(subcommand)]
    Nodes(commands::nodes::NodesCommand),
    /// Show what the nodes have counted, and whether it adds up
    Ledger(commands::ledger::LedgerArgs),
    /// Make, list and revoke API keys
    #[command(subcommand)]
    Keys(commands::keys::KeysCommand),
    /// Show what is wrong now, and the rules that look for it
    #[command(subcommand)]
    Alerts(commands::alerts::AlertsCommand),
    /// Show who changed what
    #[command(subcommand)]
    Audit(commands::audit::AuditCommand),
    /// Make and list projects
    #[command(subcommand)]
    Projects(commands::projects::ProjectsCommand),
    /// See to the keys that secrets are sealed with on disk
    #[command(subcommand)]
    Secrets(commands::secrets::SecretsCommand),
    /// Back up, verify and restore the control plane's store
    #[command(subcommand)]
    Store(commands::store::StoreCommand),
    /// Look into a node's spool
    #[command(subcommand)]
    Spool(commands::spool::SpoolCommand),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_fit_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_examples() {
        fn leaves(command: &clap::Command, path: &str, missing: &mut Vec<String>) {
            let path = format!("{path} {}", command.get_name());
            for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
                leaves(inner, &path, missing);
            }
            if !command.has_subcommands() && command.get_after_help().is_none() {
                missing.push(path);
            }
        }
        let mut missing = Vec::new();
        leaves(&Cli::command(), "", &mut missing);
        assert_eq!(missing, Vec::<String>::new());
    }
}
