//! `ProjectService`: how admins manage projects.

use sluice_access::Caller;
use sluice_pipeline::violation::reason;
use sluice_proto::{
    access::v1::{
        CreateProjectRequest, ListProjectsRequest, ListProjectsResponse, Project,
        project_service_server::ProjectService,
    },
    name::{ID_RULE, is_valid_id},
};
use tonic::{Request, Response, Status};

use super::{
    Context, page,
    scope::{admit_actor, admit_caller},
};
use crate::{
    audit::Actor,
    error::{Error, shorten},
    time::timestamp,
};

/// The service.
pub(crate) struct Projects(pub(crate) Context);

#[tonic::async_trait]
impl ProjectService for Projects {
    async fn create_project(&self, request: Request<CreateProjectRequest>) -> Result<Response<Project>, Status> {
        let (request, actor) = admit_actor(&self.0, request)?;
        Ok(Response::new(self.create(&request, &actor).await?))
    }

    async fn list_projects(
        &self,
        request: Request<ListProjectsRequest>,
    ) -> Result<Response<ListProjectsResponse>, Status> {
        let (request, caller) = admit_caller(request)?;
        Ok(Response::new(self.list(&request, &caller).await?))
    }
}

impl Projects {
    async fn create(&self, request: &CreateProjectRequest, actor: &Actor) -> Result<Project, Error> {
        let id = &request.project_id;
        if !is_valid_id(id) {
            let description = format!("`{}` is not an id: {ID_RULE}", shorten(id, 80).escape_debug());
            return Err(Error::invalid("project_id", reason::INVALID_NAME, description));
        }
        let (name, now_ms) = (format!("projects/{id}"), self.0.clock.now_ms());
        let is_new = match request.validate_only {
            true => !self.0.store.has_project(id).await?,
            false => self.0.store.create_project(id, now_ms, actor).await?,
        };
        if !is_new {
            return Err(Error::AlreadyExists { kind: "project", name });
        }
        Ok(Project { name, create_time: Some(timestamp(now_ms)) })
    }

    async fn list(&self, request: &ListProjectsRequest, caller: &Caller) -> Result<ListProjectsResponse, Error> {
        let size = page::size(request.page_size)?;
        let list = page::ListOf::new(&[b"projects"]);
        let after = list.place(&request.page_token)?.unwrap_or_default();
        let limit = i64::try_from(size.saturating_add(1)).unwrap_or(i64::MAX);
        let mut found = self.0.store.projects(caller.project(), &String::from_utf8_lossy(&after), limit).await?;
        let has_more = found.len() > size;
        found.truncate(size);
        let next_page_token = match found.last() {
            Some((last, _)) if has_more => list.token(last.as_bytes()),
            _ => String::new(),
        };
        let projects = found
            .into_iter()
            .map(|(id, create_ms)| Project { name: format!("projects/{id}"), create_time: create_ms.map(timestamp) });
        Ok(ListProjectsResponse { projects: projects.collect(), next_page_token })
    }
}
