//! Time zones by the names that Java gives them.

use std::sync::OnceLock;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};

use super::calendar::Civil;
use super::zone_names::Names;

/// A time zone.
#[derive(Clone, Debug)]
pub(crate) enum Zone {
    Utc,
    /// An offset from UTC in seconds, under its name (`GMT+01:30`).
    Fixed(i64, String),
    Named(String, Box<TimeZone>),
}

impl Zone {
    /// Finds a zone: `UTC`, `GMT`, `GMT+1`, `GMT+01:30`, or a name of the tz database.
    pub(crate) fn find(name: &str) -> Option<Zone> {
        if matches!(name, "UTC" | "Etc/UTC" | "Zulu" | "Universal" | "Etc/Universal") {
            return Some(Zone::Utc);
        }
        if matches!(name, "GMT" | "GMT0" | "Etc/GMT" | "Greenwich") {
            return Some(Zone::Fixed(0, "GMT".into()));
        }
        if let Some(offset) = name.strip_prefix("GMT") {
            let seconds = custom_offset(offset)?;
            return Some(Zone::Fixed(seconds, offset_name(seconds)));
        }
        static DATABASE: OnceLock<TimeZoneDatabase> = OnceLock::new();
        let database = DATABASE.get_or_init(TimeZoneDatabase::bundled);
        let name = match name {
            // what Java still knows by three letters
            "ACT" => "Australia/Darwin",
            "AET" => "Australia/Sydney",
            "AGT" => "America/Argentina/Buenos_Aires",
            "ART" => "Africa/Cairo",
            "AST" => "America/Anchorage",
            "BET" => "America/Sao_Paulo",
            "BST" => "Asia/Dhaka",
            "CAT" => "Africa/Harare",
            "CNT" => "America/St_Johns",
            "CST" => "America/Chicago",
            "CTT" => "Asia/Shanghai",
            "EAT" => "Africa/Addis_Ababa",
            "ECT" => "Europe/Paris",
            "IET" => "America/Indiana/Indianapolis",
            "IST" => "Asia/Kolkata",
            "JST" => "Asia/Tokyo",
            "MIT" => "Pacific/Apia",
            "NET" => "Asia/Yerevan",
            "NST" => "Pacific/Auckland",
            "PLT" => "Asia/Karachi",
            "PNT" => "America/Phoenix",
            "PRT" => "America/Puerto_Rico",
            "PST" => "America/Los_Angeles",
            "SST" => "Pacific/Guadalcanal",
            "VST" => "Asia/Ho_Chi_Minh",
            other => other,
        };
        // Java minds the case of names
        let zone = database.get(name).ok().filter(|zone| zone.iana_name() == Some(name))?;
        Some(Zone::Named(name.to_owned(), Box::new(zone)))
    }

    /// The zone that Java takes for one that does not exist.
    pub(crate) fn unknown() -> Zone {
        Zone::Fixed(0, "GMT".into())
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Zone::Utc => "UTC",
            Zone::Fixed(_, name) | Zone::Named(name, _) => name,
        }
    }

    /// Seconds east of UTC at a time in milliseconds since the epoch.
    pub(crate) fn offset_at(&self, epoch_ms: i64) -> i64 {
        match self {
            Zone::Utc => 0,
            Zone::Fixed(seconds, _) => *seconds,
            Zone::Named(_, zone) => i64::from(zone.to_offset(known_time(zone, epoch_ms)).seconds()),
        }
    }

    /// The epoch milliseconds of a wall clock's reading (as milliseconds since 1970-01-01T00:00).
    ///
    /// As in Java, a reading that clocks skip is read with the offset before the change, and of
    /// one that they show twice the later is meant.
    pub(crate) fn to_epoch(&self, local_ms: i64) -> i64 {
        let offset = match self {
            Zone::Utc => 0,
            Zone::Fixed(seconds, _) => *seconds,
            Zone::Named(..) if local_ms < YEAR_1900 => self.offset_at(local_ms),
            Zone::Named(_, zone) => match wall(local_ms).map(|t| zone.to_ambiguous_timestamp(t)) {
                Some(ambiguous) => i64::from(match ambiguous.offset() {
                    AmbiguousOffset::Unambiguous { offset } => offset.seconds(),
                    AmbiguousOffset::Gap { before, .. } => before.seconds(),
                    AmbiguousOffset::Fold { after, .. } => after.seconds(),
                }),
                None => self.offset_at(local_ms),
            },
        };
        local_ms.saturating_sub(offset * 1000)
    }

    /// The same, but `None` for a reading that clocks skip.
    pub(crate) fn to_epoch_if_real(&self, local_ms: i64) -> Option<i64> {
        let epoch_ms = self.to_epoch(local_ms);
        (epoch_ms.saturating_add(self.offset_at(epoch_ms) * 1000) == local_ms).then_some(epoch_ms)
    }

    /// What the zone is called, if it is one of the tz database.
    pub(super) fn names(&self) -> Option<Names> {
        match self {
            Zone::Utc => Names::of("UTC"),
            Zone::Fixed(..) => None,
            Zone::Named(name, _) => Names::of(name),
        }
    }

    /// Seconds east of UTC that hold at a time when there is no summer.
    pub(super) fn standard_offset_at(&self, epoch_ms: i64) -> i64 {
        self.offset_at(epoch_ms) - if self.is_summer_at(epoch_ms) { 3600 } else { 0 }
    }

    fn is_summer_at(&self, epoch_ms: i64) -> bool {
        let Zone::Named(_, zone) = self else { return false };
        zone.to_offset_info(known_time(zone, epoch_ms)).dst().is_dst()
    }

    /// The name at a time, as the pattern letter `z` prints it: an abbreviation, or in words.
    pub(crate) fn name_at(&self, epoch_ms: i64, long: bool) -> String {
        if let Some(names) = self.names() {
            return names.name(self.is_summer_at(epoch_ms), long).to_owned();
        }
        match self {
            Zone::Utc => "UTC".into(),
            Zone::Fixed(0, _) if long => "Greenwich Mean Time".into(),
            Zone::Fixed(_, name) => name.clone(),
            Zone::Named(_, zone) => {
                let info = zone.to_offset_info(known_time(zone, epoch_ms));
                let abbreviation = info.abbreviation();
                if abbreviation.starts_with(['+', '-']) {
                    offset_name(i64::from(info.offset().seconds()))
                } else {
                    abbreviation.to_owned()
                }
            }
        }
    }
}

/// Java knows the history of zones from 1900 on; before, they have the standard time of today.
const YEAR_1900: i64 = -2_208_988_800_000;

/// 2025-01-01 and 2025-07-01: one of them is in standard time.
const TODAY: [i64; 2] = [1_735_689_600_000, 1_751_328_000_000];

/// The time at which to look up what holds at `epoch_ms`.
fn known_time(zone: &TimeZone, epoch_ms: i64) -> Timestamp {
    if epoch_ms >= YEAR_1900 {
        return timestamp(epoch_ms);
    }
    let [january, july] = TODAY.map(timestamp);
    if zone.to_offset_info(january).dst().is_dst() { july } else { january }
}

fn timestamp(epoch_ms: i64) -> Timestamp {
    Timestamp::from_millisecond(epoch_ms).unwrap_or(if epoch_ms < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

fn wall(local_ms: i64) -> Option<DateTime> {
    let civil = Civil::gregorian(local_ms);
    DateTime::new(
        civil.year.try_into().ok()?,
        civil.month.try_into().ok()?,
        civil.day.try_into().ok()?,
        civil.hour.try_into().ok()?,
        civil.minute.try_into().ok()?,
        civil.second.try_into().ok()?,
        0,
    )
    .ok()
}

/// `GMT`, or `GMT+hh:mm`.
fn offset_name(seconds: i64) -> String {
    if seconds == 0 {
        return "GMT".into();
    }
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.abs() / 60;
    format!("GMT{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

/// `+h`, `+hh`, `+hmm`, `+hhmm` or `+hh:mm`, in seconds.
pub(crate) fn custom_offset(text: &str) -> Option<i64> {
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let figures = text.get(1..)?;
    let (hours, minutes) = match figures.split_once(':') {
        Some(parts) => parts,
        None if figures.len() <= 2 => (figures, "0"),
        None => figures.split_at_checked(figures.len() - 2)?,
    };
    if !figures.bytes().all(|b| b.is_ascii_digit() || b == b':') || hours.len() > 2 {
        return None;
    }
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_gaps_and_overlaps_as_java_does() {
        let zone = Zone::find("America/New_York").unwrap();
        let at = |year, month, day, hour, minute| {
            Civil { year, month, day, hour, minute, ..Civil::default() }.gregorian_ms()
        };
        // 2021-03-14 02:30 does not exist: 03:30 EDT is meant
        assert_eq!(zone.to_epoch(at(2021, 3, 14, 2, 30)), at(2021, 3, 14, 7, 30));
        // 2021-11-07 01:30 comes twice: the second is meant
        assert_eq!(zone.to_epoch(at(2021, 11, 7, 1, 30)), at(2021, 11, 7, 6, 30));
        assert_eq!(zone.offset_at(0), -5 * 3600);
        assert_eq!(zone.name_at(0, false), "EST");
    }

    #[test]
    fn finds_zones_by_javas_names() {
        assert_eq!(Zone::find("GMT+1").unwrap().name(), "GMT+01:00");
        assert_eq!(Zone::find("GMT-01:30").unwrap().offset_at(0), -5400);
        assert!(Zone::find("Nowhere/Land").is_none());
        assert!(Zone::find("GMT+25").is_none());
        assert!(Zone::find("america/new_york").is_none());
    }
}
