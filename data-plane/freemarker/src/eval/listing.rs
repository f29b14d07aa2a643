//! Going through sequences and hashes, lazily where FreeMarker does.

use std::sync::Arc;

use super::{Flow, Interp};
use crate::ast::{BuiltInCall, Expr, ExprKind, Items, Lambda, List, LoopVariables};
use crate::builtins::BuiltIn;
use crate::error::{Place, Raised, runtime};
use crate::model::{Hash, Sequence};
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
    Derived { inner: Box<ListIter<'r>>, how: Derivation, callable: Callable<'r>, settled: bool },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Derivation {
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
}

impl<'r> ListIter<'r> {
    pub(crate) fn of(sequence: Sequence<'r>) -> Self {
        ListIter { source: Source::Sequence { sequence, place: 0 }, ahead: None }
    }

    fn of_hash(hash: Hash<'r>) -> Self {
        ListIter { source: Source::Hash { hash, place: 0 }, ahead: None }
    }

    fn empty() -> Self {
        Self::of(Sequence::Range(crate::model::Range { start: 0, len: Some(0), descending: false, adapts: false }))
    }
}

impl<'r> Interp<'r> {
    /// The items that an expression gives; filters and the like in it work as they are asked.
    pub(crate) fn items_of(&mut self, expr: &'r Expr) -> Result<ListIter<'r>, Raised> {
        if let ExprKind::BuiltIn(call) = &expr.kind
            && let Some(how) = derivation(call.which)
        {
            self.meter.step()?;
            self.meter.enter()?;
            let inner = self.items_of(&call.target)?;
            self.meter.leave();
            return self.derive(call, how, inner);
        }
        match self.value(expr)? {
            Value::Sequence(sequence) => Ok(ListIter::of(sequence)),
            Value::Nothing => Ok(ListIter::empty()),
            Value::Hash(_) => Err(runtime(format!(
                "Expected a sequence or collection, but this has evaluated to an extended_hash:\n\
                 ==> {}\nTip: list a hash with two loop variables (as key, value), or list \
                 hash?keys or hash?values",
                self.source_of(expr)
            ))),
            other => Err(self.expected("a sequence or collection", &other, expr)),
        }
    }

    fn derive(&mut self, call: &'r BuiltInCall, how: Derivation, inner: ListIter<'r>) -> Result<ListIter<'r>, Raised> {
        let callable = match call.args.first() {
            Some(Expr { kind: ExprKind::Lambda(lambda), .. }) => Callable::Lambda(lambda),
            Some(other) => match self.value(other)? {
                Value::Method(method) => Callable::Method(method, other.span),
                value => return Err(self.expected("a method or a lambda", &value, other)),
            },
            None => return Err(runtime(format!("?{} needs an argument", call.which.name()))),
        };
        let inner = Box::new(inner);
        let source = Source::Derived { inner, how, callable, settled: false };
        Ok(ListIter { source, ahead: None })
    }

    pub(crate) fn call_for_item(&mut self, callable: &Callable<'r>, item: Value<'r>) -> Result<Value<'r>, Raised> {
        self.meter.step()?;
        match callable {
            Callable::Lambda(lambda) => {
                if let Some(place) = self.locals.get_mut(lambda.slot as usize) {
                    *place = item;
                }
                self.eval(&lambda.body)
            }
            Callable::Method(method, span) => self.call_method(method.as_ref(), &[item]).at(*span),
        }
    }

    fn accepts(&mut self, callable: &Callable<'r>, item: Value<'r>) -> Result<bool, Raised> {
        match self.call_for_item(callable, item)? {
            Value::Bool(flag) => Ok(flag),
            Value::Missing => Err(match callable {
                Callable::Lambda(lambda) => self.missing(&lambda.body),
                Callable::Method(_, span) => runtime("the method returned nothing, but a boolean is needed").at(*span),
            }),
            other => Err(match callable {
                Callable::Lambda(lambda) => self.expected("a boolean", &other, &lambda.body),
                Callable::Method(_, span) => runtime("the method's result is no boolean").at(*span),
            }),
        }
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
                *place += 1;
                return Ok(item.map(|first| Item { first, second: None }));
            }
            Source::Hash { hash, place } => {
                let entry = hash.entry(*place);
                *place += 1;
                return Ok(entry.map(|(key, value)| Item { first: Value::String(key), second: Some(value) }));
            }
            Source::Derived { inner, how, callable, settled } => loop {
                let ended = *how == Derivation::TakeWhile && *settled;
                let Some(item) = (if ended { None } else { self.next_item(inner)? }) else {
                    break None;
                };
                if *how == Derivation::DropWhile && *settled {
                    break Some(item);
                }
                if *how == Derivation::Map {
                    let mapped = self.call_for_item(callable, item.first)?;
                    if mapped.is_missing() {
                        return Err(match callable {
                            Callable::Lambda(lambda) => self.missing(&lambda.body),
                            Callable::Method(_, span) => runtime("the method returned nothing").at(*span),
                        });
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
            },
        };
        Ok(item)
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

    pub(super) fn list(&mut self, list: &'r List) -> Result<Flow, Raised> {
        let pairs = match (list.variables, items_in(&list.body)) {
            (Some(variables), _) => variables.second.is_some(),
            (None, Some(items)) => items.variables.second.is_some(),
            (None, None) => false,
        };
        let mut iter = self.listed(&list.source, pairs)?;
        if !self.has_next(&mut iter)? {
            return match &list.otherwise {
                Some(block) => self.block(block),
                None => Ok(Flow::Next),
            };
        }
        match list.variables {
            Some(variables) => self.run_loop(&mut iter, variables, list.loop_slot, &list.body)?,
            None => {
                if let Some(state) = self.loops.get_mut(list.loop_slot as usize) {
                    state.waiting = Some(iter);
                }
                let flow = self.block(&list.body)?;
                if flow != Flow::Next {
                    return Ok(flow);
                }
            }
        }
        Ok(Flow::Next)
    }

    fn listed(&mut self, source: &'r Expr, pairs: bool) -> Result<ListIter<'r>, Raised> {
        if !pairs {
            return self.items_of(source);
        }
        match self.value(source)? {
            Value::Hash(hash) => Ok(ListIter::of_hash(hash)),
            Value::Nothing => Ok(ListIter::empty()),
            Value::Sequence(_) => Err(runtime(format!(
                "Expected a hash, as there are two loop variables after \"as\", but this has \
                 evaluated to a sequence:\n==> {}",
                self.source_of(source)
            ))),
            other => Err(self.expected("a hash", &other, source)),
        }
    }

    pub(super) fn items(&mut self, items: &'r Items) -> Result<Flow, Raised> {
        let waiting = self.loops.get_mut(items.loop_slot as usize).and_then(|state| state.waiting.take());
        let Some(mut iter) = waiting else {
            return Err(runtime("this #items was already run for its #list"));
        };
        self.run_loop(&mut iter, items.variables, items.loop_slot, &items.body)?;
        Ok(Flow::Next)
    }

    fn run_loop(
        &mut self,
        iter: &mut ListIter<'r>,
        variables: LoopVariables,
        loop_slot: u32,
        body: &'r [crate::ast::Element],
    ) -> Result<(), Raised> {
        let mut index = 0;
        while let Some(item) = self.next_item(iter)? {
            // before the variables are set: filters of the source may use the same slots
            let has_next = self.has_next(iter)?;
            if let Some(state) = self.loops.get_mut(loop_slot as usize) {
                state.index = index;
                state.has_next = has_next;
            }
            if let Some(place) = self.locals.get_mut(variables.first as usize) {
                *place = item.first;
            }
            if let Some(place) = variables.second.and_then(|slot| self.locals.get_mut(slot as usize)) {
                *place = item.second.unwrap_or(Value::Missing);
            }
            if self.block(body)? == Flow::Break {
                break;
            }
            index += 1;
        }
        Ok(())
    }
}

/// The `#items` of a list without variables: it tells whether keys and values are wanted.
fn items_in(block: &[crate::ast::Element]) -> Option<&Items> {
    use crate::ast::ElementKind;
    block.iter().find_map(|element| match &element.kind {
        ElementKind::Items(items) => Some(&**items),
        ElementKind::If(branches) => branches.iter().find_map(|branch| items_in(&branch.body)),
        ElementKind::Capture { body, .. } | ElementKind::Sep { body, .. } => items_in(body),
        ElementKind::Switch(switch) => switch.cases.iter().find_map(|case| items_in(&case.body)),
        _ => None,
    })
}

fn derivation(which: BuiltIn) -> Option<Derivation> {
    Some(match which {
        BuiltIn::Filter => Derivation::Filter,
        BuiltIn::Map => Derivation::Map,
        BuiltIn::TakeWhile => Derivation::TakeWhile,
        BuiltIn::DropWhile => Derivation::DropWhile,
        _ => return None,
    })
}
