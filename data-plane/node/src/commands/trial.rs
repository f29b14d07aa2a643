//! Sends one event to a sync's destination, once, because an operator asks for it. Nothing of it is stored, counted or reported.

use bytes::Bytes;
use prost_types::Duration;
use sluice_host::clock::Clock;
use sluice_pipeline::{
    event::{Event, EventId, WebhookId},
    outcome::{self, Class},
    request,
    sync::{CompiledSync, Rules, compile},
};
use sluice_proto::{
    delivery::v1::{Attempt, AttemptOutcome, AttemptTimings},
    node::v1::SendTest,
    sync::v1::{TestSyncResponse, Violation},
};
use tokio::sync::Semaphore;

use super::answer::Refusal;
use crate::{
    exchange::{Exchange, span},
    http::WebhookClient,
    report::timestamp,
};

/// Tests that are made at once.
const AT_ONCE: usize = 4;

/// Makes tests.
pub(super) struct Trials {
    node: String,
    instance: String,
    client: WebhookClient,
    rules: Rules,
    clock: Clock,
    places: Semaphore,
}

impl Trials {
    /// `node` is the resource name, `instance` the incarnation, `rules` what syncs may be.
    pub(super) fn new(node: &str, instance: &str, client: WebhookClient, rules: Rules, clock: Clock) -> Self {
        let (node, instance) = (node.to_owned(), instance.to_owned());
        Self { node, instance, client, rules, clock, places: Semaphore::new(AT_ONCE) }
    }

    /// Sends the event and tells what came of it.
    pub(super) async fn make(&self, test: SendTest) -> Result<TestSyncResponse, Refusal> {
        let SendTest { sync, event_json } = test;
        let sync = sync.ok_or_else(|| Refusal::Invalid("sync: the command has none".to_owned()))?;
        let _place = self.places.acquire().await;
        let compiled = match compile(&sync, &self.rules) {
            Ok(compiled) => compiled,
            Err(violations) => {
                let violations = violations.into_iter().map(Into::into).collect();
                let verdict = "not asked: the node cannot compile the sync".to_owned();
                return Ok(TestSyncResponse { verdict, violations, ..TestSyncResponse::default() });
            }
        };
        self.send(compiled, event_json).await
    }

    async fn send(&self, sync: CompiledSync, event_json: Bytes) -> Result<TestSyncResponse, Refusal> {
        let accept_ms = self.clock.now_ms();
        let event = Event::parse(&event_json)
            .map_err(|rejection| Refusal::Invalid(format!("event_json: {}", rejection.message)))?;
        let verdict = sync.filter.explain(&event);
        let event_type = event.event_type().to_owned();
        let told = TestSyncResponse { matched: verdict.matched, verdict: verdict.reason, ..Default::default() };

        let sync = std::sync::Arc::new(sync);
        let rendering = {
            let (sync, event_json) = (sync.clone(), event_json.clone());
            tokio::task::spawn_blocking(move || request::render_body(&sync, &event_json, accept_ms))
        };
        let rendered = match rendering.await.map_err(|_| Refusal::Invalid("the rendering broke off".to_owned()))? {
            Ok(rendered) => rendered,
            Err(error) => {
                let violations = vec![Violation::from(&sluice_pipeline::violation::Violation::from(error))];
                return Ok(TestSyncResponse { violations, ..told });
            }
        };
        let rendered_ms = self.clock.now_ms();

        let event_id = EventId::new(&sync.name.project, "test", rand::random());
        let webhook_id = WebhookId::new(event_id, &sync.uid);
        let headers = request::headers(&sync, webhook_id);
        let masked = request::masked(&headers);
        let body = rendered.body;
        let exchange = Exchange::make(&self.client, &self.clock, &sync, headers, body.clone()).await;
        let delivered = matches!(outcome::classify(&exchange.result), Class::Delivered);
        let attempt = exchange.describe(
            &sync.destination.uri,
            Attempt {
                delivery: format!("{}/deliveries/{webhook_id}", sync.name),
                sync_uid: sync.uid.to_string(),
                sync_revision: sync.revision,
                event_id: event_id.to_string(),
                event_type,
                round: 1,
                attempt: 1,
                schedule: 1,
                // What is not delivered is not tried again.
                outcome: if delivered { AttemptOutcome::Delivered } else { AttemptOutcome::Expired }.into(),
                node: self.node.clone(),
                instance: self.instance.clone(),
                accept_time: Some(timestamp(accept_ms)),
                request_bytes: i64::try_from(body.len()).unwrap_or(i64::MAX),
                timings: Some(exchange.timings(AttemptTimings {
                    queue: Some(Duration::default()),
                    render: Some(span(rendered_ms - accept_ms)),
                    ..AttemptTimings::default()
                })),
                ..Attempt::default()
            },
        );
        Ok(TestSyncResponse { attempt: Some(attempt), body, headers: masked, ..told })
    }
}
