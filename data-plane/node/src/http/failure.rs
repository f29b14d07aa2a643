//! Finds the class of a failure.

use std::{error::Error as StdError, io};

use rustls::pki_types::InvalidDnsNameError;
use sluice_pipeline::outcome::Failure;

use super::connector::TlsTimeout;
use crate::guard::{Flood, GuardError};

/// Why an exchange has failed.
#[derive(Debug)]
pub(super) struct Fault {
    /// The class.
    pub(super) failure: Failure,
    /// The cause in words, which hold nothing of the request.
    pub(super) detail: String,
}

impl Fault {
    /// A connection could not be made.
    pub(super) fn of_connecting(error: &(dyn StdError + Send + Sync + 'static)) -> Self {
        Self::classify(error, Failure::Connect)
    }

    /// A connection has failed with a request.
    pub(super) fn of(error: &hyper::Error) -> Self {
        Self::classify(error, Failure::Protocol)
    }

    /// A response's body has broken off.
    pub(super) fn of_body(error: &hyper::Error) -> Self {
        Self { failure: Failure::Body, detail: chain(error) }
    }

    /// More interim responses came than are waited through.
    pub(super) fn interim(most: u32) -> Self {
        Self { failure: Failure::Protocol, detail: format!("more than {most} interim responses (1xx)") }
    }

    /// The URL names nobody.
    pub(super) fn no_host() -> Self {
        Self { failure: Failure::Dns, detail: "no host name".to_owned() }
    }

    /// TLS could not be set up for it.
    pub(super) fn no_tls(error: &(dyn StdError + 'static)) -> Self {
        Self { failure: Failure::Tls, detail: chain(error) }
    }

    /// It took too long; what had not come is found out elsewhere.
    pub(super) fn timeout() -> Self {
        Self { failure: Failure::Timeout, detail: String::new() }
    }

    fn classify(error: &(dyn StdError + 'static), otherwise: Failure) -> Self {
        let mut cause = Some(error);
        while let Some(inner) = cause {
            if let Some(failure) = class(inner) {
                return Self { failure, detail: chain(inner) };
            }
            cause = inner.source();
        }
        Self { failure: otherwise, detail: chain(error) }
    }
}

/// The causes in words, from the outermost in.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = inner.source();
    }
    text
}

fn class(error: &(dyn StdError + 'static)) -> Option<Failure> {
    if let Some(error) = error.downcast_ref::<GuardError>() {
        return Some(match error {
            GuardError::Blocked { .. } | GuardError::Scheme => Failure::BlockedAddress,
            GuardError::NoName
            | GuardError::Unresolved(_)
            | GuardError::TooManyAddresses(_)
            | GuardError::ResolveTimeout => Failure::Dns,
            GuardError::Connect { .. } => Failure::Connect,
            GuardError::ConnectTimeout => Failure::ConnectTimeout,
        });
    }
    if error.is::<InvalidDnsNameError>() {
        return Some(Failure::Dns);
    }
    if error.is::<TlsTimeout>() {
        return Some(Failure::TlsTimeout);
    }
    if error.is::<rustls::Error>() {
        return Some(Failure::Tls);
    }
    if error.is::<Flood>() {
        return Some(Failure::Protocol);
    }
    // It does not give what it wraps as its source: it is asked for it.
    class(error.downcast_ref::<io::Error>()?.get_ref()?)
}
