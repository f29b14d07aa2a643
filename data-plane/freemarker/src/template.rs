//! Parsed templates and what they are rendered with.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Raised};
use crate::eval::Renderer;
use crate::json::Node;
use crate::limits::{Limits, Usage};
use crate::output_format::Escaping;
use crate::parser::{Parsed, parse};
use crate::settings::{Settings, Syntax};
use crate::span::Lines;
use crate::templates::Templates;
use crate::value::Value;

/// A template, parsed and checked. Cheap to clone, and to share between threads.
///
/// ```
/// use sluice_freemarker::{Limits, Root, Settings, Template, Value};
///
/// let template = Template::parse("t", "${name?upper_case}!", &Settings::default())?;
/// let mut out = Vec::new();
/// template.render(&Root::new().with("name", Value::string("ada")), &Limits::default(), &mut out)?;
/// assert_eq!(out, b"ADA!");
/// # Ok::<(), sluice_freemarker::Error>(())
/// ```
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
        let escaping = settings.syntax.escaping_of(name);
        match Inner::parse(name.to_owned(), source.to_owned(), settings.clone(), escaping, parse) {
            Ok(inner) => Ok(Template(Arc::new(inner))),
            Err(fault) => Err(Error::at(*fault, name, source, &Lines::new(source))),
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
    /// A [`Renderer`] does the same and keeps its memory for the next rendering.
    ///
    /// # Errors
    /// When the template does not fit the data, stops itself, or reaches a limit. Then `out` is
    /// as it was before.
    pub fn render(&self, root: &Root<'_>, limits: &Limits, out: &mut Vec<u8>) -> Result<Usage, Error> {
        Renderer::new().render(self, root, limits, out)
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }
}

type Parse = fn(&str, &Lines, Syntax, Escaping) -> Result<Parsed, Raised>;

impl Inner {
    /// Parses a template, or with another function something like one.
    pub(crate) fn parse(
        name: String,
        source: String,
        settings: Settings,
        escaping: Escaping,
        parse: Parse,
    ) -> Result<Inner, Raised> {
        let lines = Lines::new(&source);
        let parsed = parse(&source, &lines, settings.syntax, escaping)?;
        Ok(Inner { name, source, lines, parsed, settings })
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template").field("name", &self.0.name).finish_non_exhaustive()
    }
}

/// What a rendering is given: the root variables (FreeMarker's data model), the time, and the
/// templates that may be included.
///
/// ```
/// use sluice_freemarker::{Limits, Root, Settings, Template, Value, json::Document};
///
/// let event = Document::parse(br#"{"user": {"id": 7}}"#, 64)?;
/// let root = Root::new()
///     .with_json("input", event.root())
///     .with("source", Value::string("web"))
///     .with_now(1_700_000_000_000);
/// let template = Template::parse("t", "${input.user.id} ${source} ${.now?iso_utc}", &Settings::default())?;
/// let mut out = Vec::new();
/// template.render(&root, &Limits::default(), &mut out)?;
/// assert_eq!(out, b"7 web 2023-11-14T22:13:20Z");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Root<'d> {
    variables: Vec<(&'d str, Value<'d>)>,
    now_ms: Option<i64>,
    templates: Option<&'d Templates>,
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

    /// Gives the templates that may be included and imported; without there are none.
    #[must_use]
    pub fn with_templates(mut self, templates: &'d Templates) -> Self {
        self.templates = Some(templates);
        self
    }

    pub(crate) fn variables(&self) -> &[(&'d str, Value<'d>)] {
        &self.variables
    }

    pub(crate) fn templates(&self) -> Option<&'d Templates> {
        self.templates
    }

    #[inline]
    pub(crate) fn get(&self, name: &str) -> &Value<'d> {
        let found = self.variables.iter().find(|(known, _)| *known == name);
        found.map_or(&Value::Missing, |(_, value)| value)
    }

    pub(crate) fn now_ms(&self) -> Option<i64> {
        self.now_ms
    }
}
