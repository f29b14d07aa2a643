//! Built-ins of dates.

use super::{BuiltIn, Iso, IsoZone};
use crate::ast::{BuiltInCall, Form};
use crate::error::{Raised, runtime};
use crate::eval::Interp;
use crate::format::date::DateKind;
use crate::format::iso::{Accuracy, IsoFormat, PLAIN};
use crate::format::zone::Zone;
use crate::value::{Date, Value};

impl<'r> Interp<'r> {
    pub(super) fn date_built_in(&mut self, call: &'r BuiltInCall) -> Result<Value<'r>, Raised> {
        let kind = match call.which {
            BuiltIn::Iso(iso) => return self.iso(iso, call),
            BuiltIn::Date => DateKind::Date,
            BuiltIn::Time => DateKind::Time,
            BuiltIn::Datetime => DateKind::DateTime,
            // dates always know what they are here
            _ => return self.date(call).map(Value::Date),
        };
        let value = self.value(&call.target)?;
        if let Value::Date(date) = value {
            if call.form != Form::Bare {
                return Err(runtime("a date is not read again: it takes no format").at(call.target.span));
            }
            if date.kind == kind || date.kind == DateKind::DateTime {
                return Ok(Value::Date(Date { kind, ..date }));
            }
            return Err(runtime(format!("a {} can't become a {}", date.kind.name(), kind.name())).at(call.target.span));
        }
        let text = self.text_of(value, &call.target)?;
        self.meter.scan(text.len())?;
        let now = self.root.now_ms();
        let read = match self.format_arg(call)? {
            Some(format) => self.date_format(&format, kind)?.read(&text, kind, &self.formats.zone, now),
            None => {
                let formats = &*self.formats;
                formats.date_format(kind).format.read(&text, kind, &formats.zone, now)
            }
        };
        match read {
            Ok(epoch_ms) => Ok(Value::Date(Date { epoch_ms, kind })),
            Err(problem) => {
                let format = match self.format_arg(call)? {
                    Some(format) => format.to_string(),
                    None => self.formats.date_format(kind).source.clone(),
                };
                let shown: String = text.chars().take(80).collect();
                Err(runtime(format!(
                    "The string doesn't match the expected date/time/date-time format. The string \
                     was: \"{shown}\". The format is: \"{format}\". The reason: {problem}"
                )))
            }
        }
    }

    fn date(&mut self, call: &'r BuiltInCall) -> Result<Date, Raised> {
        match self.value(&call.target)? {
            Value::Date(date) => Ok(date),
            other => Err(self.expected("a date", &other, &call.target)),
        }
    }

    fn iso(&mut self, iso: Iso, call: &'r BuiltInCall) -> Result<Value<'r>, Raised> {
        let date = self.date(call)?;
        let zone = match iso.zone {
            IsoZone::Utc => Zone::Utc,
            IsoZone::Local => self.formats.zone.clone(),
            IsoZone::Given => {
                let name = self.needed_text(call, 0)?;
                self.meter.steps(5)?;
                Zone::find(&name).ok_or_else(|| runtime(format!("there is no time zone named \"{}\"", &*name)))?
            }
        };
        let accuracy = match iso.accuracy {
            Accuracy::Milliseconds => Accuracy::AsNeeded,
            other => other,
        };
        let show_offset = Some(iso.show_offset != Some(false) && date.kind != DateKind::Date);
        let format = IsoFormat { accuracy, show_offset, ..PLAIN };
        self.built(format.format(date, &zone))
    }
}
