//! What can go wrong with a template, and where.

use std::fmt;

use crate::{
    limits::Usage,
    span::{Lines, Span},
};

/// What an [`Error`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The template is no FreeMarker template, or one that this engine does not take.
    Parse,
    /// The template does not fit its data, or says itself to stop.
    Runtime,
    /// A bound of [`Limits`](crate::Limits) was reached.
    Limit,
}

/// A template that could not be parsed or rendered (FreeMarker manual: "Error handling").
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    template: Option<String>,
    line: u32,
    column: u32,
    source_line: Option<String>,
    usage: Usage,
}

impl Error {
    /// An error that is about no place in a template, such as a setting's bad value.
    pub(crate) fn without_place(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error(Box::new(Inner {
            kind,
            message: message.into(),
            template: None,
            line: 0,
            column: 0,
            source_line: None,
            usage: Usage::default(),
        }))
    }

    pub(crate) fn at(fault: Fault, name: &str, source: &str, lines: &Lines) -> Self {
        let position = fault.span.map(|span| lines.position(source, span.start));
        Error(Box::new(Inner {
            kind: fault.kind,
            message: fault.message,
            template: Some(name.to_owned()),
            line: position.map_or(0, |p| p.line),
            column: position.map_or(0, |p| p.column),
            source_line: position.map(|p| lines.text(source, p.line).to_owned()),
            usage: Usage::default(),
        }))
    }

    pub(crate) fn set_usage(&mut self, usage: Usage) {
        self.0.usage = usage;
    }

    /// What the rendering used until it failed; nothing where none had begun.
    pub fn usage(&self) -> Usage {
        self.0.usage
    }

    /// What the error is about.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What is wrong, with FreeMarker's hint where it has one; may be several lines.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The name that the template was parsed under; empty when the error is about no template.
    pub fn template_name(&self) -> &str {
        self.0.template.as_deref().unwrap_or_default()
    }

    /// The line in the template, from 1; 0 when the error is about no place in it.
    pub fn line(&self) -> u32 {
        self.0.line
    }

    /// The column in the line, from 1, in UTF-16 units and with tabs to multiples of 8; 0 when the
    /// error is about no place.
    pub fn column(&self) -> u32 {
        self.0.column
    }

    /// The text of the line, without its line break; `None` when the error is about no place.
    pub fn source_line(&self) -> Option<&str> {
        self.0.source_line.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, message, template, line, column, source_line, .. } = &*self.0;
        let kind = match kind {
            ErrorKind::Parse => "parse error",
            ErrorKind::Runtime => "runtime error",
            ErrorKind::Limit => "limit reached",
        };
        write!(f, "{kind}")?;
        if let Some(name) = template {
            write!(f, " in template \"{name}\"")?;
        }
        if *line > 0 {
            write!(f, " at line {line}, column {column}")?;
        }
        write!(f, ": {message}")?;
        let Some(source_line) = source_line else { return Ok(()) };
        // the caret must stand below its character whatever the terminal's tabs are
        let (shown, caret) = window(&expand_tabs(source_line), *column as usize);
        let gutter = line.to_string().len();
        write!(f, "\n{:gutter$} |\n{line} | {shown}\n{:gutter$} | {:caret$}^", "", "", "")
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}

/// Long lines (whole templates on one line exist) are cut to a window around the column.
fn window(line: &str, column: usize) -> (String, usize) {
    const WIDTH: usize = 120;
    const BEFORE: usize = 60;
    let at = column.saturating_sub(1);
    let start = if at > WIDTH { at - BEFORE } else { 0 };
    let shown = line.chars().skip(start).take(WIDTH).collect();
    (shown, at - start)
}

fn expand_tabs(line: &str) -> String {
    let mut expanded = String::with_capacity(line.len());
    let mut column = 0;
    for c in line.chars() {
        if c == '\t' {
            let width = 8 - column % 8;
            expanded.extend(std::iter::repeat_n(' ', width));
            column += width;
        } else {
            expanded.push(c);
            column += 1;
        }
    }
    expanded
}

/// An error on its way out of the parser or evaluator; gets its place from the innermost
/// construct that knows one.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
    pub(crate) span: Option<Span>,
    /// A missing value: what `(…)!` and `(…)??` forgive.
    pub(crate) missing: bool,
}

/// Boxed: results of evaluation stay small.
pub(crate) type Raised = Box<Fault>;

pub(crate) fn raise(kind: ErrorKind, message: impl Into<String>) -> Raised {
    Box::new(Fault { kind, message: message.into(), span: None, missing: false })
}

pub(crate) fn runtime(message: impl Into<String>) -> Raised {
    raise(ErrorKind::Runtime, message)
}

pub(crate) fn limit(message: impl Into<String>) -> Raised {
    raise(ErrorKind::Limit, message)
}

pub(crate) fn parse(span: Span, message: impl Into<String>) -> Raised {
    raise(ErrorKind::Parse, message).at(span)
}

impl Fault {
    /// Gives the fault a place unless it has one already.
    pub(crate) fn at(mut self: Box<Self>, span: Span) -> Box<Self> {
        self.span.get_or_insert(span);
        self
    }
}

/// Places the fault of a result.
pub(crate) trait Place {
    fn at(self, span: Span) -> Self;
}

impl<T> Place for Result<T, Raised> {
    fn at(self, span: Span) -> Self {
        self.map_err(|fault| fault.at(span))
    }
}
