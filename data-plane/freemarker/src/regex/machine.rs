//! Running instructions over a text: backtracking, with every step counted.

use std::sync::OnceLock;

use super::node::{Assertion, Reach, RepeatKind};
use super::program::{Inst, Program};
use super::set::Set;

/// The most places to go back to that are kept at one time.
const MAX_FRAMES: usize = 1 << 18;

/// A group that took no part in the match.
pub(super) const UNSET: usize = usize::MAX;

/// Why a search ended without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exhausted {
    Steps,
    Memory,
}

/// What to do when the way taken fails.
enum Frame {
    Branch {
        pc: usize,
        pos: usize,
    },
    Slot {
        slot: usize,
        old: usize,
    },
    Mark {
        mark: usize,
        old: usize,
    },
    /// Give back one character of a repetition.
    Shorter {
        pc: usize,
        least: usize,
        pos: usize,
    },
    /// Take one more character.
    Longer {
        pc: usize,
        set: u32,
        pos: usize,
        left: u32,
    },
}

pub(super) struct Machine<'m> {
    pub(super) program: &'m Program,
    pub(super) text: &'m str,
    pub(super) slots: Vec<usize>,
    pub(super) marks: Vec<usize>,
    /// Where the last match ended, for `\G`.
    pub(super) last_end: usize,
    frames: Vec<Frame>,
    /// How many instructions may still be run.
    pub(super) fuel: u64,
}

impl<'m> Machine<'m> {
    pub(super) fn new(program: &'m Program, text: &'m str, groups: usize, fuel: u64) -> Self {
        Machine {
            program,
            text,
            slots: vec![UNSET; 2 * groups],
            marks: vec![UNSET; program.marks],
            last_end: 0,
            frames: Vec::new(),
            fuel,
        }
    }

    /// Matches at one place; with `to_end` up to the end of the text. Tells where the match ends.
    pub(super) fn match_at(&mut self, pos: usize, to_end: bool) -> Result<Option<usize>, Exhausted> {
        self.slots.fill(UNSET);
        self.frames.clear();
        self.run(0, pos, to_end.then_some(self.text.len()))
    }

    pub(super) fn char_at(&self, pos: usize) -> Option<char> {
        let byte = *self.text.as_bytes().get(pos)?;
        if byte.is_ascii() { Some(char::from(byte)) } else { self.text.get(pos..)?.chars().next() }
    }

    fn char_before(&self, pos: usize) -> Option<char> {
        self.text.get(..pos)?.chars().next_back()
    }

    fn set(&self, set: u32) -> Option<&'m Set> {
        self.program.sets.get(set as usize)
    }

    fn set_at(&self, set: u32, pos: usize) -> Option<usize> {
        let c = self.char_at(pos)?;
        self.set(set)?.contains(c).then(|| pos + c.len_utf8())
    }

    fn remember(&mut self, frame: Frame) -> Result<(), Exhausted> {
        if self.frames.len() >= MAX_FRAMES {
            return Err(Exhausted::Memory);
        }
        self.frames.push(frame);
        Ok(())
    }

    #[inline]
    fn burn(&mut self, count: u64) -> Result<(), Exhausted> {
        self.fuel = self.fuel.checked_sub(count).ok_or(Exhausted::Steps)?;
        Ok(())
    }

    /// Runs from an instruction to the `Match` that belongs to it; `must_end` is where that must be.
    fn run(&mut self, start: usize, from: usize, must_end: Option<usize>) -> Result<Option<usize>, Exhausted> {
        let base = self.frames.len();
        let (mut pc, mut pos) = (start, from);
        loop {
            self.burn(1)?;
            let program = self.program;
            let Some(inst) = program.insts.get(pc) else { return Ok(None) };
            let next = match inst {
                Inst::Match if must_end.is_none_or(|end| end == pos) => {
                    self.forget_ways_back(base);
                    return Ok(Some(pos));
                }
                Inst::Match => None,
                Inst::Char(c) => (self.char_at(pos) == Some(*c)).then(|| (pc + 1, pos + c.len_utf8())),
                Inst::Set(set) => self.set_at(*set, pos).map(|end| (pc + 1, end)),
                Inst::Assert(assertion) => self.holds(*assertion, pos).then_some((pc + 1, pos)),
                Inst::BackReference { group, ignore_case } => {
                    self.same_again(*group, *ignore_case, pos)?.map(|end| (pc + 1, end))
                }
                Inst::Jump(to) => Some((*to, pos)),
                Inst::Split(first, second) => {
                    self.remember(Frame::Branch { pc: *second, pos })?;
                    Some((*first, pos))
                }
                Inst::Save(slot) => {
                    if let Some(place) = self.slots.get_mut(*slot) {
                        let old = std::mem::replace(place, pos);
                        self.remember(Frame::Slot { slot: *slot, old })?;
                    }
                    Some((pc + 1, pos))
                }
                Inst::Mark(mark) => {
                    if let Some(place) = self.marks.get_mut(*mark) {
                        let old = std::mem::replace(place, pos);
                        self.remember(Frame::Mark { mark: *mark, old })?;
                    }
                    Some((pc + 1, pos))
                }
                Inst::Leave { mark, exit } => {
                    let nothing = self.marks.get(*mark) == Some(&pos);
                    Some((if nothing { *exit } else { pc + 1 }, pos))
                }
                Inst::Repeat { set, min, max, kind } => self.repeat(*set, *min, *max, *kind, pc, pos)?,
                Inst::Atomic { end } => self.run(pc + 1, pos, None)?.map(|reached| (*end, reached)),
                Inst::Look { behind, negative, end } => {
                    let found = self.look(*behind, *negative, pc + 1, pos)?;
                    (found != *negative).then_some((*end, pos))
                }
            };
            (pc, pos) = match next {
                Some(next) => next,
                None => match self.back(base)? {
                    Some(next) => next,
                    None => return Ok(None),
                },
            };
        }
    }

    fn repeat(
        &mut self,
        set: u32,
        min: u32,
        max: u32,
        kind: RepeatKind,
        pc: usize,
        from: usize,
    ) -> Result<Option<(usize, usize)>, Exhausted> {
        let Some(members) = self.set(set) else { return Ok(None) };
        let (mut pos, mut count, mut least) = (from, 0, from);
        let most = if kind == RepeatKind::Lazy { min } else { max };
        while count < most {
            let Some(c) = self.char_at(pos).filter(|c| members.contains(*c)) else { break };
            pos += c.len_utf8();
            count += 1;
            if count == min {
                least = pos;
            }
        }
        self.burn(u64::from(count) / 4)?;
        if count < min {
            return Ok(None);
        }
        match kind {
            RepeatKind::Greedy if pos > least => self.remember(Frame::Shorter { pc: pc + 1, least, pos })?,
            RepeatKind::Lazy if max > min => self.remember(Frame::Longer { pc: pc + 1, set, pos, left: max - min })?,
            _ => {}
        }
        Ok(Some((pc + 1, pos)))
    }

    /// Undoes what was done since the last place with another way, and tells that way.
    fn back(&mut self, base: usize) -> Result<Option<(usize, usize)>, Exhausted> {
        while self.frames.len() > base {
            self.burn(1)?;
            match self.frames.pop() {
                Some(Frame::Branch { pc, pos }) => return Ok(Some((pc, pos))),
                Some(Frame::Slot { slot, old }) => {
                    if let Some(place) = self.slots.get_mut(slot) {
                        *place = old;
                    }
                }
                Some(Frame::Mark { mark, old }) => {
                    if let Some(place) = self.marks.get_mut(mark) {
                        *place = old;
                    }
                }
                Some(Frame::Shorter { pc, least, pos }) => {
                    let shorter = pos - self.char_before(pos).map_or(1, char::len_utf8);
                    if shorter > least {
                        self.frames.push(Frame::Shorter { pc, least, pos: shorter });
                    }
                    return Ok(Some((pc, shorter)));
                }
                Some(Frame::Longer { pc, set, pos, left }) => {
                    if let Some(longer) = self.set_at(set, pos) {
                        if left > 1 {
                            self.frames.push(Frame::Longer { pc, set, pos: longer, left: left - 1 });
                        }
                        return Ok(Some((pc, longer)));
                    }
                }
                None => break,
            }
        }
        Ok(None)
    }

    /// What matched stays as it is, but the groups it set are still undone when what comes after fails.
    fn forget_ways_back(&mut self, base: usize) {
        let mut kept = base;
        for place in base..self.frames.len() {
            if matches!(self.frames.get(place), Some(Frame::Slot { .. } | Frame::Mark { .. })) {
                self.frames.swap(kept, place);
                kept += 1;
            }
        }
        self.frames.truncate(kept);
    }

    fn look(&mut self, behind: Option<Reach>, negative: bool, pc: usize, pos: usize) -> Result<bool, Exhausted> {
        let base = self.frames.len();
        let found = match behind {
            None => self.run(pc, pos, None)?.is_some(),
            Some(reach) => {
                let mut start = pos;
                let mut found = false;
                for back in 0..=reach.max {
                    if back >= reach.min && self.run(pc, start, Some(pos))?.is_some() {
                        found = true;
                        break;
                    }
                    match self.char_before(start) {
                        Some(c) => start -= c.len_utf8(),
                        None => break,
                    }
                }
                found
            }
        };
        if negative && found {
            // groups of what must not match stay unset
            while self.back(base)?.is_some() {}
        }
        Ok(found)
    }

    fn same_again(&mut self, group: usize, ignore_case: bool, pos: usize) -> Result<Option<usize>, Exhausted> {
        let (start, end) = match (self.slots.get(2 * group), self.slots.get(2 * group + 1)) {
            (Some(start), Some(end)) if *end != UNSET && start <= end => (*start, *end),
            _ => return Ok(None),
        };
        let wanted = self.text.get(start..end).unwrap_or_default();
        self.burn(wanted.len() as u64 / 8)?;
        let Some(rest) = self.text.get(pos..) else { return Ok(None) };
        if !ignore_case {
            return Ok(rest.starts_with(wanted).then(|| pos + wanted.len()));
        }
        let mut len = 0;
        let mut chars = rest.chars();
        for w in wanted.chars() {
            match chars.next() {
                Some(c) if c.eq_ignore_ascii_case(&w) => len += c.len_utf8(),
                _ => return Ok(None),
            }
        }
        Ok(Some(pos + len))
    }

    fn holds(&self, assertion: Assertion, pos: usize) -> bool {
        let end = self.text.len();
        let ends_line =
            |c: char, unix: bool| c == '\n' || !unix && matches!(c, '\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
        match assertion {
            Assertion::Start => pos == 0,
            Assertion::End => pos == end,
            Assertion::LastMatch => pos == self.last_end,
            Assertion::LineStart { unix } => match self.char_before(pos) {
                // never at the end, even of nothing
                _ if pos == end => false,
                None => true,
                Some('\r') if !unix => self.char_at(pos) != Some('\n'),
                Some(c) => ends_line(c, unix),
            },
            Assertion::LineEnd { unix } => match self.char_at(pos) {
                None => true,
                Some('\n') if !unix => self.char_before(pos) != Some('\r'),
                Some(c) => ends_line(c, unix),
            },
            Assertion::LastLineEnd { unix } => match self.text.get(pos..).unwrap_or_default() {
                "" => true,
                "\r\n" => !unix,
                "\n" => unix || self.char_before(pos) != Some('\r'),
                rest => {
                    let mut chars = rest.chars();
                    chars.next().is_some_and(|c| ends_line(c, unix)) && chars.next().is_none()
                }
            },
            Assertion::WordBoundary { negative } => {
                let before = self.char_before(pos).is_some_and(|c| self.is_word(c, pos));
                let after = self.char_at(pos).is_some_and(|c| self.is_word(c, pos + c.len_utf8()));
                (before != after) != negative
            }
        }
    }

    /// Whether the character that ends at `end` is one of a word; marks are if they follow one.
    fn is_word(&self, c: char, end: usize) -> bool {
        if !is_mark(c) {
            return is_word(c);
        }
        let before = self.text.get(..end).unwrap_or_default();
        before.trim_end_matches(is_mark).chars().next_back().is_some_and(char::is_alphanumeric)
    }
}

/// Marks that stand on another character.
fn is_mark(c: char) -> bool {
    static MARKS: OnceLock<Option<Set>> = OnceLock::new();
    c >= '\u{300}' && MARKS.get_or_init(|| super::set::property("Mn")).as_ref().is_some_and(|marks| marks.contains(c))
}

/// Word characters for `\b`, which knows more of them than `\w`.
fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}
