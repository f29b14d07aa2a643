//! `NodeService`: how operators see the nodes.

use sluice_proto::node::v1::{ListNodesRequest, ListNodesResponse, node_service_server::NodeService};
use tonic::{Request, Response, Status};

use super::{Context, page};
use crate::error::Error;

/// The service.
pub(crate) struct NodeList(pub(crate) Context);

#[tonic::async_trait]
impl NodeService for NodeList {
    async fn list_nodes(&self, request: Request<ListNodesRequest>) -> Result<Response<ListNodesResponse>, Status> {
        Ok(Response::new(self.list(&request.into_inner())?))
    }
}

impl NodeList {
    fn list(&self, request: &ListNodesRequest) -> Result<ListNodesResponse, Error> {
        let size = page::size(request.page_size)?;
        let list = page::ListOf::new(&[b"nodes"]);
        let after = list.place(&request.page_token)?.unwrap_or_default();

        let mut nodes = self.0.nodes.list(&String::from_utf8_lossy(&after), size.saturating_add(1));
        let has_more = nodes.len() > size;
        nodes.truncate(size);
        let next_page_token = match nodes.last() {
            Some(last) if has_more => list.token(last.name.as_bytes()),
            _ => String::new(),
        };
        Ok(ListNodesResponse { nodes, next_page_token })
    }
}
