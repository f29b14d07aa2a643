//! Built-ins that wait for their arguments: `x?join` alone is a method, to be called later, as `x?join(", ")` calls it
//! at once.

use std::sync::Arc;

use super::{BuiltIn, Iso, IsoZone};
use crate::ast::{BuiltInCall, Expr, ExprKind, Form};
use crate::callable::{Callable, Kind};
use crate::error::{Raised, runtime};
use crate::eval::Interp;
use crate::format::date::DateKind;
use crate::value::{Date, Value};

/// A built-in with its left side.
#[derive(Debug)]
pub(crate) struct Waiting<'d> {
    call: &'d BuiltInCall,
    expr: &'d Expr,
    target: Value<'d>,
}

/// The method that a built-in is whose left side has been evaluated.
pub(super) fn waiting_with<'r>(call: &'r BuiltInCall, expr: &'r Expr, target: Value<'r>) -> Value<'r> {
    Value::Callable(Callable(Kind::BuiltIn(Arc::new(Waiting { call, expr, target }))))
}

impl Value<'_> {
    /// What is wrong with it as a string, if it is a `?url` and nothing says which character set to use.
    pub(crate) fn lacks_charset(&self) -> Option<String> {
        let Value::Callable(Callable(Kind::BuiltIn(waiting))) = self else { return None };
        let name = waiting.call.which.name();
        matches!(waiting.call.which, BuiltIn::Url | BuiltIn::UrlPath).then(|| {
            format!(
                "?{name} needs to know the character set: write ?{name}(\"UTF-8\") or set url_escaping_charset (as the \
                 host may do, or <#setting url_escaping_charset=\"UTF-8\">)."
            )
        })
    }
}

impl<'r> Interp<'r> {
    /// The method that a built-in is without arguments.
    #[cold]
    pub(super) fn waiting(&mut self, call: &'r BuiltInCall, expr: &'r Expr) -> Result<Value<'r>, Raised> {
        let target = self.left_side(call, expr)?;
        Ok(waiting_with(call, expr, target))
    }

    /// The left side as the built-in wants it, which is looked at before its arguments.
    fn left_side(&mut self, call: &'r BuiltInCall, expr: &'r Expr) -> Result<Value<'r>, Raised> {
        match call.which {
            BuiltIn::Default => self.forgiving(&call.target),
            BuiltIn::ItemCycle => Ok(Value::int(self.loop_state(call.loop_slot).0)),
            BuiltIn::Join | BuiltIn::SeqContains | BuiltIn::SeqIndexOf => {
                let items = self.items_of(&call.target)?;
                self.laid_out_items(items)
            }
            BuiltIn::SeqLastIndexOf | BuiltIn::SortBy | BuiltIn::Chunk => match self.value(&call.target)? {
                sequence @ Value::Sequence(_) => Ok(sequence),
                nothing @ Value::Nothing { .. } => Ok(nothing),
                other => Err(self.expected("sequence", &other, &call.target)),
            },
            BuiltIn::Iso(Iso { zone: IsoZone::Given, .. }) => match self.value(&call.target)? {
                date @ Value::Date(_) => Ok(date),
                other => Err(self.expected("date", &other, &call.target)),
            },
            BuiltIn::WithArgs | BuiltIn::WithArgsLast => match self.value(&call.target)? {
                callable @ (Value::Callable(_) | Value::Method(_)) => Ok(callable),
                other => Err(self.expected("macro, function, directive, or method", &other, &call.target)),
            },
            BuiltIn::Date | BuiltIn::Time | BuiltIn::Datetime => {
                let kind = match call.which {
                    BuiltIn::Date => DateKind::Date,
                    BuiltIn::Time => DateKind::Time,
                    _ => DateKind::DateTime,
                };
                match self.value(&call.target)? {
                    Value::Date(date) => self.converted(date, kind, call),
                    other => self.text_of(other, &call.target).map(Value::String),
                }
            }
            BuiltIn::String => match self.value(&call.target)? {
                value @ (Value::Number(_) | Value::Date(_)) => Ok(value),
                value if value.as_bool().is_some() => Ok(value),
                other => Err(self.expected("method or function", &other, expr)),
            },
            _ => self.text(&call.target).map(Value::String),
        }
    }

    /// The error of a call with too few or too many arguments: what is wrong with the left side or an argument comes
    /// first.
    #[cold]
    pub(super) fn miscounted(&mut self, call: &'r BuiltInCall, expr: &'r Expr) -> Raised {
        let arguments = call.which.arguments();
        if let Err(fault) = self.left_side(call, expr) {
            return fault;
        }
        for arg in &call.args {
            let evaluated =
                if takes_texts(call.which) { self.text(arg).map(|_| ()) } else { self.eval(arg).map(|_| ()) };
            if let Err(fault) = evaluated {
                return fault;
            }
        }
        wrong_count(call.which, arguments.min, arguments.max, call.args.len())
    }

    /// What `?is_…` tells of a built-in that can do without its arguments: it is more than what it gives then.
    pub(super) fn is_unfinished(&mut self, call: &'r BuiltInCall) -> Result<Option<bool>, Raised> {
        let Some(inner) = unfinished(&call.target) else { return Ok(None) };
        let kind = match inner.which {
            BuiltIn::Date => DateKind::Date,
            BuiltIn::Time => DateKind::Time,
            BuiltIn::Datetime => DateKind::DateTime,
            BuiltIn::String => {
                let value = self.value(&inner.target)?;
                let formatted = matches!(value, Value::Number(_) | Value::Date(_));
                return match call.which {
                    BuiltIn::IsMethod => Ok(Some(formatted || value.as_bool().is_some())),
                    BuiltIn::IsHash => Ok(Some(formatted)),
                    which => Ok(Some(super::types::is(which, &self.formatted(value, None, inner)?))),
                };
            }
            BuiltIn::Url | BuiltIn::UrlPath | BuiltIn::AbsoluteTemplateName => {
                self.text(&inner.target)?;
                return Ok(Some(matches!(call.which, BuiltIn::IsString | BuiltIn::IsMethod)));
            }
            _ => return Ok(None),
        };
        // a text is read when it is needed
        let value = self.value(&inner.target)?;
        if let Value::Date(date) = value {
            return Ok(Some(super::types::is(call.which, &self.converted(date, kind, inner)?)));
        }
        self.text_of(value, &inner.target)?;
        self.usable_date_format(kind)?;
        let date = Value::Date(Date { epoch_ms: 0, kind });
        let also = matches!(call.which, BuiltIn::IsMethod | BuiltIn::IsHash);
        Ok(Some(also || super::types::is(call.which, &date)))
    }

    /// Calls a built-in that waited.
    pub(crate) fn call_waiting(&mut self, waiting: &Waiting<'r>, args: &[Value<'r>]) -> Result<Value<'r>, Raised> {
        let Waiting { call, expr, target } = waiting;
        self.meter.steps(1 + args.len() as u64)?;
        let arguments = call.which.arguments();
        match call.which {
            BuiltIn::Default => {
                let mut values = std::iter::once(target).chain(args).filter(|value| !value.is_missing());
                return Ok(values.next().cloned().unwrap_or(Value::Missing));
            }
            BuiltIn::ItemCycle => {
                let Value::Number(index) = target else { return Ok(Value::Missing) };
                let place = usize::try_from(index.to_index()).unwrap_or(0).checked_rem(args.len());
                let value = place.and_then(|place| args.get(place)).cloned();
                return value.ok_or_else(|| wrong_count(call.which, arguments.min, arguments.max, args.len()));
            }
            _ => {}
        }
        let chosen = args.len().checked_sub(arguments.min).and_then(|place| call.when_called.get(place));
        let Some(chosen) = chosen else {
            return Err(wrong_count(call.which, arguments.min, arguments.max, args.len()));
        };
        let start = self.held.len();
        self.held.push(target.clone());
        self.held.extend_from_slice(args);
        let outer = std::mem::replace(&mut self.held_from, start);
        let result = self.built_in(chosen, expr);
        self.held_from = outer;
        self.held.truncate(start);
        result
    }

    /// What a built-in that is called now has in a place: its left side, or after that an argument.
    pub(crate) fn held(&self, place: u32) -> Value<'r> {
        self.held.get(self.held_from + place as usize).cloned().unwrap_or(Value::Missing)
    }
}

impl BuiltIn {
    /// Whether it is a method when it stands without arguments.
    pub(super) fn is_method(self) -> bool {
        let arguments = self.arguments();
        arguments.min > 0 && !arguments.optional
    }
}

/// The built-in that can do without its arguments, in parentheses or not, and has none yet.
pub(crate) fn unfinished(expr: &Expr) -> Option<&BuiltInCall> {
    let mut inner = expr;
    while let ExprKind::Group(group) = &inner.kind {
        inner = group;
    }
    let ExprKind::BuiltIn(call) = &inner.kind else { return None };
    let arguments = call.which.arguments();
    (arguments.optional && arguments.min > 0 && call.form == Form::Bare).then_some(&**call)
}

/// Whether arguments of other types become strings.
pub(super) fn takes_texts(which: BuiltIn) -> bool {
    matches!(
        which,
        BuiltIn::Matches
            | BuiltIn::Replace
            | BuiltIn::Split
            | BuiltIn::Url
            | BuiltIn::UrlPath
            | BuiltIn::String
            | BuiltIn::Date
            | BuiltIn::Time
            | BuiltIn::Datetime
    )
}

/// The error of so many arguments where others are wanted.
pub(super) fn wrong_count(which: BuiltIn, min: usize, max: usize, count: usize) -> Raised {
    // which looks at no more than one
    let max = if which == BuiltIn::SortBy { 1 } else { max };
    let wanted = match (min, max) {
        (min, max) if min == max => format!("{min} argument{}", if min == 1 { "" } else { "s" }),
        (min, usize::MAX) => format!("{min} or more (unlimited) arguments"),
        (min, max) if min + 1 == max => format!("{min} or {max} arguments"),
        (min, max) => format!("{min} to {max} arguments"),
    };
    let received = if count == 0 { "none".to_owned() } else { count.to_string() };
    runtime(format!("?{}(...) expects {wanted} but has received {received}.", which.name()))
}

/// How many arguments a built-in may be called with that takes any number and was not called where it stands.
const MOST_HELD: usize = 8;

/// The calls that a built-in without arguments may become: one for each number of them. Their left side and arguments
/// are what they have when they are called.
pub(crate) fn when_called(call: &BuiltInCall) -> Box<[BuiltInCall]> {
    let may_wait = call.which.is_method() || matches!(call.which, BuiltIn::Url | BuiltIn::UrlPath);
    if !may_wait || matches!(call.which, BuiltIn::Default | BuiltIn::ItemCycle) {
        return Box::default();
    }
    let arguments = call.which.arguments();
    let span = call.target.span;
    let held = |place: usize| Expr { kind: ExprKind::Held(u32::try_from(place).unwrap_or(u32::MAX)), span };
    let called = |count: usize| BuiltInCall {
        target: held(0),
        args: (1..=count).map(held).collect(),
        form: Form::Called,
        fits: true,
        when_called: Box::default(),
        ..*call
    };
    let most = arguments.max.min(MOST_HELD);
    (arguments.min..=most).map(called).collect()
}
