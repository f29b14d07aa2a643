//! Secrets are written and never read: what a read shows, and what a write that gives none back means. Pure.

use sluice_pipeline::{
    destination::origin,
    violation::{Violation, reason},
};
use sluice_proto::sync::v1::{Header, Secret, Sync, header::Value};

use crate::error::violation;

/// Takes the secrets out of a sync that is shown: they read as set, without a value.
pub(crate) fn mask(sync: &mut Sync) {
    for header in headers_mut(sync) {
        if let Some(Value::Secret(secret)) = &mut header.value {
            *secret = Secret { value: String::new(), set: true };
        }
    }
}

/// Fills in the secrets that a write left out: those that are empty and set keep the stored value of the header with that
/// name, compared without case. None is carried over to another origin: a value that was trusted to one host must not be
/// sent to another by whoever may write but not read it.
pub(crate) fn keep(sync: &mut Sync, stored: Option<&Sync>) -> Vec<Violation> {
    let same_origin = |new: &str, old: &str| {
        // A URL without an origin is refused for itself.
        origin(new).is_none_or(|new| Some(new) == origin(old))
    };
    let url = sync.destination.as_ref().map(|destination| destination.url.clone()).unwrap_or_default();
    let moved = stored
        .and_then(|stored| stored.destination.as_ref())
        .is_some_and(|destination| !same_origin(&url, &destination.url));

    let mut violations = Vec::new();
    for (index, header) in headers_mut(sync).iter_mut().enumerate() {
        let Some(Value::Secret(secret)) = &mut header.value else {
            continue;
        };
        if secret.value.is_empty() && secret.set {
            match stored_secret(stored, &header.name) {
                Some(value) if !moved => secret.value = value.to_owned(),
                Some(_) => violations.push(violation(
                    format!("destination.headers[{index}].secret.value"),
                    reason::REQUIRED,
                    "the URL leads to another scheme, host or port than the one that this secret was stored for: give \
                     its value again",
                )),
                // Compiling finds it empty.
                None => {}
            }
        }
        secret.set = true;
    }
    violations
}

/// Puts a stand-in where a draft refers to a stored secret, so that it can be compiled; it is masked wherever it is shown.
pub(crate) fn stand_in(sync: &mut Sync) {
    for header in headers_mut(sync) {
        if let Some(Value::Secret(secret)) = &mut header.value
            && secret.value.is_empty()
            && secret.set
        {
            secret.value = "***".to_owned();
        }
    }
}

/// Names of headers whose secret is another one than it was, or new.
pub(crate) fn changed(before: &Sync, after: &Sync) -> Vec<String> {
    let headers = after.destination.iter().flat_map(|destination| &destination.headers);
    let secrets = headers.filter(|header| {
        matches!(&header.value, Some(Value::Secret(secret)) if stored_secret(Some(before), &header.name) != Some(&secret.value))
    });
    secrets.map(|header| header.name.clone()).collect()
}

fn headers_mut(sync: &mut Sync) -> &mut [Header] {
    sync.destination.as_mut().map(|destination| destination.headers.as_mut_slice()).unwrap_or_default()
}

fn stored_secret<'s>(stored: Option<&'s Sync>, name: &str) -> Option<&'s str> {
    let headers = &stored?.destination.as_ref()?.headers;
    headers.iter().find_map(|header| match &header.value {
        Some(Value::Secret(secret)) if header.name.eq_ignore_ascii_case(name) => Some(secret.value.as_str()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use sluice_proto::sync::v1::Destination;

    use super::*;

    fn sync(url: &str, header: &str, value: &str) -> Sync {
        let secret = Value::Secret(Secret { value: value.into(), set: true });
        let headers = vec![Header { name: header.into(), value: Some(secret) }];
        Sync { destination: Some(Destination { url: url.into(), headers, ..Default::default() }), ..Default::default() }
    }

    fn value(sync: &Sync) -> &str {
        stored_secret(Some(sync), "authorization").unwrap()
    }

    #[test]
    fn a_masked_secret_that_is_written_back_is_kept() {
        let stored = sync("https://a.example/x", "Authorization", "s3cret");
        let mut written = stored.clone();
        mask(&mut written);
        assert_eq!(value(&written), "");
        written.destination.as_mut().unwrap().headers[0].name = "authorization".into();
        written.destination.as_mut().unwrap().url = "HTTPS://A.example:443/y".into();
        assert_eq!(keep(&mut written, Some(&stored)), []);
        assert_eq!(value(&written), "s3cret");
    }

    #[test]
    fn another_origin_asks_for_the_secret_again() {
        let stored = sync("https://a.example/x", "Authorization", "s3cret");
        for url in ["http://a.example/x", "https://b.example/x", "https://a.example:8443/x"] {
            let mut moved = sync(url, "Authorization", "");
            let violations = keep(&mut moved, Some(&stored));
            assert_eq!(violations[0].field, "destination.headers[0].secret.value", "{url}");
            assert_eq!(value(&moved), "", "{url}");
            let mut given = sync(url, "Authorization", "new");
            assert_eq!(keep(&mut given, Some(&stored)), []);
        }
    }

    #[test]
    fn a_secret_that_was_never_stored_stays_empty() {
        let mut new = sync("https://a.example/x", "Authorization", "");
        assert_eq!(keep(&mut new, None), []);
        assert_eq!(value(&new), "");
    }
}
