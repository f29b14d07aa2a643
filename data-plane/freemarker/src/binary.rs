//! What `?float` and `?double` make: binary floating point numbers, as Java has them.

use std::cmp::Ordering;

use bigdecimal::{BigDecimal, FromPrimitive};

/// A binary floating point number, of 32 bits or 64.
///
/// It is printed by the digits of the 64-bit number, but calculated with by how Java writes it: of 0.1 in 32 bits,
/// 0.10000000149011612 is printed in a format of many digits, and 0.1 is added.
#[derive(Clone, Debug)]
pub struct Binary {
    double: f64,
    single: bool,
    printed: BigDecimal,
    written: BigDecimal,
}

impl Binary {
    /// The nearest to a decimal number in plain digits; nothing beyond what the type can hold.
    pub(crate) fn nearest(plain: &str, single: bool) -> Option<Self> {
        let (double, written) = if single {
            let float = plain.parse::<f32>().ok()?;
            (f64::from(float), written(f64::from(float), 24, &format!("{float:e}"))?)
        } else {
            let double = plain.parse::<f64>().ok()?;
            (double, written(double, 53, &format!("{double:e}"))?)
        };
        let printed = if single { self::written(double, 53, &format!("{double:e}"))? } else { written.clone() };
        Some(Binary { double, single, printed, written })
    }

    pub(crate) fn negated(&self) -> Self {
        Binary { double: -self.double, single: self.single, printed: -&self.printed, written: -&self.written }
    }

    /// Multiplied in 64 bits.
    pub(crate) fn scaled(&self, factor: i64) -> Option<Self> {
        let double = self.double * factor as f64;
        let written = written(double, 53, &format!("{double:e}"))?;
        Some(Binary { double, single: false, printed: written.clone(), written })
    }

    /// As Java's `longValue` has it: the nearest where it does not fit.
    pub(crate) fn to_long(&self) -> i64 {
        self.double as i64
    }

    /// As Java's `intValue`.
    pub(crate) fn to_int(&self) -> i32 {
        self.double as i32
    }

    /// As Java's `Math.round`: `floor(x + 0.5)`, or the nearest of the integers that have as many bits as the number.
    pub(crate) fn rounded(&self) -> i64 {
        let floor = self.double.floor();
        let rounded = if self.double - floor < 0.5 { floor } else { floor + 1.0 };
        if self.single { i64::from(rounded as i32) as f32 as i64 } else { rounded as i64 }
    }

    pub(crate) fn double(&self) -> f64 {
        self.double
    }

    /// The digits that it is printed with.
    pub(crate) fn printed(&self) -> &BigDecimal {
        &self.printed
    }

    /// The number that is calculated with.
    pub(crate) fn written(&self) -> &BigDecimal {
        &self.written
    }

    /// How the number itself compares with the digits that it is printed with, without their sign.
    pub(crate) fn excess(&self) -> Ordering {
        let exact = BigDecimal::from_f64(self.double.abs());
        exact.map_or(Ordering::Equal, |exact| exact.cmp(&self.printed.abs()))
    }
}

/// As Java writes a number of so many significant bits: by the fewest digits that tell it from others, but large
/// integers by more of theirs.
fn written(double: f64, bits: i32, shortest: &str) -> Option<BigDecimal> {
    if !double.is_finite() {
        return None;
    }
    let shortest: BigDecimal = shortest.parse().ok()?;
    let size = double.abs();
    // beyond 63 bits Java goes the long way
    if size.fract() != 0.0 || size >= 9_223_372_036_854_775_808.0 {
        return Some(shortest);
    }
    let whole = size as u64;
    let exponent = i32::try_from(whole.checked_ilog2().unwrap_or(0)).unwrap_or(0);
    // how many digits a step of the last bit makes meaningless: log10(2) for each bit
    let spare = exponent - bits - 1;
    let dropped = if spare > 1 { spare * 30103 / 100_000 } else { 0 };
    let power = 10u64.checked_pow(u32::try_from(dropped).ok()?)?;
    let rounded = (whole + power / 2) / power * power;
    let rounded = BigDecimal::from(rounded);
    Some(if double < 0.0 { -rounded } else { rounded })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_java_does() {
        let written = |plain: &str, single: bool| Binary::nearest(plain, single).unwrap().written.to_plain_string();
        assert_eq!(written("0.1", true), "0.1");
        assert_eq!(written("2147483648", true), "2147483650");
        assert_eq!(written("16777217", true), "16777216");
        assert_eq!(written("-123456789", true), "-123456792");
        assert_eq!(written("4611686018427387904", false), "4611686018427387900");
        assert_eq!(written("9007199254740993", false), "9007199254740992");
        assert!(Binary::nearest(&format!("1{}", "0".repeat(400)), false).is_none());
    }

    #[test]
    fn knows_what_the_digits_leave_out() {
        let excess = |plain: &str| Binary::nearest(plain, false).unwrap().excess();
        assert_eq!(excess("12.345"), Ordering::Greater);
        assert_eq!(excess("1.005"), Ordering::Less);
        assert_eq!(excess("0.125"), Ordering::Equal);
    }
}
