//! Names: which variable each one means, as far as the template's text tells.

use std::collections::HashMap;

use crate::ast::{FrameSizes, Local, Variable};

/// The names of a template and the loops around the place that is being parsed.
#[derive(Debug)]
pub(crate) struct Scope {
    symbols: Vec<Box<str>>,
    by_name: HashMap<Box<str>, u32>,
    /// The template's own frame, and within a macro that one's.
    frame: Frame,
    outer: Option<Frame>,
    /// Whether variables further out are looked at when a loop's has no value.
    falls_back: bool,
}

/// What is in scope in a macro, or outside of all.
#[derive(Debug, Default)]
struct Frame {
    locals: Vec<LocalName>,
    max_locals: u32,
    loops: u32,
    max_loops: u32,
    /// In a macro: the names that its own variables have, or may have.
    names: Option<Names>,
}

#[derive(Debug, Default)]
struct Names {
    in_order: Vec<Box<str>>,
    slots: HashMap<Box<str>, u32>,
}

#[derive(Debug)]
struct LocalName {
    name: Box<str>,
    slot: u32,
    kind: LocalKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LocalKind {
    /// A loop's variable; the first one also gives `x_index` and `x_has_next`.
    Loop {
        loop_slot: u32,
        first: bool,
    },
    Parameter,
    /// A variable of the nested content of a call: no loop goes with it.
    Content,
}

/// What a template needs at run time, and the names of its symbols.
#[derive(Debug)]
pub(crate) struct Sizes {
    pub(crate) symbols: Box<[Box<str>]>,
    /// The symbols sorted by name.
    pub(crate) sorted: Box<[u32]>,
    pub(crate) frame: FrameSizes,
}

impl Sizes {
    /// The symbol of a name, if the template has it.
    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        let at = self.sorted.binary_search_by(|symbol| self.name(*symbol).cmp(name)).ok()?;
        self.sorted.get(at).copied()
    }

    pub(crate) fn name(&self, symbol: u32) -> &str {
        self.symbols.get(symbol as usize).map_or("", |name| name)
    }
}

/// Who is the variable of a name that a loop's built-in is asked of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoopOf {
    Loop(u32),
    /// The variable of a user-defined directive's content.
    Content,
    Nothing,
}

impl Scope {
    pub(crate) fn new(falls_back: bool) -> Self {
        Scope { symbols: Vec::new(), by_name: HashMap::new(), frame: Frame::default(), outer: None, falls_back }
    }

    pub(crate) fn falls_back(&self) -> bool {
        self.falls_back
    }

    /// The number of a name at the template's top level.
    pub(crate) fn symbol(&mut self, name: &str) -> u32 {
        if let Some(symbol) = self.by_name.get(name) {
            return *symbol;
        }
        let symbol = u32::try_from(self.symbols.len()).unwrap_or(u32::MAX);
        self.symbols.push(name.into());
        self.by_name.insert(name.into(), symbol);
        symbol
    }

    pub(crate) fn name(&self, symbol: u32) -> &str {
        self.symbols.get(symbol as usize).map_or("", |name| name)
    }

    /// Begins a macro: nothing of what is around it is in scope.
    pub(crate) fn open_macro(&mut self) {
        let frame = Frame { names: Some(Names::default()), ..Frame::default() };
        self.outer = Some(std::mem::replace(&mut self.frame, frame));
    }

    pub(crate) fn close_macro(&mut self) -> FrameSizes {
        let outer = self.outer.take().unwrap_or_default();
        std::mem::replace(&mut self.frame, outer).sizes()
    }

    /// The slot of a macro's variable. A name gets one when it is first seen, as a `#local` may
    /// come after a use.
    pub(crate) fn macro_slot(&mut self, name: &str) -> Option<u32> {
        let names = self.frame.names.as_mut()?;
        if let Some(slot) = names.slots.get(name) {
            return Some(*slot);
        }
        let slot = u32::try_from(names.in_order.len()).ok()?;
        names.in_order.push(name.into());
        names.slots.insert(name.into(), slot);
        Some(slot)
    }

    /// What a name may mean here.
    pub(crate) fn resolve(&mut self, name: &str) -> Variable {
        let mut locals = Vec::new();
        let mut settled = false;
        for local in self.frame.locals.iter().rev() {
            match local.kind {
                LocalKind::Parameter if *local.name == *name => {
                    locals.push(Local::Parameter(local.slot));
                    settled = true;
                    break;
                }
                LocalKind::Content if *local.name == *name => locals.push(self.loop_local(local.slot)),
                LocalKind::Parameter | LocalKind::Content => {}
                LocalKind::Loop { loop_slot, first } => match name.strip_prefix(&*local.name) {
                    Some("") => locals.push(self.loop_local(local.slot)),
                    Some("_index") if first => locals.push(Local::LoopIndex(loop_slot)),
                    Some("_has_next") if first => locals.push(Local::LoopHasNext(loop_slot)),
                    _ => {}
                },
            }
        }
        if !settled && let Some(slot) = self.macro_slot(name) {
            locals.push(Local::Macro(slot));
        }
        Variable { locals: locals.into(), symbol: self.symbol(name) }
    }

    fn loop_local(&self, slot: u32) -> Local {
        if self.falls_back { Local::Loop(slot) } else { Local::Parameter(slot) }
    }

    /// The loop that a name is a variable of.
    pub(crate) fn loop_of(&self, name: &str) -> LoopOf {
        self.frame
            .locals
            .iter()
            .rev()
            .find_map(|local| match local.kind {
                LocalKind::Loop { loop_slot, .. } if *local.name == *name => Some(LoopOf::Loop(loop_slot)),
                LocalKind::Content if *local.name == *name => Some(LoopOf::Content),
                _ => None,
            })
            .unwrap_or(LoopOf::Nothing)
    }

    /// Begins a loop; gives its slot.
    pub(crate) fn open_loop(&mut self) -> u32 {
        let frame = &mut self.frame;
        let slot = frame.loops;
        frame.loops += 1;
        frame.max_loops = frame.max_loops.max(frame.loops);
        slot
    }

    pub(crate) fn close_loop(&mut self) {
        self.frame.loops = self.frame.loops.saturating_sub(1);
    }

    pub(crate) fn push_loop_variable(&mut self, name: &str, loop_slot: u32, first: bool) -> u32 {
        self.push(name, LocalKind::Loop { loop_slot, first })
    }

    pub(crate) fn push_parameter(&mut self, name: &str) -> u32 {
        self.push(name, LocalKind::Parameter)
    }

    pub(crate) fn push_content_variable(&mut self, name: &str) -> u32 {
        self.push(name, LocalKind::Content)
    }

    fn push(&mut self, name: &str, kind: LocalKind) -> u32 {
        let frame = &mut self.frame;
        let slot = u32::try_from(frame.locals.len()).unwrap_or(u32::MAX);
        frame.locals.push(LocalName { name: name.into(), slot, kind });
        frame.max_locals = frame.max_locals.max(slot + 1);
        slot
    }

    pub(crate) fn pop_locals(&mut self, count: usize) {
        let locals = &mut self.frame.locals;
        locals.truncate(locals.len().saturating_sub(count));
    }

    pub(crate) fn finish(self) -> Sizes {
        let symbols: Box<[Box<str>]> = self.symbols.into();
        let mut sorted: Vec<u32> = (0..u32::try_from(symbols.len()).unwrap_or(u32::MAX)).collect();
        sorted.sort_by_key(|symbol| symbols.get(*symbol as usize));
        Sizes { symbols, sorted: sorted.into(), frame: self.frame.sizes() }
    }
}

impl Frame {
    fn sizes(self) -> FrameSizes {
        FrameSizes {
            locals: self.max_locals,
            loops: self.max_loops,
            names: self.names.unwrap_or_default().in_order.into(),
        }
    }
}
