//! Why a node does not start.

use sluice_host::{data_folder::DataFolderError, listen::ListenError, sealing::KeyError, tls::TlsError};
use sluice_proto::name::ID_RULE;
use sluice_telemetry::TelemetryError;
use thiserror::Error;

use crate::{http::ClientError, spool::store::StoreError};

/// Why a node does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The data folder is refused or in use.
    #[error(transparent)]
    DataFolder(#[from] DataFolderError),
    /// The address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The key for secrets at rest cannot be used.
    #[error(transparent)]
    SecretsKey(#[from] KeyError),
    /// The spool cannot be opened.
    #[error("the spool cannot be opened")]
    Spool(#[from] StoreError),
    /// The webhook client cannot be set up.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The control plane's address is none.
    #[error("`{address}` is no address of a control plane: give one like http://127.0.0.1:7600")]
    ControlPlane {
        /// As it was given.
        address: String,
    },
    /// What the control plane is to be shown cannot be used.
    #[error(transparent)]
    Credentials(sluice_client::Error),
    /// The listener's certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// What it is to tell cannot be told.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The node's name is none.
    #[error("`{name}` cannot be a node's name: {ID_RULE}")]
    Name {
        /// As it was given.
        name: String,
    },
    /// The gRPC server could not be set up.
    #[error("the gRPC server could not be set up")]
    Server(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl StartError {
    /// Exit code of the process: 6 where the machine refuses a port or a folder, else 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::DataFolder(_) | Self::Listen(_) | Self::SecretsKey(_) | Self::Credentials(_) | Self::Tls(_) => 6,
            Self::Telemetry(_) => 6,
            _ => 1,
        }
    }
}
