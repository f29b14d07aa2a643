//! Expressions.

use super::Bindings;
use crate::builtins::BuiltIn;
use crate::json::Key;
use crate::number::Number;
use crate::output_format::Escaping;
use crate::span::Span;

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
    /// The left side of a built-in that is called as a value, or after that an argument.
    Held(u32),
    Dot(Box<Member>),
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

/// `target.key`
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) target: Expr,
    pub(crate) key: Key,
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
    /// Whether it has as many arguments as it takes. If not, that is an error of running it.
    pub(crate) fits: bool,
    /// For `?index` and its like: the loop that the target is a variable of.
    pub(crate) loop_slot: u32,
    /// For `?esc`, `?interpret` and their like: the output format where it stands.
    pub(crate) escaping: Escaping,
    /// Of a built-in that is a method to be called later: its calls, by the number of arguments, from the least.
    pub(crate) when_called: Box<[BuiltInCall]>,
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
