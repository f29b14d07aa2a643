//! Reading escapes and character classes.

use super::node::{Assertion, Node};
use super::parse::{MAX_DEPTH, Parser};
use super::set::{LINE_ENDS, Set, predefined};

impl Parser {
    pub(super) fn escape(&mut self) -> Result<Node, String> {
        let c = self.peek_raw(0).ok_or("the pattern ends with a \"\\\"")?;
        let unix = self.flags.unix_lines;
        let assertion = match c {
            'A' => Assertion::Start,
            'z' => Assertion::End,
            'Z' => Assertion::LastLineEnd { unix },
            'G' => Assertion::LastMatch,
            'b' | 'B' => {
                if self.peek_raw(1) == Some('{') {
                    return Err("this engine does not support \\b{…}".into());
                }
                Assertion::WordBoundary { negative: c == 'B' }
            }
            'R' => {
                self.pos += 1;
                let pair = Node::Concat(vec![Node::Char('\r'), Node::Char('\n')]);
                return Ok(Node::Alternate(vec![pair, Node::Set(Set::of(LINE_ENDS))]));
            }
            'X' | 'N' => return Err(format!("this engine does not support \\{c}")),
            'k' => {
                self.pos += 1;
                if self.raw() != Some('<') {
                    return Err("\\k must be followed by a group's name in \"<\" and \">\"".into());
                }
                let name = self.group_name()?;
                let known = self.names.iter().find(|(known, _)| *known == name);
                let group = known.ok_or_else(|| format!("there is no group named \"{name}\""))?.1;
                return Ok(Node::BackReference { group, ignore_case: self.flags.ignore_case });
            }
            '1'..='9' => return Ok(self.back_reference()),
            _ => {
                if let Some(set) = self.class_escape()? {
                    return Ok(Node::Set(set));
                }
                let c = self.escaped_char()?;
                return Ok(self.literal(c));
            }
        };
        self.pos += 1;
        Ok(Node::Assert(assertion))
    }

    /// As many digits as there are groups for.
    fn back_reference(&mut self) -> Node {
        let mut group = 0;
        while let Some(digit) = self.peek_raw(0).and_then(|c| c.to_digit(10)) {
            let next = group * 10 + digit as usize;
            if group > 0 && next >= self.groups {
                break;
            }
            group = next;
            self.pos += 1;
        }
        Node::BackReference { group, ignore_case: self.flags.ignore_case }
    }

    /// `\d`, `\p{…}` and the like after the backslash.
    fn class_escape(&mut self) -> Result<Option<Set>, String> {
        let Some(c) = self.peek_raw(0) else { return Ok(None) };
        if matches!(c, 'p' | 'P') {
            self.pos += 1;
            let name = self.property_name()?;
            let set = super::set::property(&name).ok_or_else(|| format!("unknown character property \"{name}\""))?;
            let set = match name.trim_start_matches("Is") {
                // the case of letters is no property then
                "Lower" | "Upper" | "Ll" | "Lu" | "Lt" | "javaLowerCase" | "javaUpperCase" | "javaTitleCase"
                    if self.flags.ignore_case =>
                {
                    let ascii = name.ends_with("er");
                    super::set::property(if ascii { "Alpha" } else { "LC" }).unwrap_or(set)
                }
                _ => set,
            };
            return Ok(Some(if c == 'P' { set.negate() } else { set }));
        }
        let set = predefined(c, self.flags.unicode_classes);
        self.pos += usize::from(set.is_some());
        Ok(set)
    }

    fn property_name(&mut self) -> Result<String, String> {
        let unclosed = || "the name of a character property is missing".to_owned();
        let first = self.raw().ok_or_else(unclosed)?;
        if first != '{' {
            return Ok(first.to_string());
        }
        let mut name = String::new();
        loop {
            match self.raw() {
                Some('}') => return Ok(name),
                Some(c) if name.len() < 100 => name.push(c),
                _ => return Err("the name of a character property is not closed".into()),
            }
        }
    }

    /// The character that an escape stands for, after the backslash.
    fn escaped_char(&mut self) -> Result<char, String> {
        let c = self.raw().ok_or("the pattern ends with a \"\\\"")?;
        Ok(match c {
            't' => '\t',
            'n' => '\n',
            'r' => '\r',
            'f' => '\u{c}',
            'a' => '\u{7}',
            'e' => '\u{1b}',
            '0' => self.octal()?,
            'x' if self.peek_raw(0) == Some('{') => {
                self.pos += 1;
                let digits = self.hex(1, 8)?;
                if self.raw() != Some('}') {
                    return Err("a \"\\x{\" is not closed".into());
                }
                char::from_u32(digits).ok_or("a \"\\x{…}\" is no character")?
            }
            'x' => char::from_u32(self.hex(2, 2)?).unwrap_or_default(),
            'u' => self.utf16()?,
            'c' => {
                let c = self.raw().ok_or("a \"\\c\" is followed by nothing")?;
                char::from_u32(u32::from(c) ^ 64).unwrap_or(c)
            }
            c if c.is_ascii_alphabetic() || c.is_ascii_digit() => {
                return Err(format!("there is no escape \"\\{c}\""));
            }
            c => c,
        })
    }

    fn octal(&mut self) -> Result<char, String> {
        let mut value = 0;
        let mut count = 0;
        while let Some(digit) = self.peek_raw(0).and_then(|c| c.to_digit(8)) {
            if count == 3 || count == 2 && value > 0o37 {
                break;
            }
            value = value * 8 + digit;
            count += 1;
            self.pos += 1;
        }
        if count == 0 {
            return Err("a \"\\0\" needs octal digits after it".into());
        }
        Ok(char::from_u32(value).unwrap_or_default())
    }

    fn hex(&mut self, min: usize, max: usize) -> Result<u32, String> {
        let mut value = 0_u32;
        let mut count = 0;
        while let Some(digit) = self.peek_raw(0).and_then(|c| c.to_digit(16)).filter(|_| count < max) {
            value = value.saturating_mul(16).saturating_add(digit);
            count += 1;
            self.pos += 1;
        }
        if count < min { Err("an escape with hexadecimal digits has too few of them".into()) } else { Ok(value) }
    }

    fn utf16(&mut self) -> Result<char, String> {
        let first = self.hex(4, 4)?;
        if let Some(c) = char::from_u32(first) {
            return Ok(c);
        }
        let half = "half of a surrogate pair is no character".to_owned();
        if self.raw() != Some('\\') || self.raw() != Some('u') {
            return Err(half);
        }
        let second = self.hex(4, 4)?;
        let pair = [first, second].map(|unit| u16::try_from(unit).unwrap_or_default());
        char::decode_utf16(pair).next().and_then(Result::ok).ok_or(half)
    }

    /// A class after its `[`; without `consume` its `]` stays.
    pub(super) fn class(&mut self, consume: bool) -> Result<Set, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("character classes are nested more than {MAX_DEPTH} deep"));
        }
        let negative = consume && self.peek_raw(0) == Some('^');
        self.pos += usize::from(negative);
        let mut all: Option<Set> = None;
        loop {
            let part = match self.peek() {
                None if self.pos >= self.units.len() => return Err("a character class is not closed".into()),
                Some(']') if all.is_some() => {
                    self.pos += usize::from(consume);
                    break;
                }
                Some('[') => {
                    self.pos += 1;
                    self.class(true)?
                }
                Some('&') if self.peek_raw(1) == Some('&') => {
                    self.pos += 2;
                    let mut right: Option<Set> = None;
                    while let Some(c) = self.peek_unit() {
                        if !c.quoted && matches!(c.c, ']' | '&') {
                            break;
                        }
                        let nested = !c.quoted && c.c == '[';
                        self.pos += usize::from(nested);
                        let more = self.class(nested)?;
                        right = Some(match right {
                            Some(right) => right.union(&more),
                            None => more,
                        });
                    }
                    all = match (all, right) {
                        (Some(all), Some(right)) => Some(all.intersect(&right)),
                        (None, None) => return Err("\"&&\" in a character class has nothing around it".into()),
                        (left, right) => left.or(right),
                    };
                    continue;
                }
                _ => self.class_range()?,
            };
            all = Some(match all {
                Some(all) => all.union(&part),
                None => part,
            });
        }
        self.depth -= 1;
        let all = all.unwrap_or_else(Set::empty);
        Ok(if negative { all.negate() } else { all })
    }

    /// A character, a range of them, or an escape for several.
    fn class_range(&mut self) -> Result<Set, String> {
        let first = match self.class_char()? {
            Ok(first) => first,
            Err(set) => return Ok(set),
        };
        let mut last = first;
        if self.peek() == Some('-') && !matches!(self.peek_raw(1), Some('[' | ']')) && self.pos + 1 < self.units.len() {
            self.pos += 1;
            self.skip_comments();
            last = match self.class_char()? {
                Ok(last) if last >= first => last,
                _ => return Err("a range in a character class must go upwards, from character to character".into()),
            };
        }
        let set = Set::of([(first, last)]);
        Ok(if self.flags.ignore_case { set.any_case(self.flags.unicode_case) } else { set })
    }

    fn class_char(&mut self) -> Result<Result<char, Set>, String> {
        let unit = self.peek_unit().ok_or("a character class is not closed")?;
        self.pos += 1;
        if unit.quoted || unit.c != '\\' {
            return Ok(Ok(unit.c));
        }
        match self.class_escape()? {
            Some(set) => Ok(Err(set)),
            None => self.escaped_char().map(Ok),
        }
    }
}
