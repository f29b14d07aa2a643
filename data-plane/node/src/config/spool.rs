//! How much the spool may hold and for how long, as flags, environment and file say it.

use std::{ops::RangeInclusive, str::FromStr, time::Duration};

use anyhow::{Context as _, bail, ensure};
use bytesize::ByteSize;
use jiff::{Span, SpanRelativeTo, Unit};
use serde::Deserialize;

use crate::spool::SpoolLimits;

const MIB: u64 = 1 << 20;
const DAY: u64 = 86_400;

/// The database file may grow to so many times what its events may take, as a last resort.
const FILE_FACTOR: u64 = 4;

/// Bounds of the spool, each as text; in the file below `[spool]`.
#[derive(Debug, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct SpoolOptions {
    /// Bytes of events of open deliveries and dead letters; beyond, producers are refused [default: 10GiB]
    #[arg(long = "spool-max-bytes", env = "SLUICE_NODE_SPOOL_MAX_BYTES", value_name = "SIZE")]
    max_bytes: Option<String>,
    /// Part of these that one project may use [default: 80]
    #[arg(long = "spool-project-percent", env = "SLUICE_NODE_SPOOL_PROJECT_PERCENT", value_name = "PERCENT",
        value_parser = clap::value_parser!(u8).range(1..=100))]
    project_percent: Option<u8>,
    /// Part of these that dead letters may use; beyond, the oldest are removed [default: 25]
    #[arg(long = "spool-dead-letter-percent", env = "SLUICE_NODE_SPOOL_DEAD_LETTER_PERCENT", value_name = "PERCENT",
        value_parser = clap::value_parser!(u8).range(0..=100))]
    dead_letter_percent: Option<u8>,
    /// How long dead letters are kept [default: 14d]
    #[arg(long = "spool-dead-letter-age", env = "SLUICE_NODE_SPOOL_DEAD_LETTER_AGE", value_name = "DURATION")]
    dead_letter_age: Option<String>,
    /// Bytes of reports that the control plane has not stored; beyond, the oldest become counts [default: 256MiB]
    #[arg(long = "spool-report-bytes", env = "SLUICE_NODE_SPOOL_REPORT_BYTES", value_name = "SIZE")]
    report_bytes: Option<String>,
    /// How long an event with the same device_id and $insert_id counts as the same [default: 10m]
    #[arg(
        long = "spool-deduplication-window",
        env = "SLUICE_NODE_SPOOL_DEDUPLICATION_WINDOW",
        value_name = "DURATION"
    )]
    deduplication_window: Option<String>,
    /// Bytes of memory for that; beyond, the window shortens [default: 64MiB]
    #[arg(long = "spool-deduplication-bytes", env = "SLUICE_NODE_SPOOL_DEDUPLICATION_BYTES", value_name = "SIZE")]
    deduplication_bytes: Option<String>,
    /// How long a producer that sends nothing is remembered [default: 30d]
    #[arg(long = "spool-producer-age", env = "SLUICE_NODE_SPOOL_PRODUCER_AGE", value_name = "DURATION")]
    producer_age: Option<String>,
    /// Bytes of the disk that are set aside, so that deliveries go on when it is full [default: 64MiB]
    #[arg(long = "spool-reserve-bytes", env = "SLUICE_NODE_SPOOL_RESERVE_BYTES", value_name = "SIZE")]
    reserve_bytes: Option<String>,
}

impl SpoolOptions {
    /// The bounds; what these options leave open is taken from `file`, and else the default.
    ///
    /// # Errors
    /// If one of them cannot be read or makes no sense: says which, and what would.
    pub(super) fn limits(self, file: Self) -> anyhow::Result<SpoolLimits> {
        let default = SpoolLimits::default();
        let percent = |flag: Option<u8>, file: Option<u8>, least: u8, what: &str, default: f64| {
            let Some(percent) = flag.or(file) else { return Ok(default) };
            ensure!((least..=100).contains(&percent), "{what}: {percent} is not from {least} to 100");
            Ok(f64::from(percent) / 100.0)
        };
        let max_bytes =
            size(self.max_bytes.or(file.max_bytes), "spool-max-bytes", 16 * MIB..=1 << 50, default.max_bytes)?;
        let deduplication_bytes = size(
            self.deduplication_bytes.or(file.deduplication_bytes),
            "spool-deduplication-bytes",
            MIB..=64 << 30,
            default.dedup_bytes as u64,
        )?;
        Ok(SpoolLimits {
            max_bytes,
            project_share: percent(
                self.project_percent,
                file.project_percent,
                1,
                "spool-project-percent",
                default.project_share,
            )?,
            dead_letter_share: percent(
                self.dead_letter_percent,
                file.dead_letter_percent,
                0,
                "spool-dead-letter-percent",
                default.dead_letter_share,
            )?,
            dead_letter_age: span(
                self.dead_letter_age.or(file.dead_letter_age),
                "spool-dead-letter-age",
                60..=3_650 * DAY,
                default.dead_letter_age,
            )?,
            report_bytes: size(
                self.report_bytes.or(file.report_bytes),
                "spool-report-bytes",
                MIB..=1 << 40,
                default.report_bytes,
            )?,
            dedup_window: span(
                self.deduplication_window.or(file.deduplication_window),
                "spool-deduplication-window",
                0..=7 * DAY,
                default.dedup_window,
            )?,
            dedup_bytes: usize::try_from(deduplication_bytes).unwrap_or(usize::MAX),
            producer_age: span(
                self.producer_age.or(file.producer_age),
                "spool-producer-age",
                3_600..=3_650 * DAY,
                default.producer_age,
            )?,
            reserve_bytes: size(
                self.reserve_bytes.or(file.reserve_bytes),
                "spool-reserve-bytes",
                0..=64 << 30,
                default.reserve_bytes,
            )?,
            file_bytes: max_bytes.saturating_mul(FILE_FACTOR),
        })
    }
}

fn size(text: Option<String>, what: &str, bounds: RangeInclusive<u64>, default: u64) -> anyhow::Result<u64> {
    let Some(text) = text else { return Ok(default) };
    let Ok(ByteSize(bytes)) = ByteSize::from_str(&text) else {
        bail!("{what}: `{text}` is not a size such as 512MiB or 10GiB");
    };
    let (least, most) = (ByteSize(*bounds.start()), ByteSize(*bounds.end()));
    ensure!(bounds.contains(&bytes), "{what}: {text} is not from {least} to {most}");
    Ok(bytes)
}

fn span(text: Option<String>, what: &str, seconds: RangeInclusive<u64>, default: Duration) -> anyhow::Result<Duration> {
    let Some(text) = text else { return Ok(default) };
    let expected = || format!("{what}: `{text}` is not a duration such as 10m, 36h or 14d");
    let span = Span::from_str(&text).with_context(expected)?;
    ensure!(span.get_months() == 0 && span.get_years() == 0, expected());
    let length = span.total((Unit::Second, SpanRelativeTo::days_are_24_hours())).with_context(expected)?;
    let duration = Duration::try_from_secs_f64(length).with_context(expected)?;
    let in_bounds = seconds.contains(&duration.as_secs());
    ensure!(in_bounds, "{what}: {text} is not from {} to {} seconds", seconds.start(), seconds.end());
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(set: impl FnOnce(&mut SpoolOptions)) -> Result<SpoolLimits, String> {
        let mut options = SpoolOptions::default();
        set(&mut options);
        options.limits(SpoolOptions::default()).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn what_is_not_said_is_the_default() {
        assert_eq!(given(|_| {}), Ok(SpoolLimits::default()));
    }

    #[test]
    fn sizes_and_durations_are_read() {
        let limits = given(|options| {
            options.max_bytes = Some("1GiB".into());
            options.dead_letter_age = Some("36h".into());
            options.producer_age = Some("2d".into());
            options.deduplication_window = Some("0s".into());
            options.dead_letter_percent = Some(0);
        })
        .unwrap();
        assert_eq!((limits.max_bytes, limits.file_bytes), (1 << 30, 4 << 30));
        assert_eq!(limits.dead_letter_age, Duration::from_secs(36 * 3_600));
        assert_eq!((limits.producer_age, limits.dedup_window), (Duration::from_secs(2 * DAY), Duration::ZERO));
        assert!(limits.dead_letter_share.abs() < f64::EPSILON);
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let flags = SpoolOptions { report_bytes: Some("2MiB".into()), ..SpoolOptions::default() };
        let file: SpoolOptions = toml::from_str("report-bytes = \"3MiB\"\nreserve-bytes = \"5MiB\"\n").unwrap();
        let limits = flags.limits(file).unwrap();
        assert_eq!((limits.report_bytes, limits.reserve_bytes), (2 * MIB, 5 * MIB));
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        let refused = [
            given(|options| options.max_bytes = Some("ten".into())),
            given(|options| options.max_bytes = Some("1KiB".into())),
            given(|options| options.dead_letter_age = Some("1y".into())),
            given(|options| options.dead_letter_age = Some("-3d".into())),
            given(|options| options.producer_age = Some("14".into())),
            given(|options| options.project_percent = Some(0)),
        ];
        let texts = [
            "spool-max-bytes: `ten` is not a size such as",
            "spool-max-bytes: 1KiB is not from 16.0 MiB to",
            "spool-dead-letter-age: `1y` is not a duration such as",
            "spool-dead-letter-age: `-3d` is not a duration such as",
            "spool-producer-age: `14` is not a duration such as",
            "spool-project-percent: 0 is not from 1 to 100",
        ];
        for (refused, text) in refused.into_iter().zip(texts) {
            assert!(refused.as_ref().is_err_and(|error| error.starts_with(text)), "{refused:?}");
        }
    }
}
