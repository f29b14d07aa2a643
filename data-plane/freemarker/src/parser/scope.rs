//! Names: which variable each one means, as far as the template's text tells.

use std::collections::HashMap;

use crate::ast::{Local, Variable};

/// The names of a template and the loops around the place that is being parsed.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    symbols: Vec<Box<str>>,
    by_name: HashMap<Box<str>, u32>,
    locals: Vec<LocalName>,
    max_locals: u32,
    loops: u32,
    max_loops: u32,
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
}

/// What a template needs at run time, and the names of its symbols.
#[derive(Debug)]
pub(crate) struct Sizes {
    pub(crate) symbols: Box<[Box<str>]>,
    pub(crate) locals: u32,
    pub(crate) loops: u32,
}

impl Scope {
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

    /// What a name may mean here.
    pub(crate) fn resolve(&mut self, name: &str) -> Variable {
        let mut locals = Vec::new();
        for local in self.locals.iter().rev() {
            match local.kind {
                LocalKind::Parameter if *local.name == *name => {
                    locals.push(Local::Parameter(local.slot));
                    break;
                }
                LocalKind::Parameter => {}
                LocalKind::Loop { loop_slot, first } => match name.strip_prefix(&*local.name) {
                    Some("") => locals.push(Local::Loop(local.slot)),
                    Some("_index") if first => locals.push(Local::LoopIndex(loop_slot)),
                    Some("_has_next") if first => locals.push(Local::LoopHasNext(loop_slot)),
                    _ => {}
                },
            }
        }
        Variable { locals: locals.into(), symbol: self.symbol(name) }
    }

    /// The loop that a name is a variable of.
    pub(crate) fn loop_of(&self, name: &str) -> Option<u32> {
        self.locals.iter().rev().find_map(|local| match local.kind {
            LocalKind::Loop { loop_slot, .. } if *local.name == *name => Some(loop_slot),
            _ => None,
        })
    }

    /// Begins a loop; gives its slot.
    pub(crate) fn open_loop(&mut self) -> u32 {
        let slot = self.loops;
        self.loops += 1;
        self.max_loops = self.max_loops.max(self.loops);
        slot
    }

    pub(crate) fn close_loop(&mut self) {
        self.loops = self.loops.saturating_sub(1);
    }

    pub(crate) fn push_loop_variable(&mut self, name: &str, loop_slot: u32, first: bool) -> u32 {
        self.push(name, LocalKind::Loop { loop_slot, first })
    }

    pub(crate) fn push_parameter(&mut self, name: &str) -> u32 {
        self.push(name, LocalKind::Parameter)
    }

    fn push(&mut self, name: &str, kind: LocalKind) -> u32 {
        let slot = u32::try_from(self.locals.len()).unwrap_or(u32::MAX);
        self.locals.push(LocalName { name: name.into(), slot, kind });
        self.max_locals = self.max_locals.max(slot + 1);
        slot
    }

    pub(crate) fn pop_locals(&mut self, count: usize) {
        self.locals.truncate(self.locals.len().saturating_sub(count));
    }

    pub(crate) fn finish(self) -> Sizes {
        Sizes { symbols: self.symbols.into(), locals: self.max_locals, loops: self.max_loops }
    }
}
