//! A secret that is easy to find, however it is written.

use std::{fmt::Write as _, path::Path};

pub(crate) const MARK: &str = "MARKED-s3cret-0815";

/// The mark as it is and as it may be written otherwise.
fn forms() -> Vec<String> {
    let hex = |upper: bool| {
        MARK.bytes().fold(String::new(), |mut text, byte| {
            let written = if upper { write!(text, "{byte:02X}") } else { write!(text, "{byte:02x}") };
            written.map(|()| text).unwrap()
        })
    };
    // Base64 of the mark at each of the three places in a group that it may begin at, but for its ends.
    let base64 = ["TUFSS0VELXMzY3JldC0wODE", "1BUktFRC1zM2NyZXQtMDgxN", "NQVJLRUQtczNjcmV0LTA4MT"];
    [MARK.to_owned(), hex(false), hex(true)].into_iter().chain(base64.map(str::to_owned)).collect()
}

#[track_caller]
pub(crate) fn assert_clean(what: &str, bytes: &[u8]) {
    for form in forms() {
        assert!(!bytes.windows(form.len()).any(|window| window == form.as_bytes()), "{what} holds {form}");
    }
}

pub(crate) fn assert_clean_below(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_clean_below(&path);
        } else {
            assert_clean(&path.display().to_string(), &std::fs::read(&path).unwrap());
        }
    }
}
