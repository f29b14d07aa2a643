//! The replacement strings of `Matcher.replaceAll`: `$1`, `${name}`, and `\` before what is meant
//! as it is.

use super::{Found, Regex};

/// A replacement, read for one pattern.
pub(crate) struct Replacement {
    parts: Vec<Part>,
}

enum Part {
    Text(String),
    Group(usize),
}

impl Replacement {
    /// Reads a replacement.
    ///
    /// # Errors
    /// A message saying what is malformed, or which group there is none of.
    pub(crate) fn parse(text: &str, regex: &Regex) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\\' => literal.push(chars.next().ok_or("the replacement ends with a \"\\\"")?),
                '$' => {
                    if !literal.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut literal)));
                    }
                    let group = match chars.next() {
                        Some('{') => {
                            let mut name = String::new();
                            while let Some(c) = chars.next_if(char::is_ascii_alphanumeric) {
                                name.push(c);
                            }
                            if chars.next() != Some('}') || name.starts_with(|c: char| c.is_ascii_digit()) {
                                return Err("a \"${\" in the replacement has no group's name and \"}\" after it".into());
                            }
                            let known = regex.names.iter().find(|(known, _)| *known == name);
                            known.ok_or_else(|| format!("there is no group named \"{name}\""))?.1
                        }
                        Some(digit) if digit.is_ascii_digit() => {
                            let mut group = digit.to_digit(10).unwrap_or(0) as usize;
                            if group >= regex.groups {
                                return Err(format!("there is no group {group}"));
                            }
                            while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
                                let longer = group * 10 + digit as usize;
                                if longer >= regex.groups {
                                    break;
                                }
                                group = longer;
                                chars.next();
                            }
                            group
                        }
                        _ => {
                            return Err(
                                "a \"$\" in the replacement has no group after it; write \\$ for a dollar".into()
                            );
                        }
                    };
                    parts.push(Part::Group(group));
                }
                c => literal.push(c),
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Replacement { parts })
    }

    /// How long the replacement for a match is, in bytes.
    pub(crate) fn len(&self, found: &Found) -> usize {
        let part_len = |part: &Part| match part {
            Part::Text(text) => text.len(),
            Part::Group(group) => found.group(*group).map_or(0, |(start, end)| end - start),
        };
        self.parts.iter().map(part_len).sum()
    }

    /// Appends the replacement for a match.
    pub(crate) fn write(&self, found: &Found, text: &str, out: &mut String) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Group(group) => {
                    let (start, end) = found.group(*group).unwrap_or((0, 0));
                    out.push_str(text.get(start..end).unwrap_or_default());
                }
            }
        }
    }
}
