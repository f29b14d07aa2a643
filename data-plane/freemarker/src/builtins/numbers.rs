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
            // Java rounds binary numbers in its own way
            let whole = match &number {
                Number::Binary(binary) => Ok(Number::Int(binary.rounded())),
                _ => number.rounded(RoundingMode::HalfUp),
            };
            let whole = whole.map_err(|_| limit("the number has too many digits"))?;
            match whole {
                Number::Int(epoch_ms) => Ok(Value::Date(Date { epoch_ms, kind })),
                _ => Err(runtime(format!("the number doesn't fit into 64 bits: {}", number.to_plain_string()))),
            }
        };
        let result = match call.which {
            BuiltIn::Round => number.round_half_up(),
            BuiltIn::Floor => number.floor(),
            BuiltIn::Ceiling => number.ceiling(),
            BuiltIn::Abs => number.abs(),
            BuiltIn::Float => number.to_binary(true),
            BuiltIn::Double => number.to_binary(false),
            BuiltIn::Int => Ok(Number::Int(i64::from(number.to_int()))),
            BuiltIn::Short => Ok(Number::Int(i64::from(number.to_int() as i16))),
            BuiltIn::Byte => Ok(Number::Int(i64::from(number.to_int() as i8))),
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
        let first = if upper { b'A' } else { b'a' };
        if let Ok(number) = i32::try_from(rest)
            && rest > MOST_LETTERS_RIGHT
            && let Some(letters) = overflown_letters(number)
        {
            // what is no letter, too
            let units: Vec<u16> = letters.iter().map(|letter| i32::from(first).wrapping_add(*letter) as u16).collect();
            return Ok(String::from_utf16_lossy(&units));
        }
        while rest > 0 {
            rest -= 1;
            letters.push(first + (rest % 26) as u8);
            rest /= 26;
        }
        letters.reverse();
        Ok(String::from_utf8(letters).unwrap_or_default())
    }
}

/// Up to here FreeMarker's integers don't overflow.
const MOST_LETTERS_RIGHT: i64 = 300_000_000;

/// The letters, each from 0, that FreeMarker makes of a number when its integers overflow; nothing where it goes on for
/// ever.
fn overflown_letters(number: i32) -> Option<Vec<i32>> {
    let (mut reached, mut weight) = (1i32, 1i32);
    loop {
        let next_weight = weight.wrapping_mul(26);
        let next_reached = reached.wrapping_add(next_weight);
        if next_reached > number {
            break;
        }
        if next_weight == 0 {
            return None;
        }
        (weight, reached) = (next_weight, next_reached);
    }
    let mut letters = Vec::new();
    while weight != 0 {
        let increase = number.wrapping_sub(reached) / weight;
        letters.push(increase);
        reached = reached.wrapping_add(increase.wrapping_mul(weight));
        weight /= 26;
    }
    Some(letters)
}
