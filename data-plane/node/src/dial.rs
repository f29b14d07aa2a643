//! Connections to the control plane.

use http::Uri;
use sluice_client::{Connection, Credentials, Error};
use sluice_pipeline::destination;

use crate::StartError;

/// Dials the control plane. Certificates and keys are read from their files each time.
#[derive(Clone, Debug)]
pub struct Dial {
    address: String,
    uri: Uri,
    credentials: Credentials,
}

impl Dial {
    /// `address`: `https://host:port` or `http://host:port`.
    ///
    /// # Errors
    /// If it is none, or the credentials cannot be shown there.
    pub fn new(address: &str, credentials: Credentials) -> Result<Self, StartError> {
        let none = || StartError::ControlPlane { address: address.to_owned() };
        credentials.check(address).map_err(|error| match error {
            Error::InvalidAddress { .. } => none(),
            error => StartError::Credentials(error),
        })?;
        let uri = address.parse().map_err(|_| none())?;
        Ok(Self { address: address.to_owned(), uri, credentials })
    }

    /// Connects; takes 5 s at most.
    ///
    /// # Errors
    /// See [`Credentials::connect`].
    pub async fn connect(&self) -> Result<Connection, Error> {
        self.credentials.connect(&self.address).await
    }

    /// The control plane's host.
    #[must_use]
    pub fn host(&self) -> &str {
        self.uri.host().unwrap_or_default()
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        destination::port(&self.uri).unwrap_or(80)
    }
}
