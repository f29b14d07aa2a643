//! One round of a delivery: render once, request, try again within the round where the policy says so, and hand what came of
//! it to the spool.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::HeaderMap;
use prost::Message as _;
use sluice_host::clock::Clock;
use sluice_pipeline::{
    delivery::{DeliveryState, Next, Round, Step, heeded},
    event::WebhookId,
    excerpt,
    outcome::{self, Failure},
    request, retry_after,
    sync::CompiledSync,
};
use sluice_proto::{
    delivery::v1::{Attempt, AttemptError, AttemptOutcome, EndingOutcome, EndingReason},
    node::v1::Report,
};
use tokio::sync::watch;

use crate::{
    http::{Answer, NoAnswer, WebhookClient},
    lanes::Work,
    report::{End, Reporter, Subject, duration, timestamp},
    spool::{
        Spool,
        store::{LaneKey, Settled, Settlement},
    },
    stop,
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
}

/// What one request came to.
struct Exchange {
    start_ms: i64,
    end_ms: i64,
    result: Result<u16, Failure>,
    detail: String,
    retry_after: Option<Duration>,
    excerpt: Bytes,
}

impl Courier {
    /// Makes the round to its end; the spool has been told when this returns.
    pub async fn round(&self, round: RoundWork) {
        let RoundWork { sync, lane, key, behind_ms, work } = round;
        let subject = Subject { key: &key, event: work.event.id, accept_ms: work.event.accept_ms };
        let mut reports = Vec::new();
        let mut state = work.state;
        let outcome = self.make(&sync, &work, &subject, behind_ms, &mut state, &mut reports).await;
        self.spool.settle(Settlement {
            delivery: work.delivery,
            event: work.event_row,
            lane,
            outcome,
            reports: reports.iter().map(|report: &Report| report.encode_to_vec().into()).collect(),
        });
    }

    async fn make(
        &self,
        sync: &CompiledSync,
        work: &Work,
        subject: &Subject<'_>,
        behind_ms: i64,
        state: &mut DeliveryState,
        reports: &mut Vec<Report>,
    ) -> Settled {
        let began_ms = self.clock.now_ms();
        let number = state.round;
        let body = match request::render_body(sync, &work.event.json, began_ms) {
            Ok(rendered) => rendered.body,
            Err(error) => {
                let attempt = Attempt {
                    attempt: 1,
                    outcome: AttemptOutcome::Discarded.into(),
                    error: AttemptError::Render.into(),
                    error_message: error.to_string(),
                    start_time: Some(timestamp(began_ms)),
                    duration: Some(duration(Duration::ZERO)),
                    ..self.describe(sync, work, number)
                };
                reports.push(self.reporter.attempt(subject, attempt));
                return self.end(subject, *state, EndingOutcome::Discarded, EndingReason::Render, began_ms, reports);
            }
        };
        let headers = request::headers(sync, WebhookId::new(work.event.id, &sync.uid));
        // The lane's clock stands while its sync is disabled; the schedule is computed in its time.
        let lane_time = |ms: i64| ms - behind_ms;
        let mut round = Round::begin(state, lane_time(began_ms));
        loop {
            let made = round.attempt();
            let exchange = self.exchange(sync, headers.clone(), body.clone()).await;
            let class = outcome::classify(&exchange.result);
            let status = exchange.result.ok();
            let now_ms = lane_time(exchange.end_ms);
            let step =
                round.after_attempt(&sync.retry, class, status, exchange.retry_after, now_ms, rand::random::<f64>());
            let mut attempt = self.attempt(sync, work, number, made, &exchange);
            attempt.request_bytes = i64::try_from(body.len()).unwrap_or(i64::MAX);
            match step {
                Step::Delivered => {
                    attempt.outcome = AttemptOutcome::Delivered.into();
                    reports.push(self.reporter.attempt(subject, attempt));
                    let (outcome, reason) = (EndingOutcome::Delivered, EndingReason::Unspecified);
                    return self.end(subject, round.state(), outcome, reason, exchange.end_ms, reports);
                }
                Step::RetryAt { at_ms } => {
                    attempt.outcome = AttemptOutcome::RetryNow.into();
                    reports.push(self.reporter.attempt(subject, attempt));
                    if !self.wait_until(at_ms + behind_ms).await {
                        // The node stops: the round begins anew after the start.
                        return Settled::Again { state: round.state(), due_ms: lane_time(self.clock.now_ms()) };
                    }
                    if round.may_begin_attempt(&sync.retry, lane_time(self.clock.now_ms())) {
                        continue;
                    }
                    return self.over(sync, subject, round.state(), &exchange, behind_ms, None, reports);
                }
                Step::RoundOver => {
                    return self.over(sync, subject, round.state(), &exchange, behind_ms, Some(attempt), reports);
                }
            }
        }
    }

    /// Whether the time has come, rather than the stop.
    async fn wait_until(&self, at_ms: i64) -> bool {
        let mut stop = self.stop.clone();
        tokio::select! {
            () = self.clock.sleep_until(at_ms, "quick retry") => true,
            () = stop::asked(&mut stop) => false,
        }
    }

    /// The round has failed. `attempt` is its last one, unless that is reported already.
    #[allow(clippy::too_many_arguments)] // the facts of one ending round, used here alone
    fn over(
        &self,
        sync: &CompiledSync,
        subject: &Subject<'_>,
        mut state: DeliveryState,
        exchange: &Exchange,
        behind_ms: i64,
        attempt: Option<Attempt>,
        reports: &mut Vec<Report>,
    ) -> Settled {
        let now_ms = self.clock.now_ms();
        let asked = heeded(exchange.result.ok(), exchange.retry_after);
        let next = state.after_round(&sync.retry, now_ms - behind_ms, asked, rand::random::<f64>());
        let (outcome, next_round_time) = match next {
            Next::Again { due_ms } => (AttemptOutcome::RetryNextRound, Some(timestamp(due_ms + behind_ms))),
            Next::Expired => (AttemptOutcome::Expired, None),
        };
        if let Some(attempt) = attempt {
            let attempt = Attempt { outcome: outcome.into(), next_round_time, ..attempt };
            reports.push(self.reporter.attempt(subject, attempt));
        }
        match next {
            Next::Again { due_ms } => Settled::Again { state, due_ms },
            Next::Expired => {
                self.end(subject, state, EndingOutcome::Expired, EndingReason::RoundsUsedUp, now_ms, reports)
            }
        }
    }

    fn end(
        &self,
        subject: &Subject<'_>,
        state: DeliveryState,
        outcome: EndingOutcome,
        reason: EndingReason,
        end_ms: i64,
        reports: &mut Vec<Report>,
    ) -> Settled {
        let end = End { schedule: state.schedule, attempts: state.attempts, outcome, reason, end_ms };
        reports.push(self.reporter.ending(subject, &end));
        Settled::Ended { outcome, reason, state }
    }

    async fn exchange(&self, sync: &CompiledSync, headers: HeaderMap, body: Bytes) -> Exchange {
        let start_ms = self.clock.now_ms();
        let answer = self.client.post(sync.destination.uri.clone(), headers, body, sync.destination.timeout).await;
        let end_ms = self.clock.now_ms();
        match answer {
            Ok(Answer { status, retry_after, body }) => Exchange {
                start_ms,
                end_ms,
                result: Ok(status.as_u16()),
                detail: String::new(),
                retry_after: retry_after.and_then(|value| retry_after::parse(&value, end_ms)),
                excerpt: excerpt::excerpt(&body, &sync.destination.headers),
            },
            Err(NoAnswer { failure, detail }) => {
                Exchange { start_ms, end_ms, result: Err(failure), detail, retry_after: None, excerpt: Bytes::new() }
            }
        }
    }

    fn attempt(&self, sync: &CompiledSync, work: &Work, round: u32, attempt: u32, exchange: &Exchange) -> Attempt {
        let failure = outcome::failure(&exchange.result);
        let taken_ms = u64::try_from(exchange.end_ms - exchange.start_ms).unwrap_or_default();
        Attempt {
            attempt: attempt.cast_signed(),
            http_status: exchange.result.map_or(0, i32::from),
            error: failure.map_or(AttemptError::Unspecified, Failure::error).into(),
            error_message: failure
                .map(|failure| failure.describe(&sync.destination.uri, &exchange.detail))
                .unwrap_or_default(),
            response_excerpt: exchange.excerpt.clone(),
            start_time: Some(timestamp(exchange.start_ms)),
            duration: Some(duration(Duration::from_millis(taken_ms))),
            ..self.describe(sync, work, round)
        }
    }

    fn describe(&self, sync: &CompiledSync, work: &Work, round: u32) -> Attempt {
        Attempt {
            sync_revision: sync.revision,
            event_type: work.event.event_type.clone(),
            round: round.cast_signed(),
            ..Attempt::default()
        }
    }
}
