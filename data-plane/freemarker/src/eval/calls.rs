//! Calling macros and functions, and the content of calls.

use super::arguments::Args;
use super::frames::{Context, MacroFrame};
use super::{Flow, Interp};
use crate::ast::{CallArgs, Expr, Macro, UserCall};
use crate::callable::{Bound, Callable, Kind, MacroRef};
use crate::error::{Raised, limit, runtime};
use crate::value::Value;

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
            Kind::BuiltIn(waiting) => self.call_waiting(waiting, args),
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
