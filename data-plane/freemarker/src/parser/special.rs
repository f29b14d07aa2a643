//! Special variables: `.name` (FreeMarker manual: "Special Variable Reference").

use super::Parser;
use super::names::camel_or_snake;
use crate::ast::{Expr, ExprKind, Special};
use crate::error::Raised;
use crate::lexer::token::Token;
use crate::settings::{Naming, snake_case};

const NAMES: [&str; 27] = [
    "args",
    "auto_esc",
    "caller_template_name",
    "current_node",
    "current_template_name",
    "data_model",
    "error",
    "get_optional_template",
    "globals",
    "incompatible_improvements",
    "lang",
    "locale",
    "locale_object",
    "locals",
    "main",
    "main_template_name",
    "namespace",
    "node",
    "now",
    "output_encoding",
    "output_format",
    "pass",
    "template_name",
    "time_zone",
    "url_escaping_charset",
    "vars",
    "version",
];

impl Parser<'_, '_> {
    pub(super) fn special(&mut self) -> Result<Expr, Raised> {
        let start = self.bump().start;
        let Token::Name(name) = self.next.token else {
            return self.unexpected("the name of a special variable");
        };
        let name_start = self.next.start;
        self.check_naming(name, name_start)?;
        let snake = if name.contains('_') { name.to_owned() } else { snake_case(name) };
        let special = match snake.as_str() {
            "now" => Special::Now,
            "locale" => Special::Locale,
            "lang" => Special::Lang,
            "time_zone" => Special::TimeZone,
            "template_name" => Special::TemplateName,
            "main_template_name" => Special::MainTemplateName,
            "current_template_name" => Special::CurrentTemplateName,
            "caller_template_name" => Special::CallerTemplateName,
            "version" => Special::Version,
            "incompatible_improvements" => Special::IncompatibleImprovements,
            "output_format" => Special::OutputFormat(self.state.escaping.format),
            "auto_esc" => Special::AutoEsc(self.state.escaping.is_on()),
            "output_encoding" => Special::OutputEncoding,
            "url_escaping_charset" => Special::UrlEscapingCharset,
            "data_model" => Special::DataModel,
            "globals" => Special::Globals,
            "locals" => Special::Locals,
            "main" => Special::Main,
            "namespace" => Special::Namespace,
            "vars" => Special::Vars,
            "pass" => Special::Pass,
            "error" => Special::Error,
            "get_optional_template" => Special::GetOptionalTemplate,
            "node" | "current_node" => Special::Node,
            "args" => {
                // in a string literal, FreeMarker does not know where that stands
                if self.state.inside.is_none() || self.base > 0 || self.decoded.is_some() {
                    return self.error_at(
                        name_start,
                        "The \"args\" special variable must be inside a macro or function in the template source code.",
                    );
                }
                self.state.wants_args = true;
                Special::Args
            }
            "locale_object" => {
                return self.error_at(
                    name_start,
                    "This engine has no Java objects, and so no special variable .locale_object",
                );
            }
            _ => return self.error_at(name_start, self.unknown_special(name)),
        };
        let end = self.bump().end;
        Ok(Expr { kind: ExprKind::Special(special), span: self.span(start, end) })
    }

    fn unknown_special(&self, name: &str) -> String {
        let meant = match name {
            "auto_escape" | "auto_escaping" | "autoesc" => " You may meant: \"auto_esc\".",
            "autoEscape" | "autoEscaping" => " You may meant: \"autoEsc\".",
            _ => "",
        };
        let camel = self.state.naming == Some(Naming::Camel);
        let known: Vec<String> = NAMES.iter().map(|name| camel_or_snake(name, camel)).collect();
        format!(
            "Unknown special variable name: \"{name}\".{meant}\nThe allowed special variable names are: {}",
            known.join(", ")
        )
    }
}
