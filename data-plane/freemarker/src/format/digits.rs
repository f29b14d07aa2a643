//! The digits of a number, and rounding them as Java does.

use std::cmp::Ordering;

use super::decimal_pattern::Rounding;
use crate::number::Number;

/// The digits of a number without leading and trailing zeros, and where the separator stands.
pub(super) struct Digits {
    pub(super) digits: Vec<u8>,
    /// How many digits come before the decimal separator; negative when zeros follow it.
    pub(super) point: i64,
    /// How the number compares with its digits: those of binary numbers don't say all.
    excess: Ordering,
}

impl Digits {
    pub(super) fn of(number: &Number) -> Self {
        let (_, text, scale) = number.digits();
        let point = text.len() as i64 - scale;
        let mut digits = Digits { digits: text.bytes().map(|b| b - b'0').collect(), point, excess: number.excess() };
        digits.normalize();
        // Java writes 0.0005 as 5.0E-4, and takes the zero for all there is after the 5
        if digits.digits.len() == 1 && digits.point <= -3 && digits.excess.is_gt() {
            digits.excess = Ordering::Less;
        }
        digits
    }

    fn normalize(&mut self) {
        while self.digits.last() == Some(&0) {
            self.digits.pop();
        }
        let zeros = self.digits.iter().take_while(|digit| **digit == 0).count();
        self.digits.drain(..zeros);
        self.point = if self.digits.is_empty() { 0 } else { self.point - zeros as i64 };
    }

    pub(super) fn at(&self, index: i64) -> u8 {
        usize::try_from(index).ok().and_then(|i| self.digits.get(i)).copied().unwrap_or(0)
    }

    /// Rounds to the first `count` digits; 0 or fewer leaves at most one digit, in front.
    pub(super) fn keep(&mut self, count: i64, negative: bool, mode: Rounding) -> Result<(), String> {
        if count >= self.digits.len() as i64 {
            return Ok(());
        }
        if count < 0 {
            // Java looks no further than the first place that is not shown
            self.digits.clear();
            self.normalize();
            return Ok(());
        }
        // compared with half of the last kept place
        let first = self.at(count);
        let rest_is_zero = self.digits.len() as i64 == count + 1;
        let half = if first < 5 {
            Ordering::Less
        } else if first == 5 && rest_is_zero {
            self.excess
        } else {
            Ordering::Greater
        };
        let odd = count > 0 && self.at(count - 1) % 2 == 1;
        let up = match mode {
            Rounding::Up => true,
            Rounding::Down => false,
            Rounding::Ceiling => !negative,
            Rounding::Floor => negative,
            Rounding::HalfUp => half.is_ge(),
            Rounding::HalfDown => half.is_gt(),
            Rounding::HalfEven => half.is_gt() || half.is_eq() && odd,
            Rounding::Unnecessary => {
                return Err("the number has more digits than the format, and may not be rounded".into());
            }
        };
        let kept = usize::try_from(count).unwrap_or(0);
        self.digits.truncate(kept);
        if up {
            let carried = self.digits.iter_mut().rev().all(|digit| {
                *digit = (*digit + 1) % 10;
                *digit == 0
            });
            if carried {
                self.digits.insert(0, 1);
                self.point += 1;
            }
        }
        self.normalize();
        Ok(())
    }
}
