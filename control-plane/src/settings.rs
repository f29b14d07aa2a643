//! Where the process's settings come from: flags, else the environment, else the configuration file, else defaults.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use bytesize::ByteSize;
use clap::{ArgAction, Parser};
use ipnet::IpNet;
use serde::Deserialize;
use sluice_access::{
    AccessMode, ApiKey,
    key::ApiKeyError,
    serving::{Insecure, check_closed, warn_if_insecure},
};
use sluice_control_plane::{
    Config, DEFAULT_AUDIT_RETENTION, DEFAULT_MAX_SYNCS_PER_PROJECT, DEFAULT_PORT, ReportRetention,
};
use sluice_host::{
    clock::Clock,
    sealing::{KeyError, SecretsKey},
    tls::{TlsError, TlsFiles},
};
use sluice_pipeline::sync::Rules;
use sluice_telemetry::{TelemetryConfig, TelemetryError, config::DEFAULT_LABELS, logs::LogFormat};
use thiserror::Error;

const DEFAULT_DATA_DIR: &str = "data/control-plane";
const DEFAULT_LOG: &str = "info";

/// Sluice's control plane: stores syncs, pushes them to the nodes and collects their reports.
///
/// Nodes dial it (`sluice-node --control-plane https://HOST:7600`), and so does the command line (`sluice sync apply`). It
/// serves TLS to callers with an API key, and makes the first one itself (admin.key in its data folder). For a first try
/// `sluice dev` runs it together with a node in one process, open to this machine alone.
///
/// It stops on SIGTERM and SIGINT. Exit codes: 0 stopped; 1 failed; 2 wrong usage; 6 cannot start, because the port is in
/// use or the data folder is not its own or in use.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub(crate) struct Flags {
    /// TOML file with settings, named like the long flags: `listen = "127.0.0.1:7600"`
    ///
    /// A flag counts before its environment variable, that before the file, the file before the default.
    #[arg(long, value_name = "FILE", env = "SLUICE_CONTROL_PLANE_CONFIG")]
    config: Option<PathBuf>,
    /// Address to listen on; port 0 takes any free one [default: 127.0.0.1:7600]
    #[arg(long, value_name = "ADDRESS", env = "SLUICE_CONTROL_PLANE_LISTEN")]
    listen: Option<SocketAddr>,
    /// Folder of the store, made if it is not there; it belongs to one process at a time [default: data/control-plane]
    #[arg(long, value_name = "FOLDER", env = "SLUICE_CONTROL_PLANE_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Accept syncs with `http` URLs beside `https`
    #[arg(long, env = "SLUICE_CONTROL_PLANE_ALLOW_HTTP", action = ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    allow_http: Option<bool>,
    /// Accept syncs to loopback, private and other addresses that are not public
    ///
    /// Nodes check for themselves, when they connect: give the same flag to them.
    #[arg(long, env = "SLUICE_CONTROL_PLANE_ALLOW_PRIVATE_DESTINATIONS", action = ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    allow_private_destinations: Option<bool>,
    /// Port that webhooks may go to beside 80 and 443; may be repeated, and given to the nodes too
    #[arg(long, env = "SLUICE_CONTROL_PLANE_ALLOW_PORT", value_name = "PORT", value_delimiter = ',',
        value_parser = clap::value_parser!(u16).range(1..))]
    allow_port: Vec<u16>,
    /// Network whose addresses webhooks may go to although they are not public, such as 10.2.0.0/16; may be repeated, and
    /// given to the nodes too
    #[arg(long, env = "SLUICE_CONTROL_PLANE_ALLOW_NETWORK", value_name = "CIDR", value_delimiter = ',')]
    allow_network: Vec<IpNet>,
    /// Syncs that a project may have; beyond, creating one fails [default: 10000]
    #[arg(long, env = "SLUICE_CONTROL_PLANE_MAX_SYNCS_PER_PROJECT", value_name = "COUNT")]
    max_syncs_per_project: Option<usize>,
    /// Days that entries of the audit log are kept [default: 400]
    #[arg(long, env = "SLUICE_CONTROL_PLANE_AUDIT_RETENTION_DAYS", value_name = "DAYS")]
    audit_retention_days: Option<u32>,
    /// Days that reports of deliveries with a 2xx are kept; their figures are kept for 90 [default: 7]
    #[arg(long, env = "SLUICE_CONTROL_PLANE_SUCCESS_RETENTION_DAYS", value_name = "DAYS")]
    success_retention_days: Option<u32>,
    /// Days that reports of failures are kept; at least as long as those of successes [default: 30]
    #[arg(long, env = "SLUICE_CONTROL_PLANE_FAILURE_RETENTION_DAYS", value_name = "DAYS")]
    failure_retention_days: Option<u32>,
    /// Bytes that the store may use, such as 20GiB; beyond, the oldest reports go early, successes first [default: 20GiB]
    #[arg(long, env = "SLUICE_CONTROL_PLANE_MAX_STORE_BYTES", value_name = "BYTES")]
    max_store_bytes: Option<ByteSize>,
    /// File with the key that secrets are sealed with on disk, 64 hexadecimal digits (`openssl rand -hex 32`); else the variable
    /// SLUICE_SECRETS_KEY, else a key that is made in the data folder
    #[arg(long, env = "SLUICE_CONTROL_PLANE_SECRETS_KEY_FILE", value_name = "FILE")]
    secrets_key_file: Option<PathBuf>,
    /// PEM file with the listener's certificate and what leads from it to a root; read again when it changes
    #[arg(long, env = "SLUICE_CONTROL_PLANE_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// PEM file with its private key
    #[arg(long, env = "SLUICE_CONTROL_PLANE_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// PEM file with the authorities of clients' certificates: callers must show one (mutual TLS); a node whose certificate names it
    /// as spiffe://DOMAIN/sluice/nodes/NODE needs no API key
    #[arg(long, env = "SLUICE_CONTROL_PLANE_TLS_CLIENT_CA", value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,
    /// Let callers in without a certificate although there is --tls-client-ca; they need an API key
    #[arg(long, env = "SLUICE_CONTROL_PLANE_TLS_CLIENT_CERT_OPTIONAL", action = ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    tls_client_cert_optional: Option<bool>,
    /// File with the first admin key; else one is made in the data folder (admin.key), which makes the other keys
    #[arg(long, env = "SLUICE_CONTROL_PLANE_ADMIN_KEY_FILE", value_name = "FILE")]
    admin_key_file: Option<PathBuf>,
    /// Serve without TLS: API keys and secrets travel in clear, unless something else encrypts the connections
    #[arg(long, env = "SLUICE_CONTROL_PLANE_INSECURE_PLAINTEXT", action = ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    insecure_plaintext: Option<bool>,
    /// Serve without API keys: everybody who reaches the port may read and change everything
    #[arg(long, env = "SLUICE_CONTROL_PLANE_INSECURE_OPEN", action = ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    insecure_open: Option<bool>,
    /// Address on which Prometheus may scrape metrics, at /metrics, without a key [default: none]
    #[arg(long, env = "SLUICE_CONTROL_PLANE_METRICS_LISTEN", value_name = "ADDRESS:PORT")]
    metrics_listen: Option<SocketAddr>,
    /// Nodes that metrics tell apart; all beyond are one, `_other` [default: 1000]
    #[arg(long, env = "SLUICE_CONTROL_PLANE_TELEMETRY_NODES", value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    telemetry_nodes: Option<u32>,
    /// What to log to standard error, such as `warn` or `sluice_control_plane=debug,info`; RUST_LOG counts before it;
    /// or @ and a file with such a filter, which is read again at SIGHUP
    /// [default: info]
    #[arg(long, value_name = "FILTER", env = "SLUICE_CONTROL_PLANE_LOG")]
    log: Option<String>,
    /// How to log [default: text on a terminal, json otherwise]
    #[arg(long, value_name = "FORMAT", env = "SLUICE_CONTROL_PLANE_LOG_FORMAT")]
    log_format: Option<LogFormat>,
}

/// The settings that count.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    listen: SocketAddr,
    data_dir: PathBuf,
    rules: Rules,
    max_syncs_per_project: usize,
    audit_retention: Duration,
    report_retention: ReportRetention,
    secrets_key: Option<SecretsKey>,
    access: AccessMode,
    admin_key: Option<ApiKey>,
    tls: Option<TlsFiles>,
    telemetry: TelemetryConfig,
    /// What to log.
    pub(crate) log: String,
    /// How to log.
    pub(crate) log_format: LogFormat,
}

/// Why the configuration file was refused.
#[derive(Debug, Error)]
pub(crate) enum SettingsError {
    /// It cannot be read.
    #[error("the configuration file {path} cannot be read")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// It would be open, and nobody said that this is wanted.
    #[error(transparent)]
    Insecure(#[from] Insecure),
    /// The files for TLS do not go together.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The admin key cannot be used.
    #[error(transparent)]
    AdminKey(#[from] ApiKeyError),
    /// The key for secrets at rest cannot be used.
    #[error(transparent)]
    SecretsKey(#[from] KeyError),
    /// A variable of OpenTelemetry makes no sense.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// It is not TOML, or holds a setting that there is not.
    #[error("the configuration file {path} is invalid")]
    Invalid {
        /// The file.
        path: String,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
}

/// The configuration file: every flag by its long name.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    listen: Option<SocketAddr>,
    data_dir: Option<PathBuf>,
    allow_http: Option<bool>,
    allow_private_destinations: Option<bool>,
    #[serde(default)]
    allow_port: Vec<u16>,
    #[serde(default)]
    allow_network: Vec<IpNet>,
    max_syncs_per_project: Option<usize>,
    audit_retention_days: Option<u32>,
    success_retention_days: Option<u32>,
    failure_retention_days: Option<u32>,
    max_store_bytes: Option<ByteSize>,
    secrets_key_file: Option<PathBuf>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    tls_client_ca: Option<PathBuf>,
    tls_client_cert_optional: Option<bool>,
    admin_key_file: Option<PathBuf>,
    insecure_plaintext: Option<bool>,
    insecure_open: Option<bool>,
    metrics_listen: Option<SocketAddr>,
    telemetry_nodes: Option<u32>,
    log: Option<String>,
    log_format: Option<LogFormat>,
}

impl Settings {
    /// Puts together what the flags (with the environment) and the file that they name say.
    ///
    /// # Errors
    /// If that file cannot be used.
    pub(crate) fn read(flags: Flags) -> Result<Self, SettingsError> {
        let file = flags.config.as_deref().map(File::read).transpose()?.unwrap_or_default();
        let tls = TlsFiles::given(
            flags.tls_cert.or(file.tls_cert),
            flags.tls_key.or(file.tls_key),
            flags.tls_client_ca.or(file.tls_client_ca),
            flags.tls_client_cert_optional.or(file.tls_client_cert_optional).unwrap_or(false),
        )?;
        let open = flags.insecure_open.or(file.insecure_open).unwrap_or(false);
        let plaintext = flags.insecure_plaintext.or(file.insecure_plaintext).unwrap_or(false);
        check_closed(tls.is_some(), plaintext, open)?;
        let admin_key = flags.admin_key_file.or(file.admin_key_file).map(|path| ApiKey::read(&path)).transpose()?;
        let days = |days: u32| Duration::from_secs(u64::from(days) * 86_400);
        let kept = ReportRetention::default();
        Ok(Self {
            listen: flags.listen.or(file.listen).unwrap_or((Ipv4Addr::LOCALHOST, DEFAULT_PORT).into()),
            data_dir: flags.data_dir.or(file.data_dir).unwrap_or_else(|| DEFAULT_DATA_DIR.into()),
            rules: Rules {
                allow_http: flags.allow_http.or(file.allow_http).unwrap_or(false),
                allow_private_destinations: flags
                    .allow_private_destinations
                    .or(file.allow_private_destinations)
                    .unwrap_or(false),
                allowed_ports: if flags.allow_port.is_empty() { file.allow_port } else { flags.allow_port },
                allowed_networks: if flags.allow_network.is_empty() { file.allow_network } else { flags.allow_network },
                ..Rules::default()
            },
            max_syncs_per_project: flags
                .max_syncs_per_project
                .or(file.max_syncs_per_project)
                .unwrap_or(DEFAULT_MAX_SYNCS_PER_PROJECT),
            audit_retention: flags
                .audit_retention_days
                .or(file.audit_retention_days)
                .map_or(DEFAULT_AUDIT_RETENTION, days),
            report_retention: ReportRetention {
                successes: flags.success_retention_days.or(file.success_retention_days).map_or(kept.successes, days),
                failures: flags.failure_retention_days.or(file.failure_retention_days).map_or(kept.failures, days),
                max_bytes: flags.max_store_bytes.or(file.max_store_bytes).map_or(kept.max_bytes, |bytes| bytes.0),
            },
            secrets_key: SecretsKey::given(flags.secrets_key_file.or(file.secrets_key_file).as_deref())?,
            access: AccessMode::open(open),
            admin_key,
            tls,
            telemetry: TelemetryConfig {
                scrape: flags.metrics_listen.or(file.metrics_listen),
                labels: flags
                    .telemetry_nodes
                    .or(file.telemetry_nodes)
                    .map_or(DEFAULT_LABELS, |count| usize::try_from(count).unwrap_or(usize::MAX)),
                ..TelemetryConfig::from_env()?
            },
            log: flags.log.or(file.log).unwrap_or_else(|| DEFAULT_LOG.to_owned()),
            log_format: flags.log_format.or(file.log_format).unwrap_or_default(),
        })
    }

    /// What everybody who runs it this way should know.
    pub(crate) fn warn(&self) {
        warn_if_insecure(self.tls.is_some(), matches!(self.access, AccessMode::Open { .. }));
    }

    /// What the control plane is started with.
    pub(crate) fn config(self) -> Config {
        Config {
            listen: self.listen,
            access: self.access,
            admin_key: self.admin_key,
            tls: self.tls,
            data_dir: self.data_dir,
            rules: self.rules,
            max_syncs_per_project: self.max_syncs_per_project,
            audit_retention: self.audit_retention,
            report_retention: self.report_retention,
            secrets_key: self.secrets_key,
            telemetry: self.telemetry,
            clock: Clock::system(),
        }
    }
}

impl File {
    fn read(path: &Path) -> Result<Self, SettingsError> {
        let shown = || path.display().to_string();
        let text = fs::read_to_string(path).map_err(|source| SettingsError::Unreadable { path: shown(), source })?;
        toml::from_str(&text).map_err(|source| SettingsError::Invalid { path: shown(), source: Box::new(source) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str], file: &str) -> Result<Settings, SettingsError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        fs::write(&path, file).unwrap();
        let config = format!("--config={}", path.display());
        let arguments = ["sluice-control-plane", &config].into_iter().chain(arguments.iter().copied());
        Settings::read(Flags::try_parse_from(arguments.chain(["--insecure-open"])).unwrap())
    }

    #[test]
    fn without_a_word_it_listens_on_loopback_and_allows_nothing() {
        let settings = read(&[], "").unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:7600");
        assert_eq!(settings.rules, Rules::default());
    }

    #[test]
    fn flags_count_before_the_file() {
        let file = "listen = \"127.0.0.1:1\"\nallow-http = true\nlog-format = \"json\"\n";
        let settings = read(&["--listen=127.0.0.1:2", "--allow-private-destinations"], file).unwrap();
        assert_eq!(settings.listen.port(), 2);
        assert!(settings.rules.allow_http && settings.rules.allow_private_destinations);
        assert_eq!(settings.log_format, LogFormat::Json);
        assert!(!read(&["--allow-http=false"], file).unwrap().rules.allow_http);
    }

    #[test]
    fn how_many_nodes_are_told_apart_can_be_said() {
        assert_eq!(read(&[], "").unwrap().telemetry.labels, DEFAULT_LABELS);
        assert_eq!(read(&[], "telemetry-nodes = 7").unwrap().telemetry.labels, 7);
        assert_eq!(read(&["--telemetry-nodes=8"], "telemetry-nodes = 7").unwrap().telemetry.labels, 8);
        assert!(Flags::try_parse_from(["sluice-control-plane", "--telemetry-nodes=0"]).is_err());
    }

    #[test]
    fn ports_and_networks_are_allowed_one_by_one() {
        let file = "allow-port = [8443]\nallow-network = [\"10.2.0.0/16\"]\n";
        let rules = read(&[], file).unwrap().rules;
        assert_eq!((rules.allowed_ports, rules.allowed_networks), (vec![8443], vec!["10.2.0.0/16".parse().unwrap()]));
        let rules = read(&["--allow-port=8080", "--allow-port=9090"], file).unwrap().rules;
        assert_eq!((rules.allowed_ports, rules.allowed_networks.len()), (vec![8080, 9090], 1));
        for refused in ["--allow-port=0", "--allow-port=65536", "--allow-network=10.2.0.0", "--allow-network=x/8"] {
            assert!(Flags::try_parse_from(["sluice-control-plane", refused]).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_setting_that_there_is_not_is_named_with_its_place() {
        let error = read(&[], "listen = \"127.0.0.1:1\"\nlisen = 3\n").unwrap_err();
        let SettingsError::Invalid { source, .. } = error else { panic!("{error}") };
        assert!(source.to_string().contains("line 2") && source.to_string().contains("lisen"), "{source}");
    }

    #[test]
    fn without_tls_and_keys_it_does_not_start_unless_told() {
        let read = |arguments: &[&str]| {
            let arguments = ["sluice-control-plane"].into_iter().chain(arguments.iter().copied());
            Settings::read(Flags::try_parse_from(arguments).unwrap())
        };
        let error = read(&[]).unwrap_err().to_string();
        assert!(error.contains("--tls-cert") && error.contains("--insecure-plaintext"), "{error}");
        assert!(matches!(read(&["--tls-cert=a.pem"]), Err(SettingsError::Tls(_))));
        let settings = read(&["--insecure-plaintext"]).unwrap();
        assert_eq!((settings.access, settings.tls), (AccessMode::Keys, None));
        let settings = read(&["--tls-cert=a.pem", "--tls-key=b.pem"]).unwrap();
        assert!(settings.tls.is_some() && settings.access == AccessMode::Keys);
        assert_eq!(read(&["--insecure-open"]).unwrap().access, AccessMode::Open { any_address: true });
    }

    #[test]
    fn the_help_is_sound() {
        <Flags as clap::CommandFactory>::command().debug_assert();
    }
}
