//! Numbers: exact decimals with a fast path for integers (FreeMarker's `bigdecimal` arithmetic
//! engine, manual: "Template Authoring / The template / Expressions / Arithmetical calculations").

mod rounding;
mod short;

use std::cmp::Ordering;
use std::sync::Arc;

use bigdecimal::num_bigint::{BigInt, Sign};
use bigdecimal::{BigDecimal, RoundingMode, ToPrimitive, Zero};

use crate::binary::Binary;
use crate::limits::MAX_NUMBER_DIGITS;
use short::Parts;

pub(crate) use short::Digits;

/// Products keep this many decimals, quotients have at least as many.
const SCALE: i64 = 12;

const MAX_SCALE: i64 = MAX_NUMBER_DIGITS as i64;

/// A bit more than the bits of [`MAX_NUMBER_DIGITS`] decimal digits.
const MAX_BITS: u64 = (MAX_NUMBER_DIGITS as u64) * 10 / 3 + 4;

/// A number of FreeMarker: exact, of up to [`MAX_NUMBER_DIGITS`] digits.
///
/// ```
/// use sluice_freemarker::Number;
///
/// let number = Number::parse("12345678901234567890.10").unwrap();
/// assert_eq!(number.to_plain_string(), "12345678901234567890.1");
/// assert!(Number::parse("1e").is_none());
/// ```
#[derive(Clone, Debug)]
pub enum Number {
    /// An integer of 64 bits.
    Int(i64),
    /// A number with few decimals: so many of the integer's digits.
    #[non_exhaustive]
    Short {
        /// All digits.
        unscaled: i64,
        /// How many of them are decimals, at most 18.
        scale: u8,
    },
    /// Any other number.
    Decimal(Arc<BigDecimal>),
    /// What `?float` or `?double` made.
    Binary(Arc<Binary>),
}

/// Why an operation has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NumberFault {
    DivisionByZero,
    TooManyDigits,
}

impl Number {
    /// Reads a number as JSON and FreeMarker's `?number` write it (`-1.5e3`, `.5`, `5.`).
    ///
    /// `None` for anything else, and for numbers that have more than [`MAX_NUMBER_DIGITS`] digits
    /// when written out.
    pub fn parse(text: &str) -> Option<Number> {
        short::parse(text).or_else(|| Self::parse_long(text))
    }

    fn parse_long(text: &str) -> Option<Number> {
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Some(exponent)),
            None => (digits, None),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let only_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.len() + fraction.len() == 0
            || whole.len() + fraction.len() > MAX_NUMBER_DIGITS
            || !only_digits(whole)
            || !only_digits(fraction)
        {
            return None;
        }
        let exponent: i64 = match exponent {
            Some(e) => {
                let figures = e.strip_prefix(['-', '+']).unwrap_or(e);
                if figures.is_empty() || figures.len() > 6 || !only_digits(figures) {
                    return None;
                }
                e.parse().ok()?
            }
            None => 0,
        };
        let unscaled = BigInt::parse_bytes(format!("{whole}{fraction}").as_bytes(), 10)?;
        let unscaled = if text.starts_with('-') { -unscaled } else { unscaled };
        Number::decimal(unscaled, fraction.len() as i64 - exponent).ok()
    }

    fn decimal(unscaled: BigInt, scale: i64) -> Result<Number, NumberFault> {
        if let (Some(unscaled), Ok(scale)) = (unscaled.to_i128(), u32::try_from(scale))
            && let Some(number) = short::short(unscaled, scale)
        {
            return Ok(number);
        }
        if unscaled.bits() > MAX_BITS || scale.abs() > MAX_SCALE {
            return Err(NumberFault::TooManyDigits);
        }
        Ok(Number::Decimal(Arc::new(BigDecimal::new(unscaled, scale))))
    }

    fn big(value: BigDecimal) -> Result<Number, NumberFault> {
        let (unscaled, scale) = value.into_bigint_and_scale();
        Number::decimal(unscaled, scale)
    }

    fn to_big(&self) -> BigDecimal {
        match self {
            Number::Int(int) => BigDecimal::from(*int),
            Number::Short { unscaled, scale } => BigDecimal::new(BigInt::from(*unscaled), i64::from(*scale)),
            Number::Decimal(decimal) => (**decimal).clone(),
            Number::Binary(binary) => binary.written().clone(),
        }
    }

    /// The decimal that it is read as where not all of its digits count.
    fn printed(&self) -> Option<&BigDecimal> {
        match self {
            Number::Int(_) | Number::Short { .. } => None,
            Number::Decimal(decimal) => Some(decimal),
            Number::Binary(binary) => Some(binary.printed()),
        }
    }

    /// How a binary number compares with its digits, without their sign: a half is rounded by that.
    pub(crate) fn excess(&self) -> Ordering {
        match self {
            Number::Binary(binary) => binary.excess(),
            _ => Ordering::Equal,
        }
    }

    /// How much dearer than an integer's arithmetic this number's is, in steps.
    #[inline]
    pub(crate) fn cost(&self) -> u64 {
        match self {
            Number::Int(_) => 0,
            Number::Short { unscaled, .. } => 1 + u64::from(*unscaled == i64::MIN),
            Number::Decimal(_) | Number::Binary(_) => self.printed().map_or(1, |decimal| {
                let (unscaled, scale) = decimal.as_bigint_and_scale();
                1 + unscaled.bits() / 64 + scale.unsigned_abs() / 64
            }),
        }
    }

    pub(crate) fn is_zero(&self) -> bool {
        match self {
            Number::Int(int) | Number::Short { unscaled: int, .. } => *int == 0,
            Number::Decimal(_) | Number::Binary(_) => self.printed().is_some_and(BigDecimal::is_zero),
        }
    }

    pub(crate) fn is_negative(&self) -> bool {
        match self {
            Number::Int(int) | Number::Short { unscaled: int, .. } => *int < 0,
            Number::Decimal(_) | Number::Binary(_) => {
                self.printed().is_some_and(|decimal| decimal.sign() == Sign::Minus)
            }
        }
    }

    pub(crate) fn negate(&self) -> Result<Number, NumberFault> {
        match self {
            Number::Int(int) if *int != i64::MIN => Ok(Number::Int(-int)),
            Number::Short { unscaled, scale } if *unscaled != i64::MIN => {
                Ok(Number::Short { unscaled: -unscaled, scale: *scale })
            }
            Number::Binary(binary) => Ok(Number::Binary(Arc::new(binary.negated()))),
            other => Number::big(-other.to_big()),
        }
    }

    pub(crate) fn abs(&self) -> Result<Number, NumberFault> {
        if self.is_negative() { self.negate() } else { Ok(self.clone()) }
    }

    pub(crate) fn add(&self, other: &Number) -> Result<Number, NumberFault> {
        if let (Number::Int(a), Number::Int(b)) = (self, other)
            && let Some(sum) = a.checked_add(*b)
        {
            return Ok(Number::Int(sum));
        }
        if let Some((a, b)) = Parts::both(self, other)
            && let Some(sum) = a.add(b)
        {
            return Ok(sum);
        }
        Number::big(self.to_big() + other.to_big())
    }

    pub(crate) fn subtract(&self, other: &Number) -> Result<Number, NumberFault> {
        if let (Number::Int(a), Number::Int(b)) = (self, other)
            && let Some(difference) = a.checked_sub(*b)
        {
            return Ok(Number::Int(difference));
        }
        if let Some((a, b)) = Parts::both(self, other)
            && let Some(difference) = a.subtract(b)
        {
            return Ok(difference);
        }
        Number::big(self.to_big() - other.to_big())
    }

    pub(crate) fn multiply(&self, other: &Number) -> Result<Number, NumberFault> {
        if let (Number::Int(a), Number::Int(b)) = (self, other)
            && let Some(product) = a.checked_mul(*b)
        {
            return Ok(Number::Int(product));
        }
        if let Some((a, b)) = Parts::both(self, other)
            && let Some(product) = a.multiply(b)
        {
            return Ok(product);
        }
        let product = self.to_big() * other.to_big();
        if product.fractional_digit_count() > SCALE {
            return Number::big(product.with_scale_round(SCALE, RoundingMode::HalfUp));
        }
        Number::big(product)
    }

    /// The product with all of its decimals.
    pub(crate) fn multiply_exactly(&self, factor: i64) -> Result<Number, NumberFault> {
        match self {
            Number::Binary(binary) => {
                let scaled = binary.scaled(factor).ok_or(NumberFault::TooManyDigits)?;
                Ok(Number::Binary(Arc::new(scaled)))
            }
            _ => Number::big(self.to_big() * BigDecimal::from(factor)),
        }
    }

    /// The quotient, rounded half up to the decimals of the operands or 12, whichever is more.
    pub(crate) fn divide(&self, other: &Number) -> Result<Number, NumberFault> {
        if other.is_zero() {
            return Err(NumberFault::DivisionByZero);
        }
        if let (Number::Int(a), Number::Int(b)) = (self, other)
            && let Some(0) = a.checked_rem(*b)
            && let Some(quotient) = a.checked_div(*b)
        {
            return Ok(Number::Int(quotient));
        }
        if let Some((a, b)) = Parts::both(self, other)
            && let Some(quotient) = a.divide(b)
        {
            return Ok(quotient);
        }
        let (a, a_scale) = self.to_big().into_bigint_and_scale();
        let (b, b_scale) = other.to_big().into_bigint_and_scale();
        let scale = SCALE.max(a_scale).max(b_scale);
        // a / b at that scale = a * 10^(scale - a_scale + b_scale) / b
        let shift = scale - a_scale + b_scale;
        let (a, b) = if shift >= 0 { (a * power_of_ten(shift), b) } else { (a, b * power_of_ten(-shift)) };
        let negative = (a.sign() == Sign::Minus) != (b.sign() == Sign::Minus);
        let (a, b) = (a.magnitude(), b.magnitude());
        let (quotient, rest) = (a / b, a % b);
        let rounded = if rest * 2u32 >= *b { quotient + 1u32 } else { quotient };
        let rounded = BigInt::from(rounded);
        Number::decimal(if negative { -rounded } else { rounded }, scale)
    }

    /// The remainder of the operands truncated to 64-bit integers, with the dividend's sign.
    pub(crate) fn remainder(&self, other: &Number) -> Result<Number, NumberFault> {
        match other.to_long() {
            0 => Err(NumberFault::DivisionByZero),
            divisor => Ok(Number::Int(self.to_long().wrapping_rem(divisor))),
        }
    }

    pub(crate) fn compare(&self, other: &Number) -> Ordering {
        match (self, other) {
            (Number::Int(a), Number::Int(b)) => a.cmp(b),
            _ => match Parts::both(self, other) {
                Some((a, b)) => a.compare(b),
                None => self.to_big().cmp(&other.to_big()),
            },
        }
    }

    /// As Java's `floatValue`, or its `doubleValue`: the nearest binary number.
    pub(crate) fn to_binary(&self, single: bool) -> Result<Number, NumberFault> {
        let binary = Binary::nearest(&self.to_plain_string(), single).ok_or(NumberFault::TooManyDigits)?;
        Ok(Number::Binary(Arc::new(binary)))
    }

    /// As Java's `longValue`: truncated, and the lowest 64 bits of that.
    pub(crate) fn to_long(&self) -> i64 {
        match self {
            Number::Int(int) => *int,
            Number::Binary(binary) => binary.to_long(),
            _ => {
                if let Some(Number::Int(int)) = Parts::of(self).and_then(Parts::truncate) {
                    return int;
                }
                let whole = self.to_big().with_scale_round(0, RoundingMode::Down);
                let (whole, _) = whole.into_bigint_and_scale();
                let low = whole.magnitude().iter_u64_digits().next().unwrap_or(0) as i64;
                if whole.sign() == Sign::Minus { low.wrapping_neg() } else { low }
            }
        }
    }

    /// As Java's `intValue`: truncated, and the lowest 32 bits of that.
    pub(crate) fn to_int(&self) -> i32 {
        match self {
            Number::Binary(binary) => binary.to_int(),
            _ => self.to_long() as i32,
        }
    }

    /// The number as an index or a length: truncated to an int as Java's `intValue`.
    pub(crate) fn to_index(&self) -> i64 {
        i64::from(self.to_int())
    }

    /// The decimal digits and how many of them come after the decimal separator (negative when
    /// zeros follow before it).
    pub(crate) fn digits(&self) -> (bool, String, i64) {
        match (self, self.printed()) {
            (Number::Int(int), _) => (*int < 0, int.unsigned_abs().to_string(), 0),
            (Number::Short { unscaled, scale }, _) => {
                (*unscaled < 0, unscaled.unsigned_abs().to_string(), i64::from(*scale))
            }
            (_, None) => (false, "0".to_owned(), 0),
            (_, Some(decimal)) => {
                let (unscaled, scale) = decimal.as_bigint_and_scale();
                (unscaled.sign() == Sign::Minus, unscaled.magnitude().to_string(), scale)
            }
        }
    }

    /// The number as `?c` writes it since FreeMarker 2.3.32: all digits, with an exponent when it
    /// is nearer to 0 than 1E-6 or ends with 100 zeros.
    pub(crate) fn to_exact_string(&self) -> String {
        let (negative, digits, scale) = self.digits();
        let significant = digits.trim_end_matches('0');
        if significant.is_empty() {
            return "0".into();
        }
        let scale = scale - (digits.len() - significant.len()) as i64;
        let exponent = significant.len() as i64 - 1 - scale;
        if scale > -100 && (scale <= 0 || exponent >= -6) {
            return self.to_plain_string();
        }
        let (first, rest) = significant.split_at_checked(1).unwrap_or((significant, ""));
        let (sign, dot) = (if negative { "-" } else { "" }, if rest.is_empty() { "" } else { "." });
        let plus = if exponent < 0 { "" } else { "+" };
        format!("{sign}{first}{dot}{rest}E{plus}{exponent}")
    }

    /// The number in digits, without exponent and without trailing zeros after the separator:
    /// how JSON can have it exactly.
    pub fn to_plain_string(&self) -> String {
        if let Number::Short { unscaled, scale } = self {
            return Digits::of(*unscaled, *scale).to_owned();
        }
        let (negative, digits, scale) = self.digits();
        if scale == 0 {
            return if negative { format!("-{digits}") } else { digits };
        }
        let big = self.printed().map_or_else(|| self.to_big(), BigDecimal::clone);
        let plain = big.normalized().to_plain_string();
        if plain.contains('.') { plain.trim_end_matches('0').trim_end_matches('.').to_owned() } else { plain }
    }
}

fn power_of_ten(exponent: i64) -> BigInt {
    BigInt::from(10).pow(u32::try_from(exponent).unwrap_or(0))
}

impl From<i64> for Number {
    fn from(int: i64) -> Self {
        Number::Int(int)
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.compare(other) == Ordering::Equal
    }
}

#[cfg(test)]
mod tests;
