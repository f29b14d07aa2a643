//! What a caller shows, and whom it trusts.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use crate::error::Error;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a caller shows, and whom it trusts. By default it shows nothing and trusts the system's roots. Files are read each time
/// that a connection is made: they may be replaced at any time.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    api_key: Option<ApiKey>,
    ca_file: Option<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
    allow_plaintext: bool,
}

/// Where the API key comes from. Its `Debug` does not show it.
#[derive(Clone)]
enum ApiKey {
    Text(Arc<str>),
    File(PathBuf),
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("***"),
            Self::File(path) => path.fmt(f),
        }
    }
}

impl Credentials {
    /// Shows this API key.
    #[must_use]
    pub fn api_key(mut self, text: &str) -> Self {
        self.api_key = Some(ApiKey::Text(text.trim().into()));
        self
    }

    /// Shows the API key that is in this file.
    #[must_use]
    pub fn api_key_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.api_key = Some(ApiKey::File(path.into()));
        self
    }

    /// Trusts the authorities in this PEM file, instead of the system's.
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(path.into());
        self
    }

    /// Shows the certificate in the first PEM file, whose key is in the second.
    #[must_use]
    pub fn certificate(mut self, cert_file: impl Into<PathBuf>, key_file: impl Into<PathBuf>) -> Self {
        self.identity = Some((cert_file.into(), key_file.into()));
        self
    }

    /// Shows the API key also over connections that are not encrypted and leave this machine. Where something else encrypts them,
    /// such as a mesh.
    #[must_use]
    pub fn allow_plaintext(mut self, allow: bool) -> Self {
        self.allow_plaintext = allow;
        self
    }

    /// Connects to `address`, such as `https://sluice.example:7600`. Takes 5 s at most; a peer that falls silent later is noticed
    /// within 15 s.
    ///
    /// [`Error::InvalidAddress`] if it is not an `http` or `https` URL with a host, [`Error::Credentials`] if these cannot be
    /// shown there, [`Error::Unreachable`] if nobody answers.
    pub async fn connect(&self, address: &str) -> Result<Connection, Error> {
        let (endpoint, bearer) = (self.endpoint(address)?, self.bearer()?);
        let channel = endpoint
            .connect()
            .await
            .map_err(|source| Error::Unreachable { address: address.to_owned(), source: Arc::new(source) })?;
        Ok(InterceptedService::new(channel, bearer))
    }

    /// Whether they could be shown at `address` now, without a call there.
    ///
    /// [`Error::InvalidAddress`] or [`Error::Credentials`] if not.
    pub fn check(&self, address: &str) -> Result<(), Error> {
        self.endpoint(address)?;
        self.bearer()?;
        Ok(())
    }

    fn endpoint(&self, address: &str) -> Result<Endpoint, Error> {
        let invalid = |reason: String| Error::InvalidAddress { address: address.to_owned(), reason };
        let uri: http::Uri = address.parse().map_err(|error: http::uri::InvalidUri| invalid(error.to_string()))?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(scheme) => {
                return Err(invalid(format!("the scheme `{scheme}` is not supported, only `https` and `http`")));
            }
            None => return Err(invalid("it has no scheme; write it like `http://127.0.0.1:7600`".to_owned())),
        };
        let Some(host) = uri.host().filter(|host| !host.is_empty()) else {
            return Err(invalid("it has no host".to_owned()));
        };
        if !secure && self.api_key.is_some() && !self.allow_plaintext && !is_loopback(host) {
            return Err(Error::Credentials(format!(
                "an API key is not shown at {address}: nothing encrypts the connection; use https, or allow it \
                 (--insecure-plaintext) where something else does"
            )));
        }
        let endpoint = Endpoint::from(uri)
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .tcp_nodelay(true);
        if !secure {
            return Ok(endpoint);
        }
        let mut tls = match &self.ca_file {
            Some(path) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(path)?)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        if let Some((cert_file, key_file)) = &self.identity {
            tls = tls.identity(Identity::from_pem(read(cert_file)?, read(key_file)?));
        }
        endpoint.tls_config(tls).map_err(|error| {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            Error::Credentials(format!("the certificates cannot be used: {error}{cause}"))
        })
    }

    fn bearer(&self) -> Result<Bearer, Error> {
        let text = match &self.api_key {
            None => return Ok(Bearer(None)),
            Some(ApiKey::Text(text)) => text.to_string(),
            Some(ApiKey::File(path)) => String::from_utf8_lossy(&read(path)?).trim().to_owned(),
        };
        // What is wrong with it is not told: it would be shown.
        let mut value: MetadataValue<Ascii> = format!("Bearer {text}")
            .parse()
            .map_err(|_| Error::Credentials("the API key holds characters that no key has".to_owned()))?;
        value.set_sensitive(true);
        Ok(Bearer(Some(value)))
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.to_canonical().is_loopback())
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| Error::Credentials(format!("{} cannot be read: {error}", path.display())))
}

/// A connection on which each call shows the caller's API key.
pub type Connection = InterceptedService<Channel, Bearer>;

/// Shows an API key with each call. Its `Debug` does not show it.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Bearer(***)" } else { "Bearer(none)" })
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_cannot_be_dialled_are_refused_with_the_reason() {
        let credentials = Credentials::default();
        for (address, part) in [
            ("127.0.0.1:7600", "scheme"),
            ("localhost", "scheme"),
            ("ftp://sluice.example", "`ftp`"),
            ("http://", ""),
            ("", ""),
        ] {
            let error = credentials.check(address).unwrap_err();
            assert!(matches!(error, Error::InvalidAddress { .. }), "{error}");
            assert!(error.to_string().contains(part), "{error}");
        }
        assert!(credentials.check("http://127.0.0.1:7600").is_ok());
        assert!(credentials.check("http://[::1]:7600/").is_ok());
    }

    #[test]
    fn a_key_is_shown_only_where_nobody_can_read_it_on_the_way() {
        let credentials = Credentials::default().api_key("sluice_marked");
        for address in ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1"] {
            assert!(credentials.check(address).is_ok(), "{address}");
        }
        let error = credentials.check("http://10.0.0.1:1").unwrap_err().to_string();
        assert!(error.contains("--insecure-plaintext"), "{error}");
        assert!(credentials.clone().allow_plaintext(true).check("http://10.0.0.1:1").is_ok());
    }

    #[test]
    fn a_key_is_neither_in_debug_nor_in_errors() {
        let credentials = Credentials::default().api_key("sluice_mar\nked");
        let error = credentials.check("http://127.0.0.1:1").unwrap_err();
        let shown =
            format!("{credentials:?} {error} {error:?} {:?}", Credentials::default().api_key("sluice_marked").bearer());
        assert!(!shown.contains("mar"), "{shown}");
    }

    #[test]
    fn files_that_are_not_there_are_named() {
        let error = Credentials::default().api_key_file("/nowhere/key").check("http://127.0.0.1:1").unwrap_err();
        assert!(error.to_string().contains("/nowhere/key"), "{error}");
        let error = Credentials::default().ca_file("/nowhere/ca.pem").check("https://127.0.0.1:1").unwrap_err();
        assert!(error.to_string().contains("/nowhere/ca.pem"), "{error}");
    }
}
