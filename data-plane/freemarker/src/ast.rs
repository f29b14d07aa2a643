//! The syntax tree: owned, immutable, with every name resolved as far as parsing can tell.

use crate::builtins::BuiltIn;
use crate::number::Number;
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
    Output(Expr),
    /// `#{…}`, with the fewest and most decimals.
    NumberOutput {
        value: Expr,
        min_decimals: u32,
        max_decimals: u32,
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
    Assign(Box<[Assignment]>),
    Capture {
        target: Target,
        body: Block,
    },
    Setting {
        key: SettingKey,
        name: Box<str>,
        value: Expr,
    },
    Switch(Box<Switch>),
    Stop(Option<Expr>),
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
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoopVariables {
    pub(crate) first: u32,
    pub(crate) second: Option<u32>,
}

#[derive(Debug)]
pub(crate) struct Assignment {
    pub(crate) target: Target,
    pub(crate) op: AssignOp,
    pub(crate) value: Expr,
    pub(crate) span: Span,
}

/// A variable to assign to: by its symbol in the template's namespace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) symbol: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AssignOp {
    Set,
    Change(BinaryOp),
}

#[derive(Debug)]
pub(crate) struct Switch {
    pub(crate) value: Expr,
    pub(crate) cases: Box<[Case]>,
}

#[derive(Debug)]
pub(crate) struct Case {
    /// `None`: `<#default>`.
    pub(crate) value: Option<Expr>,
    pub(crate) body: Block,
}

#[derive(Debug)]
pub(crate) struct Expr {
    pub(crate) kind: ExprKind,
    pub(crate) span: Span,
}

#[derive(Debug)]
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
#[derive(Debug)]
pub(crate) enum Piece {
    Text(Box<str>),
    Output(Expr),
    NumberOutput { value: Expr, min_decimals: u32, max_decimals: u32 },
}

#[derive(Debug)]
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
#[derive(Debug)]
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
    OutputFormat,
    AutoEsc,
    OutputEncoding,
    UrlEscapingCharset,
}

#[derive(Debug)]
pub(crate) struct BuiltInCall {
    pub(crate) which: BuiltIn,
    pub(crate) target: Expr,
    pub(crate) args: Box<[Expr]>,
    /// Of `?string`, `?date` and their like: the format after `.` or in brackets.
    pub(crate) form: Form,
    /// For `?index` and its like: the loop that the target is a variable of.
    pub(crate) loop_slot: u32,
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

#[derive(Debug)]
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

#[derive(Debug)]
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

#[derive(Debug)]
pub(crate) struct Lambda {
    pub(crate) slot: u32,
    pub(crate) body: Expr,
}
