//! What kept a response from coming.

use std::{error::Error as StdError, io};

use sluice_pipeline::outcome::Failure;

use super::connector::TlsTimeout;
use crate::guard::GuardError;

/// Finds the failure's class among the causes; and words for it.
pub(super) fn classify(error: &hyper_util::client::legacy::Error) -> (Failure, String) {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    let mut failure = if error.is_connect() { Failure::Connect } else { Failure::Protocol };
    while let Some(inner) = cause {
        if let Some(found) = class_of(inner) {
            failure = found;
            break;
        }
        cause = inner.source();
    }
    (failure, chain(error))
}

fn class_of(error: &(dyn StdError + 'static)) -> Option<Failure> {
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
    if error.is::<TlsTimeout>() {
        return Some(Failure::TlsTimeout);
    }
    if error.is::<rustls::Error>() {
        return Some(Failure::Tls);
    }
    // `io::Error` does not give what it wraps as its source: it is asked for it.
    error.downcast_ref::<io::Error>().and_then(io::Error::get_ref).and_then(|inner| class_of(inner))
}

/// The innermost cause says most; the outer ones say where.
pub(super) fn chain(error: &dyn StdError) -> String {
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
