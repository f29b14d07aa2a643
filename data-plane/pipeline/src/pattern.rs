//! Globs and regular expressions, in time linear in the text.

use regex::{RegexSet, RegexSetBuilder};

/// Bytes that the compiled patterns of one condition may take.
const SIZE_LIMIT: usize = 512 << 10;

/// Some patterns, any of which may fit.
pub(crate) struct Patterns(RegexSet);

impl Patterns {
    /// Globs that must fit a whole text.
    ///
    /// # Errors
    /// The index of the first one that is not right, and why; without an index: they are too much altogether.
    pub(crate) fn globs<'v>(globs: impl Iterator<Item = &'v str>) -> Result<Self, (Option<usize>, String)> {
        let mut expressions = Vec::new();
        for (index, glob) in globs.enumerate() {
            expressions.push(expression(glob).map_err(|why| (Some(index), why))?);
        }
        Self::build(&expressions)
    }

    /// Regular expressions that are looked for anywhere in a text.
    ///
    /// # Errors
    /// As [`Patterns::globs`].
    pub(crate) fn regexes<'v>(regexes: impl Iterator<Item = &'v str>) -> Result<Self, (Option<usize>, String)> {
        let expressions: Vec<String> = regexes.map(str::to_owned).collect();
        for (index, expression) in expressions.iter().enumerate() {
            Self::build(std::slice::from_ref(expression)).map_err(|(_, why)| (Some(index), why))?;
        }
        Self::build(&expressions)
    }

    fn build(expressions: &[String]) -> Result<Self, (Option<usize>, String)> {
        let built = RegexSetBuilder::new(expressions).size_limit(SIZE_LIMIT).dfa_size_limit(SIZE_LIMIT).build();
        built.map(Self).map_err(|error| (None, in_words(&error)))
    }

    /// Whether any of them fits.
    pub(crate) fn fit(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

fn in_words(error: &regex::Error) -> String {
    match error {
        regex::Error::Syntax(text) => {
            // The last line says why, those above show the place.
            let why = text.lines().last().unwrap_or_default();
            format!("not a regular expression: {}", why.trim().trim_start_matches("error: "))
        }
        regex::Error::CompiledTooBig(_) => "too large once it is compiled: repeat less, or split it".to_owned(),
        error => error.to_string(),
    }
}

/// The part of a glob that every text that fits begins with.
pub(crate) fn literal_prefix(glob: &str) -> String {
    let mut prefix = String::new();
    let mut characters = glob.chars();
    while let Some(c) = characters.next() {
        match c {
            '*' | '?' | '[' => break,
            '\\' => prefix.extend(characters.next()),
            c => prefix.push(c),
        }
    }
    prefix
}

/// The regular expression that fits what the glob fits.
fn expression(glob: &str) -> Result<String, String> {
    let mut expression = String::from("(?s)^(?:");
    let mut characters = glob.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '*' if characters.next_if_eq(&'*').is_some() => expression.push_str(".*"),
            '*' => expression.push_str("[^/]*"),
            '?' => expression.push_str("[^/]"),
            '[' => class(&mut characters, &mut expression)?,
            '\\' => match characters.next() {
                Some(c) => expression.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
                None => return Err("the pattern ends after `\\`, which takes the next character as it is".to_owned()),
            },
            c => expression.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    expression.push_str(")$");
    Ok(expression)
}

/// What stands between `[` and `]`.
fn class(characters: &mut std::iter::Peekable<std::str::Chars<'_>>, expression: &mut String) -> Result<(), String> {
    let unclosed = || "the `[` has no `]`; `\\[` is the character itself".to_owned();
    let negated = characters.next_if_eq(&'!').is_some();
    expression.push_str(if negated { "[^" } else { "[" });
    let mut is_empty = true;
    loop {
        let low = match characters.next().ok_or_else(unclosed)? {
            ']' if !is_empty => break,
            '\\' => characters.next().ok_or_else(unclosed)?,
            c => c,
        };
        is_empty = false;
        let mut rest = characters.clone();
        let high = match (rest.next(), rest.next()) {
            (Some('-'), Some(high)) if high != ']' => {
                *characters = rest;
                if high == '\\' { characters.next().ok_or_else(unclosed)? } else { high }
            }
            _ => low,
        };
        if low > high {
            return Err(format!("the range `{low}-{high}` is the wrong way round"));
        }
        let character = |c: char| format!("\\x{{{:x}}}", u32::from(c));
        expression.push_str(&format!("{}-{}", character(low), character(high)));
    }
    expression.push(']');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_fit_whole_texts() {
        for (glob, fits, fits_not) in [
            ("a*c", &["ac", "abc", "a c"][..], &["a/c", "abcd", "xac"][..]),
            ("a**c", &["ac", "a/b/c", "a\nc"], &["ab"]),
            ("/shop/*/item-?", &["/shop/a/item-1"], &["/shop/a/b/item-1", "/shop/a/item-", "/shop/a/item-/"]),
            ("[0-9]x", &["0x", "9x"], &["ax", "00x"]),
            ("[!a-z]", &["A", "-"], &["b", ""]),
            ("[]a]", &["]", "a"], &["b"]),
            ("[a-]", &["a", "-"], &["b"]),
            ("\\*.[.]", &["*.."], &["a.."]),
            ("é?", &["éx", "éé"], &["é"]),
            ("", &[""], &["a"]),
        ] {
            let patterns = Patterns::globs([glob].into_iter()).unwrap_or_else(|(_, why)| panic!("{glob}: {why}"));
            fits.iter().for_each(|text| assert!(patterns.fit(text), "{glob} {text:?}"));
            fits_not.iter().for_each(|text| assert!(!patterns.fit(text), "{glob} {text:?}"));
        }
        assert_eq!(["a*", "a\\*b[c]", "*", "plain"].map(literal_prefix), ["a", "a*b", "", "plain"]);
    }

    #[test]
    fn what_is_no_pattern_is_told() {
        for (glob, part) in [("[a", "no `]`"), ("a\\", "ends after"), ("[z-a]", "wrong way round")] {
            let (index, why) = Patterns::globs(["ok", glob].into_iter()).err().unwrap();
            assert_eq!((index, why.contains(part)), (Some(1), true), "{why}");
        }
        let (index, why) = Patterns::regexes(["ok", "(a"].into_iter()).err().unwrap();
        assert_eq!((index, why.as_str()), (Some(1), "not a regular expression: unclosed group"));
        let (_, why) = Patterns::regexes(["(?:a{1000}){1000}"].into_iter()).err().unwrap();
        assert!(why.contains("too large"), "{why}");
    }
}
