//! `Retry-After` as endpoints send it, well meant or not, up to the due time that comes of it.

use std::time::Duration;

use proptest::prelude::*;
use sluice_pipeline::{
    delivery::{DeliveryState, Next, Round},
    outcome::Class,
    retry_after::{MAX, parse},
    schedule::RetryPolicy,
};

/// 2026-11-23T12:00:00Z, a Monday.
const NOW: i64 = 1_795_435_200_000;
const MINUTE: i64 = 60_000;

const WEEKDAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
const MONTHS: [(&str, i64); 12] = [
    ("Jan", 31),
    ("Feb", 28),
    ("Mar", 31),
    ("Apr", 30),
    ("May", 31),
    ("Jun", 30),
    ("Jul", 31),
    ("Aug", 31),
    ("Sep", 30),
    ("Oct", 31),
    ("Nov", 30),
    ("Dec", 31),
];

/// The three forms of a date, written by counting years and months, which the parser does not.
fn forms(at_s: i64) -> [String; 3] {
    let (mut days, second) = (at_s / 86_400, at_s % 86_400);
    let weekday = WEEKDAYS[usize::try_from(days % 7).unwrap()];
    let is_leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let mut year = 1970;
    while days >= 365 + i64::from(is_leap(year)) {
        days -= 365 + i64::from(is_leap(year));
        year += 1;
    }
    let mut month = 0;
    let length = |month: usize, year| MONTHS[month].1 + i64::from(month == 1 && is_leap(year));
    while days >= length(month, year) {
        days -= length(month, year);
        month += 1;
    }
    let (day, month, short) = (days + 1, MONTHS[month].0, &weekday[..3]);
    let time = format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60);
    [
        format!("{short}, {day:02} {month} {year} {time} GMT"),
        format!("{weekday}, {day:02}-{month}-{:02} {time} GMT", year % 100),
        format!("{short} {month} {day:>2} {time} {year}"),
    ]
}

/// When the second round is due if the first is answered at once with 503 and this value.
fn second_round_ms(value: &[u8]) -> i64 {
    let mut state = DeliveryState::new();
    let policy = RetryPolicy::default();
    let asked = parse(value, NOW);
    Round::begin(&mut state, NOW).after_attempt(&policy, Class::RetryInRound, Some(503), asked, NOW, 0.5);
    match state.after_round(&policy, NOW, asked, 0.5) {
        Next::Again { due_ms } => due_ms - NOW,
        Next::Expired => panic!("there are nine more"),
    }
}

#[test]
fn the_forms_of_a_date_are_what_the_rfc_shows() {
    let example = ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"];
    assert_eq!(forms(784_111_777), example);
    assert_eq!(forms(NOW / 1000)[0], "Mon, 23 Nov 2026 12:00:00 GMT");
}

#[test]
fn what_is_asked_moves_the_round_within_its_window_and_nothing_else_does() {
    let end_ms = 240 * MINUTE;
    for (value, due_ms) in [
        ("90", 90_000),
        ("  90\t", 90_000),
        ("59", MINUTE),
        ("0", MINUTE),
        ("Mon, 23 Nov 2026 12:10:00 GMT", 10 * MINUTE),
        ("Monday, 23-Nov-26 12:10:00 GMT", 10 * MINUTE),
        ("Mon Nov 23 12:10:00 2026", 10 * MINUTE),
        ("Mon, 23 Nov 2026 11:59:59 GMT", MINUTE),
        ("Thu, 01 Jan 1970 00:00:00 GMT", MINUTE),
        ("Sat, 01 Jan 0000 00:00:00 GMT", MINUTE),
        ("99999999999", end_ms),
        ("18446744073709551615", end_ms),
        ("340282366920938463463374607431768211456", end_ms),
        ("Fri, 31 Dec 9999 23:59:59 GMT", end_ms),
        ("", MINUTE),
        ("-90", MINUTE),
        ("+90", MINUTE),
        ("90.5", MINUTE),
        ("9e9", MINUTE),
        ("NaN", MINUTE),
        ("90, 90", MINUTE),
        ("90 s", MINUTE),
        ("9 0", MINUTE),
        ("0x5A", MINUTE),
        ("\u{feff}90", MINUTE),
        ("２０", MINUTE),
        ("2026-11-23T12:10:00Z", MINUTE),
        ("Mon, 23 Nov 2026 12:10:00 CET", MINUTE),
        ("Mon, 23 Nov 2026 12:10:00 GMT; drop", MINUTE),
    ] {
        assert_eq!(second_round_ms(value.as_bytes()), due_ms, "{value}");
    }
    assert_eq!(second_round_ms(b"90\xff"), MINUTE);
    assert_eq!(second_round_ms(&b"9".repeat(1 << 20)), end_ms);
    assert_eq!(second_round_ms(&b" ".repeat(1 << 20)), MINUTE);
    assert_eq!(second_round_ms(&b"Mon, ".repeat(1 << 18)), MINUTE);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn dates_are_read_in_all_three_forms(ahead_s in -1_500_000_000_i64..1_500_000_000) {
        let at_s = NOW / 1000 + ahead_s;
        let expected = Duration::from_secs(u64::try_from(ahead_s).unwrap_or(0));
        for form in forms(at_s) {
            prop_assert_eq!(parse(form.as_bytes(), NOW), Some(expected), "{}", form);
        }
    }

    #[test]
    fn seconds_are_read_and_bounded(seconds: u64, before in "[ \t]{0,3}", after in "[ \t]{0,3}", now_ms: i64) {
        let value = format!("{before}{seconds}{after}");
        prop_assert_eq!(parse(value.as_bytes(), now_ms), Some(Duration::from_secs(seconds).min(MAX)));
    }

    #[test]
    fn whatever_is_asked_the_round_stays_within_its_window(value in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        "[-+0-9. eExX]{0,30}".prop_map(String::into_bytes),
        "[A-Z][a-z]{2,8},? [0-9A-Za-z: -]{0,30}( GMT)?".prop_map(String::into_bytes),
    ]) {
        prop_assert!((MINUTE..=240 * MINUTE).contains(&second_round_ms(&value)));
    }
}
