//! Running templates.

mod access;
mod arena;
mod arguments;
mod blame;
mod blamer;
mod calls;
mod compress;
mod convert;
mod direct;
mod dynamic;
mod elements;
mod expressions;
mod follow;
mod frames;
mod lazy;
mod listing;
mod markup;
mod modules;
mod operators;
mod render;
mod special;
mod variables;

pub(crate) use access::{readable, utf16_len, utf16_slice};
pub(crate) use blame::a_or_an;
pub(crate) use follow::Followed;
pub(crate) use lazy::Given;
pub(crate) use listing::ListIter;
pub(crate) use operators::{compare_values, uncomparable_text};
pub use render::Renderer;

use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::ast::ElementKind;
use crate::error::{Place, Raised};
use crate::format::date::{CompiledDateFormat, DateKind};
use crate::format::number::NumberFormat;
use crate::limits::Meter;
use crate::settings::Formats;
use crate::template::{Inner, Root};
use crate::value::{Text, Value};
use arena::Arena;
use frames::{Context, MacroFrame, ScopeEntry};
use modules::Unit;

/// Where running goes on after an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Next,
    Break,
    Continue,
    Return,
}

/// A rendering in progress. `'r` is the life of the template and of the data, which values borrow.
pub(crate) struct Interp<'r> {
    /// The template that the running code is from.
    pub(crate) template: &'r Inner,
    main: &'r Inner,
    pub(crate) root: &'r Root<'r>,
    pub(crate) meter: Meter,
    /// Copied when `<#setting>` first changes something.
    pub(crate) formats: Cow<'r, Formats>,
    /// Where templates live that are made while rendering.
    arena: &'r Arena,
    ctx: Context,
    /// The templates that have been loaded besides the main one: unit 1 is the first.
    units: Vec<Unit<'r>>,
    /// Names that the main template has not: their numbers follow those of its symbols.
    names: Vec<Text<'r>>,
    names_by_text: HashMap<Text<'r>, u32>,
    /// What `<#assign>` set in the main namespace, by symbol.
    namespace: Vec<Value<'r>>,
    /// The other namespaces, each with the template it is of: number 1 is the first.
    namespaces: Vec<(u32, Vec<Value<'r>>)>,
    /// What `<#global>` set, by symbol; empty until then.
    globals: Vec<Value<'r>>,
    /// The namespaces of imported templates.
    loaded: Vec<(&'r str, u32)>,
    /// Loop variables and lambda parameters of all frames, by slot from the frame's base.
    locals: Vec<Value<'r>>,
    loops: Vec<LoopState<'r>>,
    /// The macros' own variables, by slot from the frame's base.
    macro_vars: Vec<Value<'r>>,
    frames: Vec<MacroFrame<'r>>,
    scopes: Vec<ScopeEntry<'r>>,
    out: Vec<u8>,
    /// How many captures are open: then what is printed is a value in the making.
    captures: u32,
    /// The left sides and arguments of built-ins that are called as values, and where those of the innermost begin.
    pub(crate) held: Vec<Value<'r>>,
    pub(crate) held_from: usize,
    /// What the function that just ended returned.
    returned: Value<'r>,
    /// The messages of the errors that the `<#recover>` blocks around handle.
    recovered: Vec<Arc<str>>,
    /// Expressions that `?eval` has parsed.
    evaluated: HashMap<(String, crate::output_format::Escaping), u32>,
    number_formats: Vec<(String, Rc<NumberFormat>)>,
    date_formats: Vec<(String, DateKind, Rc<CompiledDateFormat>)>,
    pub(crate) regexes: crate::regex::RegexCache,
}

/// Formats in a template are few; those made up while it runs are not kept for ever.
const MAX_KEPT_FORMATS: usize = 16;

#[derive(Default)]
pub(crate) struct LoopState<'r> {
    /// What is left to list, while `<#list>` waits for its `<#items>`.
    waiting: Option<ListIter<'r>>,
    pub(crate) index: usize,
    pub(crate) has_next: bool,
}

impl<'r> Interp<'r> {
    /// Prints bytes, within the bounds.
    fn emit(&mut self, bytes: &[u8]) -> Result<(), Raised> {
        self.count_output(bytes.len())?;
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    /// Prints a text of the template.
    #[inline]
    fn print_text(&mut self, id: u32) -> Result<(), Raised> {
        match self.template.parsed.texts.get(id as usize) {
            Some(text) if !text.is_empty() => self.emit(text.as_bytes()),
            _ => Ok(()),
        }
    }

    /// Counts bytes that are printed.
    fn count_output(&mut self, bytes: usize) -> Result<(), Raised> {
        if self.captures > 0 { self.meter.value(bytes) } else { self.meter.output(bytes) }
    }

    pub(crate) fn loop_state(&self, slot: u32) -> (usize, bool) {
        self.loop_at(self.ctx.loop_base, slot)
    }

    fn loop_at(&self, base: u32, slot: u32) -> (usize, bool) {
        self.loops.get((base + slot) as usize).map_or((0, false), |state| (state.index, state.has_next))
    }

    fn loop_mut(&mut self, slot: u32) -> Option<&mut LoopState<'r>> {
        self.loops.get_mut((self.ctx.loop_base + slot) as usize)
    }

    /// Sets a loop variable or lambda parameter.
    fn set_local(&mut self, slot: u32, value: Value<'r>) {
        if let Some(place) = self.locals.get_mut((self.ctx.base + slot) as usize) {
            *place = value;
        }
    }

    /// A string that was built counts towards the bound on values.
    pub(crate) fn built(&mut self, text: String) -> Result<Value<'r>, Raised> {
        self.meter.value(text.len())?;
        Ok(Value::String(Text::from(text)))
    }

    pub(crate) fn built_sequence(&mut self, items: Vec<Value<'r>>) -> Result<Value<'r>, Raised> {
        self.charge_items(items.len())?;
        Value::sequence(items).map_err(crate::error::limit)
    }

    /// Charges for items of a sequence or hash being built.
    pub(crate) fn charge_items(&mut self, count: usize) -> Result<(), Raised> {
        self.meter.steps((count / 16) as u64)?;
        self.meter.value(count.saturating_mul(size_of::<Value<'_>>()))
    }

    /// Forgets formats that another locale made.
    fn forget_formats(&mut self) {
        self.number_formats.clear();
        self.date_formats.clear();
    }

    /// A number format by its text; recently used ones are at hand.
    pub(crate) fn number_format(&mut self, text: &str) -> Result<Rc<NumberFormat>, Raised> {
        if let Some((_, format)) = self.number_formats.iter().find(|(known, _)| known == text) {
            return Ok(Rc::clone(format));
        }
        self.meter.steps(10 + text.len() as u64)?;
        let format = Rc::new(NumberFormat::parse(text, self.formats.data).map_err(crate::error::runtime)?);
        if self.number_formats.len() >= MAX_KEPT_FORMATS {
            self.number_formats.clear();
        }
        self.number_formats.push((text.to_owned(), Rc::clone(&format)));
        Ok(format)
    }

    pub(crate) fn date_format(&mut self, text: &str, kind: DateKind) -> Result<Rc<CompiledDateFormat>, Raised> {
        let same = |known: &&(String, DateKind, _)| known.1 == kind && known.0 == text;
        if let Some((_, _, format)) = self.date_formats.iter().find(same) {
            return Ok(Rc::clone(format));
        }
        self.meter.steps(10 + text.len() as u64)?;
        let custom = &self.template.settings.custom_dates;
        let format = CompiledDateFormat::parse(text, kind, custom, self.formats.data);
        let format = Rc::new(format.map_err(crate::error::runtime)?);
        if self.date_formats.len() >= MAX_KEPT_FORMATS {
            self.date_formats.clear();
        }
        self.date_formats.push((text.to_owned(), kind, Rc::clone(&format)));
        Ok(format)
    }

    fn block(&mut self, block: &'r [crate::ast::Element]) -> Result<Flow, Raised> {
        self.meter.enter()?;
        for element in block {
            self.meter.step().at(element.span)?;
            // what most elements are, without the frame that directives need
            let done = match &element.kind {
                ElementKind::Text(id) => self.print_text(*id),
                ElementKind::Output { value, escaping } => self.output(value, *escaping),
                _ => match self.element(element) {
                    Ok(Flow::Next) => Ok(()),
                    Ok(flow) => {
                        self.meter.leave();
                        return Ok(flow);
                    }
                    Err(fault) => Err(fault),
                },
            };
            if let Err(fault) = done {
                return Err(self.traced(fault, element));
            }
        }
        self.meter.leave();
        Ok(Flow::Next)
    }
}
