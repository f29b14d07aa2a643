//! To whole numbers: FreeMarker's `?floor`, `?ceiling`, `?round` and the roundings of Java (manual: "Built-ins for numbers").

use bigdecimal::num_bigint::BigInt;
use bigdecimal::{BigDecimal, FromPrimitive, RoundingMode};

use super::short::Parts;
use super::{Number, NumberFault};

impl Number {
    /// Truncated towards zero.
    pub(crate) fn truncate(&self) -> Result<Number, NumberFault> {
        self.rounded(RoundingMode::Down)
    }

    /// Without decimals, rounded in the given way.
    pub(crate) fn rounded(&self, mode: RoundingMode) -> Result<Number, NumberFault> {
        match (self, self.printed()) {
            (Number::Int(_), _) => Ok(self.clone()),
            (_, Some(decimal)) => Number::big(decimal.with_scale_round(0, mode)),
            (_, None) => {
                let short = Parts::of(self).and_then(|parts| match mode {
                    RoundingMode::Down => parts.truncate(),
                    RoundingMode::Floor => parts.floor(),
                    RoundingMode::Ceiling => parts.ceiling(),
                    _ => None,
                });
                short.map_or_else(|| Number::big(self.to_big().with_scale_round(0, mode)), Ok)
            }
        }
    }

    /// As `?floor` has it.
    pub(crate) fn floor(&self) -> Result<Number, NumberFault> {
        self.of_double(Parts::floor, |double| double.with_scale_round(0, RoundingMode::Floor))
    }

    /// As `?ceiling` has it.
    pub(crate) fn ceiling(&self) -> Result<Number, NumberFault> {
        self.of_double(Parts::ceiling, |double| double.with_scale_round(0, RoundingMode::Ceiling))
    }

    /// `floor(x + 0.5)`, as `?round` has it.
    pub(crate) fn round_half_up(&self) -> Result<Number, NumberFault> {
        let half = || BigDecimal::new(BigInt::from(5), 1);
        self.of_double(Parts::round_half_up, |double| (double + half()).with_scale_round(0, RoundingMode::Floor))
    }

    /// FreeMarker rounds the nearest binary number of 64 bits, and exactly so. Up to 15 digits that is what the decimal
    /// itself is rounded to, as no two of them have the same binary number.
    fn of_double(
        &self,
        short: impl Fn(Parts) -> Option<Number>,
        long: impl Fn(BigDecimal) -> BigDecimal,
    ) -> Result<Number, NumberFault> {
        if let Some(rounded) = Parts::of(self).filter(Parts::is_told_by_double).and_then(short) {
            return Ok(rounded);
        }
        let double = match self {
            Number::Int(int) => *int as f64,
            Number::Binary(binary) => binary.double(),
            _ => self.to_plain_string().parse().unwrap_or(f64::INFINITY),
        };
        let exact = BigDecimal::from_f64(double).ok_or(NumberFault::TooManyDigits)?;
        Number::big(long(exact))
    }
}
