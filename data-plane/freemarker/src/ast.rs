//! The syntax tree: owned, immutable, with every name resolved as far as parsing can tell.

use crate::builtins::BuiltIn;
use crate::number::Number;
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

#[derive(Clone, Debug)]
pub(crate) struct Expr {
    pub(crate) kind: ExprKind,
    pub(crate) span: Span,
}

#[derive(Clone, Debug)]
pub(crate) enum ExprKind {
    String(Box<str>),
    /// A string literal with interpolations.
    Template(Box<[Piece]>),
    Number(Number),
    Bool(bool),
    List(Box<[Expr]>),
    Hash(Box<[(Expr, Expr)]>),
    Range(Box<RangeExpr>),
    Variable(Variable),
    Special(Special),
    Dot {
        target: Box<Expr>,
        key: Box<str>,
    },
    Index(Box<(Expr, Expr)>),
    Call {
        callee: Box<Expr>,
        args: Box<[Expr]>,
    },
    BuiltIn(Box<BuiltInCall>),
    /// `target!` and `target!fallback`
    Default(Box<(Expr, Option<Expr>)>),
    /// `target??`
    Exists(Box<Expr>),
    Not(Box<Expr>),
    Sign {
        negative: bool,
        operand: Box<Expr>,
    },
    /// Operators of one precedence from left to right: long sums don't nest.
    Chain(Box<Chain>),
    Compare(Box<Comparison>),
    And(Box<[Expr]>),
    Or(Box<[Expr]>),
    /// Parentheses: `(a.b)!` forgives more than `a.b!`.
    Group(Box<Expr>),
    Lambda(Box<Lambda>),
}

/// A part of a string literal.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Text(Box<str>),
    Output(Expr),
    NumberOutput { value: Expr, min_decimals: u32, max_decimals: u32 },
}

#[derive(Clone, Debug)]
pub(crate) struct RangeExpr {
    pub(crate) start: Expr,
    pub(crate) kind: RangeKind,
    pub(crate) end: Option<Expr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RangeKind {
    /// `a..b`
    Inclusive,
    /// `a..<b`, `a..!b`
    Exclusive,
    /// `a..*n`
    Counted,
    /// `a..`
    Endless,
}

/// A name: where it may be found, innermost first, and at last among the template's own.
#[derive(Clone, Debug)]
pub(crate) struct Variable {
    pub(crate) locals: Box<[Local]>,
    pub(crate) symbol: u32,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Local {
    /// A loop variable; when it has no value, variables further out are looked at.
    Loop(u32),
    /// A lambda's parameter: found even if it has no value.
    Parameter(u32),
    /// `x_index` of the loop in this slot.
    LoopIndex(u32),
    /// `x_has_next`
    LoopHasNext(u32),
    /// A variable of the macro.
    Macro(u32),
}

/// `.now` and its like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Special {
    Now,
    Locale,
    Lang,
    TimeZone,
    TemplateName,
    Version,
    IncompatibleImprovements,
    /// Known when the template is parsed.
    OutputFormat(crate::output_format::OutputFormat),
    AutoEsc(bool),
    OutputEncoding,
    UrlEscapingCharset,
    MainTemplateName,
    CurrentTemplateName,
    CallerTemplateName,
    DataModel,
    Globals,
    Locals,
    Main,
    Namespace,
    Vars,
    Pass,
    Error,
    Args,
    GetOptionalTemplate,
    /// `.node`: there are no XML nodes, so it has no value.
    Node,
}

#[derive(Clone, Debug)]
pub(crate) struct BuiltInCall {
    pub(crate) which: BuiltIn,
    pub(crate) target: Expr,
    pub(crate) args: Box<[Expr]>,
    /// Of `?string`, `?date` and their like: the format after `.` or in brackets.
    pub(crate) form: Form,
    /// For `?index` and its like: the loop that the target is a variable of.
    pub(crate) loop_slot: u32,
    /// For `?esc`, `?interpret` and their like: the output format where it stands.
    pub(crate) escaping: Escaping,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `x?name`
    Bare,
    /// `x?name(args)`
    Called,
    /// `x?name.key` or `x?name[key]`; the key is the only argument
    Keyed,
}

#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) first: Expr,
    pub(crate) rest: Box<[(BinaryOp, Expr)]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BinaryOp {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl BinaryOp {
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Subtract => "-",
            BinaryOp::Multiply => "*",
            BinaryOp::Divide => "/",
            BinaryOp::Remainder => "%",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Comparison {
    pub(crate) op: CompareOp,
    pub(crate) left: Expr,
    pub(crate) right: Expr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CompareOp {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl CompareOp {
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            CompareOp::Equal => "==",
            CompareOp::NotEqual => "!=",
            CompareOp::Less => "<",
            CompareOp::LessOrEqual => "<=",
            CompareOp::Greater => ">",
            CompareOp::GreaterOrEqual => ">=",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Lambda {
    pub(crate) slot: u32,
    pub(crate) bindings: Bindings,
    pub(crate) body: Expr,
    pub(crate) span: Span,
}
