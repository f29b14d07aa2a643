//! Templates that others include and import, by name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use crate::error::Error;
use crate::settings::Settings;
use crate::template::{Inner, Template};

/// The templates that `<#include>`, `<#import>` and `.get_optional_template` find.
///
/// A template is parsed when it is first asked for; [`Templates::check`] parses all at once.
///
/// ```
/// use sluice_freemarker::{Limits, Root, Settings, Template, Templates};
///
/// let settings = Settings::default();
/// let mut templates = Templates::new(&settings);
/// templates.insert("lib/greet.ftl", "<#macro greet who>Hello ${who}!</#macro>");
/// templates.check()?;
/// let template = Template::parse("main.ftl", "<#import 'lib/greet.ftl' as g><@g.greet 'Ada'/>", &settings)?;
/// let mut out = Vec::new();
/// template.render(&Root::new().with_templates(&templates), &Limits::default(), &mut out)?;
/// assert_eq!(out, b"Hello Ada!");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Templates {
    settings: Settings,
    by_name: BTreeMap<String, Entry>,
}

struct Entry {
    source: String,
    parsed: OnceLock<Result<Template, Error>>,
}

impl Templates {
    /// No template yet; those to come are parsed with these settings.
    pub fn new(settings: &Settings) -> Self {
        Templates { settings: settings.clone(), by_name: BTreeMap::new() }
    }

    /// Adds a template under its name from the root, such as `lib/greet.ftl`; replaces one of the
    /// same name.
    pub fn insert(&mut self, name: &str, source: &str) {
        let entry = Entry { source: source.to_owned(), parsed: OnceLock::new() };
        self.by_name.insert(name.trim_start_matches('/').to_owned(), entry);
    }

    /// Parses all templates.
    ///
    /// # Errors
    /// The first, by name, that is no template.
    pub fn check(&self) -> Result<(), Error> {
        for name in self.by_name.keys() {
            if let Some(Err(error)) = self.get(name) {
                return Err(error.clone());
            }
        }
        Ok(())
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    pub(crate) fn get(&self, name: &str) -> Option<Result<&Inner, &Error>> {
        let (name, entry) = self.by_name.get_key_value(name)?;
        let parsed = entry.parsed.get_or_init(|| Template::parse(name, &entry.source, &self.settings));
        Some(parsed.as_ref().map(Template::inner))
    }

    pub(crate) fn source(&self, name: &str) -> Option<(&str, &str)> {
        let (name, entry) = self.by_name.get_key_value(name)?;
        Some((name, &entry.source))
    }
}

impl fmt::Debug for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}
