//! What depends on the country: patterns, names and signs.

use std::borrow::Cow;
use std::sync::OnceLock;

static TABLE: &str = include_str!("locales.tsv");

/// A locale's data.
#[derive(Debug)]
pub(crate) struct Locale {
    name: &'static str,
    pub(super) currency_code: &'static str,
    pub(super) currency: &'static str,
    /// From short to full.
    pub(super) dates: Vec<&'static str>,
    pub(super) times: Vec<&'static str>,
    /// What stands between a date and a time, by the shorter one of their styles.
    pub(super) between: Vec<&'static str>,
    pub(super) months: Vec<&'static str>,
    pub(super) short_months: Vec<&'static str>,
    pub(super) weekdays: Vec<&'static str>,
    pub(super) short_weekdays: Vec<&'static str>,
    pub(super) halves: Vec<&'static str>,
    pub(super) eras: Vec<&'static str>,
    pub(super) number: &'static str,
    pub(super) percent: &'static str,
    pub(super) money: &'static str,
    /// The decimal separator, the group separator, both for money, minus, percent, per mille.
    pub(super) signs: [char; 7],
    pub(super) exponent: &'static str,
    /// The day that weeks begin with, from 0 for Sunday.
    pub(super) first_weekday: i64,
    /// How many days of a year its first week has at least.
    pub(super) min_days: i64,
}

impl Locale {
    /// Finds a locale by its name, such as `en_GB`; a country without data of its own is its
    /// language. `None` for languages that there are no data of.
    pub(crate) fn find(name: &str) -> Option<&'static Locale> {
        let by_name = |name: &str| all().iter().find(|locale| locale.name.eq_ignore_ascii_case(name));
        let language = |name: &str| {
            name.split_once('_').map(|(language, _)| language.to_owned()).filter(|language| !language.is_empty())
        };
        // Java's older name of Indonesian
        let name = &*match name.strip_prefix("in") {
            Some(rest) if rest.is_empty() || rest.starts_with('_') => Cow::Owned(format!("id{rest}")),
            _ => Cow::Borrowed(name),
        };
        by_name(name).or_else(|| by_name(&language(name)?))
    }

    /// The name as Java prints it: language, country and variant may stand in quotes, with commas, spaces or underscores between
    /// them.
    pub(crate) fn canonical(name: &str) -> String {
        let quoted = name.strip_prefix('"').map(|rest| rest.strip_suffix('"').unwrap_or(rest));
        let mut parts = quoted.unwrap_or(name).split([',', '_', ' ', '-']).filter(|part| !part.is_empty());
        let mut canonical = parts.next().unwrap_or_default().to_lowercase();
        for part in [parts.next().map(str::to_uppercase), parts.next().map(str::to_owned)].into_iter().flatten() {
            canonical.push('_');
            canonical.push_str(&part);
        }
        canonical
    }

    /// English of the United States, FreeMarker's default here.
    pub(crate) fn us() -> &'static Locale {
        static NONE: Locale = Locale::without_data();
        Self::find("en_US").unwrap_or(&NONE)
    }

    const fn without_data() -> Self {
        Locale {
            name: "",
            currency_code: "",
            currency: "",
            dates: Vec::new(),
            times: Vec::new(),
            between: Vec::new(),
            months: Vec::new(),
            short_months: Vec::new(),
            weekdays: Vec::new(),
            short_weekdays: Vec::new(),
            halves: Vec::new(),
            eras: Vec::new(),
            number: "#,##0.###",
            percent: "#,##0%",
            money: "#,##0.00",
            signs: ['.', ',', '.', ',', '-', '%', '\u{2030}'],
            exponent: "E",
            first_weekday: 0,
            min_days: 1,
        }
    }

    /// The symbol of a currency.
    pub(super) fn currency_symbol<'c>(&self, code: &'c str) -> Option<&'c str> {
        super::currency::symbol(code)
    }

    /// The first day of the week that a day is in.
    pub(super) fn week_start(&self, day: i64) -> i64 {
        // 1970-01-01 was a Thursday
        day - (day + 4 - self.first_weekday).rem_euclid(7)
    }

    /// The first day of the first week of what begins with a day: a year or a month.
    pub(super) fn first_week(&self, first_day: i64) -> i64 {
        let start = self.week_start(first_day + 6);
        if start - first_day >= self.min_days { start - 7 } else { start }
    }
}

fn all() -> &'static [Locale] {
    static ALL: OnceLock<Vec<Locale>> = OnceLock::new();
    ALL.get_or_init(|| TABLE.lines().filter(|line| !line.starts_with('#')).flat_map(read).collect())
}

fn read(line: &'static str) -> Vec<Locale> {
    let columns: Vec<&'static str> = line.split('\t').collect();
    let column = |index: usize| columns.get(index).copied().unwrap_or_default();
    let list = |index: usize| column(index).split('|').collect::<Vec<_>>();
    let mut signs = Locale::without_data().signs;
    for (sign, c) in signs.iter_mut().zip(column(13).chars()) {
        *sign = c;
    }
    let (first, min) = column(15).split_once(' ').unwrap_or(("1", "1"));
    let locale = |entry: &'static str| {
        let mut parts = entry.split('=');
        let mut part = || parts.next().unwrap_or_default();
        Locale {
            name: part(),
            currency_code: part(),
            currency: part(),
            dates: list(1),
            times: list(2),
            between: list(3),
            months: list(4),
            short_months: list(5),
            weekdays: list(6),
            short_weekdays: list(7),
            halves: list(8),
            eras: list(9),
            number: column(10),
            percent: column(11),
            money: column(12),
            signs,
            exponent: column(14),
            first_weekday: first.parse::<i64>().unwrap_or(1) - 1,
            min_days: min.parse().unwrap_or(1),
        }
    };
    column(0).split(';').map(locale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        assert!(all().len() > 100);
        for locale in all() {
            assert_eq!(locale.months.len() + locale.short_months.len(), 24, "{locale:?}");
            assert_eq!(locale.weekdays.len() + locale.short_weekdays.len(), 14, "{locale:?}");
            assert_eq!(locale.dates.len() + locale.times.len() + locale.between.len(), 12, "{locale:?}");
            assert_eq!((locale.halves.len(), locale.eras.len()), (2, 2), "{locale:?}");
        }
        assert_eq!(Locale::us().currency, "$");
        assert_eq!(Locale::find("en_GB").unwrap().short_months[8], "Sept");
        assert_eq!(Locale::find("en_XY").unwrap().name, "en");
        assert_eq!(Locale::find("de_DE").unwrap().signs[..2], [',', '.']);
        assert_eq!(Locale::find("fr_XY").unwrap().name, "fr");
        assert!(Locale::find("tlh").is_none());
        assert!(Locale::find("english").is_none());
    }
}
