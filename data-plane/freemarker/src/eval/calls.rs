//! Calling macros and functions, and the content of calls.

use super::frames::{Context, MacroFrame};
use super::{Flow, Interp};
use crate::ast::{CallArgs, Expr, Macro, Param, UserCall};
use crate::callable::{Bound, BoundArgs, Callable, Kind, MacroRef};
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
    /// `<@expr …>`
    pub(super) fn user_call(&mut self, call: &'r UserCall) -> Result<Flow, Raised> {
        let value = self.eval(&call.callee)?;
        let callable = match value {
            Value::Callable(callable) => callable,
            Value::Missing => return Err(self.missing(&call.callee)),
            other => {
                return Err(self.expected("user-defined directive, transform or macro", &other, &call.callee));
            }
        };
        let args = match &call.args {
            CallArgs::Named(args) => Args::Named(args),
            CallArgs::Positional(args) => Args::Positional(args),
        };
        match &callable.0 {
            Kind::Macro(target) => self.call_macro(*target, None, args, call),
            Kind::Bound(bound) => self.call_macro(bound.target, Some(bound), args, call),
            Kind::Pass => Ok(Flow::Next),
            Kind::Interpreted(unit) => self.run_interpreted(*unit),
            Kind::OptionalInclude(unit) => {
                self.run_unit(*unit)?;
                Ok(Flow::Next)
            }
            _ => {
                let value = Value::Callable(callable.clone());
                Err(self.expected("user-defined directive, transform or macro", &value, &call.callee))
            }
        }
    }

    fn call_macro(
        &mut self,
        target: MacroRef<'r>,
        bound: Option<&Bound<'r>>,
        args: Args<'_, 'r>,
        call: &'r UserCall,
    ) -> Result<Flow, Raised> {
        if target.definition.is_function && !call.legacy {
            return Err(runtime(format!(
                "Routine \"{}\" is a function, not a directive. Functions can only be called from expressions, like \
                 in ${{f()}}, ${{x + f()}} or <@someDirective someParam=f() />.",
                target.definition.name
            )));
        }
        // a #break in the content goes on to the loop around the call
        self.invoke(target, bound, args, Some(call))
    }

    /// Calls a function; what it prints is discarded.
    pub(super) fn call_function(
        &mut self,
        target: MacroRef<'r>,
        bound: Option<&Bound<'r>>,
        args: Args<'_, 'r>,
    ) -> Result<Value<'r>, Raised> {
        if !target.definition.is_function {
            return Err(runtime("A macro cannot be called in an expression. (Functions can be.)"));
        }
        let start = self.out.len();
        self.captures += 1;
        let result = self.invoke(target, bound, args, None);
        self.captures -= 1;
        self.out.truncate(start);
        result?;
        Ok(std::mem::replace(&mut self.returned, Value::Missing))
    }

    /// Calls anything that is called in expressions, with values.
    pub(crate) fn call_with_values(
        &mut self,
        callable: &Callable<'r>,
        args: &[Value<'r>],
    ) -> Result<Value<'r>, Raised> {
        match &callable.0 {
            Kind::Macro(target) => self.call_function(*target, None, Args::Values(args)),
            Kind::Bound(bound) => self.call_function(bound.target, Some(bound), Args::Values(args)),
            Kind::BoundMethod(bound) => {
                let mut all = Vec::with_capacity(bound.args.len() + args.len());
                let (first, second) = if bound.last { (args, &*bound.args) } else { (&*bound.args, args) };
                all.extend_from_slice(first);
                all.extend_from_slice(second);
                self.call_method(bound.method.as_ref(), &all)
            }
            Kind::GetOptionalTemplate => self.optional_template(args),
            Kind::OptionalImport(unit) => self.optional_import(*unit),
            _ => Err(runtime(format!("A {} cannot be called in an expression.", callable.type_name()))),
        }
    }

    fn invoke(
        &mut self,
        target: MacroRef<'r>,
        bound: Option<&Bound<'r>>,
        args: Args<'_, 'r>,
        call: Option<&'r UserCall>,
    ) -> Result<Flow, Raised> {
        let definition = target.definition;
        let names = definition.frame.names.len();
        self.meter.enter()?;
        self.meter.enter()?;
        self.meter.steps(2 + (names + definition.frame.locals as usize) as u64 / 8)?;
        let start = self.macro_vars.len();
        self.macro_vars.resize(start + names, Value::Missing);
        let vars = u32::try_from(start).map_err(|_| limit("too many variables"))?;
        // the arguments are evaluated where the call stands
        self.collect_args(vars, definition, bound, args)?;
        self.frames.push(MacroFrame { definition, vars, call, caller: self.ctx, args: Value::Missing });
        let locals = self.open_locals(&definition.frame);
        let ctx = Context {
            unit: target.unit,
            namespace: target.namespace,
            frame: u32::try_from(self.frames.len()).map_err(|_| limit("too many calls"))?,
            base: locals.0,
            loop_base: locals.1,
            parent: self.ctx.parent,
            ..Context::START
        };
        self.returned = Value::Missing;
        let flow = self.within(ctx, |interp| interp.run_macro(definition, args, bound))?;
        self.close_locals(locals);
        self.frames.pop();
        self.macro_vars.truncate(start);
        self.meter.leave();
        self.meter.leave();
        Ok(if flow == Flow::Return { Flow::Next } else { flow })
    }

    fn run_macro(
        &mut self,
        definition: &'r Macro,
        args: Args<'_, 'r>,
        bound: Option<&Bound<'r>>,
    ) -> Result<Flow, Raised> {
        self.apply_defaults(definition, args, bound).map_err(|fault| self.traced_at_definition(fault, definition))?;
        if definition.wants_args {
            let value = self.args_of(definition).map_err(|fault| self.traced_at_definition(fault, definition))?;
            if let Some(frame) = self.frames.last_mut() {
                frame.args = value;
            }
        }
        self.block(&definition.body)
    }

    // arguments

    fn collect_args(
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
    fn apply_defaults(
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
    fn args_of(&mut self, definition: &'r Macro) -> Result<Value<'r>, Raised> {
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

    // content

    /// `<#nested …>`
    pub(super) fn nested(&mut self, values: &'r [Expr]) -> Result<Flow, Raised> {
        let Some((call, caller)) = self.frame().map(|frame| (frame.call, frame.caller)) else {
            return Ok(Flow::Next);
        };
        let variables = call.and_then(|call| call.variables.as_ref());
        self.meter.enter()?;
        self.meter.enter()?;
        let mut given = Vec::new();
        for (place, expr) in values.iter().enumerate() {
            let value = self.eval(expr)?;
            if variables.is_some_and(|variables| place < variables.names.len()) {
                given.push(value);
            }
        }
        let Some(content) = call.and_then(|call| call.content.as_ref()) else {
            self.meter.leave();
            self.meter.leave();
            return Ok(Flow::Next);
        };
        let parent = self.unit_of_namespace(caller.namespace);
        let flow = self.within(Context { parent, ..caller }, |interp| {
            let Some(variables) = variables else { return interp.block(content) };
            let mut given = given.into_iter();
            for (_, slot) in &variables.names {
                interp.set_local(*slot, given.next().unwrap_or(Value::Missing));
            }
            interp.open_scope(variables);
            let flow = interp.block(content)?;
            interp.close_scope();
            Ok(flow)
        })?;
        self.meter.leave();
        self.meter.leave();
        // a #return in the content ends the macro that was called, a #break goes on
        Ok(flow)
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
