//! How names of the language are written: `upper_case` or `upperCase`, not both in a template.

use super::Parser;
use crate::error::Raised;
use crate::settings::Naming;

/// Directives whose names are of two words.
const TWO_WORDS: [&str; 7] = ["elseif", "foreach", "outputformat", "autoesc", "noautoesc", "noparse", "noescape"];

impl Parser<'_, '_> {
    /// Notes how a name of the language is written, and refuses to mix the two ways.
    pub(super) fn check_naming(&mut self, name: &str, start: usize) -> Result<(), Raised> {
        let naming = name.bytes().find_map(|byte| match byte {
            b'_' => Some(Naming::Legacy),
            b'A'..=b'Z' => Some(Naming::Camel),
            _ => None,
        });
        self.check_naming_is(naming, name, start)
    }

    /// The same of a directive's name; `tag` is its tag as far as it has been read.
    pub(super) fn check_tag_naming(&mut self, name: &str, tag: &str, start: usize) -> Result<(), Raised> {
        if !TWO_WORDS.contains(&name.to_ascii_lowercase().as_str()) {
            return Ok(());
        }
        let camel = name.bytes().any(|byte| byte.is_ascii_uppercase());
        self.check_naming_is(Some(if camel { Naming::Camel } else { Naming::Legacy }), tag, start)
    }

    fn check_naming_is(&mut self, naming: Option<Naming>, shown: &str, start: usize) -> Result<(), Raised> {
        let Some(naming) = naming else { return Ok(()) };
        let Some(settled) = self.state.naming else {
            self.state.naming = Some(naming);
            self.state.named_by = Some((self.span(start, start), shown.to_owned()));
            return Ok(());
        };
        if settled == naming {
            return Ok(());
        }
        let rule = match self.state.syntax.naming {
            None => "must consistently use the same naming convention within the same template. This template uses ",
            Some(_) => "must use the configured naming convention, which is the ",
        };
        let which = match settled {
            Naming::Camel => "camel case naming convention (like: exampleName) ",
            Naming::Legacy => {
                "legacy naming convention (directive (tag) names are like examplename, everything else is like \
                 example_name) "
            }
        };
        let by = match &self.state.named_by {
            Some((span, token)) => {
                let at = self.state.lines.position(self.state.source, span.start);
                format!("established by auto-detection at line {}, column {} by token \"{token}\"", at.line, at.column)
            }
            None => String::new(),
        };
        self.error_at(
            start,
            format!(
                "Naming convention mismatch. Identifiers that are part of the template language (not the user \
                 specified ones) {rule}{which}{by}, but the problematic token, \"{shown}\", uses a different \
                 convention."
            ),
        )
    }
}

/// A name of the language as the template writes such names.
pub(super) fn camel_or_snake(name: &str, camel: bool) -> String {
    if camel { super::directives::camel_case(name) } else { name.to_owned() }
}
