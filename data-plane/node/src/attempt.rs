//! One round of a delivery: render once, request, try again within the round where the policy says so, and hand what came of
//! it to the spool.

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use opentelemetry::{Context, context::FutureExt as _, trace::TraceContextExt as _};
use sluice_host::clock::Clock;
use sluice_pipeline::{
    delivery::{DeliveryState, Next, Round, Step, heeded},
    outcome::{self, Failure},
    request::{self, RenderError},
    sync::CompiledSync,
};
use sluice_proto::delivery::v1::{Attempt, AttemptError, AttemptOutcome, AttemptTimings, EndingOutcome, EndingReason};
use tokio::sync::watch;

use crate::{
    exchange::{Exchange, span},
    http::WebhookClient,
    lanes::{Pace, Work},
    renders::{RenderCost, Renders},
    report::{End, Reporter, Subject, duration, timestamp},
    spool::{
        Spool,
        store::{LaneKey, Settled, Settlement},
    },
    stop,
    telemetry::{Meters, RoundTrace, SyncMeters},
};

/// Makes rounds.
pub struct Courier {
    /// Sends the requests.
    pub client: WebhookClient,
    /// Makes the reports.
    pub reporter: Reporter,
    /// Keeps what comes of them.
    pub spool: Spool,
    /// All time comes from it.
    pub clock: Clock,
    /// Turns true when the node stops: waits are cut short then.
    pub stop: watch::Receiver<bool>,
    /// Renders the bodies.
    pub renders: Renders,
    /// Counts what nothing else counts.
    pub meters: Arc<Meters>,
}

/// A round to make.
pub struct RoundWork {
    /// The sync, as it is now.
    pub sync: Arc<CompiledSync>,
    /// The lane's row.
    pub lane: i64,
    /// The lane's sync.
    pub key: LaneKey,
    /// By how much the lane's time is behind the clock's.
    pub behind_ms: i64,
    /// The delivery.
    pub work: Work,
    /// The lane's rate limit, for the attempts after the first.
    pub pace: Option<Arc<Pace>>,
    /// What the lane's renderings cost.
    pub cost: Arc<RenderCost>,
    /// Where the lane counts; none if nobody wants to know.
    pub meters: Option<Arc<SyncMeters>>,
}

/// What a round says of its endpoint.
#[derive(Clone, Copy, Debug)]
pub struct RoundEnd {
    /// Its last request; none if it made none.
    pub last: Option<LastExchange>,
}

/// What the last request of a round came to.
#[derive(Clone, Copy, Debug)]
pub struct LastExchange {
    /// The status, or why there was none.
    pub result: Result<u16, Failure>,
    /// `Retry-After`, if there was one.
    pub retry_after: Option<Duration>,
}

impl Courier {
    /// Makes the round to its end; the spool has been told when this returns.
    pub async fn round(&self, round: RoundWork) -> RoundEnd {
        let under_way = self.spool.round_begun();
        let event = &round.work.event;
        let subject = Subject::of(&round.key, event.id, event.accept_ms);
        let (telemetry, began) = (self.meters.telemetry(), self.clock.elapsed());
        let trace = RoundTrace::begin(telemetry, &round.sync, &round.work, self.clock.now_ms(), began);
        // What is logged meanwhile has the ids of the trace.
        let logged_in = trace.as_ref().and_then(|trace| trace.sampled().cloned());
        let mut making = Making {
            courier: self,
            round: &round,
            subject,
            reports: Vec::new(),
            last_attempt: None,
            last: None,
            trace,
        };
        let outcome = {
            let making = pin!(making.make());
            match logged_in {
                Some(context) => making.with_context(Context::new().with_remote_span_context(context)).await,
                None => making.await,
            }
        };
        making.report_last(None);
        let (reports, last) = (making.reports, making.last);
        if let Some(trace) = making.trace {
            trace.over(self.clock.elapsed(), shown(&outcome));
        }
        self.spool.settle(Settlement {
            delivery: round.work.delivery,
            event: round.work.event_row,
            lane: round.lane,
            body: Some(event.clone()),
            outcome,
            reports,
        });
        // Nobody waits for it any more: its outcome is on the way.
        drop(under_way);
        RoundEnd { last }
    }

    /// Whether the time has come, rather than the stop.
    async fn wait_until(&self, at_ms: i64) -> bool {
        let mut stop = self.stop.clone();
        tokio::select! {
            () = self.clock.sleep_until(at_ms, "quick retry") => true,
            () = stop::asked(&mut stop) => false,
        }
    }
}

/// What came of a round, as its span says it.
fn shown(settled: &Settled) -> &'static str {
    match settled {
        Settled::Again { .. } => "retry",
        Settled::Ended { outcome: EndingOutcome::Delivered, .. } => "delivered",
        Settled::Ended { outcome: EndingOutcome::Expired, .. } => "expired",
        Settled::Ended { .. } => "discarded",
    }
}

/// A round under way. Times of the schedule are the lane's, which stands still while its sync is disabled.
struct Making<'a> {
    courier: &'a Courier,
    round: &'a RoundWork,
    subject: Subject<'a>,
    /// Encoded.
    reports: Vec<Bytes>,
    /// An attempt that is still to be reported: perhaps the delivery ends with it.
    last_attempt: Option<Attempt>,
    last: Option<LastExchange>,
    trace: Option<RoundTrace<'a>>,
}

impl Making<'_> {
    async fn make(&mut self) -> Settled {
        let RoundWork { sync, work, behind_ms, .. } = self.round;
        let began_ms = self.courier.clock.now_ms();
        let number = work.state.round;
        let mut state = work.state;
        let mut round = Round::begin(&mut state, began_ms - behind_ms);
        if !round.may_begin_attempt(&sync.retry, began_ms - behind_ms) {
            // It was broken off by a stop, and its time has passed since.
            return self.over(round.state(), None, None);
        }
        let mut timings = AttemptTimings { queue: Some(span(began_ms - work.due_ms)), ..AttemptTimings::default() };
        let asked = (self.round.meters.is_some() || self.trace.is_some()).then(|| self.courier.clock.elapsed());
        let rendering =
            self.courier.renders.render(self.round.lane, &self.round.cost, sync, &work.event.json, began_ms);
        let Some(rendered) = rendering.await else {
            // The node goes down: the round has not begun.
            return Settled::Again { state: work.state, due_ms: work.due_ms - behind_ms };
        };
        if let Some(asked) = asked {
            let took = self.courier.clock.elapsed().saturating_sub(asked);
            if let Some(meters) = &self.round.meters {
                meters.render_duration.record(took);
            }
            if let Some(trace) = &mut self.trace {
                trace.rendered(took, rendered.is_err().then_some(AttemptError::Render));
            }
        }
        let rendered_ms = self.courier.clock.now_ms();
        timings.render = Some(span(rendered_ms - began_ms));
        let body = match rendered {
            Ok(rendered) => rendered.body,
            Err(error) => return self.not_rendered(round.state(), &error, timings, began_ms),
        };
        let headers = request::headers(sync, self.subject.webhook);
        loop {
            let made = round.attempt();
            let mut headers = headers.clone();
            let span = self.trace.as_ref().map(|trace| trace.attempt(&mut headers));
            let exchange = Exchange::make(&self.courier.client, &self.courier.clock, sync, headers, body.clone()).await;
            if let Some(meters) = &self.round.meters {
                meters.attempt_duration.record(exchange.took());
            }
            let class = outcome::classify(&exchange.result);
            let status = exchange.result.ok();
            self.last = Some(LastExchange { result: exchange.result, retry_after: exchange.retry_after });
            let now_ms = exchange.end_ms - behind_ms;
            let step =
                round.after_attempt(&sync.retry, class, status, exchange.retry_after, now_ms, rand::random::<f64>());
            let mut attempt = self.describe(number, made, &exchange);
            attempt.timings = Some(exchange.timings(std::mem::take(&mut timings)));
            attempt.request_bytes = i64::try_from(body.len()).unwrap_or(i64::MAX);
            if let Some((trace, span)) = self.trace.as_mut().zip(span) {
                trace.attempted(span, &attempt, exchange.trip(), exchange.start_ms);
            }
            match step {
                Step::Delivered => {
                    attempt.outcome = AttemptOutcome::Delivered.into();
                    self.report(attempt);
                    if let Some(meters) = &self.round.meters {
                        meters.delivered(work.event.accept_ms, exchange.end_ms);
                    }
                    let (outcome, reason) = (EndingOutcome::Delivered, EndingReason::Unspecified);
                    return self.end(round.state(), outcome, reason, exchange.end_ms);
                }
                Step::RetryAt { at_ms } => {
                    attempt.outcome = AttemptOutcome::RetryNow.into();
                    self.report(attempt);
                    if !self.may_go_on(at_ms + behind_ms).await {
                        // The node stops: the round goes on after the start.
                        return Settled::Again { state: round.state(), due_ms: at_ms };
                    }
                    if round.may_begin_attempt(&sync.retry, self.courier.clock.now_ms() - behind_ms) {
                        continue;
                    }
                    return self.over(round.state(), None, None);
                }
                Step::RoundOver => {
                    let asked = heeded(status, exchange.retry_after);
                    return self.over(round.state(), asked, Some(attempt));
                }
            }
        }
    }

    /// Waits for the next attempt: until its time, and then for the rate limit. False: the node stops.
    async fn may_go_on(&self, mut at_ms: i64) -> bool {
        loop {
            if !self.courier.wait_until(at_ms).await {
                return false;
            }
            match self.round.pace.as_ref().map_or(Ok(()), |pace| pace.take()) {
                Ok(()) => return true,
                Err(later_ms) => at_ms = later_ms,
            }
        }
    }

    fn not_rendered(
        &mut self,
        state: DeliveryState,
        error: &RenderError,
        timings: AttemptTimings,
        began_ms: i64,
    ) -> Settled {
        let attempt = Attempt {
            attempt: 1,
            outcome: AttemptOutcome::Discarded.into(),
            error: AttemptError::Render.into(),
            error_message: error.to_string(),
            start_time: Some(timestamp(began_ms)),
            duration: Some(duration(Duration::ZERO)),
            timings: Some(timings),
            ..self.facts(state.round)
        };
        self.report(attempt);
        self.end(state, EndingOutcome::Discarded, EndingReason::Render, began_ms)
    }

    /// The round has failed. `asked` is the `Retry-After` that counts; `attempt` is its last one, unless that is reported
    /// already.
    fn over(&mut self, mut state: DeliveryState, asked: Option<Duration>, attempt: Option<Attempt>) -> Settled {
        let RoundWork { sync, behind_ms, .. } = self.round;
        let now_ms = self.courier.clock.now_ms();
        let next = state.after_round(&sync.retry, now_ms - behind_ms, asked, rand::random::<f64>());
        let (outcome, next_round_time) = match next {
            Next::Again { due_ms } => (AttemptOutcome::RetryNextRound, Some(timestamp(due_ms + behind_ms))),
            Next::Expired => (AttemptOutcome::Expired, None),
        };
        if let Some(attempt) = attempt {
            self.report(Attempt { outcome: outcome.into(), next_round_time, ..attempt });
        }
        match next {
            Next::Again { due_ms } => Settled::Again { state, due_ms },
            Next::Expired => self.end(state, EndingOutcome::Expired, EndingReason::RoundsUsedUp, now_ms),
        }
    }

    fn end(&mut self, state: DeliveryState, outcome: EndingOutcome, reason: EndingReason, end_ms: i64) -> Settled {
        let end = End { schedule: state.schedule, attempts: state.attempts, outcome, reason, end_ms };
        if !self.report_last(Some(&end)) {
            self.reports.push(self.courier.reporter.ending(&self.subject, &end));
        }
        Settled::Ended { outcome, reason, state }
    }

    fn report(&mut self, attempt: Attempt) {
        if let Some(meters) = &self.round.meters {
            meters.attempt(&attempt);
        }
        self.report_last(None);
        self.last_attempt = Some(attempt);
    }

    /// Reports the attempt that still is to be, with how the delivery ended. Gives whether there was one.
    fn report_last(&mut self, end: Option<&End>) -> bool {
        let last = self.last_attempt.take();
        self.reports.extend(last.as_ref().map(|last| self.courier.reporter.attempt(&self.subject, last, end)));
        last.is_some()
    }

    fn describe(&self, round: u32, attempt: u32, exchange: &Exchange) -> Attempt {
        let uri = &self.round.sync.destination.uri;
        Attempt { attempt: attempt.cast_signed(), ..exchange.describe(uri, self.facts(round)) }
    }

    fn facts(&self, round: u32) -> Attempt {
        let RoundWork { sync, work, .. } = self.round;
        Attempt {
            sync_revision: sync.revision,
            event_type: work.event.event_type.clone(),
            round: round.cast_signed(),
            schedule: work.state.schedule.cast_signed(),
            ..Attempt::default()
        }
    }
}
