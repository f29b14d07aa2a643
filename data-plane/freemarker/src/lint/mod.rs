//! Traps in templates that parse well: found by reading, not by rendering.

mod dates;
mod json_text;

use std::collections::HashSet;
use std::fmt;

use crate::references::{Guard, reads};
use crate::span::Span;
use crate::template::{Inner, Template};

/// The kinds of traps.
///
/// ```
/// use sluice_freemarker::{Settings, Template, lint::Rule};
///
/// let template = Template::parse("t", r#"{"name": "${input.name}"}"#, &Settings::default())?;
/// assert!(template.lint().iter().any(|finding| finding.rule() == Rule::UnescapedString));
/// # Ok::<(), sluice_freemarker::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// A path that may be missing is read without a default: one that is guarded elsewhere in the
    /// template, or that is two or more steps below a root variable.
    UnguardedPath,
    /// Text is printed into a JSON string without escaping: a quote or line break in it breaks the
    /// JSON.
    UnescapedString,
    /// A date pattern with a fraction (`.SSS`) reads all digits that follow as milliseconds, so that
    /// six digits of microseconds become minutes.
    FractionPattern,
    /// A comma is printed after the last item or member.
    TrailingComma,
}

/// A trap: where it is and what helps.
///
/// ```
/// use sluice_freemarker::{Settings, Template};
///
/// let template = Template::parse("t", "[1, 2,]", &Settings::default())?;
/// assert_eq!(template.lint()[0].to_string(), "1:6: nothing follows this comma; leave it out");
/// # Ok::<(), sluice_freemarker::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    rule: Rule,
    message: String,
    remedy: String,
    line: u32,
    column: u32,
    length: u32,
}

impl Finding {
    /// The kind of trap.
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// What may go wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to write instead.
    pub fn remedy(&self) -> &str {
        &self.remedy
    }

    /// The line of the place, from 1.
    pub fn line(&self) -> u32 {
        self.line
    }

    /// The column in the line, from 1, as errors count it.
    pub fn column(&self) -> u32 {
        self.column
    }

    /// How long the place is, in UTF-16 units.
    pub fn length(&self) -> u32 {
        self.length
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}; {}", self.line, self.column, self.message, self.remedy)
    }
}

/// A finding before its place is turned into a line and a column.
struct Raw {
    rule: Rule,
    message: String,
    remedy: String,
    span: Span,
}

impl Template {
    /// Looks for common traps; gives them in the order in which they stand in the template.
    ///
    /// ```
    /// use sluice_freemarker::{Settings, Template, lint::Rule};
    ///
    /// let source = r#"{"name": "${input.user.name}", "tags": [<#list input.tags as t>"${t?json_string}",</#list>]}"#;
    /// let template = Template::parse("t", source, &Settings::default())?;
    /// let rules: Vec<_> = template.lint().iter().map(|finding| finding.rule()).collect();
    /// assert_eq!(rules, [Rule::UnguardedPath, Rule::UnescapedString, Rule::TrailingComma]);
    /// # Ok::<(), sluice_freemarker::Error>(())
    /// ```
    pub fn lint(&self) -> Vec<Finding> {
        let inner = self.inner();
        let mut found = unguarded(inner);
        found.extend(json_text::findings(inner));
        found.extend(dates::findings(inner));
        found.sort_by_key(|raw| (raw.span.start, raw.span.end));
        found.into_iter().map(|raw| raw.public(inner)).collect()
    }
}

impl Raw {
    fn public(self, inner: &Inner) -> Finding {
        let at = inner.lines.position(&inner.source, self.span.start);
        let length = self.span.text(&inner.source).encode_utf16().count();
        Finding {
            rule: self.rule,
            message: self.message,
            remedy: self.remedy,
            line: at.line,
            column: at.column,
            length: u32::try_from(length).unwrap_or(u32::MAX),
        }
    }
}

/// How many steps below a root variable a path is taken to be there.
const CERTAIN_STEPS: usize = 1;

fn unguarded(inner: &Inner) -> Vec<Raw> {
    let reads = reads(inner);
    let guarded: HashSet<_> = reads.iter().filter(|read| read.guard != Guard::None).map(|read| &read.path).collect();
    let optional = |read: &&crate::references::Read| {
        read.guard == Guard::None && (guarded.contains(&read.path) || read.path.steps() > CERTAIN_STEPS)
    };
    let mut found = Vec::new();
    for read in reads.iter().filter(optional) {
        let source = read.span.text(&inner.source);
        // an item of a list that was read is there
        if read.path.to_string().ends_with("[]") {
            continue;
        }
        found.push(Raw {
            rule: Rule::UnguardedPath,
            message: format!("{} may be missing, which ends the rendering", read.path),
            remedy: format!("give a default, ({source})!\"\", or test it with <#if ({source})??>"),
            span: read.span,
        });
    }
    found
}
