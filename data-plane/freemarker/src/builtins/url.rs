//! `?url` and `?url_path`: percent signs and the bytes of a character set.

/// A character set that texts can be escaped in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Charset {
    Utf8,
    Utf16 {
        mark: bool,
        little: bool,
    },
    /// The first characters of Unicode, up to this one.
    Prefix(char),
    Windows1252,
}

impl Charset {
    fn find(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().replace('_', "-").as_str() {
            "utf-8" | "utf8" | "unicode-1-1-utf-8" => Charset::Utf8,
            "utf-16" | "utf16" | "unicode" => Charset::Utf16 { mark: true, little: false },
            "utf-16be" | "utf-16-be" | "unicodebigunmarked" => Charset::Utf16 { mark: false, little: false },
            "utf-16le" | "utf-16-le" | "unicodelittleunmarked" => Charset::Utf16 { mark: false, little: true },
            "iso-8859-1" | "iso8859-1" | "iso88591" | "latin1" | "l1" | "8859-1" => Charset::Prefix('\u{ff}'),
            "us-ascii" | "ascii" | "iso646-us" | "ansi-x3.4-1968" => Charset::Prefix('\u{7f}'),
            "windows-1252" | "cp1252" | "ibm-1252" | "ibm1252" => Charset::Windows1252,
            _ => return None,
        })
    }

    fn encode(self, text: &str, mut byte: impl FnMut(u8)) {
        if self == (Charset::Utf16 { mark: true, little: false }) {
            [0xfe, 0xff].into_iter().for_each(&mut byte);
        }
        for c in text.chars() {
            match self {
                Charset::Utf8 => c.encode_utf8(&mut [0; 4]).bytes().for_each(&mut byte),
                Charset::Utf16 { little, .. } => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        let bytes = if little { unit.to_le_bytes() } else { unit.to_be_bytes() };
                        bytes.into_iter().for_each(&mut byte);
                    }
                }
                Charset::Prefix(last) if c > last => byte(b'?'),
                Charset::Prefix(_) => byte(u8::try_from(c).unwrap_or(b'?')),
                Charset::Windows1252 => byte(windows_1252(c)),
            }
        }
    }
}

fn windows_1252(c: char) -> u8 {
    // the characters of 0x80 to 0x9f; a space where there is none
    const HIGH: &str = "\u{20ac} \u{201a}\u{192}\u{201e}\u{2026}\u{2020}\u{2021}\u{2c6}\u{2030}\u{160}\u{2039}\u{152} \u{17d} \
                        \x20\u{2018}\u{2019}\u{201c}\u{201d}\u{2022}\u{2013}\u{2014}\u{2dc}\u{2122}\u{161}\u{203a}\u{153} \u{17e}\u{178}";
    if matches!(c, '\0'..='\u{7f}' | '\u{a0}'..='\u{ff}') {
        return u8::try_from(c).unwrap_or(b'?');
    }
    match HIGH.chars().position(|high| high == c) {
        Some(place) => u8::try_from(0x80 + place).unwrap_or(b'?'),
        None => b'?',
    }
}

/// Appends a text with all but its safe characters escaped; with `path` slashes are safe, too.
pub(super) fn escape(text: &str, charset: &str, path: bool, out: &mut String) -> Result<(), String> {
    let safe = |c: char| {
        c.is_ascii_alphanumeric()
            || matches!(c, '_' | '-' | '.' | '!' | '~' | '*' | '\'' | '(' | ')')
            || path && c == '/'
    };
    let mut rest = text;
    loop {
        let start = rest.find(|c| !safe(c)).unwrap_or(rest.len());
        let (kept, after) = rest.split_at_checked(start).unwrap_or((rest, ""));
        out.push_str(kept);
        if after.is_empty() {
            return Ok(());
        }
        // what is safe needs no character set
        let charset = Charset::find(charset)
            .ok_or_else(|| format!("this engine does not know the character set \"{charset}\""))?;
        let end = after.find(safe).unwrap_or(after.len());
        let (unsafe_run, after) = after.split_at_checked(end).unwrap_or((after, ""));
        charset.encode(unsafe_run, |byte| {
            out.push('%');
            for digit in [byte >> 4, byte & 0xf] {
                out.push(char::from_digit(u32::from(digit), 16).unwrap_or('0').to_ascii_uppercase());
            }
        });
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_in_any_character_set() {
        let url = |text, charset| {
            let mut out = String::new();
            escape(text, charset, false, &mut out).map(|()| out)
        };
        assert_eq!(url("a é/", "UTF-8").unwrap(), "a%20%C3%A9%2F");
        assert_eq!(url("aé", "UTF-16").unwrap(), "a%FE%FF%00%E9");
        assert_eq!(url("é\u{20ac}\u{3b1}", "windows-1252").unwrap(), "%E9%80%3F");
        assert_eq!(url("\u{178}\u{2018}", "cp1252").unwrap(), "%9F%91");
        assert_eq!(url("abc", "nope").unwrap(), "abc");
        assert!(url("a b", "nope").is_err());
    }
}
