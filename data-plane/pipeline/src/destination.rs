//! Where a sync delivers.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Uri};
use sluice_proto::sync::v1;

use crate::{
    duration, headers,
    limits::{self, Limits},
    rules::{Refusal, Rules},
    trusted_ca::{self, TrustedCa},
    violation::{Violations, reason, shown},
};

/// The limit over a whole exchange, if the sync doesn't say.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// The media type of bodies, if the sync doesn't say.
pub const DEFAULT_CONTENT_TYPE: &str = "application/json";

const MAX_URL_BYTES: usize = 2048;

/// Where a sync delivers, with all that its requests have in common. Its `Debug` shows no secret: header values that are
/// one are marked sensitive.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Absolute `https` or `http` URL with a host.
    pub uri: Uri,
    /// Headers of every request: `content-type`, `user-agent` and the sync's own; secrets are marked sensitive.
    pub headers: HeaderMap,
    /// Limit over the whole exchange.
    pub timeout: Duration,
    /// Limits of its lane.
    pub limits: Limits,
    /// Certificates to trust beside the system's; `None`: no others.
    pub trusted_ca: Option<TrustedCa>,
    /// Whether requests carry the trace context.
    pub send_trace_context: bool,
}

impl Destination {
    /// Whether bodies are JSON by the content type: `application/json`, `text/json`, and every `+json` type, whatever their
    /// parameters.
    #[must_use]
    pub fn takes_json(&self) -> bool {
        self.headers.get(http::header::CONTENT_TYPE).is_some_and(is_json_type)
    }
}

/// The origin of a URL: scheme, host and port, in the form in which two of them can be compared. `None` if it has none.
#[must_use]
pub fn origin(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let host = uri.host()?.trim_end_matches('.').to_ascii_lowercase();
    let port = uri.port_u16().or_else(|| default_port(&scheme))?;
    Some(format!("{scheme}://{host}:{port}"))
}

/// The port that a request to `uri` goes to.
#[must_use]
pub fn port(uri: &Uri) -> Option<u16> {
    uri.port_u16().or_else(|| default_port(uri.scheme_str()?))
}

pub(crate) fn compile(
    destination: Option<&v1::Destination>,
    rules: &Rules,
    violations: &mut Violations,
) -> Option<Destination> {
    let Some(destination) = destination else {
        violations.add("destination", reason::REQUIRED, "the sync has no destination");
        return None;
    };
    let uri = url(&destination.url, rules, violations);
    let content_type = content_type(&destination.content_type, violations);
    let headers = headers::compile(content_type, &destination.headers, violations);
    let timeout = timeout(destination.timeout.as_ref(), violations);
    let limits = limits::compile(destination.limits.as_ref(), violations);
    let trusted_ca = trusted_ca::compile(&destination.trusted_ca_pem, violations);
    let send_trace_context = destination.send_trace_context;
    Some(Destination { uri: uri?, headers, timeout, limits, trusted_ca, send_trace_context })
}

/// The port of a scheme, `http` or `https` (RFC 9110 §4.2); none for others.
#[must_use]
pub fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    }
}

fn url(url: &str, rules: &Rules, violations: &mut Violations) -> Option<Uri> {
    const FIELD: &str = "destination.url";
    let mut invalid = |reason, description: String| {
        violations.add(FIELD, reason, description);
        None
    };
    if url.is_empty() {
        return invalid(reason::REQUIRED, "the destination has no URL".into());
    }
    if url.len() > MAX_URL_BYTES {
        return invalid(
            reason::TOO_LONG,
            format!("the URL has {} characters; at most {MAX_URL_BYTES} are taken", url.len()),
        );
    }
    if let Some(c) = url.chars().find(|c| !matches!(c, '!'..='~')) {
        return invalid(
            reason::INVALID_URL,
            format!(
                "the URL holds `{}`: write host names in their ASCII form (punycode, xn--…) and other characters percent-encoded",
                c.escape_debug()
            ),
        );
    }
    if url.contains('#') {
        return invalid(reason::INVALID_URL, "the URL has a fragment (`#…`), which is never sent: leave it out".into());
    }
    let uri: Uri = match url.parse() {
        Ok(uri) => uri,
        Err(error) => {
            return invalid(
                reason::INVALID_URL,
                format!("the URL cannot be parsed ({error}): `https://host/path` is expected"),
            );
        }
    };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return invalid(reason::INVALID_URL, "the URL is not absolute: `https://host/path` is expected".into());
    };
    let is_http = scheme.eq_ignore_ascii_case("http");
    if !is_http && !scheme.eq_ignore_ascii_case("https") {
        return invalid(reason::SCHEME_NOT_ALLOWED, format!("`{}` URLs are not taken: use https", shown(scheme, 32)));
    }
    if is_http && !rules.allow_http {
        return invalid(
            reason::SCHEME_NOT_ALLOWED,
            "http is not allowed here: use https, or have the operator allow http".into(),
        );
    }
    if authority.as_str().contains('@') {
        return invalid(
            reason::INVALID_URL,
            "the URL has user info (`user:password@`): send it as the secret header `Authorization` instead".into(),
        );
    }
    let host = authority.host();
    let port_text = authority.as_str().get(host.len()..).unwrap_or_default();
    // `+443` is a number to Rust, and no port to anybody else.
    let is_port = uri.port_u16().is_some() && port_text.trim_start_matches(':').bytes().all(|b| b.is_ascii_digit());
    let port = match port(&uri) {
        Some(port) if port != 0 && (port_text.is_empty() || is_port) => port,
        _ => {
            return invalid(
                reason::INVALID_URL,
                format!("`{}` is not a port: 1 to 65535 is expected", shown(port_text.trim_start_matches(':'), 16)),
            );
        }
    };
    match Host::parse(host) {
        Err(why) => return invalid(reason::INVALID_URL, why),
        Ok(host) => {
            if let Err(refusal) = host.check(port, rules) {
                let (reason, why) = refused(refusal, port);
                return invalid(reason, why);
            }
        }
    }
    Some(uri)
}

enum Host {
    Address(IpAddr),
    /// `localhost` and every name below it (RFC 6761 §6.3).
    Localhost,
    Name,
}

impl Host {
    fn parse(host: &str) -> Result<Host, String> {
        if host.is_empty() {
            return Err("the URL has no host".into());
        }
        if let Some(literal) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            return match literal.parse::<Ipv6Addr>() {
                Ok(ip) => Ok(Host::Address(ip.into())),
                Err(_) => Err(format!("`[{}]` is not an IPv6 address", shown(literal, 64))),
            };
        }
        if let Ok(ip) = host.parse::<Ipv4Addr>() {
            return Ok(Host::Address(ip.into()));
        }
        let name = host.strip_suffix('.').unwrap_or(host);
        let labels = || name.split('.');
        // a name that ends in a number is an IPv4 address to some: 127.1, 0x7f000001, 2130706433
        let last = labels().next_back().unwrap_or_default();
        let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
        if last.bytes().all(|b| b.is_ascii_digit())
            || hexadecimal.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
        {
            return Err(format!(
                "`{}` is neither a host name nor an IPv4 address of four decimal numbers",
                shown(host, 64)
            ));
        }
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        if name.len() > 253 || !labels().all(is_label) {
            return Err(format!("`{}` is not a host name", shown(host, 64)));
        }
        match last.eq_ignore_ascii_case("localhost") {
            true => Ok(Host::Localhost),
            false => Ok(Host::Name),
        }
    }

    /// Whether requests may go to the host, as far as the URL shows it; names are judged again when they are resolved.
    fn check(&self, port: u16, rules: &Rules) -> Result<(), Refusal> {
        match self {
            Host::Name => rules.check_port(port),
            Host::Localhost => rules.check(Ipv4Addr::LOCALHOST.into(), port),
            Host::Address(ip) => rules.check(*ip, port),
        }
    }
}

/// A refusal as a violation: its reason, and the words for people.
fn refused(refusal: Refusal, port: u16) -> (&'static str, String) {
    match refusal {
        Refusal::Own => (
            reason::ADDRESS_NOT_ALLOWED,
            format!("port {port} of this host is Sluice itself: webhooks may not go there"),
        ),
        Refusal::NotPublic => (
            reason::ADDRESS_NOT_ALLOWED,
            "the URL names an address that is not on the public internet: use a public one, or have the operator allow its \
             network (`--allow-network`) or all private destinations"
                .into(),
        ),
        Refusal::Port => (
            reason::PORT_NOT_ALLOWED,
            format!(
                "webhooks may not go to port {port}: use 443 or 80, or have the operator allow it (`--allow-port {port}`)"
            ),
        ),
    }
}

fn content_type(content_type: &str, violations: &mut Violations) -> HeaderValue {
    let default = HeaderValue::from_static(DEFAULT_CONTENT_TYPE);
    if content_type.is_empty() {
        return default;
    }
    let value = HeaderValue::from_str(content_type).ok().filter(|_| is_media_type(content_type));
    value.unwrap_or_else(|| {
        violations.add(
            "destination.content_type",
            reason::INVALID_MEDIA_TYPE,
            format!(
                "`{}` is not a media type: `type/subtype`, perhaps with parameters (`; charset=utf-8`), is expected, at most 256 \
                 characters",
                shown(content_type, 64)
            ),
        );
        default
    })
}

/// Whether `text` is a media type with its parameters (RFC 9110 §8.3.1).
fn is_media_type(text: &str) -> bool {
    let is_token = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    let is_quoted = |text: &str| {
        let Some(text) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else { return false };
        !text.is_empty() && text.bytes().all(|b| matches!(b, b' '..=b'~') && !b"\"\\;".contains(&b))
    };
    let mut parts = text.split(';').map(|part| part.trim_matches([' ', '\t']));
    let kind = parts.next().and_then(|kind| kind.split_once('/'));
    text.len() <= 256
        && kind.is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
        && parts.all(|part| {
            part.split_once('=').is_some_and(|(name, value)| is_token(name) && (is_token(value) || is_quoted(value)))
        })
}

fn is_json_type(content_type: &HeaderValue) -> bool {
    let Ok(text) = content_type.to_str() else { return false };
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(essence.as_str(), "application/json" | "text/json") || essence.ends_with("+json")
}

fn timeout(timeout: Option<&prost_types::Duration>, violations: &mut Violations) -> Duration {
    let timeout = timeout.map_or(DEFAULT_TIMEOUT, duration::from_proto);
    if !(Duration::from_millis(100)..=Duration::from_secs(60)).contains(&timeout) {
        violations.add("destination.timeout", reason::OUT_OF_RANGE, "the time limit of an exchange is 100 ms to 60 s");
    }
    timeout
}
