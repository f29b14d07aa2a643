//! The lowest level of reading JSON: white space, strings and numbers, found in the bytes of a text.

use super::JsonError;

/// Where reading a text has got to.
pub(super) struct Scanner<'a> {
    source: &'a str,
    bytes: &'a [u8],
    pub(super) at: usize,
}

/// A string between its quotes.
pub(super) enum Found {
    /// It stands in the source as it is, up to this byte.
    Plain(usize),
    /// It has escapes, and was decoded.
    Decoded,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(source: &'a str) -> Self {
        Scanner { source, bytes: source.as_bytes(), at: 0 }
    }

    /// The next byte; 0, which JSON has not, at the end.
    #[inline]
    pub(super) fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    /// The next byte that is no white space.
    #[inline]
    pub(super) fn next_token(&mut self) -> u8 {
        loop {
            let byte = self.peek();
            if byte > b' ' || !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                return byte;
            }
            self.at += 1;
        }
    }

    /// Steps over a string whose opening quote has been read; appends it to `decoded` if it has escapes.
    #[inline]
    pub(super) fn string(&mut self, decoded: &mut String) -> Result<Found, JsonError> {
        let start = self.at;
        self.skip_plain();
        if self.peek() == b'"' {
            let end = self.at;
            self.at += 1;
            return Ok(Found::Plain(end));
        }
        self.string_with_escapes(start, decoded)
    }

    /// Goes on to the next quote, backslash or control character, eight bytes at a time.
    #[inline]
    fn skip_plain(&mut self) {
        const ONES: u64 = 0x0101_0101_0101_0101;
        const HIGHS: u64 = 0x8080_8080_8080_8080;
        // the high bits of bytes that are 0; only the lowest is sure, which is the one that counts
        let zeros = |word: u64| word.wrapping_sub(ONES) & !word;
        while let Some(chunk) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<8>()) {
            let word = u64::from_le_bytes(*chunk);
            let control = word.wrapping_sub(ONES * 0x20) & !word;
            let quote = zeros(word ^ (ONES * u64::from(b'"')));
            let backslash = zeros(word ^ (ONES * u64::from(b'\\')));
            let stops = (control | quote | backslash) & HIGHS;
            if stops != 0 {
                self.at += stops.trailing_zeros() as usize / 8;
                return;
            }
            self.at += 8;
        }
        while self.bytes.get(self.at).is_some_and(|byte| *byte >= b' ' && *byte != b'"' && *byte != b'\\') {
            self.at += 1;
        }
    }

    #[cold]
    fn string_with_escapes(&mut self, start: usize, decoded: &mut String) -> Result<Found, JsonError> {
        let mut copied = start;
        loop {
            match self.bytes.get(self.at) {
                None => return Err(self.error("EOF while parsing a string")),
                Some(b'"') => {
                    decoded.push_str(self.source.get(copied..self.at).unwrap_or_default());
                    self.at += 1;
                    return Ok(Found::Decoded);
                }
                Some(b'\\') => {
                    decoded.push_str(self.source.get(copied..self.at).unwrap_or_default());
                    self.at += 1;
                    decoded.push(self.escape()?);
                    copied = self.at;
                }
                Some(_) => return Err(self.error("control character (\\u0000-\\u001F) found while parsing a string")),
            }
            self.skip_plain();
        }
    }

    /// What an escape stands for, after its backslash.
    fn escape(&mut self) -> Result<char, JsonError> {
        let letter = self.bytes.get(self.at).copied();
        let c = match letter {
            Some(c @ (b'"' | b'\\' | b'/')) => char::from(c),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode_escape();
            }
            Some(_) => return Err(self.error("invalid escape")),
            None => return Err(self.error("EOF while parsing a string")),
        };
        self.at += 1;
        Ok(c)
    }

    fn unicode_escape(&mut self) -> Result<char, JsonError> {
        let start = self.at;
        let unit = self.hex()?;
        if let Some(c) = char::from_u32(unit) {
            return Ok(c);
        }
        // half of a pair: the other half must follow
        if unit < 0xdc00 && self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(b"\\u")) {
            self.at += 2;
            let low = self.hex()?;
            if (0xdc00..0xe000).contains(&low) {
                let code = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
        }
        self.at = start;
        Err(self.error("lone surrogate found in an escape"))
    }

    fn hex(&mut self) -> Result<u32, JsonError> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.bytes.get(self.at).and_then(|byte| char::from(*byte).to_digit(16));
            let Some(digit) = digit else {
                let end = self.at >= self.bytes.len();
                return Err(self.error(if end { "EOF while parsing a string" } else { "invalid escape" }));
            };
            code = code << 4 | digit;
            self.at += 1;
        }
        Ok(code)
    }

    /// Steps over a number.
    #[inline]
    pub(super) fn number(&mut self) -> Result<(), JsonError> {
        if self.peek() == b'-' {
            self.at += 1;
        }
        match self.peek() {
            b'0' => {
                self.at += 1;
                if self.peek().is_ascii_digit() {
                    return Err(self.error("invalid number"));
                }
            }
            b'1'..=b'9' => self.skip_digits(),
            _ => return Err(self.unfinished_number()),
        }
        if self.peek() == b'.' {
            self.at += 1;
            self.some_digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            self.some_digits()?;
        }
        Ok(())
    }

    #[inline]
    fn skip_digits(&mut self) {
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
    }

    fn some_digits(&mut self) -> Result<(), JsonError> {
        if !self.peek().is_ascii_digit() {
            return Err(self.unfinished_number());
        }
        self.skip_digits();
        Ok(())
    }

    #[cold]
    fn unfinished_number(&self) -> JsonError {
        let end = self.at >= self.bytes.len();
        self.error(if end { "EOF while parsing a value" } else { "invalid number" })
    }

    /// Steps over `null`, `true` or `false`.
    #[inline]
    pub(super) fn word(&mut self, word: &str) -> Result<(), JsonError> {
        if self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes())) {
            self.at += word.len();
            return Ok(());
        }
        Err(self.unfinished_word(word))
    }

    #[cold]
    fn unfinished_word(&mut self, word: &str) -> JsonError {
        let same = word.bytes().zip(self.bytes.iter().skip(self.at)).take_while(|(a, b)| a == *b).count();
        self.at += same;
        let end = self.at >= self.bytes.len();
        self.error(if end { "EOF while parsing a value" } else { "expected ident" })
    }

    /// The error of another byte than the ones that may stand here.
    #[cold]
    pub(super) fn unexpected(&self, message: &str, place: &str) -> JsonError {
        if self.at >= self.bytes.len() {
            return self.error(&format!("EOF while parsing {place}"));
        }
        self.error(message)
    }

    #[cold]
    pub(super) fn error(&self, message: &str) -> JsonError {
        JsonError { message: message.to_owned(), offset: self.at, is_limit: false }
    }
}
