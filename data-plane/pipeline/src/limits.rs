//! `Destination.limits` compiled.

use sluice_proto::sync::v1::{self, BacklogPolicy};

use crate::violation::{Violations, reason};

/// The most requests that a sync may have under way on each node, if it doesn't say.
pub const DEFAULT_MAX_CONCURRENCY: usize = 32;

const FIELD: &str = "destination.limits";

/// Requests in one second, at least and at most.
const RATES: std::ops::RangeInclusive<f64> = 0.01..=10_000.0;

const MAX_BACKLOG: i64 = 1_000_000_000;

/// Limits of one sync's lane on each node.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Requests under way at once, at least 1.
    pub max_concurrency: usize,
    /// Requests that may begin in one second, 0.01 to 10,000; none: no limit.
    pub max_requests_per_second: Option<f64>,
    /// How many open deliveries there may be, and what happens then; none: no limit.
    pub backlog: Option<Backlog>,
}

/// A limit on open deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// How many may be open, at least 1.
    pub max: u64,
    /// Whether producers are refused then; else the oldest waiting deliveries are discarded.
    pub refuse_events: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_concurrency: DEFAULT_MAX_CONCURRENCY, max_requests_per_second: None, backlog: None }
    }
}

/// The limits that `limits` describes, every field left empty with its default. If they are wrong: violations.
pub(crate) fn compile(limits: Option<&v1::Limits>, violations: &mut Violations) -> Limits {
    let Some(limits) = limits else { return Limits::default() };
    Limits {
        max_concurrency: max_concurrency(limits.max_concurrency, violations),
        max_requests_per_second: rate(limits.max_requests_per_second, violations),
        backlog: backlog(limits, violations),
    }
}

fn max_concurrency(count: i32, violations: &mut Violations) -> usize {
    if count == 0 {
        return DEFAULT_MAX_CONCURRENCY;
    }
    if !(1..=1000).contains(&count) {
        violations.add(
            format!("{FIELD}.max_concurrency"),
            reason::OUT_OF_RANGE,
            format!("{count} requests at once; 1 to 1,000 are taken, or 0 for {DEFAULT_MAX_CONCURRENCY}"),
        );
    }
    usize::try_from(count).unwrap_or(1)
}

fn rate(rate: f64, violations: &mut Violations) -> Option<f64> {
    // Zero of either sign is a field that was left empty.
    if rate == 0.0 {
        return None;
    }
    if !RATES.contains(&rate) {
        violations.add(
            format!("{FIELD}.max_requests_per_second"),
            reason::OUT_OF_RANGE,
            format!("{rate} requests in a second; 0.01 to 10,000 are taken, or 0 for no limit"),
        );
    }
    Some(rate)
}

fn backlog(limits: &v1::Limits, violations: &mut Violations) -> Option<Backlog> {
    let refuse_events = match BacklogPolicy::try_from(limits.backlog_policy) {
        Ok(BacklogPolicy::Unspecified | BacklogPolicy::DiscardOldest) => false,
        Ok(BacklogPolicy::RefuseEvents) => true,
        Err(_) => {
            violations.add(
                format!("{FIELD}.backlog_policy"),
                reason::UNKNOWN_VARIANT,
                format!("{} is no policy: DISCARD_OLDEST or REFUSE_EVENTS are taken", limits.backlog_policy),
            );
            false
        }
    };
    if limits.max_backlog == 0 {
        if limits.backlog_policy != 0 {
            violations.add(
                format!("{FIELD}.max_backlog"),
                reason::REQUIRED,
                "a backlog policy needs a limit: give `max_backlog`, at least 1",
            );
        }
        return None;
    }
    if !(1..=MAX_BACKLOG).contains(&limits.max_backlog) {
        violations.add(
            format!("{FIELD}.max_backlog"),
            reason::OUT_OF_RANGE,
            format!("{} deliveries; 1 to 1,000,000,000 are taken, or 0 for no limit", limits.max_backlog),
        );
    }
    Some(Backlog { max: u64::try_from(limits.max_backlog).unwrap_or(1), refuse_events })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(limits: &v1::Limits) -> Result<Limits, Vec<String>> {
        let mut violations = Violations::default();
        let limits = compile(Some(limits), &mut violations);
        let fields: Vec<_> = violations.into_vec().into_iter().map(|violation| violation.field).collect();
        if fields.is_empty() { Ok(limits) } else { Err(fields) }
    }

    #[test]
    fn what_is_left_empty_has_its_default() {
        assert_eq!(compile(None, &mut Violations::default()), Limits::default());
        assert_eq!(compiled(&v1::Limits::default()), Ok(Limits::default()));
    }

    #[test]
    fn every_limit_is_taken() {
        let limits = v1::Limits {
            max_concurrency: 7,
            max_requests_per_second: 0.5,
            max_backlog: 100,
            backlog_policy: BacklogPolicy::RefuseEvents.into(),
        };
        let backlog = Some(Backlog { max: 100, refuse_events: true });
        let expected = Limits { max_concurrency: 7, max_requests_per_second: Some(0.5), backlog };
        assert_eq!(compiled(&limits), Ok(expected));
    }

    #[test]
    fn everything_that_is_wrong_is_told() {
        for rate in [-1.0, 0.001, 10_001.0, f64::NAN, f64::INFINITY] {
            let limits = v1::Limits { max_requests_per_second: rate, ..v1::Limits::default() };
            assert_eq!(compiled(&limits), Err(vec!["destination.limits.max_requests_per_second".to_owned()]), "{rate}");
        }
        let limits = v1::Limits { max_concurrency: -1, max_backlog: -5, backlog_policy: 9, ..v1::Limits::default() };
        let fields =
            ["max_concurrency", "backlog_policy", "max_backlog"].map(|name| format!("destination.limits.{name}"));
        assert_eq!(compiled(&limits), Err(fields.to_vec()));
        let limits = v1::Limits { backlog_policy: BacklogPolicy::RefuseEvents.into(), ..v1::Limits::default() };
        assert_eq!(compiled(&limits), Err(vec!["destination.limits.max_backlog".to_owned()]));
    }
}
