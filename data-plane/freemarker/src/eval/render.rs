//! Renderings: what each needs, and how its memory is kept for the next one.

use std::borrow::Cow;
use std::collections::HashMap;

use super::arena::Arena;
use super::frames::{Context, MacroFrame, ScopeEntry};
use super::{Flow, Interp, LoopState};
use crate::error::{Error, Raised, runtime};
use crate::limits::{Limits, Meter, Usage};
use crate::template::{Inner, Root, Template};
use crate::value::Value;

/// Renders templates one after the other and keeps its memory in between: a plain template needs no
/// more than its output then.
///
/// ```
/// use sluice_freemarker::{Limits, Renderer, Root, Settings, Template};
///
/// let template = Template::parse("t", "<#list 1..3 as i>${i}</#list>", &Settings::default())?;
/// let (mut renderer, mut out) = (Renderer::new(), Vec::new());
/// for _ in 0..2 {
///     renderer.render(&template, &Root::new(), &Limits::default(), &mut out)?;
/// }
/// assert_eq!(out, b"123123");
/// # Ok::<(), sluice_freemarker::Error>(())
/// ```
#[derive(Default)]
pub struct Renderer {
    namespace: Vec<Value<'static>>,
    locals: Vec<Value<'static>>,
    macro_vars: Vec<Value<'static>>,
    loops: Vec<LoopState<'static>>,
    frames: Vec<MacroFrame<'static>>,
    scopes: Vec<ScopeEntry<'static>>,
}

impl Renderer {
    /// A renderer that has no memory yet.
    pub fn new() -> Self {
        Renderer::default()
    }

    /// Renders a template with the root variables, appending to `out`.
    ///
    /// # Errors
    /// When the template does not fit the data, stops itself, or reaches a limit. Then `out` is
    /// as it was before.
    pub fn render(
        &mut self,
        template: &Template,
        root: &Root<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Result<Usage, Error> {
        let inner = template.inner();
        self.run(inner, root, limits, out).map_err(|(fault, usage)| {
            let mut error = Error::at(*fault, &inner.name, &inner.source, &inner.lines);
            error.set_usage(usage);
            error
        })
    }

    fn run<'r>(
        &mut self,
        template: &'r Inner,
        root: &'r Root<'r>,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Result<Usage, (Raised, Usage)> {
        let arena = Arena::new();
        let length = out.len();
        let mut interp = self.interp(template, root, &arena, limits, std::mem::take(out));
        let result = interp.run_main();
        let usage = interp.meter.usage();
        *out = std::mem::take(&mut interp.out);
        self.keep(interp);
        match result {
            Ok(()) => Ok(usage),
            Err(fault) => {
                out.truncate(length);
                Err((fault, usage))
            }
        }
    }

    fn interp<'r>(
        &mut self,
        template: &'r Inner,
        root: &'r Root<'r>,
        arena: &'r Arena,
        limits: &Limits,
        out: Vec<u8>,
    ) -> Interp<'r> {
        Interp {
            template,
            main: template,
            root,
            meter: Meter::new(limits),
            formats: Cow::Borrowed(&template.settings.formats),
            arena,
            ctx: Context::START,
            units: Vec::new(),
            names: Vec::new(),
            names_by_text: HashMap::new(),
            namespace: recycled(std::mem::take(&mut self.namespace)),
            namespaces: Vec::new(),
            globals: Vec::new(),
            loaded: Vec::new(),
            locals: recycled(std::mem::take(&mut self.locals)),
            loops: recycled(std::mem::take(&mut self.loops)),
            macro_vars: recycled(std::mem::take(&mut self.macro_vars)),
            frames: recycled(std::mem::take(&mut self.frames)),
            scopes: recycled(std::mem::take(&mut self.scopes)),
            out,
            captures: 0,
            held: Vec::new(),
            held_from: 0,
            returned: Value::Missing,
            recovered: Vec::new(),
            evaluated: HashMap::new(),
            number_formats: Vec::new(),
            date_formats: Vec::new(),
            regexes: crate::regex::RegexCache::default(),
        }
    }

    fn keep(&mut self, interp: Interp<'_>) {
        self.namespace = recycled(interp.namespace);
        self.locals = recycled(interp.locals);
        self.macro_vars = recycled(interp.macro_vars);
        self.loops = recycled(interp.loops);
        self.frames = recycled(interp.frames);
        self.scopes = recycled(interp.scopes);
    }
}

/// An empty vector with the memory of another, whose items it drops. Where items are as large,
/// collecting in place keeps the allocation.
fn recycled<A, B>(mut items: Vec<A>) -> Vec<B> {
    if items.capacity() == 0 {
        return Vec::new();
    }
    items.clear();
    items.into_iter().filter_map(|_| None).collect()
}

impl<'r> Interp<'r> {
    fn run_main(&mut self) -> Result<(), Raised> {
        let parsed = &self.main.parsed;
        self.define_macros(0)?;
        let auto = &self.main.settings.auto;
        for (name, target) in auto.imports.iter() {
            self.auto_import(name, target)?;
        }
        for name in auto.includes.iter() {
            self.auto_include(name)?;
        }
        self.open_locals(&parsed.sizes.frame);
        match self.block(&parsed.body)? {
            Flow::Return => Err(runtime("A return instruction can only occur inside a macro or function")),
            _ => Ok(()),
        }
    }
}
