//! What a control plane is started with.

use std::{net::SocketAddr, path::PathBuf};

use sluice_host::{clock::Clock, sealing::SecretsKey};
use sluice_pipeline::sync::Rules;

/// Port on which a control plane listens unless told otherwise.
pub const DEFAULT_PORT: u16 = 7600;

/// How many syncs a project may have unless told otherwise.
pub const DEFAULT_MAX_SYNCS_PER_PROJECT: usize = 10_000;

/// What a control plane is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address to listen on; port 0: any free one.
    pub listen: SocketAddr,
    /// Whether the address may be another than loopback, although everybody who reaches it may do everything.
    pub insecure_listen: bool,
    /// Folder of the store: its own, or a new one.
    pub data_dir: PathBuf,
    /// What syncs may be. The control plane adds the port that it listens on to `own_ports`.
    pub rules: Rules,
    /// How many syncs a project may have; beyond, creating one is RESOURCE_EXHAUSTED.
    pub max_syncs_per_project: usize,
    /// Key that secrets are sealed with; none: one that is made in the data folder.
    pub secrets_key: Option<SecretsKey>,
    /// The time.
    pub clock: Clock,
}
