//! Templates that others include and import, by name.

use std::collections::BTreeMap;
use std::fmt;

use crate::error::Error;
use crate::settings::Settings;
use crate::template::{Inner, Template};

/// The templates that `<#include>`, `<#import>` and `.get_optional_template` find.
///
/// One that is no template is an error where it is used; [`Templates::check`] finds it before.
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
    parsed: Result<Template, Error>,
}

impl Templates {
    /// No template yet; those to come are parsed with these settings.
    pub fn new(settings: &Settings) -> Self {
        Templates { settings: settings.clone(), by_name: BTreeMap::new() }
    }

    /// Adds a template under its name from the root, such as `lib/greet.ftl`; replaces one of the
    /// same name.
    pub fn insert(&mut self, name: &str, source: &str) {
        let name = name.trim_start_matches('/');
        let parsed = Template::parse(name, source, &self.settings);
        self.by_name.insert(name.to_owned(), Entry { source: source.to_owned(), parsed });
    }

    /// Whether all of them are templates.
    ///
    /// # Errors
    /// The first, by name, that is no template.
    pub fn check(&self) -> Result<(), Error> {
        match self.by_name.values().find_map(|entry| entry.parsed.as_ref().err()) {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    pub(crate) fn get(&self, name: &str) -> Option<Result<&Inner, &Error>> {
        self.by_name.get(name).map(|entry| entry.parsed.as_ref().map(Template::inner))
    }

    pub(crate) fn source(&self, name: &str) -> Option<&str> {
        self.by_name.get(name).map(|entry| entry.source.as_str())
    }
}

impl fmt::Debug for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}
