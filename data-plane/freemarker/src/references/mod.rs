//! Which data a template reads: paths from the root variables, found in the syntax tree.

mod guards;
mod parts;
mod path;
mod walk;

pub(crate) use parts::{each_block, each_expr, parts};

use crate::span::Span;
use crate::template::{Inner, Root, Template};
use path::Path;
use walk::Walker;

/// A place in a template that reads data.
///
/// ```
/// use sluice_freemarker::{Guard, Settings, Template};
///
/// let source = r#"<#list input.items as item>${item.name}: ${item.price!"free"}</#list>"#;
/// let template = Template::parse("t", source, &Settings::default())?;
/// let read: Vec<_> = template.references().iter().map(|r| (r.path().to_owned(), r.guard())).collect();
/// assert_eq!(
///     read,
///     [
///         ("input.items".to_owned(), Guard::None),
///         ("input.items[].name".to_owned(), Guard::None),
///         ("input.items[].price".to_owned(), Guard::LastStep),
///     ]
/// );
/// # Ok::<(), sluice_freemarker::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    text: String,
    path: Path,
    guard: Guard,
    line: u32,
    column: u32,
    length: u32,
}

/// How much of a path may be missing where it is read.
///
/// ```
/// use sluice_freemarker::{Guard, Settings, Template};
///
/// let template = Template::parse("t", "${a.b} ${a.c!} ${(a.d)!}", &Settings::default())?;
/// let guards: Vec<_> = template.references().iter().map(|reference| reference.guard()).collect();
/// assert_eq!(guards, [Guard::None, Guard::LastStep, Guard::All]);
/// # Ok::<(), sluice_freemarker::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guard {
    /// Nothing: a missing value ends the rendering.
    None,
    /// The last step: `a.b!`, `a.b??`, `a.b?has_content`.
    LastStep,
    /// All of it: `(a.b)!`, or it was tested before, as in `<#if a.b??>…`.
    All,
}

impl Reference {
    /// The path from a root variable: `input.user_id`, `input.items[].name`, `input["odd key"]`.
    /// `[]` is any item of a sequence, or any entry of a hash whose key is not known.
    pub fn path(&self) -> &str {
        &self.text
    }

    /// How many steps there are after the root variable.
    pub fn steps(&self) -> usize {
        self.path.steps()
    }

    /// How much of the path may be missing.
    pub fn guard(&self) -> Guard {
        self.guard
    }

    /// Whether the value itself may be missing.
    pub fn is_guarded(&self) -> bool {
        self.guard != Guard::None
    }

    /// Whether the path leads to no value in these root variables: something on the way, or the value
    /// itself, is missing or `null`. Where it goes through the items of a sequence, one that lacks it
    /// is enough; a sequence without items lacks nothing.
    ///
    /// ```
    /// use sluice_freemarker::{Root, Settings, Template, json::Document};
    ///
    /// let template = Template::parse("t", "${input.a} ${input.b!}", &Settings::default())?;
    /// let data = Document::parse(br#"{"a": 1}"#, 8)?;
    /// let root = Root::new().with_json("input", data.root());
    /// let lacks: Vec<_> = template.references().iter().map(|r| r.lacks_in(&root)).collect();
    /// assert_eq!(lacks, [false, true]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lacks_in(&self, root: &Root<'_>) -> bool {
        self.path.lacks_in(root)
    }

    /// The line of the expression, from 1.
    pub fn line(&self) -> u32 {
        self.line
    }

    /// The column in the line, from 1, as errors count it.
    pub fn column(&self) -> u32 {
        self.column
    }

    /// How long the expression is, in UTF-16 units.
    pub fn length(&self) -> u32 {
        self.length
    }
}

impl Template {
    /// The data that the template reads, in the order in which it stands there: paths from the root
    /// variables, through variables that are assigned such a path and through loops over one.
    ///
    /// What is read by names that are only known while rendering (`.vars[name]`, `?eval`,
    /// `?interpret`), in included templates, or through parameters of macros is not found.
    pub fn references(&self) -> Vec<Reference> {
        let inner = self.inner();
        reads(inner).into_iter().map(|read| read.public(inner)).collect()
    }
}

/// A read, as the walk finds it.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) path: Path,
    pub(crate) guard: Guard,
    pub(crate) span: Span,
}

impl Read {
    fn public(self, inner: &Inner) -> Reference {
        let at = inner.lines.position(&inner.source, self.span.start);
        let length = self.span.text(&inner.source).encode_utf16().count();
        Reference {
            text: self.path.to_string(),
            path: self.path,
            guard: self.guard,
            line: at.line,
            column: at.column,
            length: u32::try_from(length).unwrap_or(u32::MAX),
        }
    }
}

/// All reads of a template.
pub(crate) fn reads(inner: &Inner) -> Vec<Read> {
    let mut walker = Walker::new(inner);
    walker.template();
    let mut reads = walker.finish();
    reads.sort_by_key(|read| (read.span.start, read.span.end));
    reads
}
