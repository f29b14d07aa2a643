//! The syntax tree: owned, immutable, with every name resolved as far as parsing can tell.

mod expr;

pub(crate) use expr::*;

use crate::output_format::Escaping;
use crate::settings::SettingKey;
use crate::span::Span;

/// What stands between a directive's start and end tag.
pub(crate) type Block = Box<[Element]>;

/// A part of a template that does something when it is run.
#[derive(Debug)]
pub(crate) struct Element {
    pub(crate) kind: ElementKind,
    /// All of it, from its start tag to its end tag.
    pub(crate) span: Span,
}

#[derive(Debug)]
pub(crate) enum ElementKind {
    /// Text, by its number: white-space stripping decides what is left of it.
    Text(u32),
    /// `${…}`
    Output {
        value: Expr,
        escaping: Escaping,
    },
    /// `#{…}`, with the fewest and most decimals.
    NumberOutput {
        value: Expr,
        min_decimals: u32,
        max_decimals: u32,
        escaping: Escaping,
    },
    If(Box<[Branch]>),
    List(Box<List>),
    Items(Box<Items>),
    Sep {
        loop_slot: u32,
        body: Block,
    },
    Break,
    Continue,
    Assign(Box<Assignments>),
    Capture(Box<Capture>),
    Setting {
        key: SettingKey,
        name: Box<str>,
        value: Expr,
    },
    Switch(Box<Switch>),
    Stop(Option<Expr>),
    /// `<#macro>` or `<#function>`, by its number: running it sets the variable.
    Define(u32),
    Call(Box<UserCall>),
    Nested(Box<[Expr]>),
    Return(Option<Expr>),
    Attempt(Box<Attempt>),
    Compress(Block),
    /// A directive that has done its work when it was parsed: `<#escape>`, `<#outputformat>`…
    Plain(Block),
    Include(Box<Include>),
    Import(Box<Import>),
    /// A directive for XML nodes, which JSON has not: its name.
    Unsupported(&'static str),
}

/// `<#macro>` or `<#function>`.
#[derive(Debug)]
pub(crate) struct Macro {
    pub(crate) name: Box<str>,
    pub(crate) symbol: u32,
    pub(crate) is_function: bool,
    pub(crate) params: Box<[Param]>,
    /// The parameter that takes all other arguments, and its slot.
    pub(crate) catch_all: Option<(Box<str>, u32)>,
    pub(crate) body: Block,
    pub(crate) frame: FrameSizes,
    /// Whether `.args` is used.
    pub(crate) wants_args: bool,
    pub(crate) span: Span,
}

#[derive(Debug)]
pub(crate) struct Param {
    pub(crate) name: Box<str>,
    pub(crate) slot: u32,
    pub(crate) default: Option<Expr>,
}

/// What a macro, or a template outside of its macros, needs when it runs.
#[derive(Debug, Default)]
pub(crate) struct FrameSizes {
    /// Loop variables and lambda parameters.
    pub(crate) locals: u32,
    pub(crate) loops: u32,
    /// The names of a macro's own variables, in their slots.
    pub(crate) names: Box<[Box<str>]>,
}

/// `<@expr …>`
#[derive(Debug)]
pub(crate) struct UserCall {
    pub(crate) callee: Expr,
    pub(crate) args: CallArgs,
    /// `None` of `<@m/>`.
    pub(crate) content: Option<Block>,
    /// The variables after `;`.
    pub(crate) variables: Option<Bindings>,
    /// `<#call m>` takes functions too.
    pub(crate) legacy: bool,
}

#[derive(Debug)]
pub(crate) enum CallArgs {
    Positional(Box<[Expr]>),
    Named(Box<[(Box<str>, Expr)]>),
}

/// Names of loop variables, lambda parameters and the like, and their slots.
#[derive(Clone, Debug)]
pub(crate) struct Bindings {
    pub(crate) names: Box<[(Box<str>, u32)]>,
    /// The loop whose variables they are.
    pub(crate) loop_slot: Option<u32>,
    /// Whether variables further out are looked at when one has no value.
    pub(crate) falls_back: bool,
}

#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) body: Block,
    pub(crate) recover: Block,
}

#[derive(Debug)]
pub(crate) struct Include {
    pub(crate) name: Expr,
    pub(crate) parse: Option<Expr>,
    pub(crate) encoding: Option<Expr>,
    pub(crate) ignore_missing: Option<Expr>,
}

#[derive(Debug)]
pub(crate) struct Import {
    pub(crate) name: Expr,
    pub(crate) target: u32,
}

#[derive(Debug)]
pub(crate) struct Assignments {
    pub(crate) place: AssignPlace,
    pub(crate) items: Box<[Assignment]>,
}

#[derive(Debug)]
pub(crate) struct Capture {
    pub(crate) target: Target,
    pub(crate) place: AssignPlace,
    pub(crate) body: Block,
    /// What the text captured is in.
    pub(crate) escaping: Escaping,
}

/// Where assignments go.
#[derive(Debug)]
pub(crate) enum AssignPlace {
    /// The namespace of the template.
    Namespace,
    /// `in` another namespace.
    In(Expr),
    Global,
    Local,
}

/// `<#if>`, `<#elseif>` or, without condition, `<#else>`.
#[derive(Debug)]
pub(crate) struct Branch {
    /// The tag that begins it.
    pub(crate) span: Span,
    pub(crate) condition: Option<Expr>,
    pub(crate) body: Block,
}

#[derive(Debug)]
pub(crate) struct List {
    pub(crate) source: Expr,
    /// `None`: the loop is in `<#items>`.
    pub(crate) variables: Option<LoopVariables>,
    pub(crate) loop_slot: u32,
    pub(crate) body: Block,
    /// `<#else>`: what is run when there is nothing to list.
    pub(crate) otherwise: Option<Block>,
}

#[derive(Debug)]
pub(crate) struct Items {
    pub(crate) variables: LoopVariables,
    pub(crate) loop_slot: u32,
    pub(crate) body: Block,
}

/// Slots of `as x`, or of `as k, v`.
#[derive(Debug)]
pub(crate) struct LoopVariables {
    pub(crate) first: u32,
    pub(crate) second: Option<u32>,
    pub(crate) bindings: Bindings,
}

#[derive(Debug)]
pub(crate) struct Assignment {
    pub(crate) target: Target,
    pub(crate) op: AssignOp,
    pub(crate) value: Expr,
    pub(crate) span: Span,
}

/// A variable to assign to: by its symbol, or by its slot when it is a macro's own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) id: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AssignOp {
    Set,
    /// `+=` and its like
    Change(BinaryOp),
    /// `++` and `--`
    Step(BinaryOp),
}

#[derive(Debug)]
pub(crate) struct Switch {
    pub(crate) value: Expr,
    pub(crate) cases: Box<[Case]>,
    /// It has `<#on>`: nothing falls through, and `<#break>` is for the loop around it.
    pub(crate) uses_on: bool,
}

#[derive(Debug)]
pub(crate) struct Case {
    /// Of `<#on>` there may be several; none: `<#default>`.
    pub(crate) values: Box<[Expr]>,
    pub(crate) body: Block,
}
