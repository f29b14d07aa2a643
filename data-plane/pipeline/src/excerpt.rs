//! What is kept of a failed response's body.

use bytes::Bytes;
use http::HeaderMap;

/// The most that is kept, in bytes.
pub const MAX_EXCERPT_BYTES: usize = 1024;

/// The beginning of `body`, at most [`MAX_EXCERPT_BYTES`], with every secret of `headers` (those of the destination, secrets
/// marked sensitive) replaced by `***`: endpoints do echo what they were sent. Of a value like `Bearer abc` the part
/// behind the scheme counts as a secret too.
#[must_use]
pub fn excerpt(body: &[u8], headers: &HeaderMap) -> Bytes {
    let mut secrets: Vec<&[u8]> = headers
        .values()
        .filter(|value| value.is_sensitive())
        .flat_map(|value| {
            let value = value.as_bytes();
            let credentials = value.iter().position(|b| *b == b' ').and_then(|space| value.get(space + 1..));
            [Some(value), credentials]
        })
        .flatten()
        .filter(|secret| !secret.is_empty())
        .collect();
    // the longest first, so that none is left in part
    secrets.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
    let mut kept = Vec::with_capacity(body.len().min(MAX_EXCERPT_BYTES));
    let mut rest = body;
    while let [first, after @ ..] = rest {
        if kept.len() >= MAX_EXCERPT_BYTES {
            break;
        }
        match secrets.iter().find(|secret| rest.starts_with(secret)) {
            Some(secret) => {
                kept.extend_from_slice(b"***");
                rest = rest.get(secret.len()..).unwrap_or_default();
            }
            None => {
                kept.push(*first);
                rest = after;
            }
        }
    }
    kept.truncate(MAX_EXCERPT_BYTES);
    kept.into()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers() -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("x-plain", HeaderValue::from_static("public"));
        for (name, value) in [("authorization", "Bearer s3cr3t"), ("x-key", "s3cr3t-and-more")] {
            let mut value = HeaderValue::from_static(value);
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        headers
    }

    #[test]
    fn secrets_are_blotted_out_wherever_they_are_echoed() {
        let body = b"public: got Bearer s3cr3t, s3cr3t and s3cr3t-and-more!";
        assert_eq!(excerpt(body, &headers()), "public: got ***, *** and ***!");
    }

    #[test]
    fn a_kibibyte_is_kept_and_no_secret_at_its_edge_in_part() {
        let long = [b"x".repeat(MAX_EXCERPT_BYTES - 2), b"s3cr3t".to_vec()].concat();
        let kept = excerpt(&long, &headers());
        assert_eq!(kept.len(), MAX_EXCERPT_BYTES);
        assert!(kept.ends_with(b"x**"));
        assert_eq!(excerpt(b"", &headers()), "");
    }
}
