//! What is counted where it happens, because nothing else counts it: attempts, durations, breakers. Each lane has its handle, made
//! with the lane; counting takes no lock and allocates nothing.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use sluice_proto::delivery::v1::{Attempt, AttemptError};
use sluice_telemetry::{
    KeyValue, Telemetry,
    instruments::{
        ATTEMPT_DURATION, ATTEMPTS, DELIVERY_LATENCY, ERROR_TYPE, LANE_BREAKER_OPEN, RENDER_DURATION, RENDER_FAILURES,
        STATUS_CLASS, SYNC,
    },
    labels::Names,
    meters::{Readings, Recorder},
};

/// The handles of all lanes, by what their sync is called in attributes.
#[derive(Debug, Default)]
pub struct Meters {
    telemetry: Telemetry,
    syncs: Mutex<BTreeMap<Arc<str>, Arc<SyncMeters>>>,
}

/// What one sync's lane counts; or all of those together that are beyond the limit.
#[derive(Debug)]
pub struct SyncMeters {
    by_result: Box<[AtomicU64]>,
    open_breakers: AtomicI64,
    /// How long requests took.
    pub attempt_duration: Recorder,
    /// From acceptance to the 2xx.
    pub latency: Recorder,
    /// How long rendering took.
    pub render_duration: Recorder,
}

/// Errors that say more than their status, or have none, by their number in the proto; 0 is a 2xx.
const ERRORS: usize = 16;

/// Statuses that are counted one by one; others together, after them.
const STATUSES: std::ops::Range<usize> = 100..600;

const RESULTS: usize = ERRORS + STATUSES.end - STATUSES.start + 1;

impl Meters {
    /// Counts for `telemetry`; for nobody if that is off.
    #[must_use]
    pub fn new(telemetry: Telemetry) -> Self {
        Self { telemetry, syncs: Mutex::default() }
    }

    /// Where to.
    #[must_use]
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// The handle for the sync with this resource name; none if nobody wants to know.
    #[must_use]
    pub fn of_sync(&self, name: &str) -> Option<Arc<SyncMeters>> {
        if !self.telemetry.is_on() {
            return None;
        }
        let label = self.telemetry.label(Names::Syncs, name);
        let mut syncs = self.syncs.lock().unwrap_or_else(PoisonError::into_inner);
        Some(syncs.entry(label.clone()).or_insert_with(|| Arc::new(SyncMeters::new(&self.telemetry, &label))).clone())
    }

    pub(super) fn read(&self, readings: &mut Readings) {
        let syncs = self.syncs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (label, meters) in syncs {
            meters.read(&label, readings);
        }
    }
}

impl SyncMeters {
    fn new(telemetry: &Telemetry, label: &Arc<str>) -> Self {
        let attributes = [KeyValue::new(SYNC, label.clone())];
        Self {
            by_result: (0..RESULTS).map(|_| AtomicU64::new(0)).collect(),
            open_breakers: AtomicI64::new(0),
            attempt_duration: telemetry.recorder(&ATTEMPT_DURATION, &attributes),
            latency: telemetry.recorder(&DELIVERY_LATENCY, &attributes),
            render_duration: telemetry.recorder(&RENDER_DURATION, &attributes),
        }
    }

    /// An attempt was reported.
    pub fn attempt(&self, attempt: &Attempt) {
        if let Some(count) = self.by_result.get(result(attempt)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A delivery got its 2xx so long after the event was accepted.
    pub fn delivered(&self, accept_ms: i64, end_ms: i64) {
        self.latency.record(Duration::from_millis(u64::try_from(end_ms - accept_ms).unwrap_or_default()));
    }

    /// A breaker has opened or closed.
    pub fn breaker(&self, open: bool) {
        self.open_breakers.fetch_add(if open { 1 } else { -1 }, Ordering::Relaxed);
    }

    fn read(&self, label: &str, readings: &mut Readings) {
        for (result, count) in self.by_result.iter().enumerate() {
            let count = count.load(Ordering::Relaxed);
            if count == 0 {
                continue;
            }
            let (class, error) = describe(result);
            let attributes = [(SYNC, label), (STATUS_CLASS, class), (ERROR_TYPE, error.as_str())];
            readings.count(&ATTEMPTS, if error.is_empty() { &attributes[..2] } else { &attributes }, count);
            if error == error_name(AttemptError::Render) {
                readings.count(&RENDER_FAILURES, &[(SYNC, label)], count);
            }
        }
        #[allow(clippy::cast_precision_loss)]
        readings.add(&LANE_BREAKER_OPEN, &[(SYNC, label)], self.open_breakers.load(Ordering::Relaxed) as f64);
    }
}

/// Where an attempt is counted.
fn result(attempt: &Attempt) -> usize {
    match attempt.error() {
        AttemptError::Status => {
            let status = usize::try_from(attempt.http_status).unwrap_or_default();
            if STATUSES.contains(&status) { ERRORS + status - STATUSES.start } else { RESULTS - 1 }
        }
        error => (error as usize).min(ERRORS - 1),
    }
}

/// Class of the status and, unless it is a success, the error's name.
fn describe(result: usize) -> (&'static str, String) {
    if let Some(status) = result.checked_sub(ERRORS).map(|status| status + STATUSES.start) {
        return match status {
            100..=199 => ("1xx", status.to_string()),
            200..=299 => ("2xx", status.to_string()),
            300..=399 => ("3xx", status.to_string()),
            400..=499 => ("4xx", status.to_string()),
            500..=599 => ("5xx", status.to_string()),
            _ => ("none", "other_status".to_owned()),
        };
    }
    let error = i32::try_from(result).ok().and_then(|number| AttemptError::try_from(number).ok());
    match error {
        Some(AttemptError::Unspecified) => ("2xx", String::new()),
        // The head was good.
        Some(AttemptError::Body) => ("2xx", error_name(AttemptError::Body)),
        Some(error) => ("none", error_name(error)),
        None => ("none", "other".to_owned()),
    }
}

/// `error.type` of an attempt that failed otherwise than by its status.
pub(super) fn error_name(error: AttemptError) -> String {
    error.as_str_name().trim_start_matches("ATTEMPT_ERROR_").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(status: i32, error: AttemptError) -> (&'static str, String) {
        describe(result(&Attempt { http_status: status, error: error.into(), ..Attempt::default() }))
    }

    #[test]
    fn every_attempt_is_counted_once_by_class_and_error() {
        let is = |class, error: &str| (class, error.to_owned());
        assert_eq!(counted(204, AttemptError::Unspecified), is("2xx", ""));
        assert_eq!(counted(503, AttemptError::Status), is("5xx", "503"));
        assert_eq!(counted(999, AttemptError::Status), is("none", "other_status"));
        assert_eq!(counted(200, AttemptError::Body), is("2xx", "body"));
        assert_eq!(counted(0, AttemptError::BlockedAddress), is("none", "blocked_address"));
        assert_eq!(counted(0, AttemptError::Render), is("none", "render"));
        assert_eq!(error_name(AttemptError::Dns), "dns");
    }
}
