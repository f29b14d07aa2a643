//! What templates can call: macros, functions and their like.

use std::sync::Arc;

use crate::ast::Macro;
use crate::builtins::Waiting;
use crate::value::{Method, Text, Value};

/// A macro or function of a template, or a directive that the engine gives.
///
/// ```
/// use sluice_freemarker::{Limits, Root, Settings, Template};
///
/// let source = "<#macro hi who>Hi ${who}!</#macro><#assign f = hi?with_args({'who': 'Ada'})><@f/>";
/// let mut out = Vec::new();
/// Template::parse("t", source, &Settings::default())?.render(&Root::new(), &Limits::default(), &mut out)?;
/// assert_eq!(out, b"Hi Ada!");
/// # Ok::<(), sluice_freemarker::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Callable<'d>(pub(crate) Kind<'d>);

#[derive(Clone, Debug)]
pub(crate) enum Kind<'d> {
    Macro(MacroRef<'d>),
    /// With arguments bound by `?with_args`.
    Bound(Arc<Bound<'d>>),
    BoundMethod(Arc<BoundMethod<'d>>),
    /// `x?join` and the like, without their arguments.
    BuiltIn(Arc<Waiting<'d>>),
    /// What `?interpret` gives: the number of the template.
    Interpreted(u32),
    /// `.pass`: a macro that does nothing.
    Pass,
    GetOptionalTemplate,
    /// Of what `.get_optional_template` gives: the number of the template.
    OptionalInclude(u32),
    OptionalImport(u32),
}

/// A macro and where it is from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MacroRef<'d> {
    pub(crate) definition: &'d Macro,
    /// The number of the template that defines it.
    pub(crate) unit: u32,
    /// The number of the namespace that it runs in.
    pub(crate) namespace: u32,
}

#[derive(Debug)]
pub(crate) struct Bound<'d> {
    pub(crate) target: MacroRef<'d>,
    pub(crate) args: BoundArgs<'d>,
    /// `?with_args_last`
    pub(crate) last: bool,
}

#[derive(Debug)]
pub(crate) enum BoundArgs<'d> {
    Named(Vec<(Text<'d>, Value<'d>)>),
    Positional(Vec<Value<'d>>),
}

#[derive(Debug)]
pub(crate) struct BoundMethod<'d> {
    pub(crate) method: Arc<dyn Method>,
    pub(crate) args: Vec<Value<'d>>,
    pub(crate) last: bool,
}

impl<'d> Callable<'d> {
    pub(crate) fn of(target: MacroRef<'d>) -> Value<'d> {
        Value::Callable(Callable(Kind::Macro(target)))
    }

    /// The macro or function that it is, arguments bound to it aside.
    pub(crate) fn target(&self) -> Option<MacroRef<'d>> {
        match &self.0 {
            Kind::Macro(target) => Some(*target),
            Kind::Bound(bound) => Some(bound.target),
            _ => None,
        }
    }

    /// What error messages call its type.
    pub(crate) fn type_name(&self) -> &'static str {
        match &self.0 {
            Kind::Macro(_) | Kind::Bound(_) => {
                if self.target().is_some_and(|target| target.definition.is_function) {
                    "function"
                } else {
                    "macro"
                }
            }
            Kind::Pass => "macro",
            Kind::Interpreted(_) => "transform",
            Kind::OptionalInclude(_) => "directive",
            Kind::BoundMethod(_) | Kind::BuiltIn(_) | Kind::GetOptionalTemplate | Kind::OptionalImport(_) => "method",
        }
    }

    /// Whether it is called in expressions.
    pub(crate) fn is_method(&self) -> bool {
        matches!(self.type_name(), "method" | "function")
    }
}

/// The variables of a namespace, or of a layer of variables.
///
/// ```
/// use sluice_freemarker::{Limits, Root, Settings, Template};
///
/// let source = "<#assign x = 1>${.main.x} ${.vars['x']} ${.globals.x!'none'}";
/// let mut out = Vec::new();
/// Template::parse("t", source, &Settings::default())?.render(&Root::new(), &Limits::default(), &mut out)?;
/// assert_eq!(out, b"1 1 none");
/// # Ok::<(), sluice_freemarker::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope(pub(crate) Layer);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    /// By its number.
    Namespace(u32),
    /// All variables that are visible.
    Vars,
    Globals,
    DataModel,
}
