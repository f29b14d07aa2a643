//! `TestSync`: has a node send one event to a sync's destination, now and once.

use std::time::Duration;

use sluice_pipeline::{
    sync::{compile, required_features},
    violation::reason,
};
use sluice_proto::{
    name::{InvalidName, NodeName, SyncName},
    node::v1::{SendTest, command::Command as What, command_result::Result as Outcome},
    sync::v1::{Sync, TestSyncRequest, TestSyncResponse, test_sync_request::Subject},
};

use super::{
    Context,
    commands::{NoAnswer, outcome},
    preview::{DRAFT_NAME, parse_event},
    sync_name,
};
use crate::{commands::Word, error::Error, secrets};

/// The longest that a destination may take, and some seconds for the way to the node and back.
const PATIENCE: Duration = Duration::from_secs(70);

/// Answers a test.
pub(super) async fn test(context: &Context, request: TestSyncRequest) -> Result<TestSyncResponse, Error> {
    let TestSyncRequest { subject, event_json, node } = request;
    let sync = match subject {
        Some(Subject::Name(name)) => context.sync(&sync_name(&name)?).await?,
        Some(Subject::Sync(draft)) => complete(context, draft).await?,
        None => return Err(Error::invalid("subject", reason::REQUIRED, "neither a name nor a draft is given")),
    };
    parse_event(&event_json)?;
    if let Err(violations) = compile(&sync, &context.rules) {
        let violations = violations.into_iter().map(Into::into).collect();
        let verdict = "not asked: the sync cannot be compiled".to_owned();
        return Ok(TestSyncResponse { verdict, violations, ..TestSyncResponse::default() });
    }
    send(context, sync, event_json, node).await
}

/// Has a node send an event through a sync that compiles, now and once, and gives the whole attempt. An empty `node`: any.
pub(crate) async fn send(
    context: &Context,
    sync: Sync,
    event_json: bytes::Bytes,
    node: String,
) -> Result<TestSyncResponse, Error> {
    let node = node_that_sends(context, node)?;
    tracing::info!(sync = sync.name, node, "an event is sent now and once");

    let what = What::SendTest(SendTest { sync: Some(sync), event_json });
    let mut call = context.command(&node, what, PATIENCE).map_err(|no_answer| no_answer.error(&node))?;
    let asked = async {
        tokio::select! {
            biased;
            last = async {
                loop {
                    if let Word::Last(last) = call.next().await {
                        return outcome(last);
                    }
                }
            } => last,
            () = context.clock.sleep(PATIENCE, "node's test") => Err(NoAnswer::Silent(PATIENCE)),
        }
    };
    match context.unless_stopping(asked).await?.map_err(|no_answer| no_answer.error(&node))? {
        Outcome::Test(test) => Ok(test),
        _ => Err(NoAnswer::Nonsense.error(&node)),
    }
}

/// Adds to a draft what only a stored sync has, secrets that it leaves as they are stored among it.
async fn complete(context: &Context, mut draft: Sync) -> Result<Sync, Error> {
    if draft.name.is_empty() {
        DRAFT_NAME.clone_into(&mut draft.name);
    }
    draft.required_features = required_features(&draft);
    let stored = match draft.name.parse::<SyncName>() {
        Ok(name) => context.store.sync(&name).await?,
        // Compiling says so.
        Err(_) => None,
    };
    let violations = secrets::keep(&mut draft, stored.as_ref());
    if violations.is_empty() { Ok(draft) } else { Err(Error::Invalid(violations)) }
}

/// What is tested, for the audit log: a name, or nothing for a draft without one.
pub(super) fn subject(request: &TestSyncRequest) -> &str {
    match &request.subject {
        Some(Subject::Name(name)) => name,
        Some(Subject::Sync(sync)) => &sync.name,
        None => "",
    }
}

/// The node with that name, or any that is connected and does not drain.
fn node_that_sends(context: &Context, node: String) -> Result<String, Error> {
    if node.is_empty() {
        return context.nodes.any_connected().ok_or(Error::NoNode);
    }
    node.parse::<NodeName>().map_err(|invalid: InvalidName| Error::name("node", &invalid))?;
    if context.nodes.contains(&node) {
        return Ok(node);
    }
    let hint = ": it has not connected since the control plane started";
    Err(Error::NotFound { kind: "node", name: node, hint })
}
