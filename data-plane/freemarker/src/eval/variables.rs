//! Finding and setting variables: by slots and symbols, and where only their names are known, by
//! those.

use super::Interp;
use crate::ast::{Expr, ExprKind, Local, Variable};
use crate::callable::Layer;
use crate::error::Raised;
use crate::java_order;
use crate::model::{Hash, Map};
use crate::template::Inner;
use crate::value::{Text, Value};

/// A variable's value: where it is kept, or made for who asked.
pub(super) enum Stored<'i, 'r> {
    At(&'i Value<'r>),
    Made(Value<'r>),
}

impl<'r> Interp<'r> {
    /// The value of a name in the running code.
    pub(super) fn variable(&self, variable: &'r Variable) -> Value<'r> {
        match self.stored(variable) {
            Stored::At(value) => value.clone(),
            Stored::Made(value) => value,
        }
    }

    /// The same where it is.
    pub(super) fn stored(&self, variable: &'r Variable) -> Stored<'_, 'r> {
        if variable.locals.is_empty() && self.ctx.unit == 0 && self.ctx.namespace == 0 && !self.ctx.has_outer() {
            // the main template, outside of loops and macros
            return Stored::At(self.in_main(variable.symbol));
        }
        for local in &variable.locals {
            let value = match local {
                Local::Loop(slot) => self.local(*slot),
                Local::Parameter(slot) => return Stored::At(self.local(*slot)),
                Local::LoopIndex(slot) => return Stored::Made(Value::int(self.loop_state(*slot).0)),
                Local::LoopHasNext(slot) => return Stored::Made(Value::Bool(self.loop_state(*slot).1)),
                Local::Macro(slot) => self.macro_variable(*slot),
            };
            if !value.is_missing() {
                return Stored::At(value);
            }
        }
        if self.ctx.has_outer()
            && let Some(value) = self.outer_variable(self.symbol_name(variable.symbol))
        {
            return Stored::Made(value);
        }
        let id = self.id_of(variable.symbol);
        match self.in_namespace(self.ctx.namespace, id) {
            Value::Missing => {}
            value => return Stored::At(value),
        }
        match self.globals.get(id as usize) {
            Some(value) if !value.is_missing() => Stored::At(value),
            _ => Stored::At(self.root.get(self.symbol_name(variable.symbol))),
        }
    }

    /// A variable of the main template.
    #[inline]
    fn in_main(&self, symbol: u32) -> &Value<'r> {
        match self.namespace.get(symbol as usize) {
            Some(value) if !value.is_missing() => value,
            _ => match self.globals.get(symbol as usize) {
                Some(value) if !value.is_missing() => value,
                _ => self.root.get(self.main.parsed.sizes.name(symbol)),
            },
        }
    }

    #[inline]
    fn local(&self, slot: u32) -> &Value<'r> {
        self.locals.get((self.ctx.base + slot) as usize).unwrap_or(&Value::Missing)
    }

    /// A variable of the macro that runs: not one further out, and no loop variable.
    pub(super) fn local_variable(&self, slot: u32) -> Value<'r> {
        self.macro_variable(slot).clone()
    }

    fn macro_variable(&self, slot: u32) -> &Value<'r> {
        let value = self.frame().and_then(|frame| self.macro_vars.get((frame.vars + slot) as usize));
        value.unwrap_or(&Value::Missing)
    }

    pub(super) fn set_macro_variable(&mut self, slot: u32, value: Value<'r>) {
        let Some(vars) = self.frame().map(|frame| frame.vars) else { return };
        if let Some(place) = self.macro_vars.get_mut((vars + slot) as usize) {
            *place = value;
        }
    }

    /// The value of an expression that is a variable's name, where it is; counts nothing. `None` when it has none
    /// or is something else.
    pub(crate) fn peek(&self, expr: &'r Expr) -> Option<&Value<'r>> {
        let ExprKind::Variable(variable) = &expr.kind else { return None };
        match self.stored(variable) {
            Stored::At(Value::Missing | Value::Scope(_)) | Stored::Made(_) => None,
            Stored::At(value) => Some(value),
        }
    }

    /// A variable that was in scope where the running template was entered.
    #[cold]
    #[inline(never)]
    fn outer_variable(&self, name: &str) -> Option<Value<'r>> {
        self.in_scopes(self.ctx.outer_scope, name).or_else(|| {
            // within the template's own macros it is their frame that counts
            self.in_frame(name).filter(|_| self.ctx.outer_frame)
        })
    }

    /// A loop variable or the like by its name, from a scope on outwards.
    fn in_scopes(&self, mut scope: u32, name: &str) -> Option<Value<'r>> {
        while let Some(entry) = (scope as usize).checked_sub(1).and_then(|place| self.scopes.get(place)) {
            for (place, (bound, slot)) in entry.bindings.names.iter().enumerate() {
                let Some(rest) = name.strip_prefix(&**bound) else { continue };
                let state = entry.bindings.loop_slot.map(|slot| self.loop_at(entry.loop_base, slot));
                match (rest, state.filter(|_| place == 0)) {
                    ("", _) => {
                        let value = self.locals.get((entry.base + slot) as usize).cloned().unwrap_or(Value::Missing);
                        if !value.is_missing() || !entry.bindings.falls_back {
                            return Some(value);
                        }
                    }
                    ("_index", Some((index, _))) => return Some(Value::int(index)),
                    ("_has_next", Some((_, has_next))) => return Some(Value::Bool(has_next)),
                    _ => {}
                }
            }
            scope = entry.outer;
        }
        None
    }

    /// A variable of the macro that runs, by its name.
    fn in_frame(&self, name: &str) -> Option<Value<'r>> {
        let frame = self.frame()?;
        let slot = frame.definition.frame.names.iter().position(|known| **known == *name)?;
        let value = self.macro_vars.get(frame.vars as usize + slot)?;
        (!value.is_missing()).then(|| value.clone())
    }

    /// A variable by its name, as `.vars` finds it.
    pub(super) fn by_name(&self, name: &str) -> Value<'r> {
        if let Some(value) = self.in_scopes(self.ctx.scope, name).or_else(|| self.in_frame(name)) {
            return value;
        }
        if let Some(id) = self.find_id(name) {
            let value = self.in_namespace(self.ctx.namespace, id);
            if !value.is_missing() {
                return value.clone();
            }
        }
        self.in_layer(Layer::Globals, name)
    }

    /// A variable of a layer.
    pub(super) fn in_layer(&self, layer: Layer, name: &str) -> Value<'r> {
        match layer {
            Layer::Vars => self.by_name(name),
            Layer::DataModel => self.root.get(name).clone(),
            Layer::Namespace(namespace) => match self.find_id(name) {
                Some(id) => self.in_namespace(namespace, id).clone(),
                None => Value::Missing,
            },
            Layer::Globals => {
                let global = self.find_id(name).and_then(|id| self.globals.get(id as usize));
                match global {
                    Some(value) if !value.is_missing() => value.clone(),
                    _ => self.root.get(name).clone(),
                }
            }
        }
    }

    /// The variables of the macro that runs, as they are now.
    pub(super) fn locals_hash(&mut self) -> Result<Value<'r>, Raised> {
        let Some(frame) = self.frame() else { return Ok(Value::Missing) };
        let names: &'r [Box<str>] = &frame.definition.frame.names;
        let vars = frame.vars as usize;
        let mut entries = Vec::new();
        for (slot, name) in names.iter().enumerate() {
            match self.macro_vars.get(vars + slot) {
                Some(value) if !value.is_missing() => entries.push((Text::Borrowed(name), value.clone())),
                _ => {}
            }
        }
        self.charge_items(2 * names.len())?;
        in_java_order(entries)
    }

    /// The variables of a layer as a hash of its own: what listing and the like work on.
    pub(crate) fn settled(&mut self, value: Value<'r>) -> Result<Value<'r>, Raised> {
        let Value::Scope(crate::callable::Scope(layer)) = &value else { return Ok(value) };
        match layer {
            Layer::Namespace(number) => {
                let count = self.values_of(*number).len();
                self.charge_items(2 * count)?;
                let mut entries = Vec::new();
                for id in 0..u32::try_from(count).unwrap_or(u32::MAX) {
                    let value = self.in_namespace(*number, id).clone();
                    if !value.is_missing() {
                        entries.push((self.name_of(id), value));
                    }
                }
                in_java_order(entries)
            }
            Layer::DataModel => {
                let root = self.root;
                self.charge_items(2 * root.variables().len())?;
                let mut map = Map::default();
                for (name, value) in root.variables() {
                    map.insert(Text::Borrowed(name), value.clone()).map_err(crate::error::limit)?;
                }
                Ok(Value::Hash(Hash::Map(map.into())))
            }
            Layer::Vars | Layer::Globals => Ok(value),
        }
    }

    // symbols and their numbers, which all templates of a rendering share

    pub(crate) fn symbol_name(&self, symbol: u32) -> &'r str {
        self.template.parsed.sizes.name(symbol)
    }

    /// The number of a symbol of the running template.
    pub(super) fn id_of(&self, symbol: u32) -> u32 {
        self.id_in(self.ctx.unit, symbol)
    }

    pub(super) fn id_in(&self, unit: u32, symbol: u32) -> u32 {
        match (unit as usize).checked_sub(1).and_then(|place| self.units.get(place)) {
            Some(unit) => unit.ids.get(symbol as usize).copied().unwrap_or(u32::MAX),
            None => symbol,
        }
    }

    fn main_count(&self) -> u32 {
        u32::try_from(self.main.parsed.sizes.symbols.len()).unwrap_or(u32::MAX)
    }

    /// The number of a name, if any template has it.
    pub(super) fn find_id(&self, name: &str) -> Option<u32> {
        self.main
            .parsed
            .sizes
            .find(name)
            .or_else(|| if self.names.is_empty() { None } else { self.names_by_text.get(name).copied() })
    }

    /// The number of a name, which gets one if it has none.
    pub(super) fn id_for(&mut self, name: Text<'r>) -> u32 {
        if let Some(id) = self.find_id(&name) {
            return id;
        }
        let id = self.main_count() + u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(name.clone());
        self.names_by_text.insert(name, id);
        id
    }

    fn name_of(&self, id: u32) -> Text<'r> {
        match id.checked_sub(self.main_count()) {
            Some(place) => self.names.get(place as usize).cloned().unwrap_or(Text::Borrowed("")),
            None => Text::Borrowed(self.main.parsed.sizes.name(id)),
        }
    }

    // namespaces

    fn values_of(&self, namespace: u32) -> &Vec<Value<'r>> {
        let other = (namespace as usize).checked_sub(1).and_then(|place| self.namespaces.get(place));
        other.map_or(&self.namespace, |(_, values)| values)
    }

    pub(super) fn in_namespace(&self, namespace: u32, id: u32) -> &Value<'r> {
        self.values_of(namespace).get(id as usize).unwrap_or(&Value::Missing)
    }

    pub(super) fn set_in(&mut self, namespace: u32, id: u32, value: Value<'r>) {
        if namespace == 0 && self.namespace.is_empty() {
            self.namespace.reserve_exact(self.main.parsed.sizes.symbols.len());
        }
        let other = (namespace as usize).checked_sub(1).and_then(|place| self.namespaces.get_mut(place));
        put(other.map_or(&mut self.namespace, |(_, values)| values), id, value);
    }

    pub(super) fn set_global(&mut self, id: u32, value: Value<'r>) {
        put(&mut self.globals, id, value);
    }

    pub(super) fn global(&self, id: u32) -> Value<'r> {
        self.globals.get(id as usize).cloned().unwrap_or(Value::Missing)
    }

    pub(super) fn template_of(&self, unit: u32) -> &'r Inner {
        match (unit as usize).checked_sub(1).and_then(|place| self.units.get(place)) {
            Some(unit) => unit.template,
            None => self.main,
        }
    }
}

/// A hash of variables, which FreeMarker keeps in a hash table of Java.
fn in_java_order<'r>(mut entries: Vec<(Text<'r>, Value<'r>)>) -> Result<Value<'r>, Raised> {
    java_order::arrange(&mut entries, |(name, _)| name);
    let mut map = Map::default();
    for (name, value) in entries {
        map.insert(name, value).map_err(crate::error::limit)?;
    }
    Ok(Value::Hash(Hash::Map(map.into())))
}

fn put<'r>(values: &mut Vec<Value<'r>>, id: u32, value: Value<'r>) {
    let place = id as usize;
    if values.len() <= place {
        // ids are given one after the other: never far beyond the end
        values.resize(place + 1, Value::Missing);
    }
    if let Some(slot) = values.get_mut(place) {
        *slot = value;
    }
}
