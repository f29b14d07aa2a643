//! Where code runs: in which template, namespace and macro, and with which loop variables in scope.

use super::Interp;
use crate::ast::{Bindings, Macro, UserCall};
use crate::error::Raised;
use crate::value::Value;

/// The surroundings of running code. Copied when a macro is called, to run the call's content in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Context {
    /// The template: 0 is the main one.
    pub(super) unit: u32,
    /// 0 is the main one.
    pub(super) namespace: u32,
    /// The macro or function: 1 is the first frame, 0 none.
    pub(super) frame: u32,
    /// Where the loop variables of this code start.
    pub(super) base: u32,
    pub(super) loop_base: u32,
    /// The innermost scope: 1 is the first entry, 0 none.
    pub(super) scope: u32,
    /// The scope that was there when the template was entered: its names come after the template's own.
    pub(super) outer_scope: u32,
    /// The template that was included last, or whose namespace a call's content is of:
    /// `.template_name`.
    pub(super) parent: u32,
    /// Whether the template was entered within a macro of another.
    pub(super) outer_frame: bool,
}

impl Context {
    pub(super) const START: Context = Context {
        unit: 0,
        namespace: 0,
        frame: 0,
        base: 0,
        loop_base: 0,
        scope: 0,
        outer_scope: 0,
        parent: 0,
        outer_frame: false,
    };

    /// Whether the template was entered where there are variables of another's loops or macros.
    #[inline]
    pub(super) fn has_outer(&self) -> bool {
        self.outer_scope > 0 || self.outer_frame
    }
}

/// A macro or function that runs.
pub(super) struct MacroFrame<'r> {
    pub(super) definition: &'r Macro,
    /// Where its own variables start.
    pub(super) vars: u32,
    /// The call, for its content; `None` when a function was called.
    pub(super) call: Option<&'r UserCall>,
    pub(super) caller: Context,
    /// `.args`
    pub(super) args: Value<'r>,
}

/// Loop variables, lambda parameters or variables of a call's content that are in scope.
pub(super) struct ScopeEntry<'r> {
    pub(super) bindings: &'r Bindings,
    pub(super) base: u32,
    pub(super) loop_base: u32,
    /// The next scope outwards.
    pub(super) outer: u32,
}

/// How far everything had grown at some point, to go back to when an error is handled.
pub(super) struct Mark {
    ctx: Context,
    out: usize,
    output_bytes: usize,
    captures: u32,
    depth: u32,
    locals: usize,
    loops: usize,
    macro_vars: usize,
    frames: usize,
    scopes: usize,
    recovered: usize,
}

impl<'r> Interp<'r> {
    pub(super) fn mark(&self) -> Mark {
        Mark {
            ctx: self.ctx,
            out: self.out.len(),
            output_bytes: self.meter.output_bytes(),
            captures: self.captures,
            depth: self.meter.depth(),
            locals: self.locals.len(),
            loops: self.loops.len(),
            macro_vars: self.macro_vars.len(),
            frames: self.frames.len(),
            scopes: self.scopes.len(),
            recovered: self.recovered.len(),
        }
    }

    /// Goes back after an error; assignments stay.
    pub(super) fn unwind(&mut self, mark: &Mark) {
        self.go_to(mark.ctx);
        self.take_back_output(mark);
        self.meter.set_depth(mark.depth);
        self.captures = mark.captures;
        self.locals.truncate(mark.locals);
        self.loops.truncate(mark.loops);
        self.macro_vars.truncate(mark.macro_vars);
        self.frames.truncate(mark.frames);
        self.scopes.truncate(mark.scopes);
        self.recovered.truncate(mark.recovered);
    }

    /// Takes back what was printed since.
    pub(super) fn take_back_output(&mut self, mark: &Mark) {
        self.out.truncate(mark.out);
        self.meter.reset_output(mark.output_bytes);
    }

    /// Changes the context.
    pub(super) fn go_to(&mut self, ctx: Context) {
        self.ctx = ctx;
        self.template = self.template_of(ctx.unit);
    }

    /// Runs something in another context; its errors are placed before that is left.
    pub(super) fn within<T>(
        &mut self,
        ctx: Context,
        run: impl FnOnce(&mut Self) -> Result<T, Raised>,
    ) -> Result<T, Raised> {
        let before = self.ctx;
        self.go_to(ctx);
        let result = run(self).map_err(|fault| self.sealed(fault));
        self.go_to(before);
        result
    }

    /// Makes room for the loop variables of code that starts.
    pub(super) fn open_locals(&mut self, sizes: &crate::ast::FrameSizes) -> (u32, u32) {
        let (base, loop_base) = (self.locals.len(), self.loops.len());
        if sizes.locals > 0 {
            self.locals.resize(base + sizes.locals as usize, Value::Missing);
        }
        if sizes.loops > 0 {
            self.loops.resize_with(loop_base + sizes.loops as usize, Default::default);
        }
        (u32::try_from(base).unwrap_or(u32::MAX), u32::try_from(loop_base).unwrap_or(u32::MAX))
    }

    pub(super) fn close_locals(&mut self, (base, loop_base): (u32, u32)) {
        self.locals.truncate(base as usize);
        self.loops.truncate(loop_base as usize);
    }

    /// Brings variables into scope, until [`Interp::close_scope`].
    pub(super) fn open_scope(&mut self, bindings: &'r Bindings) {
        let Context { base, loop_base, scope: outer, .. } = self.ctx;
        self.scopes.push(ScopeEntry { bindings, base, loop_base, outer });
        self.ctx.scope = u32::try_from(self.scopes.len()).unwrap_or(u32::MAX);
    }

    pub(super) fn close_scope(&mut self) {
        if let Some(entry) = self.scopes.pop() {
            self.ctx.scope = entry.outer;
        }
    }

    /// The macro that runs.
    pub(super) fn frame(&self) -> Option<&MacroFrame<'r>> {
        self.frames.get((self.ctx.frame as usize).checked_sub(1)?)
    }
}
