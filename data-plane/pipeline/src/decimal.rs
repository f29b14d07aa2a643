//! Numbers as JSON writes them, compared exactly whatever their size: 1 is 1.0 is 10e-1, and 9007199254740993 is not
//! 9007199254740992.

use std::{
    cmp::Ordering,
    hash::{Hash, Hasher},
};

/// A number: ±0.d₁d₂…dₙ × 10^`magnitude`, d₁ and dₙ not zero. Zero has no digits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decimal<'a> {
    negative: bool,
    magnitude: i64,
    /// The digits, in two pieces, since a point may stand between them.
    head: &'a [u8],
    tail: &'a [u8],
}

impl<'a> Decimal<'a> {
    /// Reads a JSON number (RFC 8259 §6); `None` for any other text. Exponents beyond ±10^18 count as that.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        const MAX_EXPONENT: i64 = 1_000_000_000_000_000_000;
        let (negative, text) = match text.strip_prefix('-') {
            Some(text) => (true, text),
            None => (false, text),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Some(exponent)),
            None => (text, None),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return None,
            None => (mantissa, ""),
        };
        let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) || (whole.len() > 1 && whole.starts_with('0'))
        {
            return None;
        }
        let exponent = match exponent {
            None => 0,
            Some(text) => {
                let (sign, digits) = match text.strip_prefix('-') {
                    Some(digits) => (-1, digits),
                    None => (1, text.strip_prefix('+').unwrap_or(text)),
                };
                if digits.is_empty() || !is_digits(digits) {
                    return None;
                }
                sign * digits
                    .bytes()
                    .fold(0_i64, |value, digit| value.saturating_mul(10).saturating_add(i64::from(digit - b'0')))
                    .min(MAX_EXPONENT)
            }
        };
        Some(Self::normal(negative, whole.as_bytes(), fraction.as_bytes(), exponent))
    }

    fn normal(negative: bool, whole: &'a [u8], fraction: &'a [u8], exponent: i64) -> Self {
        let (mut head, mut tail) = (without_leading_zeros(whole), fraction);
        let mut magnitude = length(head);
        if head.is_empty() {
            tail = without_leading_zeros(fraction);
            magnitude = length(tail) - length(fraction);
        }
        tail = without_trailing_zeros(tail);
        if tail.is_empty() {
            head = without_trailing_zeros(head);
        }
        if head.is_empty() && tail.is_empty() {
            return Self { negative: false, magnitude: 0, head, tail };
        }
        Self { negative, magnitude: magnitude.saturating_add(exponent), head, tail }
    }

    fn is_zero(&self) -> bool {
        self.head.is_empty() && self.tail.is_empty()
    }

    fn digits(&self) -> impl Iterator<Item = &u8> {
        self.head.iter().chain(self.tail)
    }

    /// -1, 0 or 1.
    fn sign(&self) -> i8 {
        match (self.is_zero(), self.negative) {
            (true, _) => 0,
            (_, true) => -1,
            _ => 1,
        }
    }
}

impl Ord for Decimal<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.sign().cmp(&other.sign()).then_with(|| {
            let absolute = self.magnitude.cmp(&other.magnitude).then_with(|| self.digits().cmp(other.digits()));
            if self.negative { absolute.reverse() } else { absolute }
        })
    }
}

impl PartialOrd for Decimal<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Decimal<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Decimal<'_> {}

impl Hash for Decimal<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.sign(), self.magnitude).hash(state);
        self.digits().for_each(|digit| state.write_u8(*digit));
    }
}

fn without_leading_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    digits.get(zeros..).unwrap_or_default()
}

fn without_trailing_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().rev().take_while(|digit| **digit == b'0').count();
    digits.get(..digits.len() - zeros).unwrap_or_default()
}

fn length(digits: &[u8]) -> i64 {
    i64::try_from(digits.len()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn compare(a: &str, b: &str) -> Ordering {
        Decimal::parse(a).unwrap().cmp(&Decimal::parse(b).unwrap())
    }

    fn hash(text: &str) -> u64 {
        let mut hasher = std::hash::DefaultHasher::new();
        Decimal::parse(text).unwrap().hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn the_same_number_has_many_texts() {
        for group in [
            &["0", "-0", "0.0", "0e5", "-0.00E-3"][..],
            &["1", "1.0", "1.00", "10e-1", "0.1e1", "0.01E+2", "1e0"],
            &["-1200", "-1.2e3", "-12E2", "-1200.0"],
            &["0.00012", "12e-5", "1.2e-4"],
            &["100200", "1002e2", "1.002e5"],
        ] {
            for a in group {
                for b in group {
                    assert_eq!(compare(a, b), Ordering::Equal, "{a} {b}");
                    assert_eq!(hash(a), hash(b), "{a} {b}");
                }
            }
        }
    }

    #[test]
    fn numbers_are_ordered_exactly() {
        let ascending = [
            "-1e400",
            "-1e21",
            "-12",
            "-11.999",
            "-1",
            "-0.5",
            "-0.05",
            "-1e-400",
            "0",
            "1e-400",
            "0.05",
            "0.5",
            "0.51",
            "1",
            "1.0000000000000000001",
            "2",
            "9",
            "10",
            "10.01",
            "99",
            "100",
            "9007199254740992",
            "9007199254740993",
            "1e21",
            "1e400",
            "1e401",
        ];
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                assert_eq!(compare(a, b), i.cmp(&j), "{a} {b}");
            }
        }
    }

    #[test]
    fn other_texts_are_no_numbers() {
        for text in [
            "", "-", "+1", "01", ".5", "1.", "1e", "1e+", "e1", "0x1", "1_000", "NaN", "Infinity", " 1", "1 ", "1.2.3",
            "--1", "١",
        ] {
            assert!(Decimal::parse(text).is_none(), "{text}");
        }
        let huge = format!("1e{}", "9".repeat(100));
        assert_eq!(compare(&huge, "1e400"), Ordering::Greater);
        assert_eq!(compare(&format!("1e-{}", "9".repeat(100)), "0"), Ordering::Greater);
    }

    proptest! {
        #[test]
        fn integers_compare_as_integers(a: i64, b: i64) {
            prop_assert_eq!(compare(&a.to_string(), &b.to_string()), a.cmp(&b));
        }

        #[test]
        fn scaling_by_the_exponent_changes_nothing(mantissa: i64, zeros in 0_usize..30) {
            let plain = format!("{mantissa}{}", "0".repeat(if mantissa == 0 { 0 } else { zeros }));
            prop_assert_eq!(compare(&plain, &format!("{mantissa}e{zeros}")), Ordering::Equal);
        }

        #[test]
        fn no_text_panics(text in "[-+0-9.eE]{0,12}") {
            let _ = Decimal::parse(&text);
        }
    }
}
