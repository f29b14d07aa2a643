//! Regular expressions as `java.util.regex` has them (FreeMarker manual: "Built-ins for strings /
//! Common flags").
//!
//! The dialect is Java's, and so is the way matches are found: by backtracking, with possessive
//! quantifiers, look-around and back references. A search counts its steps as it goes, which no
//! library does: a template's bound on steps holds for its patterns, too.

mod cache;
mod classes;
mod machine;
mod node;
mod parse;
mod program;
mod replacement;
mod set;

pub(crate) use cache::RegexCache;
pub(crate) use machine::Exhausted;
pub(crate) use parse::Flags;
pub(crate) use replacement::Replacement;

use machine::{Machine, UNSET};
use parse::Parser;
use program::{Inst, Program};

/// The longest pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 10_000;

/// A pattern, ready to search with.
#[derive(Debug)]
pub(crate) struct Regex {
    program: Program,
    groups: usize,
    names: Vec<(String, usize)>,
}

/// Where a match and its groups are in the text, in bytes.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    slots: Vec<usize>,
}

impl Found {
    pub(crate) fn start(&self) -> usize {
        self.group(0).map_or(0, |(start, _)| start)
    }

    pub(crate) fn end(&self) -> usize {
        self.group(0).map_or(0, |(_, end)| end)
    }

    /// How many groups there are, the whole match among them.
    pub(crate) fn group_count(&self) -> usize {
        self.slots.len() / 2
    }

    /// A group by its number; `None` when it took no part in the match.
    pub(crate) fn group(&self, index: usize) -> Option<(usize, usize)> {
        match (self.slots.get(2 * index), self.slots.get(2 * index + 1)) {
            (Some(start), Some(end)) if *start != UNSET && *end != UNSET => Some((*start, *end)),
            _ => None,
        }
    }
}

impl Regex {
    /// Reads a pattern.
    ///
    /// # Errors
    /// A message saying what is malformed.
    pub(crate) fn parse(pattern: &str, flags: Flags) -> Result<Self, String> {
        if pattern.len() > MAX_PATTERN_BYTES {
            return Err(format!("it is longer than {MAX_PATTERN_BYTES} bytes"));
        }
        let mut parser = Parser::new(pattern, flags);
        let node = parser.parse()?;
        let program = Program::compile(&node)?;
        Ok(Regex { program, groups: parser.groups, names: parser.names })
    }

    /// How many groups there are, the whole match among them.
    pub(crate) fn group_count(&self) -> usize {
        self.groups
    }

    /// How big it is, as a measure of the work to read it.
    pub(crate) fn size(&self) -> usize {
        self.program.size()
    }

    /// Starts a search that may run `fuel` instructions.
    pub(crate) fn search<'s>(&'s self, text: &'s str, fuel: u64) -> Search<'s> {
        Search { regex: self, machine: Machine::new(&self.program, text, self.groups, fuel), next: Some(0) }
    }

    /// The place from which on a match could begin.
    fn candidate(&self, text: &str, from: usize) -> Option<usize> {
        match self.program.insts.first() {
            Some(Inst::Char(c)) => text.get(from..)?.find(*c).map(|at| from + at),
            Some(Inst::Set(set)) => {
                let set = self.program.sets.get(*set as usize)?;
                text.get(from..)?.find(|c| set.contains(c)).map(|at| from + at)
            }
            Some(Inst::Repeat { set, min: 1.., .. }) => {
                let set = self.program.sets.get(*set as usize)?;
                text.get(from..)?.find(|c| set.contains(c)).map(|at| from + at)
            }
            Some(Inst::Assert(node::Assertion::Start)) => (from == 0).then_some(0),
            _ => Some(from),
        }
    }
}

/// A search in progress: gives one match after the other.
pub(crate) struct Search<'s> {
    regex: &'s Regex,
    machine: Machine<'s>,
    /// Where to look next; `None` when the text is used up.
    next: Option<usize>,
}

impl Search<'_> {
    /// The instructions that are left to run.
    pub(crate) fn fuel(&self) -> u64 {
        self.machine.fuel
    }

    /// Whether the whole text matches.
    pub(crate) fn whole(&mut self) -> Result<Option<Found>, Exhausted> {
        let end = self.machine.match_at(0, true)?;
        Ok(end.map(|end| self.found(0, end)))
    }

    /// The next match.
    pub(crate) fn find_next(&mut self) -> Result<Option<Found>, Exhausted> {
        let text = self.machine.text;
        while let Some(from) = self.next {
            let candidate = self.regex.candidate(text, from);
            self.machine.fuel = self
                .machine
                .fuel
                .checked_sub((candidate.unwrap_or(text.len()) - from) as u64 / 8)
                .ok_or(Exhausted::Steps)?;
            let Some(start) = candidate else {
                self.next = None;
                break;
            };
            let after = text.get(start..).and_then(|rest| rest.chars().next()).map(|c| start + c.len_utf8());
            match self.machine.match_at(start, false)? {
                Some(end) => {
                    self.next = if end > start { Some(end) } else { after };
                    self.machine.last_end = end;
                    return Ok(Some(self.found(start, end)));
                }
                None => self.next = after,
            }
        }
        Ok(None)
    }

    /// Looks for the next match right after the start of this one.
    pub(crate) fn go_on_after_start(&mut self, found: &Found) {
        let start = found.start();
        self.next = self.machine.char_at(start).map(|c| start + c.len_utf8());
    }

    fn found(&self, start: usize, end: usize) -> Found {
        let mut slots = self.machine.slots.clone();
        if let Some(whole) = slots.get_mut(..2) {
            whole.copy_from_slice(&[start, end]);
        }
        Found { slots }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pattern: &str, text: &str) -> Vec<String> {
        let regex = Regex::parse(pattern, Flags::default()).unwrap();
        let mut search = regex.search(text, 1_000_000);
        let mut found = Vec::new();
        while let Some(one) = search.find_next().unwrap() {
            found.push(text[one.start()..one.end()].to_owned());
        }
        found
    }

    #[test]
    fn finds_what_java_finds() {
        for (pattern, text, expected) in [
            ("a*", "baab", vec!["", "aa", "", ""]),
            ("[a-z&&[^aeiou]]+", "hello world", vec!["h", "ll", "w", "rld"]),
            ("\\Qa.b\\E+", "a.bbxa.b", vec!["a.bb", "a.b"]),
            ("(?<=\\d)x", "1x ax 2x", vec!["x", "x"]),
            ("(\\w)\\1", "aabbcd", vec!["aa", "bb"]),
            ("\\p{Lu}\\p{javaLowerCase}*", "Ab ÉtéC", vec!["Ab", "Été", "C"]),
            ("(?i)ab", "AB aB é", vec!["AB", "aB"]),
            ("a++b|a", "aaab aa", vec!["aaab", "a", "a"]),
            ("x$", "x\n", vec!["x"]),
            ("(?m)^.", "ab\ncd\r\nef\n", vec!["a", "c", "e"]),
            ("(a|ab)(c|bcd)", "abcd", vec!["abcd"]),
            ("(?:a?)*?b", "aab", vec!["aab"]),
            ("\\bf", "of f-fo", vec!["f", "f"]),
        ] {
            assert_eq!(all(pattern, text), expected, "{pattern}");
        }
    }

    #[test]
    fn refuses_what_java_refuses() {
        for pattern in [
            "(",
            ")",
            "[",
            "[a",
            "*",
            "a**",
            "a{2,1}",
            "{",
            "\\",
            "\\y",
            "(?<n>a)(?<n>b)",
            "(?<=a+)",
            "[z-a]",
            "\\p{No",
        ] {
            assert!(Regex::parse(pattern, Flags::default()).is_err(), "{pattern}");
        }
    }

    #[test]
    fn bombs_end() {
        let regex = Regex::parse("(a+)+b", Flags::default()).unwrap();
        let text = "a".repeat(60);
        assert_eq!(regex.search(&text, 100_000).find_next().unwrap_err(), Exhausted::Steps);
        assert!(Regex::parse("(((a{99}){99}){99}){99}", Flags::default()).is_err());
        let regex = Regex::parse("(?:a|b)*c", Flags::default()).unwrap();
        let text = "ab".repeat(1_000_000);
        assert_eq!(regex.search(&text, u64::MAX).find_next().unwrap_err(), Exhausted::Memory);
    }
}
