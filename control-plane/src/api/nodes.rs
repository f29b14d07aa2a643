//! `NodeService`: how operators see the nodes.

use sluice_access::Caller;
use sluice_proto::{
    name::{InvalidName, NodeName},
    node::v1::{
        Drain, DrainNodeRequest, DrainNodeResponse, GetLedgerRequest, GetLedgerResponse, GetSpoolStatsRequest,
        ListNodesRequest, ListNodesResponse, ReadLedger, ReadSpoolStats, SpoolStats, command::Command as What,
        command_result::Result as Outcome, node_service_server::NodeService,
    },
};
use tonic::{Request, Response, Status};

use super::{
    Context,
    commands::NoAnswer,
    page,
    scope::{admit, admit_caller, admit_command},
};
use crate::error::Error;

/// The service.
pub(crate) struct NodeList(pub(crate) Context);

#[tonic::async_trait]
impl NodeService for NodeList {
    async fn list_nodes(&self, request: Request<ListNodesRequest>) -> Result<Response<ListNodesResponse>, Status> {
        let (request, caller) = admit_caller(request)?;
        Ok(Response::new(self.list(&request, &caller).await?))
    }

    async fn get_ledger(&self, request: Request<GetLedgerRequest>) -> Result<Response<GetLedgerResponse>, Status> {
        Ok(Response::new(self.ledgers(&admit(request)?.name).await?))
    }

    async fn get_spool_stats(&self, request: Request<GetSpoolStatsRequest>) -> Result<Response<SpoolStats>, Status> {
        let name = admit(request)?.name;
        match self.ask(&name, What::ReadSpoolStats(ReadSpoolStats {})).await? {
            Outcome::SpoolStats(stats) => Ok(Response::new(stats)),
            _ => Err(NoAnswer::Nonsense.error(&name).into()),
        }
    }

    async fn drain_node(&self, request: Request<DrainNodeRequest>) -> Result<Response<DrainNodeResponse>, Status> {
        let name = admit_command(&self.0, request, |request| &request.name).await?.name;
        match self.ask(&name, What::Drain(Drain {})).await? {
            Outcome::Drain(remains) => {
                self.0.nodes.drains(&name);
                Ok(Response::new(remains))
            }
            _ => Err(NoAnswer::Nonsense.error(&name).into()),
        }
    }
}

impl NodeList {
    /// Nodes serve all projects; a caller of one project sees what they do of its own.
    async fn list(&self, request: &ListNodesRequest, caller: &Caller) -> Result<ListNodesResponse, Error> {
        let size = page::size(request.page_size)?;
        let list = page::ListOf::new(&[b"nodes"]);
        let after = list.place(&request.page_token)?.unwrap_or_default();

        let uids = match caller.project() {
            Some(project) => Some(self.0.store.sync_uids(project).await?),
            None => None,
        };
        let counted = |uid: &str| uids.as_ref().is_none_or(|uids| uids.contains(uid));
        let behind = |serves: &_| self.0.publisher.behind_since_ms(serves);
        let mut nodes = self.0.nodes.list(&String::from_utf8_lossy(&after), size.saturating_add(1), counted, behind);
        if uids.is_some() {
            // A node does not tell these by project.
            for node in &mut nodes {
                (node.in_flight_count, node.spool_bytes) = (0, 0);
            }
        }
        let has_more = nodes.len() > size;
        nodes.truncate(size);
        let next_page_token = match nodes.last() {
            Some(last) if has_more => list.token(last.name.as_bytes()),
            _ => String::new(),
        };
        let revision = self.0.publisher.watch_revision().borrow().revision;
        Ok(ListNodesResponse { nodes, next_page_token, revision })
    }

    async fn ledgers(&self, name: &str) -> Result<GetLedgerResponse, Error> {
        let what = What::ReadLedger(ReadLedger {});
        if name != "nodes/-" {
            return match self.ask(name, what).await? {
                Outcome::Ledger(ledger) => {
                    Ok(GetLedgerResponse { ledgers: vec![ledger], unreachable_nodes: Vec::new() })
                }
                _ => Err(NoAnswer::Nonsense.error(name)),
            };
        }
        let (answers, mut unreachable_nodes) = self.0.ask_all(&what).await?;
        let mut ledgers = Vec::with_capacity(answers.len());
        for (node, answer) in answers {
            match answer {
                Outcome::Ledger(ledger) => ledgers.push(ledger),
                _ => unreachable_nodes.push(NoAnswer::Nonsense.of(&node)),
            }
        }
        Ok(GetLedgerResponse { ledgers, unreachable_nodes })
    }

    /// Asks the node of that name.
    async fn ask(&self, name: &str, what: What) -> Result<Outcome, Error> {
        name.parse::<NodeName>().map_err(|invalid: InvalidName| Error::name("name", &invalid))?;
        if !self.0.nodes.contains(name) {
            return Err(Error::NotFound {
                kind: "node",
                name: name.to_owned(),
                hint: ": it has not connected since the control plane started",
            });
        }
        let asked = self.0.unless_stopping(self.0.ask(name, what)).await?;
        asked.map_err(|no_answer| no_answer.error(name))
    }
}
