//! Running templates.

mod access;
mod convert;
mod elements;
mod expressions;
mod listing;
mod operators;

pub(crate) use access::{utf16_len, utf16_slice};
pub(crate) use listing::ListIter;
pub(crate) use operators::compare_values;

use std::borrow::Cow;
use std::rc::Rc;

use crate::error::{Place, Raised};
use crate::format::date::{CompiledDateFormat, DateKind};
use crate::format::number::NumberFormat;
use crate::limits::{Limits, Meter, Usage};
use crate::settings::Formats;
use crate::template::{Inner, Root};
use crate::value::{Text, Value};

/// Renders a template, appending to `out`; leaves `out` alone when that fails.
pub(crate) fn render<'r>(
    template: &'r Inner,
    root: &'r Root<'r>,
    limits: &Limits,
    out: &mut Vec<u8>,
) -> Result<Usage, (Raised, Usage)> {
    let length = out.len();
    let sizes = &template.parsed.sizes;
    let mut interp = Interp {
        template,
        root,
        meter: Meter::new(limits),
        formats: Cow::Borrowed(&template.settings.formats),
        namespace: vec![Value::Missing; sizes.symbols.len()],
        locals: vec![Value::Missing; sizes.locals as usize],
        loops: (0..sizes.loops).map(|_| LoopState::default()).collect(),
        out: std::mem::take(out),
        captures: 0,
        number_formats: Vec::new(),
        date_formats: Vec::new(),
    };
    let result = interp.block(&template.parsed.body);
    let usage = interp.meter.usage();
    *out = interp.out;
    match result {
        Ok(_) => Ok(usage),
        Err(fault) => {
            out.truncate(length);
            Err((fault, usage))
        }
    }
}

/// Where running goes on after an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Next,
    Break,
    Continue,
}

/// A rendering in progress. `'r` is the life of the template and of the data, which values borrow.
pub(crate) struct Interp<'r> {
    pub(crate) template: &'r Inner,
    pub(crate) root: &'r Root<'r>,
    pub(crate) meter: Meter,
    /// Copied when `<#setting>` first changes something.
    pub(crate) formats: Cow<'r, Formats>,
    /// What `<#assign>` set, by symbol.
    namespace: Vec<Value<'r>>,
    /// Loop variables and lambda parameters, by slot.
    locals: Vec<Value<'r>>,
    loops: Vec<LoopState<'r>>,
    out: Vec<u8>,
    /// How many captures are open: then `out` is a value in the making.
    captures: u32,
    number_formats: Vec<(String, Rc<NumberFormat>)>,
    date_formats: Vec<(String, DateKind, Rc<CompiledDateFormat>)>,
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
        if self.captures > 0 {
            self.meter.value(bytes.len())?;
        } else {
            self.meter.output(bytes.len())?;
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    pub(crate) fn loop_state(&self, slot: u32) -> (usize, bool) {
        self.loops.get(slot as usize).map_or((0, false), |state| (state.index, state.has_next))
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

    /// A number format by its text; recently used ones are at hand.
    pub(crate) fn number_format(&mut self, text: &str) -> Result<Rc<NumberFormat>, Raised> {
        if let Some((_, format)) = self.number_formats.iter().find(|(known, _)| known == text) {
            return Ok(Rc::clone(format));
        }
        self.meter.steps(10 + text.len() as u64)?;
        let format = Rc::new(NumberFormat::parse(text).map_err(crate::error::runtime)?);
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
        let format = CompiledDateFormat::parse(text, kind, custom);
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
            match self.element(element).at(element.span)? {
                Flow::Next => {}
                flow => {
                    self.meter.leave();
                    return Ok(flow);
                }
            }
        }
        self.meter.leave();
        Ok(Flow::Next)
    }
}
