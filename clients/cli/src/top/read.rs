//! The calls: one list of nodes, one list of syncs where it is time for one, one of the ledgers, and one for each sync whose figures
//! are wanted, few of them at a time.

use std::time::{Duration, Instant};

use sluice_client::{
    Connection,
    proto::{
        delivery::v1::{
            Attempt, GetSyncMetricsRequest, ListAttemptsRequest, MetricsWindow, SyncMetrics,
            delivery_service_client::DeliveryServiceClient, get_sync_metrics_request::Period,
        },
        node::v1::{GetLedgerRequest, ListNodesRequest, Node, NodeLedger, node_service_client::NodeServiceClient},
        sync::v1::{ListSyncsRequest, Sync, sync_service_client::SyncServiceClient},
    },
};
use tokio::task::JoinSet;
use tonic::Code;

use super::board::{Reading, Want};
use crate::{
    context::{Context, call},
    exit::Failure,
};

/// Syncs, and nodes, that are listed at most.
const MAX_ROWS: usize = 10_000;

const PAGE: i32 = 1_000;

/// Calls for figures under way at once.
const AT_ONCE: usize = 8;

/// Attempts of the details.
const ATTEMPTS: i32 = 20;

/// Asks the control plane.
pub(crate) struct Reader {
    syncs: SyncServiceClient<Connection>,
    deliveries: DeliveryServiceClient<Connection>,
    nodes: NodeServiceClient<Connection>,
    project: String,
    window: MetricsWindow,
    /// Turns false when the key turns out to be of one project: it cannot become one of all.
    may_read_ledgers: bool,
    began: Instant,
}

impl Reader {
    pub(crate) async fn new(context: &Context, window: MetricsWindow) -> Result<Self, Failure> {
        Ok(Self {
            syncs: context.syncs().await?,
            deliveries: context.deliveries().await?,
            nodes: context.nodes().await?,
            project: context.project()?.to_string(),
            window,
            may_read_ledgers: true,
            began: Instant::now(),
        })
    }

    /// Asks for what is wanted.
    pub(crate) async fn read(&mut self, want: &Want) -> Result<Reading, Failure> {
        let (nodes, revision) = self.list_nodes().await?;
        let (syncs, more_syncs) = match want.syncs {
            true => self.list_syncs().await.map(|(syncs, more)| (Some(syncs), more))?,
            false => (None, false),
        };
        let attempts = match &want.attempts {
            Some(name) => self.list_attempts(name).await?.map(|attempts| (name.clone(), attempts)),
            None => None,
        };
        let metrics = self.metrics(&want.metrics).await?;
        let ledgers = self.ledgers().await;
        Ok(Reading {
            at: self.began.elapsed(),
            now_ms: now_ms(),
            syncs,
            more_syncs,
            metrics,
            nodes,
            revision,
            ledgers,
            attempts,
        })
    }

    async fn list_nodes(&mut self) -> Result<(Vec<Node>, i64), Failure> {
        let (mut nodes, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = ListNodesRequest { page_size: PAGE, page_token };
            let page = self.nodes.list_nodes(call(request)).await?.into_inner();
            nodes.extend(page.nodes);
            page_token = page.next_page_token;
            if page_token.is_empty() || nodes.len() >= MAX_ROWS {
                return Ok((nodes, page.revision));
            }
        }
    }

    async fn list_syncs(&mut self) -> Result<(Vec<Sync>, bool), Failure> {
        let (mut syncs, mut page_token) = (Vec::<Sync>::new(), String::new());
        loop {
            let request = ListSyncsRequest {
                parent: self.project.clone(),
                page_size: PAGE,
                page_token,
                ..ListSyncsRequest::default()
            };
            let page = self.syncs.list_syncs(call(request)).await?.into_inner();
            // Templates and filters are not shown: no need to hold them.
            syncs.extend(page.syncs.into_iter().map(|sync| Sync { events: None, ..sync }));
            page_token = page.next_page_token;
            if page_token.is_empty() || syncs.len() >= MAX_ROWS {
                return Ok((syncs, !page_token.is_empty()));
            }
        }
    }

    /// None if there is no such sync any more.
    async fn list_attempts(&mut self, sync: &str) -> Result<Option<Vec<Attempt>>, Failure> {
        let request =
            ListAttemptsRequest { parent: sync.to_owned(), page_size: ATTEMPTS, ..ListAttemptsRequest::default() };
        match self.deliveries.list_attempts(call(request)).await {
            Ok(page) => Ok(Some(page.into_inner().attempts)),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(status.into()),
        }
    }

    /// Syncs that are gone are left out.
    async fn metrics(&self, names: &[String]) -> Result<Vec<SyncMetrics>, Failure> {
        let mut names = names.iter();
        let mut calls = JoinSet::new();
        let mut metrics = Vec::new();
        loop {
            while calls.len() < AT_ONCE
                && let Some(name) = names.next()
            {
                let mut client = self.deliveries.clone();
                let period = Some(Period::Window(self.window.into()));
                let request = GetSyncMetricsRequest { name: name.clone(), period };
                calls.spawn(async move { client.get_sync_metrics(call(request)).await });
            }
            match calls.join_next().await {
                None => return Ok(metrics),
                Some(Ok(Ok(answer))) => metrics.push(answer.into_inner()),
                Some(Ok(Err(status))) if status.code() == Code::NotFound => {}
                Some(Ok(Err(status))) => return Err(status.into()),
                Some(Err(error)) => return Err(Failure::failed(format!("a call was broken off: {error}"))),
            }
        }
    }

    /// The view does without them if it must.
    async fn ledgers(&mut self) -> Option<Vec<NodeLedger>> {
        if !self.may_read_ledgers {
            return None;
        }
        match self.nodes.get_ledger(call(GetLedgerRequest { name: "nodes/-".to_owned() })).await {
            Ok(answer) => Some(answer.into_inner().ledgers),
            Err(status) => {
                self.may_read_ledgers = status.code() != Code::PermissionDenied;
                None
            }
        }
    }
}

fn now_ms() -> i64 {
    let passed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(passed.as_millis()).unwrap_or(i64::MAX)
}
