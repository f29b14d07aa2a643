//! What a control plane is started with.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use sluice_access::{AccessMode, ApiKey};
use sluice_host::{clock::Clock, sealing::SecretsKey, tls::TlsFiles};
use sluice_pipeline::sync::Rules;
use sluice_telemetry::TelemetryConfig;

use crate::retention::ReportRetention;

/// Port on which a control plane listens unless told otherwise.
pub const DEFAULT_PORT: u16 = 7600;

/// How many syncs a project may have unless told otherwise.
pub const DEFAULT_MAX_SYNCS_PER_PROJECT: usize = 10_000;

/// How long entries of the audit log are kept unless told otherwise: 400 days.
pub const DEFAULT_AUDIT_RETENTION: Duration = Duration::from_secs(400 * 86_400);

/// What a control plane is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address to listen on; port 0: any free one.
    pub listen: SocketAddr,
    /// Who may call.
    pub access: AccessMode,
    /// The first admin key; none: one that is made in the data folder. Of no use if everybody may call.
    pub admin_key: Option<ApiKey>,
    /// The listener's certificates; none: it speaks plaintext.
    pub tls: Option<TlsFiles>,
    /// Folder of the store: its own, or a new one.
    pub data_dir: PathBuf,
    /// What syncs may be. The control plane adds the port that it listens on to `own_ports`.
    pub rules: Rules,
    /// How many syncs a project may have; beyond, creating one is RESOURCE_EXHAUSTED.
    pub max_syncs_per_project: usize,
    /// How long entries of the audit log are kept.
    pub audit_retention: Duration,
    /// What is kept of the nodes' reports.
    pub report_retention: ReportRetention,
    /// Key that secrets are sealed with; none: one that is made in the data folder.
    pub secrets_key: Option<SecretsKey>,
    /// What it tells OpenTelemetry.
    pub telemetry: TelemetryConfig,
    /// The time.
    pub clock: Clock,
}

impl Config {
    /// A control plane for this machine alone, open, on any free port of loopback: for development, and for tests.
    #[must_use]
    pub fn on_loopback(data_dir: PathBuf, rules: Rules, clock: Clock) -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            access: AccessMode::OPEN_ON_LOOPBACK,
            admin_key: None,
            tls: None,
            data_dir,
            rules,
            max_syncs_per_project: DEFAULT_MAX_SYNCS_PER_PROJECT,
            audit_retention: DEFAULT_AUDIT_RETENTION,
            report_retention: ReportRetention::default(),
            secrets_key: None,
            telemetry: TelemetryConfig::default(),
            clock,
        }
    }
}
