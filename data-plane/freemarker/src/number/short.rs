//! Decimals that fit into 64 bits, as nearly all prices and coordinates do: arithmetic that needs no
//! memory, with the results that [`bigdecimal`] has.
//!
//! A result that does not fit is `None`, and is left to `bigdecimal`.

use std::cmp::Ordering;
use std::ops::Deref;

use super::{Number, SCALE};

/// The most decimals of a short number.
pub(super) const MAX_SHORT_SCALE: u8 = 18;

/// An integer and how many of its digits are decimals.
#[derive(Clone, Copy)]
pub(super) struct Parts {
    unscaled: i128,
    scale: u32,
}

impl Parts {
    /// `None` of numbers that are not short.
    #[inline]
    pub(super) fn of(number: &Number) -> Option<Parts> {
        match number {
            Number::Int(int) => Some(Parts { unscaled: i128::from(*int), scale: 0 }),
            Number::Short { unscaled, scale } if *scale <= MAX_SHORT_SCALE => {
                Some(Parts { unscaled: i128::from(*unscaled), scale: u32::from(*scale) })
            }
            _ => None,
        }
    }

    /// Whether it has at most 15 digits, of which a binary number of 64 bits keeps each.
    pub(super) fn is_told_by_double(&self) -> bool {
        self.unscaled.unsigned_abs() < 1_000_000_000_000_000
    }

    pub(super) fn both(a: &Number, b: &Number) -> Option<(Parts, Parts)> {
        Some((Parts::of(a)?, Parts::of(b)?))
    }

    pub(super) fn add(self, other: Parts) -> Option<Number> {
        let (a, b, scale) = aligned(self, other);
        short(a.checked_add(b)?, scale)
    }

    pub(super) fn subtract(self, other: Parts) -> Option<Number> {
        let (a, b, scale) = aligned(self, other);
        short(a.checked_sub(b)?, scale)
    }

    pub(super) fn compare(self, other: Parts) -> Ordering {
        let (a, b, _) = aligned(self, other);
        a.cmp(&b)
    }

    pub(super) fn multiply(self, other: Parts) -> Option<Number> {
        let product = self.unscaled.checked_mul(other.unscaled)?;
        let scale = self.scale + other.scale;
        match scale.checked_sub(SCALE as u32) {
            None | Some(0) => short(product, scale),
            Some(surplus) => short(divide_half_up(product, power_of_ten(surplus)?)?, SCALE as u32),
        }
    }

    pub(super) fn divide(self, other: Parts) -> Option<Number> {
        let scale = self.scale.max(other.scale).max(SCALE as u32);
        let shifted = self.unscaled.checked_mul(power_of_ten(scale - self.scale + other.scale)?)?;
        short(divide_half_up(shifted, other.unscaled)?, scale)
    }

    /// Without decimals, towards zero.
    pub(super) fn truncate(self) -> Option<Number> {
        short(self.unscaled.checked_div(power_of_ten(self.scale)?)?, 0)
    }

    /// `floor(x + 0.5)`
    pub(super) fn round_half_up(self) -> Option<Number> {
        let whole = power_of_ten(self.scale)?;
        short((self.unscaled + whole / 2).checked_div_euclid(whole)?, 0)
    }

    pub(super) fn floor(self) -> Option<Number> {
        short(self.unscaled.checked_div_euclid(power_of_ten(self.scale)?)?, 0)
    }

    pub(super) fn ceiling(self) -> Option<Number> {
        short(-(-self.unscaled).checked_div_euclid(power_of_ten(self.scale)?)?, 0)
    }
}

/// Both with the decimals of the one that has more.
fn aligned(a: Parts, b: Parts) -> (i128, i128, u32) {
    let scale = a.scale.max(b.scale);
    // 19 digits and 18 zeros: far from the end of 128 bits
    let to_scale = |parts: Parts| parts.unscaled * power_of_ten(scale - parts.scale).unwrap_or(1);
    (to_scale(a), to_scale(b), scale)
}

/// The quotient, its magnitude rounded half up.
fn divide_half_up(dividend: i128, divisor: i128) -> Option<i128> {
    let (quotient, rest) = (dividend.checked_div(divisor)?, dividend.checked_rem(divisor)?);
    if rest.unsigned_abs() < divisor.unsigned_abs() - rest.unsigned_abs() {
        return Some(quotient);
    }
    quotient.checked_add(if (dividend < 0) == (divisor < 0) { 1 } else { -1 })
}

/// The number, if it is a short one.
pub(super) fn short(unscaled: i128, scale: u32) -> Option<Number> {
    let unscaled = i64::try_from(unscaled).ok()?;
    match u8::try_from(scale).ok()? {
        0 => Some(Number::Int(unscaled)),
        scale if scale <= MAX_SHORT_SCALE => Some(Number::Short { unscaled, scale }),
        _ => None,
    }
}

fn power_of_ten(exponent: u32) -> Option<i128> {
    const POWERS: [i128; 39] = {
        let mut powers = [1; 39];
        let mut exponent = 1;
        while exponent < powers.len() {
            powers[exponent] = powers[exponent - 1] * 10;
            exponent += 1;
        }
        powers
    };
    POWERS.get(exponent as usize).copied()
}

/// Reads up to 18 digits, with or without a point and a sign.
pub(super) fn parse(text: &str) -> Option<Number> {
    let bytes = text.as_bytes();
    let (negative, digits) = match bytes.split_first() {
        Some((b'-', digits)) => (true, digits),
        Some((b'+', digits)) => (false, digits),
        _ => (false, bytes),
    };
    if digits.len() > 19 {
        return None;
    }
    let (mut value, mut count, mut point) = (0_i64, 0, None);
    for byte in digits {
        match byte {
            b'0'..=b'9' if count < 18 => {
                value = value * 10 + i64::from(byte - b'0');
                count += 1;
            }
            b'.' if point.is_none() => point = Some(count),
            _ => return None,
        }
    }
    if count == 0 {
        return None;
    }
    let value = if negative { -value } else { value };
    short(i128::from(value), count - point.unwrap_or(count))
}

/// A short number in digits.
pub(crate) struct Digits {
    bytes: [u8; SPACE],
    start: usize,
}

/// The longest have 19 digits, a sign, a point and a 0 before it.
const SPACE: usize = 24;

impl Digits {
    /// All digits, without zeros at the end of the decimals.
    pub(crate) fn of(unscaled: i64, scale: u8) -> Digits {
        let mut digits = Digits { bytes: [0; SPACE], start: SPACE };
        let mut rest = unscaled.unsigned_abs();
        let mut decimals = scale.min(MAX_SHORT_SCALE);
        while decimals > 0 && rest.is_multiple_of(10) {
            rest /= 10;
            decimals -= 1;
        }
        for place in 0..=20 {
            if place > decimals && rest == 0 {
                break;
            }
            if place == decimals && place > 0 {
                digits.push(b'.');
            }
            digits.push(b'0' + (rest % 10) as u8);
            rest /= 10;
        }
        if unscaled < 0 {
            digits.push(b'-');
        }
        digits
    }

    fn push(&mut self, byte: u8) {
        self.start = self.start.saturating_sub(1);
        if let Some(place) = self.bytes.get_mut(self.start) {
            *place = byte;
        }
    }
}

impl Deref for Digits {
    type Target = str;

    fn deref(&self) -> &str {
        self.bytes.get(self.start..).and_then(|digits| std::str::from_utf8(digits).ok()).unwrap_or_default()
    }
}
