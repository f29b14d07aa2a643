//! Built-ins of dates.

use super::{BuiltIn, Iso, IsoZone};
use crate::ast::{BuiltInCall, Expr, Form};
use crate::error::{Raised, runtime};
use crate::eval::Interp;
use crate::format::date::DateKind;
use crate::format::iso::{Accuracy, IsoFormat, PLAIN};
use crate::format::zone::Zone;
use crate::model::Sequence;
use crate::value::{Date, Value};

impl<'r> Interp<'r> {
    pub(super) fn date_built_in(&mut self, call: &'r BuiltInCall, expr: &'r Expr) -> Result<Value<'r>, Raised> {
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
            let date = self.converted(date, kind, call)?;
            return match call.args.first().filter(|_| call.form == Form::Keyed) {
                Some(key) => {
                    let found = self.value(key)?;
                    self.indexed(date, found, expr, key)
                }
                None => Ok(date),
            };
        }
        let text = self.text_of(value, &call.target)?;
        self.meter.scan(text.len())?;
        // looked at whether it is used or not, as in FreeMarker
        self.usable_date_format(kind)?;
        let key = call.args.first().filter(|_| call.form == Form::Keyed);
        let format = match key {
            None => self.format_arg(call)?,
            Some(key) => match self.value(key)? {
                Value::String(format) => Some(format),
                // what stands for a part of the date as it is printed
                found @ (Value::Number(_) | Value::Sequence(Sequence::Range(_))) => {
                    let date = self.read_date(&text, None, kind)?;
                    return self.indexed(date, found, expr, key);
                }
                found => return self.indexed(Value::Missing, found, expr, key),
            },
        };
        self.read_date(&text, format.as_deref(), kind)
    }

    /// Reads a date in a format, or in that of the settings.
    fn read_date(&mut self, text: &str, format: Option<&str>, kind: DateKind) -> Result<Value<'r>, Raised> {
        let now = self.root.now_ms();
        let read = match format {
            Some(format) => self.date_format(format, kind)?.read(text, kind, &self.formats.zone, now),
            None => self.usable_date_format(kind)?.read(text, kind, &self.formats.zone, now),
        };
        match read {
            Ok(epoch_ms) => Ok(Value::Date(Date { epoch_ms, kind })),
            Err(problem) => {
                let format = format.unwrap_or(&self.formats.date_format(kind).source);
                let shown: String = text.chars().take(80).collect();
                Err(runtime(format!(
                    "The string doesn't match the expected date/time/date-time format. The string was: \"{shown}\". The \
                     format is: \"{format}\". The reason: {problem}"
                )))
            }
        }
    }

    /// A date as one of another kind.
    pub(super) fn converted(&self, date: Date, kind: DateKind, call: &BuiltInCall) -> Result<Value<'r>, Raised> {
        let place = call.target.span;
        if date.kind != kind && date.kind != DateKind::DateTime {
            return Err(runtime(format!("a {} can't become a {}", date.kind.name(), kind.name())).at(place));
        }
        match call.form {
            Form::Bare | Form::Keyed => Ok(Value::Date(Date { kind, ..date })),
            Form::Called => Err(runtime("a date is not read again: it takes no format").at(place)),
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
