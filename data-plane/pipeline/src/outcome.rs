//! What an attempt came to.

use http::Uri;
use sluice_proto::delivery::v1::AttemptError;

/// What an attempt means for its delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// 2xx.
    Delivered,
    /// 5xx and 429: may be tried again within the round.
    RetryInRound,
    /// Any other failure: the next round will try again.
    RetryNextRound,
}

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The host name was not resolved.
    Dns,
    /// No TCP connection.
    Connect,
    /// No TCP connection in time.
    ConnectTimeout,
    /// The TLS handshake failed.
    Tls,
    /// The TLS handshake did not come to its end in time.
    TlsTimeout,
    /// The exchange took longer than the destination's limit.
    Timeout,
    /// A status that is not 2xx.
    Status(u16),
    /// The peer did not speak HTTP, or broke off.
    Protocol,
    /// The response's head was a 2xx, its body broke off.
    Body,
    /// The address may not be reached.
    BlockedAddress,
}

/// What the exchange came to: `Ok` is the status of a complete response, whatever it is.
#[must_use]
pub fn classify(result: &Result<u16, Failure>) -> Class {
    match result {
        Ok(status) | Err(Failure::Status(status)) => match status {
            200..=299 => Class::Delivered,
            429 | 500..=599 => Class::RetryInRound,
            _ => Class::RetryNextRound,
        },
        Err(_) => Class::RetryNextRound,
    }
}

/// The failure within a result of an exchange: `None` for a 2xx.
#[must_use]
pub fn failure(result: &Result<u16, Failure>) -> Option<Failure> {
    match *result {
        Ok(status) | Err(Failure::Status(status)) if (200..=299).contains(&status) => None,
        Ok(status) => Some(Failure::Status(status)),
        Err(failure) => Some(failure),
    }
}

impl Failure {
    /// Whether it befell the making of a connection, before a request could be sent.
    #[must_use]
    pub fn is_of_connecting(self) -> bool {
        match self {
            Self::Dns | Self::Connect | Self::ConnectTimeout | Self::Tls | Self::TlsTimeout | Self::BlockedAddress => {
                true
            }
            Self::Timeout | Self::Status(_) | Self::Protocol | Self::Body => false,
        }
    }

    /// The failure in reports.
    #[must_use]
    pub fn error(self) -> AttemptError {
        match self {
            Self::Dns => AttemptError::Dns,
            Self::Connect | Self::ConnectTimeout => AttemptError::Connect,
            Self::Tls | Self::TlsTimeout => AttemptError::Tls,
            Self::Timeout => AttemptError::Timeout,
            Self::Status(_) => AttemptError::Status,
            Self::Protocol => AttemptError::Protocol,
            Self::Body => AttemptError::Body,
            Self::BlockedAddress => AttemptError::BlockedAddress,
        }
    }

    /// What went wrong on the way to `uri` and what to do about it, in one sentence. `detail` is the cause as the IO layer
    /// has it ("connection refused"), or empty.
    #[must_use]
    pub fn describe(self, uri: &Uri, detail: &str) -> String {
        let host = uri.host().unwrap_or_default();
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let detail = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
        match self {
            Self::Dns => format!(
                "the host name {host} was not resolved{detail}: check the spelling in `destination.url` and the name's DNS \
                 records"
            ),
            Self::Connect => format!(
                "no connection to {authority}{detail}: check that the endpoint is up and its firewall lets this node in"
            ),
            Self::ConnectTimeout => format!(
                "no connection to {authority} in time{detail}: check the address in `destination.url`, and that no firewall \
                 drops what this node sends"
            ),
            Self::Tls => format!(
                "the TLS handshake with {authority} failed{detail}: check that its port serves https, and its certificate, names and \
                 chain; a private CA goes into `destination.trusted_ca_pem`"
            ),
            Self::TlsTimeout => format!(
                "{authority} took the connection but did not end the TLS handshake in time{detail}: check that its port \
                 serves https and that the endpoint is not overloaded"
            ),
            Self::Timeout => format!(
                "{authority} did not answer in time{detail}: answer at once and work afterwards, or raise \
                 `destination.timeout`"
            ),
            Self::Protocol => format!(
                "{authority} broke off or did not speak HTTP{detail}: check that the port in `destination.url` serves \
                 {}",
                uri.scheme_str().unwrap_or("HTTP")
            ),
            Self::Body => format!(
                "{authority} answered 2xx but broke off within the body{detail}, so that it may not have done its work: have \
                 it send a whole body or none, and check the proxies on the way"
            ),
            Self::BlockedAddress => format!(
                "webhooks may not go to {authority}{detail}: use an https URL with a public address and port 443, or have the \
                 operator allow more (`--allow-network`, `--allow-port`, `--allow-http`)"
            ),
            Self::Status(status) => describe_status(status, detail),
        }
    }
}

fn describe_status(status: u16, detail: String) -> String {
    let name = http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .map_or_else(String::new, |name| format!(" {name}"));
    let advice = match status {
        300..=399 => "redirects are not followed: set `destination.url` to the address that it redirects to",
        401 | 403 | 407 => "check the credentials in `destination.headers`",
        404 | 410 => "check the path of `destination.url`",
        405 => "the endpoint must take POST requests",
        408 => "the endpoint gave up waiting: check the proxies on the way",
        413 => "the body is too large for the endpoint: send less with a template, or raise its limit",
        415 => "check `destination.content_type`",
        400 | 422 => "the endpoint did not like the body: compare it with `sluice sync preview`",
        429 => "the endpoint is being sent too much: lower `destination.limits.max_requests_per_second`",
        500..=599 => "the endpoint itself failed: look into its logs",
        100..=199 => "the endpoint must answer with a final status",
        _ => "the endpoint must answer with 2xx",
    };
    format!("the endpoint answered {status}{name}{detail}: {advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn success_is_2xx_and_only_5xx_and_429_are_tried_again_within_the_round() {
        for status in 100..=999 {
            let expected = match status {
                200..=299 => Class::Delivered,
                429 | 500..=599 => Class::RetryInRound,
                _ => Class::RetryNextRound,
            };
            assert_eq!(classify(&Ok(status)), expected, "{status}");
            assert_eq!(classify(&Err(Failure::Status(status))), expected, "{status}");
            assert_eq!(failure(&Ok(status)).is_none(), expected == Class::Delivered, "{status}");
        }
        for failure in [
            Failure::Dns,
            Failure::Connect,
            Failure::ConnectTimeout,
            Failure::Tls,
            Failure::TlsTimeout,
            Failure::Timeout,
            Failure::Protocol,
            Failure::Body,
            Failure::BlockedAddress,
        ] {
            assert_eq!(classify(&Err(failure)), Class::RetryNextRound);
            assert_eq!(super::failure(&Err(failure)), Some(failure));
        }
    }

    #[test]
    fn every_failure_says_what_to_do() {
        let uri = Uri::from_static("https://api.example.com:8443/in");
        for (failure, start, advice) in [
            (Failure::Dns, "the host name api.example.com was not resolved (no such name): ", "DNS"),
            (Failure::Connect, "no connection to api.example.com:8443 (no such name): ", "firewall"),
            (Failure::ConnectTimeout, "no connection to api.example.com:8443 in time", "firewall"),
            (Failure::TlsTimeout, "api.example.com:8443 took the connection but", "serves https"),
            (Failure::Body, "api.example.com:8443 answered 2xx but broke off", "whole body"),
            (Failure::Tls, "the TLS handshake with api.example.com:8443 failed", "certificate"),
            (Failure::Timeout, "api.example.com:8443 did not answer in time", "destination.timeout"),
            (Failure::Protocol, "api.example.com:8443 broke off", "serves https"),
            (Failure::BlockedAddress, "webhooks may not go to api.example.com:8443 (no such name): ", "operator"),
            (Failure::Status(302), "the endpoint answered 302 Found", "redirects are not followed"),
            (Failure::Status(401), "the endpoint answered 401 Unauthorized", "credentials"),
            (Failure::Status(500), "the endpoint answered 500 Internal Server Error", "logs"),
            (Failure::Status(799), "the endpoint answered 799 (", "2xx"),
        ] {
            let sentence = failure.describe(&uri, "no such name");
            assert!(sentence.starts_with(start), "{sentence}");
            assert!(sentence.contains(advice), "{sentence}");
        }
        assert!(Failure::Dns.describe(&uri, "").contains("was not resolved: check"));
    }
}
