//! What can go wrong with a template, and where.

use std::fmt;

use crate::{
    limits::Usage,
    span::{Lines, Span},
};

/// What an [`Error`] is about.
///
/// ```
/// use sluice_freemarker::{ErrorKind, Limits, Root, Settings, Template};
///
/// let error = Template::parse("t", "${", &Settings::default()).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Parse);
/// let template = Template::parse("t", "${x}", &Settings::default())?;
/// let error = template.render(&Root::new(), &Limits::default(), &mut Vec::new()).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Runtime);
/// # Ok::<(), sluice_freemarker::Error>(())
/// ```
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
///
/// ```
/// use sluice_freemarker::{ErrorKind, Limits, Root, Settings, Template};
///
/// let source = "<#macro greet who>\n  Hello ${who.name}!\n</#macro>\n<@greet who={} />";
/// let template = Template::parse("greeting.ftl", source, &Settings::default())?;
/// let error = template.render(&Root::new(), &Limits::default(), &mut Vec::new()).unwrap_err();
/// assert_eq!((error.kind(), error.line(), error.column()), (ErrorKind::Runtime, 2, 11));
/// assert!(error.message().starts_with("The following has evaluated to null or missing:\n==> who.name"));
/// let steps: Vec<String> = error.stack().iter().map(|step| step.to_string()).collect();
/// assert_eq!(
///     steps,
///     [
///         "${who.name}  [in template \"greeting.ftl\" in macro \"greet\" at line 2, column 9]",
///         "@greet who={}  [in template \"greeting.ftl\" at line 4, column 1]",
///     ]
/// );
/// # Ok::<(), sluice_freemarker::Error>(())
/// ```
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    template: Option<String>,
    line: u32,
    column: u32,
    /// In UTF-16 units, of what the error is about.
    length: u32,
    source_line: Option<String>,
    stack: Vec<StackFrame>,
    usage: Usage,
}

/// A step of the way to the place of an error: the directive that failed, and the calls, inclusions
/// and the like that led to it.
///
/// ```
/// use sluice_freemarker::{Limits, Root, Settings, Template};
///
/// let template = Template::parse("t", "<#macro m>${x}</#macro><@m/>", &Settings::default())?;
/// let error = template.render(&Root::new(), &Limits::default(), &mut Vec::new()).unwrap_err();
/// let frames: Vec<_> = error.stack().iter().map(|frame| (frame.description(), frame.macro_name())).collect();
/// assert_eq!(frames, [("${x}", Some("m")), ("@m", None)]);
/// # Ok::<(), sluice_freemarker::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackFrame {
    pub(crate) description: String,
    pub(crate) template: String,
    pub(crate) routine: Option<(String, bool)>,
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) is_nested: bool,
}

impl StackFrame {
    /// The directive or interpolation, shortened to a line: `#include "x.ftl"`, `${x}`.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The name of the template that it stands in.
    pub fn template_name(&self) -> &str {
        &self.template
    }

    /// The macro or function that it stands in.
    pub fn macro_name(&self) -> Option<&str> {
        self.routine.as_ref().map(|(name, _)| name.as_str())
    }

    /// The line in the template, from 1.
    pub fn line(&self) -> u32 {
        self.line
    }

    /// The column in the line, from 1.
    pub fn column(&self) -> u32 {
        self.column
    }
}

impl fmt::Display for StackFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  [in template \"{}\"", self.description, self.template)?;
        if let Some((name, is_function)) = &self.routine {
            write!(f, " in {} \"{name}\"", if *is_function { "function" } else { "macro" })?;
        }
        write!(f, " at line {}, column {}]", self.line, self.column)
    }
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
            length: 0,
            source_line: None,
            stack: Vec::new(),
            usage: Usage::default(),
        }))
    }

    pub(crate) fn at(mut fault: Fault, name: &str, source: &str, lines: &Lines) -> Self {
        fault.seal(name, source, lines);
        let placed = fault.placed.map(|placed| *placed);
        Error(Box::new(Inner {
            kind: fault.kind,
            message: fault.message,
            template: Some(placed.as_ref().map_or_else(|| name.to_owned(), |placed| placed.template.clone())),
            line: placed.as_ref().map_or(0, |placed| placed.line),
            column: placed.as_ref().map_or(0, |placed| placed.column),
            length: placed.as_ref().map_or(0, |placed| placed.length),
            source_line: placed.map(|placed| placed.source_line),
            stack: fault.stack,
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

    /// How many UTF-16 units of the template, from there on, the error is about; 0 when that is not
    /// known.
    pub fn length(&self) -> u32 {
        self.0.length
    }

    /// The way to the place of a run-time error, the directive that failed first: FreeMarker's
    /// "FTL stack trace".
    pub fn stack(&self) -> &[StackFrame] {
        &self.0.stack
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
        write!(f, "\n{:gutter$} |\n{line} | {shown}\n{:gutter$} | {:caret$}^", "", "", "")?;
        // a single step says no more than the place
        if self.0.stack.len() > 1 {
            write!(f, "\n{}", stack_trace(&self.0.stack).trim_end())?;
        }
        Ok(())
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

/// The longest stack trace, in steps.
const MAX_SHOWN_FRAMES: usize = 10;

/// The steps that led to an error as FreeMarker prints them.
pub(crate) fn stack_trace(stack: &[StackFrame]) -> String {
    let mut text = String::from("FTL stack trace (\"~\" means nesting-related):\n");
    let count = if stack.len() <= MAX_SHOWN_FRAMES { stack.len() } else { MAX_SHOWN_FRAMES - 1 };
    for (place, frame) in stack.iter().take(count).enumerate() {
        let mark = if frame.is_nested { '~' } else { '-' };
        let how = if place == 0 { "Failed at" } else { "Reached through" };
        text.push_str(&format!("\t{mark} {how}: {frame}\n"));
    }
    if stack.len() > count {
        text.push_str(&format!("\t... (Had {} more, hidden for tersenes)\n", stack.len() - count));
    }
    text
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
    /// The place, once the template that `span` is of has been left.
    pub(crate) placed: Option<Box<Placed>>,
    /// The expression that is to blame: the message says what it is part of.
    pub(crate) blamed: Option<Span>,
    pub(crate) stack: Vec<StackFrame>,
}

/// A place in a template.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    template: String,
    line: u32,
    column: u32,
    length: u32,
    source_line: String,
}

/// Boxed: results of evaluation stay small.
pub(crate) type Raised = Box<Fault>;

pub(crate) fn raise(kind: ErrorKind, message: impl Into<String>) -> Raised {
    Box::new(Fault {
        kind,
        message: message.into(),
        span: None,
        missing: false,
        placed: None,
        blamed: None,
        stack: Vec::new(),
    })
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
        if self.placed.is_none() {
            self.span.get_or_insert(span);
        }
        self
    }

    /// Settles the place in the template that the fault's span is of.
    pub(crate) fn seal(&mut self, name: &str, source: &str, lines: &Lines) {
        let Some(span) = self.span.filter(|_| self.placed.is_none()) else { return };
        let position = lines.position(source, span.start);
        let length = span.text(source).encode_utf16().count();
        self.placed = Some(Box::new(Placed {
            template: name.to_owned(),
            line: position.line,
            column: position.column,
            length: u32::try_from(length).unwrap_or(u32::MAX),
            source_line: lines.text(source, position.line).to_owned(),
        }));
    }

    /// A run-time error with the message and place of a template's parse error.
    pub(crate) fn of(error: &Error) -> Box<Self> {
        let Inner { message, template, line, column, length, source_line, .. } = &*error.0;
        let mut fault = runtime(message.clone());
        fault.placed = Some(Box::new(Placed {
            template: template.clone().unwrap_or_default(),
            line: *line,
            column: *column,
            length: *length,
            source_line: source_line.clone().unwrap_or_default(),
        }));
        fault
    }

    /// The message with the stack trace, as `.error` gives it.
    pub(crate) fn with_stack(&self) -> String {
        format!("{}\n\n----\n{}----", self.message, stack_trace(&self.stack))
    }
}

impl Placed {
    /// A parse error's message with its place, as FreeMarker words it.
    pub(crate) fn syntax_error(&self, message: &str) -> String {
        let Placed { template, line, column, .. } = self;
        format!("Syntax error in template \"{template}\" in line {line}, column {column}:\n{message}")
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
