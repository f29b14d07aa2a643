//! The arguments of calls: to which parameter each goes, and what those get that have none.

use super::Interp;
use crate::ast::{Expr, Macro, Param};
use crate::callable::{Bound, BoundArgs};
use crate::error::{Raised, limit, runtime};
use crate::model::{Hash, Map};
use crate::value::{Text, Value};

/// The arguments of a call: expressions still to be evaluated, or values.
#[derive(Clone, Copy)]
pub(super) enum Args<'a, 'r> {
    Named(&'r [(Box<str>, Expr)]),
    Positional(&'r [Expr]),
    Values(&'a [Value<'r>]),
}

/// What a call's arguments come to, while they are collected.
struct Collected<'r> {
    /// Where the macro's variables start.
    vars: u32,
    definition: &'r Macro,
    /// The parameter that the next positional argument is for.
    next: usize,
    /// What goes to the catch-all parameter.
    named: Option<Vec<(Text<'r>, Value<'r>)>>,
    positional: Option<Vec<Value<'r>>>,
}

impl<'r> Interp<'r> {
    pub(super) fn collect_args(
        &mut self,
        vars: u32,
        definition: &'r Macro,
        bound: Option<&Bound<'r>>,
        args: Args<'_, 'r>,
    ) -> Result<(), Raised> {
        if let (Args::Positional(exprs), None, None) = (args, bound, &definition.catch_all)
            && exprs.len() <= definition.params.len()
        {
            for (expr, param) in exprs.iter().zip(&definition.params) {
                let value = self.eval(expr)?;
                self.set_var(vars, param.slot, value);
            }
            return Ok(());
        }
        let mut collected = Collected { vars, definition, next: 0, named: None, positional: None };
        let mut last_named = Vec::new();
        if let Some(bound) = bound {
            self.bound_first(&mut collected, bound, args, &mut last_named)?;
        }
        match args {
            Args::Positional(exprs) => {
                let count = exprs.len();
                self.check_count(&mut collected, count, bound)?;
                for expr in exprs {
                    let value = self.eval(expr)?;
                    self.set_positional(&mut collected, value)?;
                }
            }
            Args::Values(values) => {
                self.check_count(&mut collected, values.len(), bound)?;
                for value in values {
                    self.set_positional(&mut collected, value.clone())?;
                }
            }
            Args::Named(args) => {
                if collected.positional.is_none() {
                    collected.open_named();
                }
                for (name, expr) in args {
                    if param(definition, name).is_none() && collected.named.is_none() {
                        return Err(collected.unknown_name(name));
                    }
                    let value = self.eval(expr)?;
                    self.set_named(&mut collected, Text::Borrowed(name), value)?;
                }
            }
        }
        if let Some(bound) = bound.filter(|bound| bound.last) {
            match &bound.args {
                BoundArgs::Named(_) => {
                    for (name, value) in last_named {
                        if let Some(named) = &mut collected.named
                            && !named.iter().any(|(known, _)| **known == *name)
                        {
                            named.push((name, value));
                        }
                    }
                }
                BoundArgs::Positional(values) => {
                    for value in values {
                        self.set_positional(&mut collected, value.clone())?;
                    }
                }
            }
        }
        let Some((_, slot)) = &definition.catch_all else { return Ok(()) };
        let rest = match (collected.named, collected.positional) {
            (Some(named), _) => {
                self.charge_items(2 * named.len())?;
                let mut map = Map::default();
                for (name, value) in named {
                    map.insert(name, value).map_err(limit)?;
                }
                Value::Hash(Hash::Map(map.into()))
            }
            (None, positional) => self.built_sequence(positional.unwrap_or_default())?,
        };
        self.set_var(vars, *slot, rest);
        Ok(())
    }

    fn bound_first(
        &mut self,
        collected: &mut Collected<'r>,
        bound: &Bound<'r>,
        args: Args<'_, 'r>,
        last_named: &mut Vec<(Text<'r>, Value<'r>)>,
    ) -> Result<(), Raised> {
        let definition = collected.definition;
        match &bound.args {
            BoundArgs::Named(named) => {
                for (name, value) in named {
                    if param(definition, name).is_some() {
                        self.set_named(collected, name.clone(), value.clone())?;
                    } else if definition.catch_all.is_none() {
                        return Err(collected.unknown_name(name));
                    } else {
                        collected.open_named();
                        if bound.last {
                            last_named.push((name.clone(), value.clone()));
                        } else {
                            self.set_named(collected, name.clone(), value.clone())?;
                        }
                    }
                }
            }
            BoundArgs::Positional(values) if bound.last => {
                if matches!(args, Args::Named([_, ..])) && !values.is_empty() {
                    return Err(runtime(
                        "Call can't pass parameters by name, as there's \"with args last\" in effect that specifies \
                         parameters by position.",
                    ));
                }
                let given = match args {
                    Args::Positional(exprs) => exprs.len(),
                    Args::Values(values) => values.len(),
                    Args::Named(_) => 0,
                };
                if definition.catch_all.is_none() && given + values.len() > definition.params.len() {
                    return Err(collected.too_many(given + values.len()));
                }
            }
            BoundArgs::Positional(values) => {
                if values.len() > definition.params.len() && definition.catch_all.is_none() {
                    return Err(collected.too_many(values.len()));
                }
                for value in values {
                    self.set_positional(collected, value.clone())?;
                }
            }
        }
        Ok(())
    }

    fn check_count(
        &mut self,
        collected: &mut Collected<'r>,
        count: usize,
        bound: Option<&Bound<'r>>,
    ) -> Result<(), Raised> {
        let definition = collected.definition;
        if definition.catch_all.is_some() && collected.named.is_none() {
            let by_name = count == 0 && matches!(bound, Some(Bound { args: BoundArgs::Named(_), .. }));
            if by_name {
                collected.open_named();
            } else {
                collected.positional.get_or_insert_default();
            }
        }
        let total = count + collected.next;
        if total > definition.params.len() && collected.positional.is_none() {
            return Err(match collected.named {
                Some(_) => collected.both(),
                None => collected.too_many(total),
            });
        }
        Ok(())
    }

    fn set_positional(&mut self, collected: &mut Collected<'r>, value: Value<'r>) -> Result<(), Raised> {
        if let Some(param) = collected.definition.params.get(collected.next) {
            collected.next += 1;
            self.set_var(collected.vars, param.slot, value);
        } else {
            self.charge_items(1)?;
            collected.positional.get_or_insert_default().push(value);
        }
        Ok(())
    }

    fn set_named(&mut self, collected: &mut Collected<'r>, name: Text<'r>, value: Value<'r>) -> Result<(), Raised> {
        if let Some(param) = param(collected.definition, &name) {
            self.set_var(collected.vars, param.slot, value);
        } else if let Some(named) = &mut collected.named {
            match named.iter_mut().find(|(known, _)| **known == *name) {
                Some(known) => known.1 = value,
                None => named.push((name, value)),
            }
        } else if collected.positional.is_some() {
            return Err(collected.both());
        }
        Ok(())
    }

    fn set_var(&mut self, vars: u32, slot: u32, value: Value<'r>) {
        if let Some(place) = self.macro_vars.get_mut((vars + slot) as usize) {
            *place = value;
        }
    }

    fn var(&self, slot: u32) -> &Value<'r> {
        let vars = self.frames.last().map_or(0, |frame| frame.vars);
        self.macro_vars.get((vars + slot) as usize).unwrap_or(&Value::Missing)
    }

    /// Gives parameters without value their default, in any order that works.
    pub(super) fn apply_defaults(
        &mut self,
        definition: &'r Macro,
        args: Args<'_, 'r>,
        bound: Option<&Bound<'r>>,
    ) -> Result<(), Raised> {
        loop {
            let (mut resolved, mut unresolved) = (false, None);
            for (place, param) in definition.params.iter().enumerate() {
                if !self.var(param.slot).is_missing() {
                    continue;
                }
                let Some(default) = &param.default else {
                    return Err(missing_parameter(definition, place, param, args, bound));
                };
                let mark = self.mark();
                match self.eval(default) {
                    Ok(Value::Missing) => {
                        if unresolved.is_none() {
                            unresolved = Some(self.missing(default));
                        }
                    }
                    Ok(value) => {
                        self.set_macro_variable(param.slot, value);
                        resolved = true;
                    }
                    Err(fault) if fault.missing => {
                        self.unwind(&mark);
                        unresolved = unresolved.or(Some(fault));
                    }
                    Err(fault) => return Err(fault),
                }
            }
            match unresolved {
                None => return Ok(()),
                Some(fault) if !resolved => return Err(fault),
                Some(_) => {}
            }
        }
    }

    /// The value of `.args`.
    pub(super) fn args_of(&mut self, definition: &'r Macro) -> Result<Value<'r>, Raised> {
        let rest = match &definition.catch_all {
            Some((_, slot)) => self.var(*slot).clone(),
            None => Value::Missing,
        };
        if definition.is_function {
            let mut items: Vec<Value<'r>> =
                definition.params.iter().map(|param| self.var(param.slot).clone()).collect();
            if let Value::Sequence(rest) = rest {
                items.extend(self.laid_out(&rest)?);
            }
            return self.built_sequence(items);
        }
        let mut map = Map::default();
        for param in &definition.params {
            map.insert(Text::Borrowed(&param.name), self.var(param.slot).clone()).map_err(limit)?;
        }
        match rest {
            Value::Sequence(rest) if !rest.is_empty() => {
                return Err(runtime(
                    "The macro can only by called with named arguments, because it uses both .args and a non-empty \
                     catch-all parameter.",
                ));
            }
            Value::Hash(rest) => {
                for place in 0..rest.len() {
                    if let Some((key, value)) = rest.entry(place) {
                        map.insert(key, value).map_err(limit)?;
                    }
                }
            }
            _ => {}
        }
        self.charge_items(2 * definition.params.len())?;
        Ok(Value::Hash(Hash::Map(map.into())))
    }
}

impl<'r> Collected<'r> {
    fn open_named(&mut self) {
        if self.definition.catch_all.is_some() {
            self.named.get_or_insert_default();
        }
    }

    fn routine(&self) -> String {
        format!("{} \"{}\"", if self.definition.is_function { "Function" } else { "Macro" }, self.definition.name)
    }

    fn unknown_name(&self, name: &str) -> Raised {
        if self.positional.is_some() {
            return self.both();
        }
        let names: Vec<&str> = self.definition.params.iter().map(|param| &*param.name).collect();
        runtime(format!(
            "{} has no parameter with name \"{name}\". Valid parameter names are: {}",
            self.routine(),
            names.join(", ")
        ))
    }

    fn too_many(&self, count: usize) -> Raised {
        runtime(format!(
            "{} only accepts {} parameters, but got {count}.",
            self.routine(),
            self.definition.params.len()
        ))
    }

    fn both(&self) -> Raised {
        runtime(format!(
            "{} call can't have both named and positional arguments that has to go into catch-all parameter.",
            self.routine()
        ))
    }
}

fn param<'m>(definition: &'m Macro, name: &str) -> Option<&'m Param> {
    definition.params.iter().find(|param| *param.name == *name)
}

fn missing_parameter(
    definition: &Macro,
    place: usize,
    param: &Param,
    args: Args<'_, '_>,
    bound: Option<&Bound<'_>>,
) -> Raised {
    let passed = match args {
        Args::Named(args) => args.iter().any(|(name, _)| *name == param.name),
        Args::Positional(exprs) => place < exprs.len(),
        Args::Values(values) => place < values.len(),
    };
    let was_bound = bound.is_some_and(|bound| match &bound.args {
        BoundArgs::Named(named) => named.iter().any(|(name, _)| **name == *param.name),
        BoundArgs::Positional(values) => place < values.len(),
    });
    let (how, tip) = if passed || was_bound {
        (
            "specified, but had null/missing value.",
            "If the parameter value expression on the caller side is known to be legally null/missing, you may want \
             to specify a default value for it with the \"!\" operator, like paramValue!defaultValue.",
        )
    } else {
        (
            "not specified.",
            "If the omission was deliberate, you may consider making the parameter optional in the macro by \
             specifying a default value for it, like <#macro macroName paramName=defaultExpr>)",
        )
    };
    runtime(format!(
        "When calling {} \"{}\", required parameter \"{}\" (parameter #{}) was {how}\n\n----\nTip: {tip}\n----",
        if definition.is_function { "function" } else { "macro" },
        definition.name,
        param.name,
        place + 1
    ))
    .at(definition.span)
}
