//! Built-ins of sequences.

use super::BuiltIn;
use super::sorting::{Unsortable, sorted};
use crate::ast::{BuiltInCall, Expr};
use crate::error::{ErrorKind, Raised, runtime};
use crate::eval::{Given, Interp, ListIter, a_or_an, compare_values, readable, uncomparable_text};
use crate::model::{Hash, Range, Sequence};
use crate::number::Number;
use crate::value::{Text, Value};

impl<'r> Interp<'r> {
    pub(super) fn sequence_built_in(&mut self, call: &'r BuiltInCall, expr: &'r Expr) -> Result<Value<'r>, Raised> {
        match call.which {
            BuiltIn::Size => self.size(call),
            BuiltIn::Join => self.join(call),
            BuiltIn::First => {
                let mut items = self.items_of(&call.target)?;
                Ok(self.next_item(&mut items)?.map_or(Value::Missing, |item| item.first))
            }
            BuiltIn::SeqContains => {
                let mut items = self.items_of(&call.target)?;
                let wanted = self.needed(call, 0)?;
                let mut index = 0;
                while let Some(item) = self.next_item(&mut items)? {
                    if self.is_same(&item.first, &wanted, index)? {
                        return Ok(Value::Bool(true));
                    }
                    index += 1;
                }
                Ok(Value::Bool(false))
            }
            BuiltIn::SeqIndexOf => self.index_of_item(call),
            BuiltIn::Min | BuiltIn::Max => self.extreme(call),
            _ => self.whole_sequence(call, expr),
        }
    }

    fn sequence(&mut self, call: &'r BuiltInCall) -> Result<Sequence<'r>, Raised> {
        let value = self.value(&call.target)?;
        self.as_sequence(value, call)
    }

    fn as_sequence(&mut self, value: Value<'r>, call: &'r BuiltInCall) -> Result<Sequence<'r>, Raised> {
        match value {
            Value::Sequence(sequence) => Ok(sequence),
            Value::Nothing { .. } => self.empty_sequence(),
            other => Err(self.expected("a sequence", &other, &call.target)),
        }
    }

    fn empty_sequence(&mut self) -> Result<Sequence<'r>, Raised> {
        match self.built_sequence(Vec::new())? {
            Value::Sequence(sequence) => Ok(sequence),
            _ => Err(runtime("no sequence")),
        }
    }

    /// Built-ins that need all items at once.
    fn whole_sequence(&mut self, call: &'r BuiltInCall, expr: &'r Expr) -> Result<Value<'r>, Raised> {
        let sequence = match call.which {
            BuiltIn::SeqLastIndexOf => match self.given(&call.target)? {
                Given::Items(items) => return self.last_index_of_item(items, call),
                Given::Value(value) => self.as_sequence(value, call)?,
            },
            BuiltIn::Sort | BuiltIn::SortBy => {
                let value = self.value(&call.target)?;
                let sequence = self.as_sequence(value.clone(), call)?;
                // without items it remains what it is
                if sequence.len() == Some(0) {
                    if call.which == BuiltIn::SortBy {
                        self.sort_by(&sequence, call, expr)?;
                    }
                    return Ok(value);
                }
                sequence
            }
            _ => self.sequence(call)?,
        };
        match call.which {
            BuiltIn::Last => {
                readable(&sequence)?;
                let last = sequence.len().and_then(|len| len.checked_sub(1));
                Ok(last.and_then(|last| sequence.get(last)).unwrap_or(Value::Missing))
            }
            BuiltIn::SeqLastIndexOf => {
                let wanted = self.needed(call, 0)?;
                let len = sequence.len().unwrap_or(0);
                let from = match self.index_arg(call, 1)? {
                    Some(from) if from < 0 => return Ok(minus_one()),
                    Some(from) => len.min(usize::try_from(from).unwrap_or(0).saturating_add(1)),
                    None => len,
                };
                for index in (0..from).rev() {
                    self.meter.step()?;
                    readable(&sequence)?;
                    if let Some(item) = sequence.get(index)
                        && self.is_same(&item, &wanted, index)?
                    {
                        return Ok(Value::int(index));
                    }
                }
                Ok(minus_one())
            }
            BuiltIn::Reverse => {
                let mut items = self.laid_out(&sequence)?;
                items.reverse();
                self.sequence_of(items)
            }
            BuiltIn::Sort => {
                let items = self.laid_out(&sequence)?;
                let keyed = items.iter().map(|item| (item.clone(), item.clone())).collect();
                self.sort(keyed, "value", call, expr)
            }
            BuiltIn::SortBy => self.sort_by(&sequence, call, expr),
            BuiltIn::Chunk => self.chunk(&sequence, call),
            _ => Ok(Value::Sequence(sequence)),
        }
    }

    /// Whether an item is equal to what is looked for; values of other types are just different.
    fn is_same(&mut self, item: &Value<'r>, wanted: &Value<'r>, index: usize) -> Result<bool, Raised> {
        if let Some(problem) = uncomparable_text(item, wanted) {
            return Err(runtime(format!(
                "This error has occurred when comparing sequence item at 0-based index {index} to the searched item:\n\
                 {problem}"
            )));
        }
        match (item, wanted) {
            (Value::String(a), Value::String(b)) => self.meter.scan(a.len().min(b.len()))?,
            (Value::Date(a), Value::Date(b)) if a.kind != b.kind => {
                return Err(runtime(format!(
                    "The item at index {index} can't be compared with what is looked for: it is a {}, and not a {}.",
                    a.kind.name(),
                    b.kind.name()
                )));
            }
            _ => {}
        }
        Ok(compare_values(item, wanted).is_ok_and(std::cmp::Ordering::is_eq))
    }

    fn sequence_of(&mut self, items: Vec<Value<'r>>) -> Result<Value<'r>, Raised> {
        Value::sequence(items).map_err(crate::error::limit)
    }

    fn needed(&mut self, call: &'r BuiltInCall, place: usize) -> Result<Value<'r>, Raised> {
        match call.args.get(place) {
            // what is missing is in no sequence, but no error
            Some(expr) => self.eval(expr),
            None => Err(super::dispatch::needs_arguments(call)),
        }
    }

    fn size(&mut self, call: &'r BuiltInCall) -> Result<Value<'r>, Raised> {
        let value = match self.given(&call.target)? {
            Given::Items(mut items) => {
                if let Some(size) = items.size() {
                    return Ok(Value::Number(Number::Int(size)));
                }
                let mut size = 0;
                while self.next_item(&mut items)?.is_some() {
                    size += 1;
                }
                return Ok(Value::int(size));
            }
            Given::Value(value) => value,
        };
        Ok(match value {
            Value::Sequence(Sequence::Range(Range { len: Some(len), .. })) => {
                Value::Number(Number::Int(i64::from(len)))
            }
            // an endless range says the most that a Java int can
            Value::Sequence(sequence) => Value::int(sequence.len().unwrap_or(i32::MAX as usize)),
            Value::Hash(Hash::Map(map)) => Value::int(map.len() + map.repeated),
            Value::Hash(hash) => Value::int(hash.len()),
            Value::Nothing { .. } => Value::int(0),
            other => {
                return Err(self.expected("extended-hash or sequence or extended collection", &other, &call.target));
            }
        })
    }

    fn join(&mut self, call: &'r BuiltInCall) -> Result<Value<'r>, Raised> {
        let mut items = self.items_of(&call.target)?;
        let separator = self.needed_text(call, 0)?;
        let when_empty = self.text_arg(call, 1)?;
        let after_last = self.text_arg(call, 2)?;
        let mut out = String::new();
        let mut index = 0;
        let mut any = false;
        while let Some(item) = self.next_item(&mut items)? {
            if !item.first.is_missing() {
                if any {
                    out.push_str(&separator);
                }
                any = true;
                let text = self.joined_text(item.first, index, call)?;
                self.meter.value(text.len() + separator.len())?;
                out.push_str(&text);
            }
            index += 1;
        }
        if any {
            out.push_str(after_last.as_deref().unwrap_or_default());
        } else {
            out.push_str(when_empty.as_deref().unwrap_or_default());
        }
        self.built(out)
    }

    /// The text of an item that is joined. What goes wrong with it is no fault of an expression.
    fn joined_text(&mut self, item: Value<'r>, index: usize, call: &'r BuiltInCall) -> Result<Text<'r>, Raised> {
        let type_name = item.type_name();
        self.text_of(item, &call.target).map_err(|mut fault| {
            if fault.kind == ErrorKind::Limit {
                return fault;
            }
            let message = match fault.blamed {
                Some(_) => format!(
                    "Expected a string or something automatically convertible to string (number, date or boolean), \
                     but the expression has evaluated to {}.",
                    a_or_an(type_name)
                ),
                None => std::mem::take(&mut fault.message),
            };
            runtime(format!(
                "\"?join\" failed at index {index} with this error:\n\n---begin-message---\n{message}\n---end-message---"
            ))
        })
    }

    fn index_of_item(&mut self, call: &'r BuiltInCall) -> Result<Value<'r>, Raised> {
        let mut items = self.items_of(&call.target)?;
        let wanted = self.needed(call, 0)?;
        let from = usize::try_from(self.index_arg(call, 1)?.unwrap_or(0)).unwrap_or(0);
        let mut index = 0;
        while let Some(item) = self.next_item(&mut items)? {
            if index >= from && self.is_same(&item.first, &wanted, index)? {
                return Ok(Value::int(index));
            }
            index += 1;
        }
        Ok(minus_one())
    }

    /// The last place of an item among those that are made one after the other.
    fn last_index_of_item(&mut self, mut items: ListIter<'r>, call: &'r BuiltInCall) -> Result<Value<'r>, Raised> {
        let wanted = self.needed(call, 0)?;
        let last = self.index_arg(call, 1)?.unwrap_or(i64::MAX);
        let (mut index, mut found) = (0usize, None);
        while i64::try_from(index).is_ok_and(|index| index <= last)
            && let Some(item) = self.next_item(&mut items)?
        {
            if self.is_same(&item.first, &wanted, index)? {
                found = Some(index);
            }
            index += 1;
        }
        Ok(found.map_or_else(minus_one, Value::int))
    }

    fn extreme(&mut self, call: &'r BuiltInCall) -> Result<Value<'r>, Raised> {
        let mut items: ListIter<'r> = self.items_of(&call.target)?;
        let mut best = Value::Missing;
        while let Some(item) = self.next_item(&mut items)? {
            if item.first.is_missing() {
                continue;
            }
            if best.is_missing() {
                best = item.first;
                continue;
            }
            let comparable = matches!(item.first, Value::Number(_) | Value::Date(_));
            let ordering = compare_values(&item.first, &best).ok().filter(|_| comparable);
            let Some(ordering) = ordering else {
                return Err(runtime(format!(
                    "?{} compares numbers or dates of one kind, but there are a {} and a {}",
                    call.which.name(),
                    best.type_name(),
                    item.first.type_name()
                ))
                .at(call.target.span));
            };
            let better = if call.which == BuiltIn::Min { ordering.is_lt() } else { ordering.is_gt() };
            if better {
                best = item.first;
            }
        }
        Ok(best)
    }

    fn sort_by(&mut self, sequence: &Sequence<'r>, call: &'r BuiltInCall, expr: &'r Expr) -> Result<Value<'r>, Raised> {
        let path = match self.needed(call, 0)? {
            Value::String(name) => vec![name.to_string()],
            Value::Sequence(names) => {
                let mut path = Vec::new();
                for name in self.laid_out(&names)? {
                    match name {
                        Value::String(name) => path.push(name.to_string()),
                        Value::Nothing { .. } => path.push(String::new()),
                        _ => {
                            return Err(runtime(format!(
                                "The argument to ?sort_by(key), when it's a sequence, must be a sequence of strings, \
                                 but the item at index {} is not a string.",
                                path.len()
                            )));
                        }
                    }
                }
                path
            }
            Value::Nothing { .. } => vec![String::new()],
            _ => {
                return Err(runtime(
                    "The argument to ?sort_by(key) must be a string (the name of the subvariable), or a sequence of \
                     strings (the \"path\" to the subvariable).",
                ));
            }
        };
        // FreeMarker takes no notice of further arguments
        for arg in call.args.iter().skip(1) {
            self.eval(arg)?;
        }
        let mut keyed = Vec::new();
        for (index, item) in self.laid_out(sequence)?.into_iter().enumerate() {
            let mut key = item.clone();
            let mut before: Option<&str> = None;
            for name in &path {
                self.meter.step()?;
                key = match self.settled(key)? {
                    Value::Hash(hash) => hash.get(name),
                    Value::Nothing { .. } => Value::Missing,
                    // FreeMarker asks what is not there for its entries
                    Value::Missing => return Err(self.sort_fault(Unsortable::Missing { index }, call, expr)),
                    _ => {
                        let what = match before {
                            None => "Sequence items must be hashes when using ?sort_by. ".to_owned(),
                            Some(before) => format!("The \"{before}\""),
                        };
                        let problem = format!(
                            "{what} subvariable is not a hash, so ?sort_by can't proceed with getting the \"{name}\" \
                             subvariable."
                        );
                        return Err(self.sort_fault(Unsortable::WrongType { index, problem }, call, expr));
                    }
                };
                if key.is_missing() {
                    let problem = format!("The \"{name}\" subvariable was null or missing.");
                    return Err(self.sort_fault(Unsortable::WrongType { index, problem }, call, expr));
                }
                before = Some(name);
            }
            keyed.push((key, item));
        }
        let what = if path.is_empty() { "value" } else { "key value" };
        self.sort(keyed, what, call, expr)
    }

    fn sort(
        &mut self,
        keyed: Vec<(Value<'r>, Value<'r>)>,
        what: &str,
        call: &'r BuiltInCall,
        expr: &'r Expr,
    ) -> Result<Value<'r>, Raised> {
        // n log n comparisons, each as long as the strings are
        let bytes: usize =
            keyed.iter().map(|(key, _)| if let Value::String(text) = key { text.len() } else { 0 }).sum();
        let rounds = u64::from(usize::BITS - keyed.len().leading_zeros());
        self.meter.steps((keyed.len() as u64 + bytes as u64 / 8) * rounds / 2)?;
        let items = sorted(keyed, what).map_err(|problem| self.sort_fault(problem, call, expr))?;
        self.sequence_of(items)
    }

    fn sort_fault(&self, problem: Unsortable, call: &BuiltInCall, expr: &Expr) -> Raised {
        let name = if call.which == BuiltIn::Sort { "?sort" } else { "?sort_by(...)" };
        let said = |index: usize, problem: &str| {
            let base = if index == 0 { "" } else { " (0-based)" };
            format!("{name} failed at sequence index {index}{base}: {problem}")
        };
        match problem {
            Unsortable::WrongType { index, problem } => runtime(said(index, &problem)),
            Unsortable::Missing { index } => self.blamed(said(index, "The item has no value."), expr, &[]),
        }
    }

    fn chunk(&mut self, sequence: &Sequence<'r>, call: &'r BuiltInCall) -> Result<Value<'r>, Raised> {
        let size = self.index_arg(call, 0)?.and_then(|size| usize::try_from(size).ok());
        let fill = match call.args.get(1) {
            Some(expr) => Some(self.eval(expr)?).filter(|fill| !fill.is_missing()),
            None => None,
        };
        let Some(size) = size.filter(|size| *size > 0) else {
            return Err(runtime("?chunk needs a size of at least 1"));
        };
        // FreeMarker counts the chunks with an int: of too many items there are less than none
        if let Sequence::Range(range) = sequence {
            let size = i32::try_from(size).unwrap_or(i32::MAX);
            let count = range.len.unwrap_or(i32::MAX).wrapping_add(size).wrapping_sub(1) / size;
            if count < 0 {
                return Ok(Value::Sequence(Sequence::Range(Range { len: Some(count), ..*range })));
            }
        }
        let items = self.laid_out(sequence)?;
        let mut chunks = Vec::new();
        for chunk in items.chunks(size) {
            let mut chunk = chunk.to_vec();
            if let Some(fill) = &fill {
                self.charge_items(size - chunk.len())?;
                chunk.resize(size, fill.clone());
            }
            chunks.push(self.built_sequence(chunk)?);
        }
        self.built_sequence(chunks)
    }
}

fn minus_one<'r>() -> Value<'r> {
    Value::Number(crate::number::Number::Int(-1))
}
