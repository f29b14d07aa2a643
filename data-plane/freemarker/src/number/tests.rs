use super::*;

fn n(text: &str) -> Number {
    Number::parse(text).unwrap()
}

#[test]
fn is_exact() {
    assert_eq!(n("0.1").add(&n("0.2")).unwrap(), n("0.3"));
    assert_eq!(n("9223372036854775807").add(&n("1")).unwrap().to_plain_string(), "9223372036854775808");
    assert_eq!(n("10").divide(&n("3")).unwrap().to_plain_string(), "3.333333333333");
    assert_eq!(n("-2").divide(&n("3")).unwrap().to_plain_string(), "-0.666666666667");
    assert_eq!(n("0.0000001").multiply(&n("0.0000001")).unwrap(), n("0"));
    assert_eq!(n("5.9").remainder(&n("2.9")).unwrap(), n("1"));
    assert_eq!(n("-5").remainder(&n("3")).unwrap(), n("-2"));
    assert_eq!(n("1").remainder(&n("0.5")), Err(NumberFault::DivisionByZero));
    assert_eq!(n("1e3").to_plain_string(), "1000");
    assert_eq!(n("3000000000").to_int(), -1_294_967_296);
}

/// The same number in the form that needs memory.
fn long(number: &Number) -> Number {
    Number::Decimal(Arc::new(number.to_big()))
}

type Operation = fn(&Number, &Number) -> Result<Number, NumberFault>;

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { failure_persistence: None, cases: 20_000, ..Default::default() })]

    #[test]
    fn short_numbers_are_what_long_ones_are(
        a in proptest::num::i64::ANY, a_shift in 0_u32..64, a_scale in 0_u8..=18,
        b in proptest::num::i64::ANY, b_shift in 0_u32..64, b_scale in 0_u8..=18,
    ) {
        let (Some(a), Some(b)) = (
            short::short(i128::from(a >> a_shift), a_scale.into()),
            short::short(i128::from(b >> b_shift), b_scale.into()),
        ) else {
            unreachable!()
        };
        let digits = |result: Result<Number, NumberFault>| result.map(|number| number.digits());
        // bigdecimal, unlike Java and the short numbers, adds 0 and multiplies by 1 without regard to their decimals
        let plain = |result: Result<Number, NumberFault>| result.map(|number| number.to_plain_string());
        let operations: [Operation; 4] = [Number::add, Number::subtract, Number::multiply, Number::divide];
        for operation in operations {
            assert_eq!(plain(operation(&a, &b)), plain(operation(&long(&a), &long(&b))), "{a:?} {b:?}");
        }
        assert_eq!(a.compare(&b), long(&a).compare(&long(&b)));
        for mode in [RoundingMode::Down, RoundingMode::Floor, RoundingMode::Ceiling, RoundingMode::HalfUp] {
            assert_eq!(digits(a.rounded(mode)), digits(long(&a).rounded(mode)));
        }
        for rounding in [Number::round_half_up, Number::floor, Number::ceiling] {
            assert_eq!(digits(rounding(&a)), digits(rounding(&long(&a))));
        }
        assert_eq!(digits(a.negate()), digits(long(&a).negate()));
        assert_eq!(a.to_long(), long(&a).to_long());
        assert_eq!(a.to_plain_string(), long(&a).to_plain_string());
        assert_eq!(a.to_exact_string(), long(&a).to_exact_string());
        assert_eq!((a.is_zero(), a.is_negative()), (long(&a).is_zero(), long(&a).is_negative()));
        let text = a.to_big().to_plain_string();
        assert_eq!(n(&text).digits(), Number::parse_long(&text).unwrap().digits());
        assert_eq!(n(&text).digits(), a.digits());
    }
}

#[test]
fn reads_what_java_reads_and_no_more() {
    for bad in ["", "-", ".", "1e", "1 ", "0x1", "1,000", "e5", "1e1000000", "NaN"] {
        assert!(Number::parse(bad).is_none(), "{bad}");
    }
    for (text, plain) in [("5.", "5"), (".5", "0.5"), ("+1", "1"), ("1E-2", "0.01"), ("1.50", "1.5")] {
        assert_eq!(n(text).to_plain_string(), plain);
    }
}

#[test]
fn big_numbers_have_an_end() {
    let mut x = n("99999999999999999999");
    let fault = loop {
        match x.multiply(&x) {
            Ok(square) => x = square,
            Err(fault) => break fault,
        }
    };
    assert_eq!(fault, NumberFault::TooManyDigits);
    assert!(Number::parse(&"9".repeat(2000)).is_none());
}
