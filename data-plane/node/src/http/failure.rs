//! Finds the class of a failure.

use std::{error::Error as StdError, io};

use rustls::pki_types::InvalidDnsNameError;
use sluice_pipeline::outcome::Failure;

use super::connector::TlsTimeout;
use crate::guard::{Flood, GuardError};

/// The class of a failed request and the cause in words, which hold nothing of the request.
pub(super) fn classify(error: &hyper_util::client::legacy::Error) -> (Failure, String) {
    let outermost: &(dyn StdError + 'static) = error;
    let mut cause = Some(outermost);
    while let Some(inner) = cause {
        if let Some(failure) = class(inner) {
            return (failure, chain(inner));
        }
        cause = inner.source();
    }
    let failure = if error.is_connect() { Failure::Connect } else { Failure::Protocol };
    // The outermost layer says only that there was an error.
    (failure, chain(error.source().unwrap_or(error)))
}

/// The causes in words, from the outermost in.
pub(super) fn chain(error: &(dyn StdError + 'static)) -> String {
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
