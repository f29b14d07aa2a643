//! The headers of a destination.

use std::collections::HashSet;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use sluice_proto::sync::v1::{self, header::Value};

use crate::violation::{Violations, reason, shown};

/// What Sluice calls itself in `User-Agent`.
pub(crate) const USER_AGENT: HeaderValue = HeaderValue::from_static("Sluice/Webhook/1.0");

const MAX_HEADERS: usize = 5;
const MAX_NAME_BYTES: usize = 256;
const MAX_VALUE_BYTES: usize = 4096;

/// Set by Sluice or by its HTTP client, or belonging to the connection (RFC 9110 §7.6.1).
const RESERVED: [&str; 13] = [
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];
const RESERVED_PREFIXES: [&str; 2] = ["proxy-", "webhook-"];

/// The headers that go with every request of a destination: `content_type`, `User-Agent` and those of `headers`, secrets
/// marked sensitive.
pub(crate) fn compile(content_type: HeaderValue, headers: &[v1::Header], violations: &mut Violations) -> HeaderMap {
    if headers.len() > MAX_HEADERS {
        violations.add(
            "destination.headers",
            reason::TOO_MANY,
            format!("{} headers; at most {MAX_HEADERS} are taken beside those that are always sent", headers.len()),
        );
    }
    let mut map = HeaderMap::with_capacity(headers.len() + 3);
    map.insert(header::CONTENT_TYPE, content_type);
    map.insert(header::USER_AGENT, USER_AGENT);
    let mut names = HashSet::new();
    for (index, header) in headers.iter().enumerate() {
        let name = name(index, &header.name, violations);
        let value = value(index, header.value.as_ref(), violations);
        let Some(name) = name else { continue };
        if !names.insert(name.clone()) {
            violations.add(
                format!("destination.headers[{index}].name"),
                reason::DUPLICATE_HEADER,
                format!("`{name}` is there twice (names are compared without case)"),
            );
        }
        if let Some(value) = value {
            map.insert(name, value);
        }
    }
    map
}

fn name(index: usize, name: &str, violations: &mut Violations) -> Option<HeaderName> {
    let field = format!("destination.headers[{index}].name");
    if name.is_empty() {
        violations.add(field, reason::REQUIRED, "the header has no name");
        return None;
    }
    if name.len() > MAX_NAME_BYTES {
        let description = format!("the name has {} characters; at most {MAX_NAME_BYTES} are taken", name.len());
        violations.add(field, reason::TOO_LONG, description);
        return None;
    }
    let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
        violations.add(
            field,
            reason::INVALID_HEADER_NAME,
            format!("`{}` is not a header name: letters, digits and !#$%&'*+-.^_`|~ are taken", shown(name, 64)),
        );
        return None;
    };
    let lower = parsed.as_str();
    if RESERVED.contains(&lower) || RESERVED_PREFIXES.iter().any(|prefix| lower.starts_with(prefix)) {
        let instead = if lower == "content-type" { ": set `destination.content_type` instead" } else { "" };
        violations.add(
            field,
            reason::RESERVED_HEADER,
            format!("`{name}` is set by Sluice or belongs to the connection{instead}"),
        );
        return None;
    }
    Some(parsed)
}

/// The value, marked sensitive if it is a secret. No message holds any of it.
fn value(index: usize, value: Option<&Value>, violations: &mut Violations) -> Option<HeaderValue> {
    let field = |name: &str| format!("destination.headers[{index}].{name}");
    let (field, text, is_secret) = match value {
        Some(Value::Plain(text)) => (field("plain"), text, false),
        Some(Value::Secret(secret)) => (field("secret.value"), &secret.value, true),
        None => {
            violations.add(
                format!("destination.headers[{index}]"),
                reason::REQUIRED,
                "the header has no value that this version can read: `plain` or `secret` is expected",
            );
            return None;
        }
    };
    if text.is_empty() {
        let advice =
            if is_secret { "give it: none is stored under this name" } else { "give it, or leave the header out" };
        violations.add(field, reason::REQUIRED, format!("the value is empty: {advice}"));
        return None;
    }
    if text.len() > MAX_VALUE_BYTES {
        violations.add(
            field,
            reason::TOO_LONG,
            format!("the value has {} characters; at most {MAX_VALUE_BYTES} are taken", text.len()),
        );
        return None;
    }
    if let Some(place) = text.bytes().position(|b| !matches!(b, b'\t' | b' '..=b'~')) {
        violations.add(
            field,
            reason::INVALID_HEADER_VALUE,
            format!(
                "the value holds {} at byte {place}: visible ASCII, spaces and tabs are taken",
                match text.as_bytes().get(place) {
                    Some(b'\r' | b'\n') => "a line break",
                    Some(0..=31 | 127) => "a control character",
                    _ => "a character that is not ASCII",
                }
            ),
        );
        return None;
    }
    if text.starts_with([' ', '\t']) || text.ends_with([' ', '\t']) {
        violations.add(
            field,
            reason::INVALID_HEADER_VALUE,
            "the value begins or ends with white space, which receivers strip",
        );
        return None;
    }
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(is_secret);
    Some(value)
}
