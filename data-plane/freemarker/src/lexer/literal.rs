//! The characters that a string literal stands for.

/// Decodes the escapes of a string literal's body, which the lexer has checked.
pub(crate) fn decode(body: &str) -> String {
    let mut out = String::with_capacity(body.len());
    // a pair of \x escapes may spell one character beyond U+FFFF
    let mut high_surrogate = None;
    let mut chars = body.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let escaped = match chars.next() {
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('f') => '\u{c}',
            Some('b') => '\u{8}',
            Some('g') => '>',
            Some('l') => '<',
            Some('a') => '&',
            Some('x') => {
                let mut unit = 0;
                for _ in 0..4 {
                    match chars.next_if(char::is_ascii_hexdigit).and_then(|c| c.to_digit(16)) {
                        Some(digit) => unit = unit * 16 + digit,
                        None => break,
                    }
                }
                match (high_surrogate.take(), unit) {
                    (_, 0xD800..=0xDBFF) => {
                        high_surrogate = Some(unit);
                        continue;
                    }
                    (Some(high), 0xDC00..=0xDFFF) => {
                        let code = 0x10000 + ((high - 0xD800) << 10) + (unit - 0xDC00);
                        char::from_u32(code).unwrap_or('\u{fffd}')
                    }
                    (_, unit) => char::from_u32(unit).unwrap_or('\u{fffd}'),
                }
            }
            Some(other) => other,
            None => '\\',
        };
        out.push(escaped);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_escapes() {
        assert_eq!(decode(r"a\n\x41z\x414g\l\g\a\{\\\xD83D\xDE00"), "a\nAzДg<>&{\\😀");
    }
}
