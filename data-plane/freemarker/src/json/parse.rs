//! Building a [`Document`]: one pass over the text, with a stack of what is open.
//!
//! Values wait, each with its key, until the array or object that they are in ends; then they move
//! to the arena side by side.

use super::key::signature;
use super::scan::{Found, Scanner};
use super::{Document, JsonError, Slot, Tag};

/// Objects with more members than this get a sorted index; smaller ones are searched from end to end.
pub(super) const INDEX_FROM: usize = 64;

/// Objects of up to this many members are looked through for duplicate keys pair by pair.
const FEW: usize = 8;

/// An array or object whose end has not been read yet.
struct Open {
    /// Where its children begin among the waiting values.
    start: usize,
    /// The slot that it will be in, with its key.
    slot: Slot,
}

/// Reads a text; unless it is to `KEEP` what it reads, it only looks whether that is JSON.
pub(super) struct Parser<'a, const KEEP: bool> {
    scanner: Scanner<'a>,
    max_depth: usize,
    max_values: usize,
    document: Document<'a>,
    open: Vec<Open>,
    waiting: Vec<Slot>,
}

impl<'a, const KEEP: bool> Parser<'a, KEEP> {
    pub(super) fn new(source: &'a str, max_depth: usize, max_values: usize) -> Self {
        // the values of events take some 20 bytes each; more room is made when that is too little
        let guess = if KEEP { (source.len() / 20 + 4).min(max_values) } else { 0 };
        Parser {
            scanner: Scanner::new(source),
            max_depth,
            max_values,
            document: Document {
                source,
                decoded: String::new(),
                slots: Vec::with_capacity(guess),
                indexes: Vec::new(),
                root: Slot::EMPTY,
            },
            open: Vec::with_capacity(8),
            waiting: Vec::with_capacity(guess),
        }
    }

    pub(super) fn run(mut self) -> Result<Document<'a>, JsonError> {
        // what the next value is to be in: its key if it has one
        let mut slot = Slot::EMPTY;
        'value: loop {
            if self.value(&mut slot)? {
                // opened: the first child, or its end
                let object = slot.tag == Tag::Object;
                let closer = if object { b'}' } else { b']' };
                let token = self.scanner.next_token();
                if token == closer {
                    self.scanner.at += 1;
                } else if token == 0 && !object {
                    return Err(self.scanner.unexpected("expected value", "a list"));
                } else {
                    self.descend(slot)?;
                    slot = if object { self.key()? } else { Slot::EMPTY };
                    continue 'value;
                }
            }
            // the value goes to its parent, and so does every parent that ends with it
            loop {
                let Some(parent) = self.open.last() else {
                    self.document.root = slot;
                    return self.finish();
                };
                let object = parent.slot.tag == Tag::Object;
                if KEEP {
                    if self.waiting.len() == self.waiting.capacity() {
                        self.make_room()?;
                    }
                    self.waiting.push(slot);
                }
                let token = self.scanner.next_token();
                match (token, object) {
                    (b',', true) => {
                        self.scanner.at += 1;
                        slot = self.next_key()?;
                        continue 'value;
                    }
                    (b',', false) => {
                        self.scanner.at += 1;
                        if self.scanner.next_token() == b']' {
                            return Err(self.scanner.error("trailing comma"));
                        }
                        slot = Slot::EMPTY;
                        continue 'value;
                    }
                    (b'}', true) | (b']', false) => {
                        self.scanner.at += 1;
                        slot = self.close()?;
                    }
                    (_, true) => return Err(self.scanner.unexpected("expected `,` or `}`", "an object")),
                    (_, false) => return Err(self.scanner.unexpected("expected `,` or `]`", "a list")),
                }
            }
        }
    }

    /// Reads a value; of an array or object only the bracket, and then the result is true.
    #[inline]
    fn value(&mut self, slot: &mut Slot) -> Result<bool, JsonError> {
        match self.scanner.next_token() {
            b'"' => {
                self.scanner.at += 1;
                let (start, len, decoded) = self.text()?;
                (slot.start, slot.len) = (start, len);
                slot.tag = if decoded { Tag::Decoded } else { Tag::String };
            }
            b'-' | b'0'..=b'9' => {
                let start = self.scanner.at;
                self.scanner.number()?;
                (slot.start, slot.len) = (to_u32(start), to_u32(self.scanner.at - start));
                slot.tag = Tag::Number;
            }
            open @ (b'{' | b'[') => {
                if self.open.len() >= self.max_depth {
                    return Err(self.scanner.error(&format!("nesting deeper than {}", self.max_depth)));
                }
                self.scanner.at += 1;
                slot.tag = if open == b'{' { Tag::Object } else { Tag::Array };
                return Ok(true);
            }
            b'n' => {
                self.scanner.word("null")?;
                slot.tag = Tag::Null;
            }
            b't' => {
                self.scanner.word("true")?;
                slot.tag = Tag::True;
            }
            b'f' => {
                self.scanner.word("false")?;
                slot.tag = Tag::False;
            }
            _ => return Err(self.scanner.unexpected("expected value", "a value")),
        }
        Ok(false)
    }

    /// Reads a string after its quote: where it is, how long, and whether among the decoded ones.
    #[inline]
    fn text(&mut self) -> Result<(u32, u32, bool), JsonError> {
        if !KEEP {
            self.document.decoded.clear();
        }
        let (start, decoded) = (self.scanner.at, self.document.decoded.len());
        match self.scanner.string(&mut self.document.decoded)? {
            Found::Plain(end) => Ok((to_u32(start), to_u32(end - start), false)),
            Found::Decoded => Ok((to_u32(decoded), to_u32(self.document.decoded.len() - decoded), true)),
        }
    }

    /// Reads a key that another member stands before.
    fn next_key(&mut self) -> Result<Slot, JsonError> {
        if self.scanner.next_token() == b'}' {
            return Err(self.scanner.error("trailing comma"));
        }
        self.key()
    }

    /// Reads a key and its colon: a slot for its value.
    #[inline]
    fn key(&mut self) -> Result<Slot, JsonError> {
        if self.scanner.next_token() != b'"' {
            return Err(self.scanner.unexpected("key must be a string", "an object"));
        }
        self.scanner.at += 1;
        let (key_start, key_len, key_decoded) = self.text()?;
        if self.scanner.next_token() != b':' {
            return Err(self.scanner.unexpected("expected `:`", "an object"));
        }
        self.scanner.at += 1;
        let signature = if KEEP { signature(self.document.text(key_start, key_len, key_decoded)) } else { 0 };
        Ok(Slot { key_start, key_len, key_decoded, signature, ..Slot::EMPTY })
    }

    fn descend(&mut self, slot: Slot) -> Result<(), JsonError> {
        self.open.push(Open { start: self.waiting.len(), slot });
        Ok(())
    }

    /// Makes room for all values that may still come: to grow bit by bit takes much more in the end.
    #[cold]
    fn make_room(&mut self) -> Result<(), JsonError> {
        self.check_count(self.waiting.len() + 1)?;
        let rest = self.document.source.as_bytes().get(self.scanner.at..).unwrap_or_default();
        // every value is the first of an array or object, stands behind a comma, or is being read
        let more = rest.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count() + self.open.len() + 1;
        let left = self.max_values.saturating_sub(self.waiting.len());
        self.waiting.reserve_exact(more.min(left).max(1));
        Ok(())
    }

    fn check_count(&self, count: usize) -> Result<(), JsonError> {
        if count <= self.max_values {
            return Ok(());
        }
        let error = self.scanner.error(&format!("more than {} values", self.max_values));
        Err(JsonError { is_limit: true, ..error })
    }

    fn finish(mut self) -> Result<Document<'a>, JsonError> {
        self.scanner.next_token();
        if self.scanner.at < self.document.source.len() {
            return Err(self.scanner.error("trailing characters"));
        }
        Ok(self.document)
    }

    /// Ends the innermost array or object: its children move to the arena.
    fn close(&mut self) -> Result<Slot, JsonError> {
        let Some(Open { start: from, mut slot }) = self.open.pop() else { return Ok(Slot::EMPTY) };
        if !KEEP {
            return Ok(slot);
        }
        self.check_count(self.document.slots.len() + self.waiting.len() - from)?;
        let children = self.waiting.get(from..).unwrap_or_default();
        let start = self.document.slots.len();
        if slot.tag == Tag::Object && (children.len() > INDEX_FROM || self.may_have_duplicates(children)) {
            slot.tag = self.document.take_members(children);
        } else {
            self.document.slots.extend_from_slice(children);
        }
        self.waiting.truncate(from);
        (slot.start, slot.len) = (to_u32(start), to_u32(self.document.slots.len() - start));
        Ok(slot)
    }

    /// Whether two keys of an object of no more than [`INDEX_FROM`] members may be the same.
    fn may_have_duplicates(&self, members: &[Slot]) -> bool {
        if members.len() <= FEW {
            let mut rest = members;
            while let Some((first, others)) = rest.split_first() {
                if others.iter().any(|other| other.signature == first.signature) {
                    return true;
                }
                rest = others;
            }
            return false;
        }
        // each signature finds a free place near where it belongs, or its like
        const PLACES: usize = 4 * INDEX_FROM;
        let mut places = [u8::MAX; PLACES];
        for (number, member) in members.iter().enumerate() {
            let mut place = member.signature as usize % PLACES;
            while let Some(other) = places.get(place).and_then(|other| members.get(usize::from(*other))) {
                if other.signature == member.signature {
                    return true;
                }
                place = (place + 1) % PLACES;
            }
            if let Some(free) = places.get_mut(place) {
                *free = number as u8;
            }
        }
        false
    }
}

impl Document<'_> {
    /// Takes in the members of an object that is big or has duplicate keys: of those the first gives the
    /// place and the last the value.
    fn take_members(&mut self, members: &[Slot]) -> Tag {
        let mut order: Vec<usize> = (0..members.len()).collect();
        let key = |place: usize| members.get(place).map_or("", |member| self.key(member));
        // stable: among equal keys the first written stays first
        order.sort_by(|a, b| key(*a).cmp(key(*b)));
        let mut value_of: Vec<Option<usize>> = vec![None; members.len()];
        for group in order.chunk_by(|a, b| key(*a) == key(*b)) {
            if let (Some(first), Some(last)) = (group.first(), group.last())
                && let Some(value) = value_of.get_mut(*first)
            {
                *value = Some(*last);
            }
        }
        let start = self.slots.len();
        let mut new_place = vec![None; members.len()];
        for ((member, value), new_place) in members.iter().zip(&value_of).zip(&mut new_place) {
            let Some(value) = value.and_then(|value| members.get(value)) else { continue };
            *new_place = Some(to_u32(self.slots.len() - start));
            let Slot { start, len, tag, .. } = *value;
            self.slots.push(Slot { start, len, tag, ..*member });
        }
        if self.slots.len() - start <= INDEX_FROM {
            return Tag::Object;
        }
        let index = order.iter().filter_map(|old| new_place.get(*old).copied().flatten()).collect();
        self.indexes.push((to_u32(start), index));
        Tag::BigObject
    }
}

/// Counts within a text of less than 4 GiB.
fn to_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX - 1)
}
