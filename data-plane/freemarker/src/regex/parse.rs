//! Reading the patterns of `java.util.regex`.

use super::node::{Assertion, Node, Reach, RepeatKind};
use super::set::Set;

/// How deep groups may nest.
pub(super) const MAX_DEPTH: usize = 60;

/// What `(?idmsuxU)` and FreeMarker's flags switch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    pub(crate) ignore_case: bool,
    pub(crate) multi_line: bool,
    pub(crate) dot_all: bool,
    pub(crate) comments: bool,
    pub(super) unicode_case: bool,
    pub(super) unix_lines: bool,
    pub(super) unicode_classes: bool,
}

/// A character of the pattern; quoted ones (`\Q…\E`) mean themselves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) c: char,
    pub(super) quoted: bool,
}

pub(super) struct Parser {
    pub(super) units: Vec<Unit>,
    pub(super) pos: usize,
    pub(super) flags: Flags,
    pub(super) depth: usize,
    /// How many groups there are so far, the whole match included.
    pub(super) groups: usize,
    pub(super) names: Vec<(String, usize)>,
}

impl Parser {
    pub(super) fn new(pattern: &str, flags: Flags) -> Self {
        Parser { units: unquote(pattern), pos: 0, flags, depth: 0, groups: 1, names: Vec::new() }
    }

    pub(super) fn parse(&mut self) -> Result<Node, String> {
        let node = self.alternatives()?;
        match self.peek() {
            Some(')') => Err("there is a \")\" without \"(\"".into()),
            _ => Ok(node),
        }
    }

    /// Skips what the flag `x` makes a comment.
    pub(super) fn skip_comments(&mut self) {
        if !self.flags.comments {
            return;
        }
        while let Some(unit) = self.units.get(self.pos).filter(|unit| !unit.quoted) {
            match unit.c {
                ' ' | '\t'..='\r' => self.pos += 1,
                '#' => {
                    while let Some(unit) = self.units.get(self.pos) {
                        self.pos += 1;
                        if matches!(unit.c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}') {
                            break;
                        }
                    }
                }
                _ => break,
            }
        }
    }

    /// The next character if it may mean something.
    pub(super) fn peek(&mut self) -> Option<char> {
        self.skip_comments();
        self.units.get(self.pos).filter(|unit| !unit.quoted).map(|unit| unit.c)
    }

    pub(super) fn peek_unit(&mut self) -> Option<Unit> {
        self.skip_comments();
        self.units.get(self.pos).copied()
    }

    /// The next character as it is, white space and comments included.
    pub(super) fn raw(&mut self) -> Option<char> {
        let unit = self.units.get(self.pos)?;
        self.pos += 1;
        Some(unit.c)
    }

    pub(super) fn peek_raw(&self, ahead: usize) -> Option<char> {
        self.units.get(self.pos + ahead).filter(|unit| !unit.quoted).map(|unit| unit.c)
    }

    fn take(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        self.pos += usize::from(found);
        found
    }

    fn alternatives(&mut self) -> Result<Node, String> {
        let mut branches = vec![self.sequence()?];
        while self.take('|') {
            branches.push(self.sequence()?);
        }
        match branches.pop() {
            Some(only) if branches.is_empty() => Ok(only),
            Some(last) => {
                branches.push(last);
                Ok(Node::Alternate(branches))
            }
            None => Ok(Node::Empty),
        }
    }

    fn sequence(&mut self) -> Result<Node, String> {
        let mut nodes = Vec::new();
        while let Some(unit) = self.peek_unit() {
            let node = match unit.c {
                '|' | ')' if !unit.quoted => break,
                '*' | '+' | '?' if !unit.quoted => {
                    return Err(format!("the \"{}\" has nothing to repeat", unit.c));
                }
                // what `x{2}{3}` repeats the second time is nothing
                '{' if !unit.quoted => Node::Empty,
                '(' if !unit.quoted => match self.group()? {
                    Some(node) => node,
                    None => continue,
                },
                _ => self.atom(unit)?,
            };
            let node = self.repeated(node)?;
            nodes.push(node);
        }
        Ok(Node::Concat(nodes))
    }

    fn repeated(&mut self, node: Node) -> Result<Node, String> {
        let (min, max) = match self.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => {
                self.pos += 1;
                let range = self.counts()?;
                self.pos -= 1;
                range
            }
            _ => return Ok(node),
        };
        self.pos += 1;
        let kind = if self.take('?') {
            RepeatKind::Lazy
        } else if self.take('+') {
            RepeatKind::Possessive
        } else {
            RepeatKind::Greedy
        };
        Ok(Node::Repeat { node: Box::new(node), min, max, kind })
    }

    /// The numbers in `{n}`, `{n,}` and `{n,m}`, with the brace after them.
    fn counts(&mut self) -> Result<(u32, Option<u32>), String> {
        let min = self.count()?.ok_or("there is a \"{\" without a number after it")?;
        let max = if self.peek_raw(0) == Some(',') {
            self.pos += 1;
            self.count()?
        } else {
            Some(min)
        };
        if self.raw() != Some('}') {
            return Err("a \"{\" is not closed".into());
        }
        if max.is_some_and(|max| max < min) {
            return Err("in \"{n,m}\" m must not be less than n".into());
        }
        Ok((min, max))
    }

    fn count(&mut self) -> Result<Option<u32>, String> {
        let mut value: Option<u32> = None;
        while let Some(digit) = self.peek_raw(0).and_then(|c| c.to_digit(10)) {
            let next = value.unwrap_or(0).checked_mul(10).and_then(|v| v.checked_add(digit));
            value = Some(next.filter(|v| *v <= i32::MAX as u32).ok_or("a number of repetitions is too big")?);
            self.pos += 1;
        }
        Ok(value)
    }

    /// A group; `None` for flags that hold from here on.
    fn group(&mut self) -> Result<Option<Node>, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("groups are nested more than {MAX_DEPTH} deep"));
        }
        let before = self.flags;
        self.pos += 1;
        let result = self.group_rest(before);
        self.depth -= 1;
        result
    }

    fn group_rest(&mut self, before: Flags) -> Result<Option<Node>, String> {
        if self.peek_raw(0) != Some('?') {
            return self.counted_group(before).map(Some);
        }
        self.pos += 1;
        let kind = self.raw().ok_or("a group is not closed")?;
        let node = match kind {
            ':' => Node::Group(None, Box::new(self.group_content(before)?)),
            '>' => Node::Atomic(Box::new(self.group_content(before)?)),
            '=' | '!' => {
                let node = Box::new(self.group_content(before)?);
                Node::Look { behind: None, negative: kind == '!', node }
            }
            '<' if matches!(self.peek_raw(0), Some('=' | '!')) => {
                let negative = self.raw() == Some('!');
                let node = Box::new(self.group_content(before)?);
                let (min, max) = node.width();
                let max = max.ok_or("what a look-behind looks for has no obvious maximum length")?;
                Node::Look { behind: Some(Reach { min, max }), negative, node }
            }
            '<' => {
                let name = self.group_name()?;
                if self.names.iter().any(|(known, _)| *known == name) {
                    return Err(format!("there are two groups named \"{name}\""));
                }
                self.names.push((name, self.groups));
                self.counted_group(before)?
            }
            _ => {
                self.pos -= 1;
                if self.switch_flags()? {
                    return Ok(None);
                }
                Node::Group(None, Box::new(self.group_content(before)?))
            }
        };
        Ok(Some(node))
    }

    fn counted_group(&mut self, before: Flags) -> Result<Node, String> {
        let index = self.groups;
        self.groups += 1;
        Ok(Node::Group(Some(index), Box::new(self.group_content(before)?)))
    }

    fn group_content(&mut self, before: Flags) -> Result<Node, String> {
        let node = self.alternatives()?;
        if !self.take(')') {
            return Err("a group is not closed".into());
        }
        self.flags = before;
        Ok(node)
    }

    pub(super) fn group_name(&mut self) -> Result<String, String> {
        let mut name = String::new();
        while let Some(c) = self.raw() {
            match c {
                '>' if !name.is_empty() => return Ok(name),
                'a'..='z' | 'A'..='Z' => name.push(c),
                '0'..='9' if !name.is_empty() => name.push(c),
                _ => break,
            }
        }
        Err("a group's name must begin with a letter and hold letters and digits only".into())
    }

    /// `(?i-m)` and `(?i-m:`; true when it ends with the parenthesis.
    fn switch_flags(&mut self) -> Result<bool, String> {
        let mut on = true;
        loop {
            let flags = &mut self.flags;
            match self.units.get(self.pos).map(|unit| unit.c) {
                Some('i') => flags.ignore_case = on,
                Some('m') => flags.multi_line = on,
                Some('s') => flags.dot_all = on,
                Some('d') => flags.unix_lines = on,
                Some('u') => flags.unicode_case = on,
                Some('x') => flags.comments = on,
                Some('U') => {
                    flags.unicode_classes = on;
                    flags.unicode_case = on;
                }
                Some('-') if on => on = false,
                end @ Some(')' | ':') => {
                    self.pos += 1;
                    return Ok(end == Some(')'));
                }
                _ => return Err("unknown kind of group or flag after \"(?\"".into()),
            }
            self.pos += 1;
        }
    }

    fn atom(&mut self, unit: Unit) -> Result<Node, String> {
        self.pos += 1;
        if unit.quoted {
            return Ok(self.literal(unit.c));
        }
        let unix = self.flags.unix_lines;
        Ok(match unit.c {
            '[' => Node::Set(self.class(true)?),
            '.' if self.flags.dot_all => Node::Set(Set::empty().negate()),
            '.' if unix => Node::Set(Set::of([('\n', '\n')]).negate()),
            '.' => Node::Set(not_line_end()),
            '^' if self.flags.multi_line => Node::Assert(Assertion::LineStart { unix }),
            '^' => Node::Assert(Assertion::Start),
            '$' if self.flags.multi_line => Node::Assert(Assertion::LineEnd { unix }),
            '$' => Node::Assert(Assertion::LastLineEnd { unix }),
            '\\' => self.escape()?,
            c => self.literal(c),
        })
    }

    pub(super) fn literal(&self, c: char) -> Node {
        if !self.flags.ignore_case || c.is_ascii() && !c.is_ascii_alphabetic() {
            return Node::Char(c);
        }
        if !c.is_ascii() && !self.flags.unicode_case {
            return Node::Char(c);
        }
        Node::Set(Set::of([(c, c)]).any_case(self.flags.unicode_case))
    }
}

fn not_line_end() -> Set {
    Set::of([('\n', '\n'), ('\r', '\r'), ('\u{85}', '\u{85}'), ('\u{2028}', '\u{2029}')]).negate()
}

/// Takes `\Q…\E` apart.
fn unquote(pattern: &str) -> Vec<Unit> {
    let mut units = Vec::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        if let Some(quoted) = rest.strip_prefix("\\Q") {
            let (inside, after) = quoted.split_once("\\E").unwrap_or((quoted, ""));
            units.extend(inside.chars().map(|c| Unit { c, quoted: true }));
            rest = after;
            continue;
        }
        let len = match c {
            // the escaped character can't begin a quotation
            '\\' => 1 + rest.chars().nth(1).map_or(0, char::len_utf8),
            c => c.len_utf8(),
        };
        let (part, after) = rest.split_at_checked(len).unwrap_or((rest, ""));
        units.extend(part.chars().map(|c| Unit { c, quoted: false }));
        rest = after;
    }
    units
}
