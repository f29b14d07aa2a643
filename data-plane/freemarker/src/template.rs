//! Parsed templates and what they are rendered with.

use std::fmt;
use std::sync::Arc;

use crate::error::Error;
use crate::eval;
use crate::json::Node;
use crate::limits::{Limits, Usage};
use crate::parser::{Parsed, parse};
use crate::settings::Settings;
use crate::span::Lines;
use crate::value::Value;

/// A template, parsed and checked. Cheap to clone, and to share between threads.
#[derive(Clone)]
pub struct Template(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) name: String,
    pub(crate) source: String,
    pub(crate) lines: Lines,
    pub(crate) parsed: Parsed,
    pub(crate) settings: Settings,
}

impl Template {
    /// Parses FTL; `name` is what errors and `.template_name` call the template.
    ///
    /// # Errors
    /// When the source is no FTL, or is longer or nested deeper than the bounds in
    /// [`limits`](crate::limits).
    pub fn parse(name: &str, source: &str, settings: &Settings) -> Result<Template, Error> {
        let lines = Lines::new(source);
        match parse(source, &lines, settings.syntax) {
            Ok(parsed) => Ok(Template(Arc::new(Inner {
                name: name.to_owned(),
                source: source.to_owned(),
                lines,
                parsed,
                settings: settings.clone(),
            }))),
            Err(fault) => Err(Error::at(*fault, name, source, &lines)),
        }
    }

    /// The name it was parsed under.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The text it was parsed from.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// Renders the template with the root variables, appending to `out`.
    ///
    /// # Errors
    /// When the template does not fit the data, stops itself, or reaches a limit. Then `out` is
    /// as it was before.
    pub fn render(&self, root: &Root<'_>, limits: &Limits, out: &mut Vec<u8>) -> Result<Usage, Error> {
        let Inner { name, source, lines, .. } = &*self.0;
        eval::render(&self.0, root, limits, out).map_err(|(fault, usage)| {
            let mut error = Error::at(*fault, name, source, lines);
            error.set_usage(usage);
            error
        })
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template").field("name", &self.0.name).finish_non_exhaustive()
    }
}

/// The root variables of a rendering, FreeMarker's data model.
#[derive(Clone, Debug, Default)]
pub struct Root<'d> {
    variables: Vec<(&'d str, Value<'d>)>,
    now_ms: Option<i64>,
}

impl<'d> Root<'d> {
    /// No variables, and no time.
    pub fn new() -> Self {
        Root::default()
    }

    /// Adds a JSON value, which is read in place.
    #[must_use]
    pub fn with_json(self, name: &'d str, node: Node<'d>) -> Self {
        self.with(name, Value::json(node))
    }

    /// Adds a value; replaces one of the same name.
    #[must_use]
    pub fn with(mut self, name: &'d str, value: Value<'d>) -> Self {
        self.variables.retain(|(known, _)| *known != name);
        self.variables.push((name, value));
        self
    }

    /// Sets what `.now` is, in milliseconds since the epoch; without it `.now` is an error.
    #[must_use]
    pub fn with_now(mut self, epoch_ms: i64) -> Self {
        self.now_ms = Some(epoch_ms);
        self
    }

    pub(crate) fn get(&self, name: &str) -> Value<'d> {
        let found = self.variables.iter().find(|(known, _)| *known == name);
        found.map_or(Value::Missing, |(_, value)| value.clone())
    }

    pub(crate) fn now_ms(&self) -> Option<i64> {
        self.now_ms
    }
}
