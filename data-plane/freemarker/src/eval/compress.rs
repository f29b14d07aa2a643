//! `#compress`: white space that has been printed shrinks.

use crate::whitespace::is_java_space;

/// Makes each run of white space one space, or if it has line breaks the first of those; none at the
/// start and the end.
pub(super) fn compressed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut pending: Option<&str> = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if !is_java_space(c) {
            if let Some(space) = pending.take()
                && !out.is_empty()
            {
                out.push_str(space);
            }
            out.push(c);
            continue;
        }
        if matches!(pending, None | Some(" ")) {
            pending = Some(match (c, chars.peek()) {
                ('\r', Some('\n')) => "\r\n",
                ('\r', _) => "\r",
                ('\n', _) => "\n",
                _ => " ",
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_white_space_become_one() {
        assert_eq!(compressed("  a   b\n\n\n  c \t "), "a b\nc");
        assert_eq!(compressed("\na \r\n\nb\rc"), "a\r\nb\rc");
        assert_eq!(compressed(" \n "), "");
    }
}
