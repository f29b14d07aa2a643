//! Templates that others include and import, and their namespaces.

use super::frames::Context;
use super::{Flow, Interp};
use crate::ast::{Expr, Import, Include};
use crate::callable::{Callable, Kind, Layer, MacroRef, Scope};
use crate::error::{Error, ErrorKind, Fault, Raised, limit, runtime};
use crate::template::Inner;
use crate::template_name;
use crate::value::{Text, Value};

/// A template besides the main one, and the numbers of its symbols in this rendering.
pub(super) struct Unit<'r> {
    pub(super) template: &'r Inner,
    pub(super) ids: Box<[u32]>,
}

/// How many templates one rendering may load, counting each time that its symbols are taken in.
const MAX_UNITS: usize = 20_000;

impl<'r> Interp<'r> {
    /// Takes a template in; gives its number.
    pub(super) fn load(&mut self, template: &'r Inner) -> Result<u32, Raised> {
        if std::ptr::eq(template, self.main) {
            return Ok(0);
        }
        let known = self.units.iter().position(|unit| std::ptr::eq(unit.template, template));
        if let Some(place) = known {
            return u32::try_from(place + 1).map_err(|_| limit("too many templates"));
        }
        if self.units.len() >= MAX_UNITS {
            return Err(limit(format!("more than {MAX_UNITS} templates are used")));
        }
        let symbols = &template.parsed.sizes.symbols;
        self.meter.steps(10 + symbols.len() as u64 / 4)?;
        self.meter.value(64 + 4 * symbols.len())?;
        let ids = symbols.iter().map(|name| self.id_for(Text::Borrowed(name))).collect();
        self.units.push(Unit { template, ids });
        u32::try_from(self.units.len()).map_err(|_| limit("too many templates"))
    }

    /// Sets the macros of a template in the current namespace.
    pub(super) fn define_macros(&mut self, unit: u32) -> Result<(), Raised> {
        let parsed = &self.template_of(unit).parsed;
        self.meter.steps(parsed.hoisted.len() as u64 / 4)?;
        for number in &parsed.hoisted {
            self.define(unit, *number);
        }
        Ok(())
    }

    /// Sets the variable of a macro.
    pub(super) fn define(&mut self, unit: u32, number: u32) {
        let template = self.template_of(unit);
        let Some(definition) = template.parsed.macros.get(number as usize) else { return };
        let namespace = self.ctx.namespace;
        let id = self.id_in(unit, definition.symbol);
        self.set_in(namespace, id, Callable::of(MacroRef { definition, unit, namespace }));
    }

    /// Runs a template where the current one stands.
    pub(super) fn run_unit(&mut self, unit: u32) -> Result<Flow, Raised> {
        let template = self.template_of(unit);
        self.meter.enter()?;
        self.meter.enter()?;
        self.meter.steps(2)?;
        self.define_macros(unit)?;
        let locals = self.open_locals(&template.parsed.sizes.frame);
        let ctx = Context {
            unit,
            base: locals.0,
            loop_base: locals.1,
            outer_scope: self.ctx.scope,
            outer_frame: self.ctx.frame > 0,
            parent: unit,
            ..self.ctx
        };
        let flow = self.within(ctx, |interp| interp.block(&template.parsed.body))?;
        self.close_locals(locals);
        self.meter.leave();
        self.meter.leave();
        Ok(flow)
    }

    /// The full name of a template as the current one names it.
    pub(super) fn full_name(&self, name: &str) -> Result<String, Raised> {
        template_name::resolve(&self.template.name, name).map_err(runtime)
    }

    /// Finds a template by its full name.
    pub(super) fn find_template(&mut self, full: &str) -> Result<Option<&'r Inner>, Raised> {
        match self.look_up(full)? {
            None => Ok(None),
            Some(Ok(template)) => Ok(Some(template)),
            Some(Err(error)) => Err(runtime(format!(
                "Syntax error in template \"{}\" in line {}, column {}:\n{}",
                error.template_name(),
                error.line(),
                error.column(),
                error.message()
            ))),
        }
    }

    fn look_up(&mut self, full: &str) -> Result<Option<Result<&'r Inner, &'r Error>>, Raised> {
        self.meter.steps(10)?;
        let Some(templates) = self.root.templates() else { return Ok(None) };
        for name in template_name::candidates(full) {
            self.meter.step()?;
            match templates.get(&name) {
                None => {}
                Some(Ok(template)) => {
                    self.meter.scan(template.source.len())?;
                    return Ok(Some(Ok(template)));
                }
                Some(Err(error)) => return Ok(Some(Err(error))),
            }
        }
        Ok(None)
    }

    fn source_of_template(&mut self, full: &str) -> Result<Option<&'r str>, Raised> {
        self.meter.steps(10)?;
        let Some(templates) = self.root.templates() else { return Ok(None) };
        Ok(template_name::candidates(full).iter().find_map(|name| templates.source(name)))
    }

    pub(super) fn include(&mut self, include: &'r Include) -> Result<Flow, Raised> {
        let name = self.text(&include.name)?;
        let full = self.full_name(&name)?;
        if let Some(encoding) = &include.encoding {
            self.text(encoding)?;
        }
        let parsed = match &include.parse {
            Some(expr) => self.yes_or_no(expr)?,
            None => true,
        };
        let ignore_missing = match &include.ignore_missing {
            Some(expr) => self.condition(expr)?,
            None => false,
        };
        if !parsed {
            return match self.source_of_template(&full)? {
                Some(source) => {
                    self.emit(source.as_bytes())?;
                    Ok(Flow::Next)
                }
                None if ignore_missing => Ok(Flow::Next),
                None => Err(not_found("inclusion", &name, &full)),
            };
        }
        let template = self.find_template(&full).map_err(|fault| failed("inclusion", &name, *fault))?;
        match template {
            Some(template) => {
                let unit = self.load(template)?;
                self.run_unit(unit)
            }
            None if ignore_missing => Ok(Flow::Next),
            None => Err(not_found("inclusion", &name, &full)),
        }
    }

    fn yes_or_no(&mut self, expr: &'r Expr) -> Result<bool, Raised> {
        let value = self.value(expr)?;
        match &value {
            Value::Bool(flag) => Ok(*flag),
            Value::String(text) => match &**text {
                "y" | "yes" | "t" | "true" => Ok(true),
                "n" | "no" | "f" | "false" => Ok(false),
                other => Err(self.blamed(
                    format!(
                        "Value must be boolean (or one of these strings: \"n\", \"no\", \"f\", \"false\", \"y\", \
                         \"yes\", \"t\", \"true\"), but it was \"{other}\"."
                    ),
                    expr,
                    &[],
                )),
            },
            _ => Err(self.expected("boolean", &value, expr)),
        }
    }

    pub(super) fn import(&mut self, import: &'r Import) -> Result<(), Raised> {
        let name = self.text(&import.name)?;
        let full = self.full_name(&name)?;
        let template = self.find_template(&full).map_err(|fault| failed("importing", &name, *fault))?;
        let Some(template) = template else { return Err(not_found("importing", &name, &full)) };
        let target = self.id_of(import.target);
        self.import_template(template, Some(target))?;
        Ok(())
    }

    /// Gives a template's namespace; the first time its template is run for that.
    fn import_template(&mut self, template: &'r Inner, target: Option<u32>) -> Result<Value<'r>, Raised> {
        let known = self.loaded.iter().find(|(name, _)| *name == template.name).map(|(_, namespace)| *namespace);
        let number = match known {
            Some(number) => number,
            None => {
                let unit = self.load(template)?;
                self.namespaces.push((unit, Vec::new()));
                u32::try_from(self.namespaces.len()).map_err(|_| limit("too many namespaces"))?
            }
        };
        let namespace = Value::Scope(Scope(Layer::Namespace(number)));
        if let Some(target) = target {
            self.set_in(self.ctx.namespace, target, namespace.clone());
            // what the main template imports is seen by all
            if self.ctx.namespace == 0 {
                self.set_global(target, namespace.clone());
            }
        }
        if known.is_none() {
            self.loaded.push((&template.name, number));
            let unit = self.load(template)?;
            let start = self.out.len();
            self.captures += 1;
            let ctx = Context { namespace: number, ..self.ctx };
            self.within(ctx, |interp| interp.run_unit(unit))?;
            self.captures -= 1;
            self.out.truncate(start);
        }
        Ok(namespace)
    }

    // what the settings ask for

    /// A template that no directive asks for: what is wrong with it is wrong there.
    fn automatic(&mut self, what: &str, name: &str) -> Result<&'r Inner, Raised> {
        match self.look_up(name)? {
            Some(found) => found.map_err(Fault::of),
            None => Err(not_found(what, name, name)),
        }
    }

    pub(super) fn auto_include(&mut self, name: &str) -> Result<(), Raised> {
        let template = self.automatic("inclusion", name)?;
        let unit = self.load(template)?;
        self.run_unit(unit).map(drop)
    }

    pub(super) fn auto_import(&mut self, name: &str, target: &'r str) -> Result<(), Raised> {
        let template = self.automatic("importing", name)?;
        let target = self.id_for(Text::Borrowed(target));
        self.import_template(template, Some(target)).map(drop)
    }

    // .get_optional_template

    pub(super) fn optional_template(&mut self, args: &[Value<'r>]) -> Result<Value<'r>, Raised> {
        let method = ".get_optional_template";
        let Some(name) = args.first() else {
            return Err(runtime(format!("{method}(...) expects 1 or 2 arguments but has received none.")));
        };
        let Value::String(name) = name else {
            return Err(runtime(format!(
                "{method}(...) expects a string as argument #1, but received {}.",
                super::blame::a_or_an(name.type_name())
            )));
        };
        let mut parsed = true;
        match args.get(1) {
            None => {}
            Some(Value::Hash(options)) => {
                for place in 0..options.len() {
                    let Some((key, value)) = options.entry(place) else { continue };
                    match (&*key, value) {
                        ("parse", Value::Bool(flag)) => parsed = flag,
                        ("encoding", Value::String(_)) => {}
                        (key @ ("parse" | "encoding"), value) => {
                            return Err(runtime(format!(
                                "{method}(...): the option \"{key}\" can't be {}.",
                                super::blame::a_or_an(value.type_name())
                            )));
                        }
                        (key, _) => {
                            return Err(runtime(format!(
                                "{method}(...): unsupported option \"{key}\"; valid names are: \"encoding\", \"parse\"."
                            )));
                        }
                    }
                }
            }
            Some(other) => {
                return Err(runtime(format!(
                    "{method}(...) expects a hash as argument #2, but received {}.",
                    super::blame::a_or_an(other.type_name())
                )));
            }
        }
        let full = self.full_name(name)?;
        let mut entries: Vec<(&'static str, Value<'r>)> = Vec::new();
        let unit = if parsed {
            match self.find_template(&full)? {
                Some(template) => Some(self.load(template)?),
                None => None,
            }
        } else {
            match self.source_of_template(&full)? {
                Some(source) => Some(self.plain_unit(&full, source)?),
                None => None,
            }
        };
        entries.push(("exists", Value::Bool(unit.is_some())));
        if let Some(unit) = unit {
            entries.push(("include", Value::Callable(Callable(Kind::OptionalInclude(unit)))));
            entries.push(("import", Value::Callable(Callable(Kind::OptionalImport(unit)))));
        }
        Value::hash(entries).map_err(limit)
    }

    pub(super) fn optional_import(&mut self, unit: u32) -> Result<Value<'r>, Raised> {
        let template = self.template_of(unit);
        // errors in it are causes, and no longer those of missing values
        self.import_template(template, None).map_err(|fault| match fault.kind {
            ErrorKind::Limit => fault,
            _ => runtime(format!("Failed to import loaded template; see cause exception:\n{}", fault.message)),
        })
    }

    /// The template that a namespace is of.
    pub(super) fn unit_of_namespace(&self, namespace: u32) -> u32 {
        let other = (namespace as usize).checked_sub(1).and_then(|place| self.namespaces.get(place));
        other.map_or(0, |(unit, _)| *unit)
    }

    /// The namespace that an expression gives.
    pub(super) fn namespace_of(&mut self, expr: &'r Expr) -> Result<u32, Raised> {
        match self.eval(expr)? {
            Value::Scope(Scope(Layer::Namespace(number))) => Ok(number),
            Value::Missing => Err(self.missing(expr)),
            other => Err(self.expected("namespace", &other, expr)),
        }
    }
}

fn failed(what: &str, name: &str, fault: Fault) -> Raised {
    if fault.kind == crate::error::ErrorKind::Limit {
        return Box::new(fault);
    }
    runtime(format!("Template {what} failed (for parameter value \"{name}\"):\n{}", fault.message))
}

fn not_found(what: &str, name: &str, full: &str) -> Raised {
    runtime(format!(
        "Template {what} failed (for parameter value \"{name}\"):\nTemplate not found for name \"{full}\".\nThe name \
         was looked up among the templates that the rendering was given."
    ))
}
