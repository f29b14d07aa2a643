//! What keeps a lane's next request back, beside its concurrency: the breaker and the rate limit.

use std::sync::Arc;

use sluice_host::clock::Clock;
use sluice_pipeline::{
    breaker::{Breaker, Ended, Permit, Sign},
    destination,
    sync::CompiledSync,
};

use super::{Pace, window::Window};
use crate::{attempt::RoundEnd, renders::RenderCost};

/// Of one lane. All times are the lane's, which stands still while its sync is disabled.
#[derive(Debug)]
pub struct Gate {
    breaker: Breaker,
    window: Window,
    pace: Option<Arc<Pace>>,
    /// Origin that its requests go to; empty until [`Gate::align`].
    host: Arc<str>,
    cost: Arc<RenderCost>,
}

/// What a round that has ended means for the lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing beyond what the gate knows itself.
    Nothing,
    /// The breaker has opened: the endpoint counts as down.
    Opened,
    /// A probe has failed; it began then.
    ProbeFailed(i64),
    /// The endpoint is back.
    Closed,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Gate {
    /// Open, until a sync says otherwise.
    #[must_use]
    pub fn new() -> Self {
        Self { breaker: Breaker::new(), window: Window::default(), pace: None, host: "".into(), cost: Arc::default() }
    }

    /// Follows what the sync says now. A new endpoint is not taken for the old one.
    pub fn align(&mut self, sync: &CompiledSync, clock: &Clock) {
        let host = destination::origin(&sync.destination.uri.to_string()).unwrap_or_default();
        if *host != *self.host {
            self.host = host.into();
            self.breaker = Breaker::new();
            self.window = Window::default();
        }
        match sync.destination.limits.max_requests_per_second {
            Some(rate) if self.pace.as_ref().is_some_and(|pace| pace.is(rate)) => {}
            Some(rate) => self.pace = Some(Arc::new(Pace::new(rate, clock))),
            None => self.pace = None,
        }
    }

    /// Origin that its requests go to: syncs that share one share its places.
    #[must_use]
    pub fn host(&self) -> &Arc<str> {
        &self.host
    }

    /// How many rounds may be under way where the sync allows `limit`.
    #[must_use]
    pub fn width(&self, limit: usize) -> usize {
        self.window.within(limit)
    }

    /// The rate limit, for the further attempts of a round.
    #[must_use]
    pub fn pace(&self) -> Option<Arc<Pace>> {
        self.pace.clone()
    }

    /// What its renderings cost.
    #[must_use]
    pub fn cost(&self) -> Arc<RenderCost> {
        self.cost.clone()
    }

    /// Whether the endpoint counts as down.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.breaker.is_open()
    }

    /// Until when the breaker lets no round begin. Asking changes nothing.
    #[must_use]
    pub fn waits_until(&self, now_ms: i64) -> Option<i64> {
        match self.breaker.may_start(now_ms) {
            Permit::Go | Permit::Probe => None,
            Permit::Wait { until_ms } => Some(until_ms),
        }
    }

    /// Begins a round; gives whether it is a probe.
    ///
    /// # Errors
    /// When the rate limit lets the next one begin, by the node's clock: none may now.
    pub fn begin(&mut self, now_ms: i64) -> Result<bool, i64> {
        if let Some(pace) = &self.pace {
            pace.take()?;
        }
        let is_probe = self.breaker.may_start(now_ms) == Permit::Probe;
        if is_probe {
            self.breaker.probe_begins(now_ms);
        }
        Ok(is_probe)
    }

    /// A round that began at `began_ms` has ended; `end` is none if it broke off. `unit_random`: 0 to 1.
    pub fn ended(
        &mut self,
        began_ms: i64,
        is_probe: bool,
        end: Option<&RoundEnd>,
        now_ms: i64,
        unit_random: f64,
    ) -> Told {
        let Some(last) = end.and_then(|end| end.last) else {
            if is_probe {
                self.breaker.probe_lost(began_ms);
            }
            return Told::Nothing;
        };
        self.window.heard(Sign::of(&last.result));
        let (was_open, failed_before) = (self.breaker.is_open(), self.breaker.failed_probe_began_ms());
        let ended = Ended { began_ms, probe: is_probe, result: last.result, retry_after: last.retry_after };
        self.breaker.on_outcome(&ended, now_ms, unit_random);
        match (was_open, self.breaker.is_open(), self.breaker.failed_probe_began_ms()) {
            (true, false, _) => Told::Closed,
            (_, true, Some(probe_ms)) if failed_before != Some(probe_ms) => Told::ProbeFailed(probe_ms),
            (false, true, _) => Told::Opened,
            _ => Told::Nothing,
        }
    }
}
