//! How a node is set up: by flags, environment or a TOML file, in this order.

mod spool;

use std::{
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroU16,
    path::PathBuf,
    time::Duration,
};

use anyhow::Context as _;
use clap::Parser;
use ipnet::IpNet;
use serde::Deserialize;
use sluice_access::{
    AccessMode,
    serving::{check_closed, warn_if_insecure},
};
use sluice_client::Credentials;
use sluice_host::{clock::Clock, sealing::SecretsKey, tls::TlsFiles};
use sluice_pipeline::sync::Rules;
use sluice_telemetry::{TelemetryConfig, config::DEFAULT_LABELS, logs::LogFormat};

use self::spool::SpoolOptions;
use crate::{guard::Resolver, spool::SpoolLimits};

/// The port that a node listens on if nothing else is said.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:7601";

/// What a node needs to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Id of the node (the last segment of `nodes/{node}`); empty: made with the spool and kept there.
    pub name: String,
    /// Where to take events.
    pub listen: SocketAddr,
    /// Who may send events.
    pub access: AccessMode,
    /// The listener's certificates; none: it speaks plaintext.
    pub tls: Option<TlsFiles>,
    /// Where the control plane is, `https://host:port` or `http://host:port`.
    pub control_plane: String,
    /// What the control plane is shown, and how it is known.
    pub credentials: Credentials,
    /// The node's own folder.
    pub data_dir: PathBuf,
    /// What syncs may do.
    pub rules: Rules,
    /// PEM file with certificates to trust beside the system's.
    pub extra_roots_pem: Option<PathBuf>,
    /// Resolves the host names of destinations.
    pub resolver: Resolver,
    /// What the node may use.
    pub limits: Limits,
    /// How much the spool may hold, and for how long.
    pub spool: SpoolLimits,
    /// Key that the secrets in the copy of the catalog are sealed with; none: one that is made in the data folder.
    pub secrets_key: Option<SecretsKey>,
    /// What it tells OpenTelemetry.
    pub telemetry: TelemetryConfig,
    /// All time comes from it.
    pub clock: Clock,
}

impl Config {
    /// A node for this machine alone, open, on any free port of loopback: for development, and for tests.
    #[must_use]
    pub fn on_loopback(name: &str, control_plane: SocketAddr, data_dir: PathBuf, rules: Rules, clock: Clock) -> Self {
        Self {
            name: name.to_owned(),
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            access: AccessMode::OPEN_ON_LOOPBACK,
            tls: None,
            control_plane: format!("http://{control_plane}"),
            credentials: Credentials::default(),
            data_dir,
            rules,
            extra_roots_pem: None,
            resolver: Resolver::system(),
            limits: Limits::default(),
            spool: SpoolLimits::default(),
            secrets_key: None,
            telemetry: TelemetryConfig::default(),
            clock,
        }
    }
}

/// What a node may use, over all syncs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests under way at once.
    pub max_concurrency: usize,
    /// Requests under way at once to one destination host; syncs that share it take turns.
    pub max_concurrency_per_host: usize,
}

impl Limits {
    /// What is left of them where so many files and sockets may be open: each request needs a socket, and as many are left for
    /// kept connections, producers and the spool.
    #[must_use]
    pub fn within(self, open_files: Option<u64>) -> Self {
        let Some(sockets) = open_files.map(|limit| usize::try_from(limit / 2).unwrap_or(usize::MAX).max(1)) else {
            return self;
        };
        if self.max_concurrency > sockets {
            tracing::warn!(
                max_concurrency = self.max_concurrency,
                open_files,
                capped_to = sockets,
                "fewer requests may be under way than asked for: raise the limit on open files (`ulimit -n`)"
            );
        }
        Self {
            max_concurrency: self.max_concurrency.min(sockets),
            max_concurrency_per_host: self.max_concurrency_per_host.min(sockets),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_concurrency: 4_096, max_concurrency_per_host: 256 }
    }
}

/// Sluice's data-plane node: takes events in through gRPC, keeps them on disk, and delivers them as webhooks.
#[derive(Debug, Parser)]
#[command(
    name = "sluice-node",
    version,
    after_help = "Each option can be given as a flag, as an environment variable, or in the TOML file of --config under \
                  the flag's name (data-dir = \"…\"; those of the spool below [spool], max-bytes = \"…\"); a flag wins over the environment, the environment over the file.\n\n\
                  Exit codes: 0 stopped as asked, also at once by a second signal, 1 failed, 2 wrong usage, 6 cannot start (port \
                  in use, data folder not ours or locked).\n\n\
                  Example:\n  sluice-node --data-dir /var/lib/sluice-node --control-plane https://sluice.example:7600 \\\n              --api-key-file node.key --tls-cert cert.pem --tls-key key.pem"
)]
pub struct Args {
    /// TOML file with any of these options
    #[arg(long, env = "SLUICE_NODE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

/// What flags, environment and file say; none of it is required in any of them.
#[derive(Debug, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Options {
    /// Name of this node, kept over restarts: a-z, 0-9 and - [default: made at the first start]
    #[arg(long, env = "SLUICE_NODE_NAME")]
    name: Option<String>,
    /// Address to take events on [default: 127.0.0.1:7601]
    #[arg(long, env = "SLUICE_NODE_LISTEN", value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Address of the control plane, https or http [default: http://127.0.0.1:7600]
    #[arg(long, env = "SLUICE_NODE_CONTROL_PLANE", value_name = "URL")]
    control_plane: Option<String>,
    /// Folder for events, deliveries and the copy of the catalog [default: data/node]
    #[arg(long, env = "SLUICE_NODE_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// PEM file with certificates to trust beside the system's
    #[arg(long, env = "SLUICE_NODE_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Allow http URLs beside https
    #[arg(long, env = "SLUICE_NODE_ALLOW_HTTP", num_args = 0..=1, require_equals = true,
        value_name = "BOOL", default_missing_value = "true")]
    allow_http: Option<bool>,
    /// Allow webhooks to loopback and private addresses
    #[arg(long, env = "SLUICE_NODE_ALLOW_PRIVATE_DESTINATIONS", num_args = 0..=1, require_equals = true,
        value_name = "BOOL", default_missing_value = "true")]
    allow_private_destinations: Option<bool>,
    /// Port that webhooks may go to beside 80 and 443; may be repeated, and given to the control plane too
    #[arg(long, env = "SLUICE_NODE_ALLOW_PORT", value_name = "PORT", value_delimiter = ',')]
    allow_port: Vec<NonZeroU16>,
    /// Network whose addresses webhooks may go to although they are not public, such as 10.2.0.0/16; may be repeated, and
    /// given to the control plane too
    #[arg(long, env = "SLUICE_NODE_ALLOW_NETWORK", value_name = "CIDR", value_delimiter = ',')]
    allow_network: Vec<IpNet>,
    /// Requests under way at once, over all syncs; at most half of the files that may be open [default: 4096]
    #[arg(long, env = "SLUICE_NODE_MAX_CONCURRENCY", value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    max_concurrency: Option<u32>,
    /// Requests under way at once to one destination host, over all syncs [default: 256]
    #[arg(long, env = "SLUICE_NODE_MAX_CONCURRENCY_PER_HOST", value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    max_concurrency_per_host: Option<u32>,
    #[command(flatten)]
    spool: SpoolOptions,
    /// File with the key that secrets are sealed with on disk, 64 hexadecimal digits (`openssl rand -hex 32`); else the variable
    /// SLUICE_SECRETS_KEY, else a key that is made in the data folder
    #[arg(long, env = "SLUICE_NODE_SECRETS_KEY_FILE", value_name = "FILE")]
    secrets_key_file: Option<PathBuf>,
    /// File with the API key, of the role node, to show to the control plane; else the variable SLUICE_API_KEY holds it
    #[arg(long, env = "SLUICE_NODE_API_KEY_FILE", value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// PEM file with the authorities that may vouch for the control plane, instead of the system's
    #[arg(long, env = "SLUICE_NODE_CONTROL_PLANE_CA", value_name = "FILE")]
    control_plane_ca: Option<PathBuf>,
    /// PEM file with the certificate to show to the control plane; one that names the node as
    /// spiffe://DOMAIN/sluice/nodes/NODE needs no API key beside it
    #[arg(long, env = "SLUICE_NODE_CONTROL_PLANE_CERT", value_name = "FILE", requires = "control_plane_key")]
    control_plane_cert: Option<PathBuf>,
    /// PEM file with its private key
    #[arg(long, env = "SLUICE_NODE_CONTROL_PLANE_KEY", value_name = "FILE", requires = "control_plane_cert")]
    control_plane_key: Option<PathBuf>,
    /// PEM file with the listener's certificate and what leads from it to a root; read again when it changes
    #[arg(long, env = "SLUICE_NODE_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// PEM file with its private key
    #[arg(long, env = "SLUICE_NODE_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// PEM file with the authorities of producers' certificates: they must show one (mutual TLS), beside their API key
    #[arg(long, env = "SLUICE_NODE_TLS_CLIENT_CA", value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,
    /// Speak without TLS, with producers and with the control plane: keys, secrets and events travel in clear, unless something
    /// else encrypts the connections
    #[arg(long, env = "SLUICE_NODE_INSECURE_PLAINTEXT", num_args = 0..=1, require_equals = true,
        value_name = "BOOL", default_missing_value = "true")]
    insecure_plaintext: Option<bool>,
    /// Take events without API keys: everybody who reaches the port can send some, to the project `default`
    #[arg(long, env = "SLUICE_NODE_INSECURE_OPEN", num_args = 0..=1, require_equals = true,
        value_name = "BOOL", default_missing_value = "true")]
    insecure_open: Option<bool>,
    /// Seconds that requests in flight may go on after SIGTERM or SIGINT; a second signal ends them at once. Nothing is lost
    /// either way: what was cut off is delivered after the next start [default: 15]
    #[arg(long, env = "SLUICE_NODE_STOP_GRACE", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=3_600))]
    stop_grace: Option<u64>,
    /// Address on which Prometheus may scrape metrics, at /metrics, without a key [default: none]
    #[arg(long, env = "SLUICE_NODE_METRICS_LISTEN", value_name = "ADDRESS:PORT")]
    metrics_listen: Option<SocketAddr>,
    /// Syncs that metrics tell apart; all beyond are one, `_other` [default: 1000]
    #[arg(long, env = "SLUICE_NODE_TELEMETRY_SYNCS", value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    telemetry_syncs: Option<u32>,
    /// Export spans of rounds that fail, and of those that follow them, although sampling leaves their trace out
    #[arg(long, env = "SLUICE_NODE_TRACE_FAILURES", num_args = 0..=1, require_equals = true,
        value_name = "BOOL", default_missing_value = "true")]
    trace_failures: Option<bool>,
    /// What to log: error, warn, info, debug, a filter such as sluice_node=debug,info, or @ and a file with such a filter, which is
    /// read again at SIGHUP [default: info]
    #[arg(long, env = "SLUICE_NODE_LOG", value_name = "FILTER")]
    log: Option<String>,
    /// Format of the log, on standard error [default: text on a terminal, json otherwise]
    #[arg(long, value_name = "FORMAT", env = "SLUICE_NODE_LOG_FORMAT")]
    log_format: Option<LogFormat>,
}

/// A configuration and how to log.
#[derive(Debug)]
pub struct Settings {
    /// The node's.
    pub config: Config,
    /// How long requests in flight may go on at a stop.
    pub stop_grace: Duration,
    /// Filter of the log.
    pub log: String,
    /// How the log is written.
    pub log_format: LogFormat,
}

impl Args {
    /// Reads the file, if one is named, and fills in defaults.
    ///
    /// # Errors
    /// If the file cannot be read or holds something else than the options.
    pub fn settings(self) -> anyhow::Result<Settings> {
        let file = match &self.config {
            Some(path) => {
                let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
                toml::from_str(&text).with_context(|| format!("{} is no valid configuration", path.display()))?
            }
            None => Options::default(),
        };
        let flags = self.options;
        let listen = match flags.listen.or(file.listen) {
            Some(address) => address,
            None => DEFAULT_LISTEN.parse()?,
        };
        let limits = Limits::default();
        let count = |flag: Option<u32>, file: Option<u32>, default: usize| {
            flag.or(file).and_then(|count| usize::try_from(count).ok()).map_or(default, |count| count.max(1))
        };
        let yes = |flag: Option<bool>, file: Option<bool>| flag.or(file).unwrap_or(false);
        let tls = TlsFiles::given(
            flags.tls_cert.or(file.tls_cert),
            flags.tls_key.or(file.tls_key),
            flags.tls_client_ca.or(file.tls_client_ca),
            false,
        )?;
        let open = yes(flags.insecure_open, file.insecure_open);
        let plaintext = yes(flags.insecure_plaintext, file.insecure_plaintext);
        check_closed(tls.is_some(), plaintext, open)?;
        let mut credentials = Credentials::default().allow_plaintext(plaintext);
        if let Some(path) = flags.api_key_file.or(file.api_key_file) {
            credentials = credentials.api_key_file(path);
        } else if let Some(text) = std::env::var("SLUICE_API_KEY").ok().filter(|text| !text.is_empty()) {
            credentials = credentials.api_key(&text);
        }
        if let Some(path) = flags.control_plane_ca.or(file.control_plane_ca) {
            credentials = credentials.ca_file(path);
        }
        let cert = flags.control_plane_cert.or(file.control_plane_cert);
        if let Some((cert, key)) = cert.zip(flags.control_plane_key.or(file.control_plane_key)) {
            credentials = credentials.certificate(cert, key);
        }
        Ok(Settings {
            config: Config {
                name: flags.name.or(file.name).unwrap_or_default(),
                listen,
                access: AccessMode::open(open),
                tls,
                credentials,
                control_plane: flags
                    .control_plane
                    .or(file.control_plane)
                    .unwrap_or_else(|| "http://127.0.0.1:7600".to_owned()),
                data_dir: flags.data_dir.or(file.data_dir).unwrap_or_else(|| "data/node".into()),
                rules: Rules {
                    allow_http: yes(flags.allow_http, file.allow_http),
                    allow_private_destinations: yes(flags.allow_private_destinations, file.allow_private_destinations),
                    allowed_ports: given(flags.allow_port, file.allow_port).into_iter().map(NonZeroU16::get).collect(),
                    allowed_networks: given(flags.allow_network, file.allow_network),
                    ..Rules::default()
                },
                extra_roots_pem: flags.ca_file.or(file.ca_file),
                resolver: Resolver::system(),
                limits: Limits {
                    max_concurrency: count(flags.max_concurrency, file.max_concurrency, limits.max_concurrency),
                    max_concurrency_per_host: count(
                        flags.max_concurrency_per_host,
                        file.max_concurrency_per_host,
                        limits.max_concurrency_per_host,
                    ),
                },
                spool: flags.spool.limits(file.spool)?,
                secrets_key: SecretsKey::given(flags.secrets_key_file.or(file.secrets_key_file).as_deref())?,
                telemetry: TelemetryConfig {
                    scrape: flags.metrics_listen.or(file.metrics_listen),
                    labels: count(flags.telemetry_syncs, file.telemetry_syncs, DEFAULT_LABELS),
                    keep_failures: yes(flags.trace_failures, file.trace_failures),
                    ..TelemetryConfig::from_env()?
                },
                clock: Clock::system(),
            },
            stop_grace: flags.stop_grace.or(file.stop_grace).map_or(crate::STOP_GRACE, Duration::from_secs),
            log: flags.log.or(file.log).unwrap_or_else(|| "info".to_owned()),
            log_format: flags.log_format.or(file.log_format).unwrap_or_default(),
        })
    }
}

impl Settings {
    /// What everybody who runs it this way should know.
    pub fn warn(&self) {
        warn_if_insecure(self.config.tls.is_some(), self.config.access != AccessMode::Keys);
    }
}

/// A list that is given by flags or the environment counts instead of the file's.
fn given<T>(flags: Vec<T>, file: Vec<T>) -> Vec<T> {
    if flags.is_empty() { file } else { flags }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(arguments: &[&str], file: &str) -> Rules {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.toml");
        std::fs::write(&path, file).unwrap();
        let config = format!("--config={}", path.display());
        let arguments = ["sluice-node", "--insecure-open", &config].into_iter().chain(arguments.iter().copied());
        Args::try_parse_from(arguments).unwrap().settings().unwrap().config.rules
    }

    #[test]
    fn no_more_requests_are_under_way_than_there_are_sockets_for() {
        let limits = |max_concurrency, max_concurrency_per_host| Limits { max_concurrency, max_concurrency_per_host };
        assert_eq!(limits(4_096, 256).within(None), limits(4_096, 256));
        assert_eq!(limits(4_096, 256).within(Some(20_000)), limits(4_096, 256));
        assert_eq!(limits(4_096, 256).within(Some(1_024)), limits(512, 256));
        assert_eq!(limits(4_096, 256).within(Some(256)), limits(128, 128));
        assert_eq!(limits(4_096, 256).within(Some(0)), limits(1, 1));
    }

    #[test]
    fn ports_and_networks_are_allowed_one_by_one() {
        assert_eq!(rules(&[], ""), Rules::default());
        let file = "allow-port = [8443]\nallow-network = [\"10.2.0.0/16\"]\n";
        let by_file = rules(&[], file);
        assert_eq!(
            (by_file.allowed_ports, by_file.allowed_networks),
            (vec![8443], vec!["10.2.0.0/16".parse().unwrap()])
        );
        let by_flags = rules(&["--allow-port=8080", "--allow-port=9090", "--allow-network=fd00:7::/32"], file);
        assert_eq!(by_flags.allowed_ports, [8080, 9090]);
        assert_eq!(by_flags.allowed_networks, ["fd00:7::/32".parse().unwrap()]);
        for refused in ["--allow-port=0", "--allow-port=65536", "--allow-network=10.2.0.0", "--allow-network=x/8"] {
            assert!(Args::try_parse_from(["sluice-node", refused]).is_err(), "{refused}");
        }
    }
}
