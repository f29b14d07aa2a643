//! The values of special variables.

use super::Interp;
use crate::ast::Special;
use crate::callable::{Callable, Kind, Layer, Scope};
use crate::error::{Raised, runtime};
use crate::format::date::DateKind;
use crate::value::{Date, Text, Value};

impl<'r> Interp<'r> {
    pub(super) fn special(&mut self, special: Special) -> Result<Value<'r>, Raised> {
        let layer = |layer| Value::Scope(Scope(layer));
        Ok(match special {
            Special::Now => match self.root.now_ms() {
                Some(epoch_ms) => Value::Date(Date { epoch_ms, kind: DateKind::DateTime }),
                None => return Err(runtime(".now is not known in this rendering")),
            },
            Special::Locale => Value::string(self.formats.locale.as_str()),
            Special::Lang => Value::string(self.formats.locale.split('_').next().unwrap_or_default()),
            Special::TimeZone => Value::string(self.formats.zone.name()),
            Special::TemplateName => Value::String(Text::Borrowed(&self.template_of(self.ctx.parent).name)),
            Special::MainTemplateName => Value::String(Text::Borrowed(&self.main.name)),
            Special::CurrentTemplateName => Value::String(Text::Borrowed(&self.template.name)),
            Special::CallerTemplateName => match self.frame() {
                Some(frame) => Value::String(Text::Borrowed(&self.template_of(frame.caller.unit).name)),
                None => return Err(no_macro("caller_template_name")),
            },
            Special::Version => Value::String(Text::Borrowed("2.3.34")),
            Special::IncompatibleImprovements => Value::String(Text::Borrowed("2.3.31")),
            Special::OutputFormat(format) => Value::string(format.to_string()),
            Special::AutoEsc(flag) => Value::Bool(flag),
            Special::OutputEncoding => match &self.formats.output_encoding {
                Some(encoding) => Value::string(encoding.as_str()),
                None => Value::Missing,
            },
            Special::UrlEscapingCharset => match &self.formats.url_charset {
                Some(charset) => Value::string(charset.as_str()),
                None => Value::Missing,
            },
            Special::DataModel => layer(Layer::DataModel),
            Special::Globals => layer(Layer::Globals),
            Special::Vars => layer(Layer::Vars),
            Special::Main => layer(Layer::Namespace(0)),
            Special::Namespace => layer(Layer::Namespace(self.ctx.namespace)),
            Special::Locals => self.locals_hash()?,
            Special::Pass => Value::Callable(Callable(Kind::Pass)),
            Special::GetOptionalTemplate => Value::Callable(Callable(Kind::GetOptionalTemplate)),
            Special::Node => Value::Missing,
            Special::Error => match self.recovered.last() {
                Some(message) => Value::String(Text::Owned(message.clone())),
                None => return Err(runtime(".error is not available outside of a #recover block")),
            },
            Special::Args => match self.frame() {
                Some(frame) => frame.args.clone(),
                None => return Err(no_macro("args")),
            },
        })
    }
}

fn no_macro(name: &str) -> Raised {
    runtime(format!(
        "Can't get .{name} here, as there's no macro or function (that's implemented in the template) call in context."
    ))
}
