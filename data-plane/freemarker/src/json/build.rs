//! Building a [`Document`]: one pass over the text, with a stack of what is open.

use jiter::{Jiter, JiterErrorType, Peek};

use super::{Document, Entry, INDEX_FROM, JsonError, Member, NO_INDEX, TextRef};

/// An array or object whose end has not been read yet.
struct Open {
    object: bool,
    /// Where its children begin among the waiting items or members.
    start: usize,
    /// In an object: the key whose value is being read.
    key: TextRef,
}

pub(super) struct Builder<'a> {
    jiter: Jiter<'a>,
    max_depth: usize,
    document: Document<'a>,
    open: Vec<Open>,
    waiting_items: Vec<Entry>,
    waiting_members: Vec<Member>,
}

const NO_TEXT: TextRef = TextRef { start: 0, len: 0, unescaped: false };

impl<'a> Builder<'a> {
    pub(super) fn new(source: &'a str, max_depth: usize) -> Self {
        Builder {
            jiter: Jiter::new(source.as_bytes()),
            max_depth,
            document: Document {
                source,
                unescaped: String::new(),
                items: Vec::new(),
                members: Vec::new(),
                index: Vec::new(),
                root: Entry::Null,
            },
            open: Vec::new(),
            waiting_items: Vec::new(),
            waiting_members: Vec::new(),
        }
    }

    pub(super) fn run(mut self) -> Result<Document<'a>, JsonError> {
        let mut peek = self.jiter.peek().map_err(|e| json_error(&e))?;
        loop {
            // the next value: opened, or read whole
            let mut value = match self.value(peek)? {
                Step::Descend(first) => {
                    peek = first;
                    continue;
                }
                Step::Value(value) => value,
            };
            // hand it to its parent, and close every parent that it ends
            loop {
                let Some(parent) = self.open.last() else {
                    self.jiter.finish().map_err(|e| json_error(&e))?;
                    self.document.root = value;
                    return Ok(self.document);
                };
                if parent.object {
                    self.waiting_members.push(Member { key: parent.key, value });
                    if let Some(key) = next_key(&mut self.jiter, &mut self.document)? {
                        if let Some(parent) = self.open.last_mut() {
                            parent.key = key;
                        }
                        peek = self.jiter.peek().map_err(|e| json_error(&e))?;
                        break;
                    }
                } else {
                    self.waiting_items.push(value);
                    if let Some(next) = self.jiter.array_step().map_err(|e| json_error(&e))? {
                        peek = next;
                        break;
                    }
                }
                value = self.close();
            }
        }
    }

    fn value(&mut self, peek: Peek) -> Result<Step, JsonError> {
        let entry = match peek {
            Peek::Null => {
                self.jiter.known_null().map_err(|e| json_error(&e))?;
                Entry::Null
            }
            Peek::True | Peek::False => Entry::Bool(self.jiter.known_bool(peek).map_err(|e| json_error(&e))?),
            Peek::String => {
                let text = self.jiter.known_str().map_err(|e| json_error(&e))?;
                Entry::String(place(text, &mut self.document))
            }
            Peek::Array => {
                let start = self.waiting_items.len();
                self.descend(Open { object: false, start, key: NO_TEXT })?;
                match self.jiter.known_array().map_err(|e| json_error(&e))? {
                    Some(first) => return Ok(Step::Descend(first)),
                    None => self.close(),
                }
            }
            Peek::Object => {
                let start = self.waiting_members.len();
                self.descend(Open { object: true, start, key: NO_TEXT })?;
                let key =
                    self.jiter.known_object().map_err(|e| json_error(&e))?.map(|key| place(key, &mut self.document));
                match (key, self.open.last_mut()) {
                    (Some(key), Some(open)) => {
                        open.key = key;
                        return Ok(Step::Descend(self.jiter.peek().map_err(|e| json_error(&e))?));
                    }
                    _ => self.close(),
                }
            }
            number => {
                let bytes = self.jiter.known_number_bytes(number).map_err(|e| json_error(&e))?;
                let start = offset_in(bytes, self.document.source);
                Entry::Number(text_ref(start.unwrap_or(0), bytes.len(), false))
            }
        };
        Ok(Step::Value(entry))
    }

    fn descend(&mut self, open: Open) -> Result<(), JsonError> {
        if self.open.len() >= self.max_depth {
            return Err(JsonError {
                message: format!("nesting deeper than {}", self.max_depth),
                offset: self.jiter.current_index(),
            });
        }
        self.open.push(open);
        Ok(())
    }

    /// Ends the innermost array or object: its children move to the arena, side by side.
    fn close(&mut self) -> Entry {
        let Some(open) = self.open.pop() else { return Entry::Null };
        if !open.object {
            let start = self.document.items.len();
            self.document.items.extend(self.waiting_items.drain(open.start..));
            let len = self.document.items.len() - start;
            return Entry::Array { start: to_u32(start), len: to_u32(len) };
        }
        let start = self.document.members.len();
        if self.waiting_members.len() - open.start <= INDEX_FROM {
            for member in self.waiting_members.drain(open.start..) {
                let key = self.document.text(member.key);
                let same = self.document.members[start..].iter().position(|m| self.document.text(m.key) == key);
                match same {
                    Some(place) => self.document.members[start + place].value = member.value,
                    None => self.document.members.push(member),
                }
            }
            let len = self.document.members.len() - start;
            return Entry::Object { start: to_u32(start), len: to_u32(len), index: NO_INDEX };
        }
        self.close_big_object(open.start, start)
    }

    fn close_big_object(&mut self, waiting_from: usize, start: usize) -> Entry {
        let document = &mut self.document;
        let waiting: Vec<Member> = self.waiting_members.drain(waiting_from..).collect();
        let mut order: Vec<usize> = (0..waiting.len()).collect();
        // stable: among equal keys the first written stays first
        order.sort_by(|a, b| document.text(waiting[*a].key).cmp(document.text(waiting[*b].key)));
        let mut value_of = vec![None; waiting.len()];
        let mut group_start = 0;
        while group_start < order.len() {
            let key = document.text(waiting[order[group_start]].key);
            let group =
                order[group_start..].iter().take_while(|place| document.text(waiting[**place].key) == key).count();
            let last = order[group_start + group - 1];
            value_of[order[group_start]] = Some(waiting[last].value);
            group_start += group;
        }
        let mut new_place = vec![0; waiting.len()];
        for (old, member) in waiting.iter().enumerate() {
            if let Some(value) = value_of[old] {
                new_place[old] = to_u32(document.members.len());
                document.members.push(Member { key: member.key, value });
            }
        }
        let index = document.index.len();
        document.index.extend(order.iter().filter(|old| value_of[**old].is_some()).map(|old| new_place[*old]));
        let len = document.members.len() - start;
        Entry::Object { start: to_u32(start), len: to_u32(len), index: to_u32(index) }
    }
}

enum Step {
    /// A container was opened; this is what its first value begins with.
    Descend(Peek),
    Value(Entry),
}

fn next_key(jiter: &mut Jiter<'_>, document: &mut Document<'_>) -> Result<Option<TextRef>, JsonError> {
    let key = jiter.next_key().map_err(|e| json_error(&e))?;
    Ok(key.map(|key| place(key, document)))
}

/// Refers to a string in the source if it stands there as it is, else keeps a copy.
fn place(text: &str, document: &mut Document<'_>) -> TextRef {
    if text.is_empty() {
        return NO_TEXT;
    }
    if let Some(start) = offset_in(text.as_bytes(), document.source) {
        return text_ref(start, text.len(), false);
    }
    let start = document.unescaped.len();
    document.unescaped.push_str(text);
    text_ref(start, text.len(), true)
}

/// Where `part` lies within `whole`, when it is a slice of it.
fn offset_in(part: &[u8], whole: &str) -> Option<usize> {
    let offset = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    (offset + part.len() <= whole.len()).then_some(offset)
}

fn text_ref(start: usize, len: usize, unescaped: bool) -> TextRef {
    TextRef { start: to_u32(start), len: to_u32(len), unescaped }
}

/// Counts within a text of less than 4 GiB.
fn to_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX - 1)
}

fn json_error(error: &jiter::JiterError) -> JsonError {
    let message = match &error.error_type {
        JiterErrorType::JsonError(error) => error.to_string(),
        other => other.to_string(),
    };
    JsonError { message, offset: error.index }
}
