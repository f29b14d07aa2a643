//! Built-ins of numbers.

use bigdecimal::RoundingMode;

use super::BuiltIn;
use crate::ast::BuiltInCall;
use crate::error::{Raised, limit, runtime};
use crate::eval::Interp;
use crate::format::date::DateKind;
use crate::number::Number;
use crate::value::{Date, Value};

impl<'r> Interp<'r> {
    pub(super) fn number_built_in(&mut self, call: &'r BuiltInCall) -> Result<Value<'r>, Raised> {
        // ?long also takes dates
        if call.which == BuiltIn::Long {
            match self.value(&call.target)? {
                Value::Date(date) => return Ok(Value::Number(Number::Int(date.epoch_ms))),
                Value::Number(number) => return Ok(Value::Number(Number::Int(number.to_long()))),
                other => return Err(self.expected("a number or a date", &other, &call.target)),
            }
        }
        let number = self.number(&call.target)?;
        self.meter.steps(number.cost())?;
        let date = |kind| {
            let whole = number.rounded(RoundingMode::HalfUp).map_err(|_| limit("the number has too many digits"))?;
            match whole {
                Number::Int(epoch_ms) => Ok(Value::Date(Date { epoch_ms, kind })),
                Number::Decimal(_) | Number::Binary(_) => {
                    Err(runtime(format!("the number doesn't fit into 64 bits: {}", number.to_plain_string())))
                }
            }
        };
        let result = match call.which {
            BuiltIn::Round => number.round_half_up(),
            BuiltIn::Floor => number.rounded(RoundingMode::Floor),
            BuiltIn::Ceiling => number.rounded(RoundingMode::Ceiling),
            BuiltIn::Abs => number.abs(),
            BuiltIn::Float => number.to_binary(true),
            BuiltIn::Double => number.to_binary(false),
            BuiltIn::Int => Ok(Number::Int(i64::from(number.to_int()))),
            BuiltIn::Short => Ok(Number::Int(i64::from(number.to_long() as i16))),
            BuiltIn::Byte => Ok(Number::Int(i64::from(number.to_long() as i8))),
            BuiltIn::NumberToDate => return date(DateKind::Date),
            BuiltIn::NumberToTime => return date(DateKind::Time),
            BuiltIn::NumberToDatetime => return date(DateKind::DateTime),
            // all numbers of this engine are finite
            BuiltIn::IsNan | BuiltIn::IsInfinite => return Ok(Value::Bool(false)),
            which => {
                let letters = self.letters(&number, which == BuiltIn::UpperAbc)?;
                return self.built(letters);
            }
        };
        result.map(Value::Number).map_err(|_| limit("the number has too many digits"))
    }

    /// 1 as `a`, 26 as `z`, 27 as `aa`.
    fn letters(&mut self, number: &Number, upper: bool) -> Result<String, Raised> {
        let whole = number.truncate().ok().filter(|whole| whole == number);
        let mut rest = match whole {
            Some(Number::Int(int)) => i64::from(i32::try_from(int).unwrap_or(0)),
            _ => 0,
        };
        if rest < 1 {
            return Err(runtime("?lower_abc and ?upper_abc need an integer from 1 to 2147483647"));
        }
        let mut letters = Vec::new();
        while rest > 0 {
            rest -= 1;
            letters.push(if upper { b'A' } else { b'a' } + (rest % 26) as u8);
            rest /= 26;
        }
        letters.reverse();
        Ok(String::from_utf8(letters).unwrap_or_default())
    }
}
