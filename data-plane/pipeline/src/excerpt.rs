//! What is kept of a failed response's body.

use bytes::Bytes;
use http::HeaderMap;

/// The most that is kept, in bytes.
pub const MAX_EXCERPT_BYTES: usize = 1024;

/// The beginning of `body`, at most [`MAX_EXCERPT_BYTES`], with every secret of `headers` (those of the destination, secrets
/// marked sensitive) replaced by `***`: endpoints do echo what they were sent. Of a value like `Bearer abc` the part
/// behind the scheme counts as a secret too. They are found as they are, and as URLs, forms, JSON and HTML write them.
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
        match secrets.iter().find_map(|secret| written(secret, rest)) {
            Some(after) => {
                kept.extend_from_slice(b"***");
                rest = after;
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

/// What follows the secret in `text`, if it begins with it, in whatever way each of its bytes is written.
fn written<'t>(secret: &[u8], text: &'t [u8]) -> Option<&'t [u8]> {
    let as_it_is = text.strip_prefix(secret);
    as_it_is.or_else(|| secret.iter().try_fold(text, |text, byte| written_byte(*byte, text)))
}

/// The same for one byte: as it is; `%2B`, and `+` for a space (URLs and forms); `\"` and `\u002b` (JSON); `&amp;` and its like (HTML).
fn written_byte(byte: u8, text: &[u8]) -> Option<&[u8]> {
    let hex = |digits: Option<&[u8]>| {
        let digits = std::str::from_utf8(digits?).ok()?;
        u32::from_str_radix(digits, 16).ok().filter(|value| *value == u32::from(byte))
    };
    let after = |length: usize| text.get(length..);
    match text {
        [b'+', ..] if byte == b' ' => after(1),
        [b'%', ..] if hex(text.get(1..3)).is_some() => after(3),
        [b'\\', b'u', ..] if hex(text.get(2..6)).is_some() => after(6),
        [b'\\', second, ..] if *second == byte => after(2),
        [first, ..] => {
            let entities: &[&str] = match byte {
                b'&' => &["&amp;", "&#38;"],
                b'<' => &["&lt;", "&#60;"],
                b'>' => &["&gt;", "&#62;"],
                b'"' => &["&quot;", "&#34;"],
                b'\'' => &["&#39;", "&#x27;", "&apos;"],
                _ => &[],
            };
            let entity = entities.iter().find_map(|entity| text.strip_prefix(entity.as_bytes()));
            entity.or_else(|| if *first == byte { after(1) } else { None })
        }
        [] => None,
    }
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
    fn secrets_are_found_however_they_are_written() {
        let mut value = HeaderValue::from_static("Basic a+b/c=\"&<d e>'\\%");
        value.set_sensitive(true);
        let headers: HeaderMap = [(http::header::AUTHORIZATION, value)].into_iter().collect();
        for written in [
            r#"a+b/c="&<d e>'\%"#,
            "a%2Bb%2Fc%3D%22%26%3Cd%20e%3E%27%5C%25",
            "a%2bb/c%3d%22&%3cd+e%3e'%5c%25",
            r#"a+b\/c=\"&<d e>'\\%"#,
            r"a\u002bb/c=\u0022\u0026\u003Cd e\u003E\u0027\u005c%",
            r"a+b/c=&quot;&amp;&lt;d e&gt;&#39;\%",
        ] {
            assert_eq!(excerpt(format!("got {written}!").as_bytes(), &headers), "got ***!", "{written}");
            assert_eq!(excerpt(format!("got Basic {written}!").as_bytes(), &headers), "got ***!", "{written}");
        }
        assert_eq!(excerpt(b"a%2Bb%2Fc is not all of it", &headers), "a%2Bb%2Fc is not all of it");
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
