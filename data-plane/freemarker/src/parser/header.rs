//! `<#ftl …>`, the header of a template.

use super::constants::{Constant, constant};
use super::names::camel_or_snake;
use super::{Parser, Surroundings};
use crate::ast::Expr;
use crate::error::{Raised, parse};
use crate::lexer::token::Token;
use crate::output_format::{AutoEscaping, OutputFormat};
use crate::settings::{Naming, snake_case};
use crate::whitespace::is_java_space;

impl Parser<'_, '_> {
    /// Parses `<#ftl …>` when the template begins with it.
    pub(super) fn header(&mut self) -> Result<(), Raised> {
        let start = self.text.len() - self.text.trim_start_matches([' ', '\t', '\n', '\r']).len();
        let rest = self.text.get(start..).unwrap_or_default();
        let square = rest.starts_with("[#ftl");
        let Some(after) = rest.get(5..).filter(|_| square || rest.starts_with("<#ftl")) else {
            return Ok(());
        };
        let without_slash = after.strip_prefix('/').unwrap_or(after);
        let ends = without_slash.starts_with(['>', ']']);
        if !ends && !after.starts_with([' ', '\t', '\n', '\r']) {
            return Ok(());
        }
        self.settle_tags(square);
        if ends {
            // without parameters it may end as either kind of tag
            self.pos = self.text.len() - without_slash.len() + 1;
            self.skip_header_line();
            return Ok(());
        }
        self.enter_expression(start + 5, Surroundings::Tag { square });
        let mut asked_for = None;
        while let Token::Name(name) = self.next.token {
            let name_start = self.bump().start;
            self.expect(Token::Assign, "\"=\"")?;
            let value = self.expression()?;
            self.check_naming(name, name_start)?;
            if self.header_parameter(name, name_start, &value)? {
                asked_for = Some(name_start);
            }
        }
        if let Some(start) = asked_for {
            self.check_can_escape(start)?;
        }
        if !self.at_end() {
            return self.unexpected("the name of a parameter");
        }
        self.end_tag(true)?;
        self.skip_header_line();
        Ok(())
    }

    /// The rest of the header's line goes with it.
    fn skip_header_line(&mut self) {
        let rest = self.text.get(self.pos..).unwrap_or_default();
        for (i, c) in rest.char_indices() {
            let line_break = match c {
                '\r' if rest.get(i..).is_some_and(|r| r.starts_with("\r\n")) => 2,
                // FreeMarker looks for the rest of a line break, and at the end gives up
                '\r' if rest.len() == i + 1 => break,
                '\r' | '\n' => 1,
                c if is_java_space(c) => continue,
                _ => break,
            };
            self.pos += i + line_break;
            break;
        }
    }

    /// Takes a parameter; tells whether it asks for auto-escaping.
    fn header_parameter(&mut self, name: &str, start: usize, value: &Expr) -> Result<bool, Raised> {
        let Some(known) = constant(value) else {
            let shown = value.span.text(self.state.source);
            return Err(parse(value.span, format!("Could not evaluate expression (on parse-time): {shown}")));
        };
        let flag = |or_words: bool| match &known {
            Constant::Bool(flag) => Ok(*flag),
            Constant::Text(text) if or_words => match &**text {
                "yes" | "true" | "y" | "t" => Ok(true),
                "no" | "false" | "n" | "f" => Ok(false),
                _ => Err(parse(value.span, format!("Expecting boolean (true/false), found: \"{text}\""))),
            },
            _ => Err(parse(value.span, "Expecting boolean (true/false) parameter")),
        };
        let text = || match &known {
            Constant::Text(text) => Ok(text),
            _ => Err(parse(value.span, format!("Expected a string constant for \"{name}\"."))),
        };
        let snake = if name.contains('_') { name.to_ascii_lowercase() } else { snake_case(name) };
        match snake.as_str() {
            "encoding" => {
                text()?;
            }
            "strip_whitespace" => self.state.syntax.strip_whitespace = flag(true)?,
            "strip_text" => self.state.strip_text = flag(true)?,
            "strict_syntax" => self.state.syntax.strict = flag(true)?,
            "auto_esc" => {
                if flag(false)? {
                    self.state.escaping.policy = AutoEscaping::Enabled;
                    return Ok(true);
                }
                if self.state.escaping.policy == AutoEscaping::Forced {
                    return Err(parse(value.span, super::escaping::forced(&format!("{name}=false"))));
                }
                self.state.escaping.policy = AutoEscaping::Disabled;
            }
            "output_format" => {
                let format = OutputFormat::find(text()?).map_err(|problem| parse(value.span, problem))?;
                self.state.escaping.format = format;
            }
            "attributes" => {
                if known != Constant::Hash {
                    return Err(parse(value.span, "Expecting a hash of attribute names to values."));
                }
            }
            "ns_prefixes" => {
                if known != Constant::Hash {
                    return Err(parse(value.span, "Expecting a hash of prefixes to namespace URI's."));
                }
            }
            _ => {
                let camel = self.state.naming == Some(Naming::Camel);
                let meant = match name {
                    "charset" => Some("encoding".to_owned()),
                    "xmlns" => Some(camel_or_snake("ns_prefixes", camel)),
                    "auto_escape" | "auto_escaping" | "autoesc" => Some("auto_esc".to_owned()),
                    "autoEscape" | "autoEscaping" => Some("autoEsc".to_owned()),
                    _ => None,
                };
                let tip = meant.map_or(String::new(), |meant| format!(". You may meant: {meant}"));
                return self.error_at(start, format!("Unknown FTL header parameter: {name}{tip}"));
            }
        }
        Ok(false)
    }
}
