//! Going through sequences and hashes, lazily where FreeMarker does.

use std::sync::Arc;

use super::access::readable;
use super::lazy::{Given, Part};
use super::{Flow, Interp};
use crate::ast::{BuiltInCall, Expr, ExprKind, Items, Lambda, List, LoopVariables};
use crate::callable::Callable as FunctionValue;
use crate::error::{ErrorKind, Place, Raised, runtime};
use crate::model::{Hash, Range, Sequence};
use crate::span::Span;
use crate::value::{Method, Value};

/// What is listed: an item, or a key and its value.
pub(crate) struct Item<'r> {
    pub(crate) first: Value<'r>,
    pub(crate) second: Option<Value<'r>>,
}

/// What is left to go through.
pub(crate) struct ListIter<'r> {
    source: Source<'r>,
    /// An item that had to be fetched to know whether there is one.
    ahead: Option<Item<'r>>,
}

enum Source<'r> {
    Sequence { sequence: Sequence<'r>, place: usize },
    Hash { hash: Hash<'r>, place: usize },
    Derived { inner: Box<ListIter<'r>>, how: Derivation, callable: Callable<'r>, settled: bool, lazy: bool },
    Part { inner: Box<ListIter<'r>>, part: Part },
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Derivation {
    Filter,
    Map,
    TakeWhile,
    DropWhile,
}

/// What `?filter` and `?map` call for each item.
#[derive(Clone)]
pub(crate) enum Callable<'r> {
    Lambda(&'r Lambda),
    Method(Arc<dyn Method>, Span),
    Function(FunctionValue<'r>, Span),
}

impl Callable<'_> {
    fn span(&self) -> Span {
        match self {
            Callable::Lambda(lambda) => lambda.span,
            Callable::Method(_, span) | Callable::Function(_, span) => *span,
        }
    }
}

impl<'r> ListIter<'r> {
    pub(crate) fn of(sequence: Sequence<'r>) -> Self {
        ListIter { source: Source::Sequence { sequence, place: 0 }, ahead: None }
    }

    /// Whether it is a range of so many items that FreeMarker counts less than none, which is not nothing.
    fn has_overflown(&self) -> bool {
        matches!(
            &self.source,
            Source::Sequence { sequence: Sequence::Range(Range { len: Some(len), .. }), .. } if *len < 0
        )
    }

    /// How many items there are where FreeMarker knows it before they are made.
    pub(crate) fn size(&self) -> Option<i64> {
        match &self.source {
            Source::Sequence { sequence, .. } => {
                Some(sequence.len().and_then(|len| i64::try_from(len).ok()).unwrap_or(i64::from(i32::MAX)))
            }
            Source::Derived { inner, how: Derivation::Map, .. } => inner.size(),
            Source::Part { part, .. } => part.size,
            Source::Hash { .. } | Source::Derived { .. } => None,
        }
    }

    pub(super) fn part(self, part: Part) -> Self {
        ListIter { source: Source::Part { inner: Box::new(self), part }, ahead: None }
    }

    /// The same, all of which is wanted: errors are not those of the single items.
    pub(crate) fn at_once(mut self) -> Self {
        if let Source::Derived { lazy, .. } = &mut self.source {
            *lazy = false;
        }
        self
    }

    fn of_hash(hash: Hash<'r>) -> Self {
        ListIter { source: Source::Hash { hash, place: 0 }, ahead: None }
    }

    fn empty() -> Self {
        let nothing = Range { start: 0, len: Some(0), descending: false, adapts: false, inclusive: false };
        Self::of(Sequence::Range(nothing))
    }
}

impl<'r> Interp<'r> {
    /// The items that an expression gives; filters and the like in it work as they are asked.
    pub(crate) fn items_of(&mut self, expr: &'r Expr) -> Result<ListIter<'r>, Raised> {
        match self.given(expr)? {
            Given::Items(items) => Ok(items),
            Given::Value(Value::Sequence(sequence)) => Ok(ListIter::of(sequence)),
            Given::Value(Value::Nothing { .. }) => Ok(ListIter::empty()),
            Given::Value(other) => Err(self.expected("sequence or collection", &other, expr)),
        }
    }

    pub(super) fn derive(
        &mut self,
        call: &'r BuiltInCall,
        how: Derivation,
        inner: ListIter<'r>,
    ) -> Result<ListIter<'r>, Raised> {
        let callable = match call.args.first() {
            Some(Expr { kind: ExprKind::Lambda(lambda), .. }) => Callable::Lambda(lambda),
            Some(other) => match self.value(other)? {
                Value::Method(method) => Callable::Method(method, other.span),
                Value::Callable(function) if function.is_method() => Callable::Function(function, other.span),
                value => return Err(self.expected("method or function or lambda expression", &value, other)),
            },
            None => return Err(runtime(format!("?{} needs an argument", call.which.name()))),
        };
        let inner = Box::new(inner);
        let source = Source::Derived { inner, how, callable, settled: false, lazy: true };
        Ok(ListIter { source, ahead: None })
    }

    pub(crate) fn call_for_item(&mut self, callable: &Callable<'r>, item: Value<'r>) -> Result<Value<'r>, Raised> {
        self.meter.step()?;
        self.meter.enter()?;
        let value = match callable {
            Callable::Lambda(lambda) => {
                self.set_local(lambda.slot, item);
                self.open_scope(&lambda.bindings);
                let value = self.eval(&lambda.body);
                self.close_scope();
                value
            }
            Callable::Function(function, span) => self.call_with_values(function, &[item]).at(*span),
            Callable::Method(method, span) => self.call_method(method.as_ref(), &[item]).at(*span),
        };
        self.meter.leave();
        value
    }

    fn accepts(&mut self, callable: &Callable<'r>, item: Value<'r>) -> Result<bool, Raised> {
        match self.call_for_item(callable, item)? {
            value if value.as_bool().is_some() => Ok(value.as_bool() == Some(true)),
            Value::Missing => Err(self.wrong_result(
                "The filter expression has returned no value (has returned null), rather than a boolean.",
                callable,
            )),
            other => {
                let message = format!(
                    "The filter expression had to return a boolean value, but it returned {} instead.",
                    super::blame::a_or_an(other.type_name())
                );
                Err(self.wrong_result(&message, callable))
            }
        }
    }

    /// The error of a lambda's result: it names the lambda, but is the directive's.
    fn wrong_result(&self, message: &str, callable: &Callable<'r>) -> Raised {
        let mut fault = self.blamed_at(message, callable.span(), &[]);
        fault.span = None;
        fault
    }

    /// Whether there is one more item.
    pub(crate) fn has_next(&mut self, iter: &mut ListIter<'r>) -> Result<bool, Raised> {
        if iter.ahead.is_some() {
            return Ok(true);
        }
        match &mut iter.source {
            Source::Sequence { sequence, place } => Ok(sequence.len().is_none_or(|len| *place < len)),
            Source::Hash { hash, place } => Ok(*place < hash.len()),
            Source::Derived { inner, how: Derivation::Map, .. } => self.has_next(inner),
            Source::Part { inner, part } => self.part_has_next(inner, part),
            Source::Derived { .. } => {
                iter.ahead = self.next_item(iter)?;
                Ok(iter.ahead.is_some())
            }
        }
    }

    /// The next item.
    pub(crate) fn next_item(&mut self, iter: &mut ListIter<'r>) -> Result<Option<Item<'r>>, Raised> {
        if let Some(item) = iter.ahead.take() {
            return Ok(Some(item));
        }
        self.meter.step()?;
        let item = match &mut iter.source {
            Source::Sequence { sequence, place } => {
                let item = sequence.get(*place);
                if item.is_none() && sequence.len().is_some_and(|len| *place < len) {
                    readable(sequence)?;
                }
                *place += 1;
                return Ok(item.map(|first| Item { first, second: None }));
            }
            Source::Hash { hash, place } => {
                let entry = hash.entry(*place);
                *place += 1;
                return Ok(entry.map(|(key, value)| Item { first: Value::String(key), second: Some(value) }));
            }
            Source::Part { inner, part } => self.next_of_part(inner, part)?.map(|first| Item { first, second: None }),
            Source::Derived { inner, how, callable, settled, lazy } => {
                let item = self.next_derived(inner, *how, callable, settled);
                if *lazy { item.map_err(|fault| self.while_transforming(fault))? } else { item? }
            }
        };
        Ok(item)
    }

    fn next_derived(
        &mut self,
        inner: &mut ListIter<'r>,
        how: Derivation,
        callable: &Callable<'r>,
        settled: &mut bool,
    ) -> Result<Option<Item<'r>>, Raised> {
        let item = loop {
            let ended = how == Derivation::TakeWhile && *settled;
            let Some(item) = (if ended { None } else { self.next_item(inner)? }) else {
                break None;
            };
            if how == Derivation::DropWhile && *settled {
                break Some(item);
            }
            if how == Derivation::Map {
                let mapped = self.call_for_item(callable, item.first)?;
                if mapped.is_missing() {
                    return Err(self.wrong_result(
                        "The element mapper function has returned no return value (has returned null).",
                        callable,
                    ));
                }
                break Some(Item { first: mapped, second: None });
            }
            let accepted = self.accepts(callable, item.first.clone())?;
            match how {
                Derivation::Filter if accepted => break Some(item),
                Derivation::TakeWhile if accepted => break Some(item),
                Derivation::TakeWhile => *settled = true,
                Derivation::DropWhile if !accepted => {
                    *settled = true;
                    break Some(item);
                }
                _ => {}
            }
        };
        Ok(item)
    }

    /// The error of an item that is made while it is asked for: FreeMarker reports it there.
    fn while_transforming(&self, fault: Raised) -> Raised {
        const PROBLEM: &str = "Failed to transform element";
        if fault.kind == ErrorKind::Limit {
            return fault;
        }
        if fault.message.starts_with(PROBLEM) {
            return runtime(fault.message);
        }
        let place = match fault.span {
            Some(span) if !fault.message.contains("==> ") => format!("\n==> {}", self.located(span)),
            _ => String::new(),
        };
        runtime(format!("{PROBLEM}:\n{}{place}", fault.message))
    }

    /// All items that are left.
    pub(crate) fn collect(&mut self, mut iter: ListIter<'r>) -> Result<Vec<Value<'r>>, Raised> {
        let mut items = Vec::new();
        while let Some(item) = self.next_item(&mut iter)? {
            self.charge_items(1)?;
            items.push(item.first);
        }
        Ok(items)
    }

    /// A sequence of all items that are left.
    pub(crate) fn laid_out_items(&mut self, items: ListIter<'r>) -> Result<Value<'r>, Raised> {
        let items = self.collect(items)?;
        Value::sequence(items).map_err(crate::error::limit)
    }

    pub(super) fn list(&mut self, list: &'r List) -> Result<Flow, Raised> {
        let pairs = match &list.variables {
            Some(variables) => variables.second.is_some(),
            None => items_in(&list.body).is_some_and(|items| items.variables.second.is_some()),
        };
        let mut iter = self.listed(&list.source, pairs)?;
        if !self.has_next(&mut iter)? && !iter.has_overflown() {
            return match &list.otherwise {
                Some(block) => self.block(block),
                None => Ok(Flow::Next),
            };
        }
        match &list.variables {
            Some(variables) => self.run_loop(&mut iter, variables, list.loop_slot, &list.body),
            None => {
                if let Some(state) = self.loop_mut(list.loop_slot) {
                    state.waiting = Some(iter);
                }
                self.block(&list.body)
            }
        }
    }

    fn listed(&mut self, source: &'r Expr, pairs: bool) -> Result<ListIter<'r>, Raised> {
        let value = if pairs {
            self.value(source)?
        } else {
            match self.given(source)? {
                Given::Items(items) => return Ok(items),
                Given::Value(value) => value,
            }
        };
        match (value, pairs) {
            (Value::Hash(hash), true) => Ok(ListIter::of_hash(hash)),
            (Value::Sequence(sequence), false) => Ok(ListIter::of(sequence)),
            (Value::Nothing { .. }, _) => Ok(ListIter::empty()),
            (value @ Value::Sequence(_), true) => Err(runtime(format!(
                "The value you try to list is {}, thus you must specify only one loop variable after the \"as\" (there's \
                     no separate key and value).",
                super::blame::a_or_an(value.type_name())
            ))),
            (value @ Value::Hash(_), false) => Err(runtime(format!(
                "The value you try to list is {}, thus you must specify two loop variables after the \"as\"; one for \
                     the key, and another for the value, like <#... as k, v>).",
                super::blame::a_or_an(value.type_name())
            ))),
            (other, true) => Err(self.expected("extended hash", &other, source)),
            (other, false) => Err(self.expected("sequence or collection", &other, source)),
        }
    }

    pub(super) fn items(&mut self, items: &'r Items) -> Result<Flow, Raised> {
        let waiting = self.loop_mut(items.loop_slot).and_then(|state| state.waiting.take());
        let Some(mut iter) = waiting else {
            return Err(runtime("The #items directive was already entered earlier for this listing."));
        };
        self.run_loop(&mut iter, &items.variables, items.loop_slot, &items.body)
    }

    fn run_loop(
        &mut self,
        iter: &mut ListIter<'r>,
        variables: &'r LoopVariables,
        loop_slot: u32,
        body: &'r [crate::ast::Element],
    ) -> Result<Flow, Raised> {
        let mut index = 0;
        let mut ended = Flow::Next;
        self.open_scope(&variables.bindings);
        while let Some(item) = self.next_item(iter)? {
            // before the variables are set: filters of the source may use the same slots
            let has_next = self.has_next(iter)?;
            if let Some(state) = self.loop_mut(loop_slot) {
                state.index = index;
                state.has_next = has_next;
            }
            self.set_local(variables.first, item.first);
            if let Some(slot) = variables.second {
                self.set_local(slot, item.second.unwrap_or(Value::Missing));
            }
            match self.block(body)? {
                Flow::Next | Flow::Continue => {}
                Flow::Break => break,
                Flow::Return => {
                    ended = Flow::Return;
                    break;
                }
            }
            index += 1;
        }
        self.close_scope();
        Ok(ended)
    }
}

/// The `#items` of a list without variables: it tells whether keys and values are wanted.
fn items_in(block: &[crate::ast::Element]) -> Option<&Items> {
    use crate::ast::ElementKind;
    block.iter().find_map(|element| match &element.kind {
        ElementKind::Items(items) => Some(&**items),
        ElementKind::If(branches) => branches.iter().find_map(|branch| items_in(&branch.body)),
        ElementKind::Sep { body, .. } | ElementKind::Compress(body) | ElementKind::Plain(body) => items_in(body),
        ElementKind::Capture(capture) => items_in(&capture.body),
        ElementKind::Attempt(attempt) => items_in(&attempt.body).or_else(|| items_in(&attempt.recover)),
        ElementKind::Call(call) => items_in(call.content.as_deref().unwrap_or_default()),
        ElementKind::Switch(switch) => switch.cases.iter().find_map(|case| items_in(&case.body)),
        _ => None,
    })
}
