//! `sluice projects`: what keeps syncs, events and keys of teams apart.

use clap::Subcommand;
use sluice_client::proto::access::v1::{CreateProjectRequest, ListProjectsRequest, Project};

use crate::{
    context::{Context, call},
    exit::Failure,
    output::{print, table, time},
    proto_json::Printed,
};

/// What to do with projects.
#[derive(Debug, Subcommand)]
pub(crate) enum ProjectsCommand {
    /// Make a project
    #[command(after_help = "\
Example:
  sluice projects create shop
  sluice sync apply -f syncs/ --project shop")]
    Create {
        /// Its id: a-z, 0-9 and -
        #[arg(value_name = "ID")]
        id: String,
    },
    /// List the projects
    #[command(after_help = "\
Example:
  sluice projects list")]
    List,
}

pub(crate) async fn run(context: &Context, command: ProjectsCommand) -> Result<(), Failure> {
    let mut client = context.projects().await?;
    match command {
        ProjectsCommand::Create { id } => {
            let request = CreateProjectRequest { project_id: id, validate_only: false };
            let project = client.create_project(call(request)).await?.into_inner();
            let printed = Printed::new("sluice.access.v1.Project", &project)?;
            print(context.format, &printed, || Ok(format!("{} is made", project.name)))
        }
        ProjectsCommand::List => {
            let mut projects = Vec::<Project>::new();
            let mut page_token = String::new();
            loop {
                let request = ListProjectsRequest { page_size: 1_000, page_token };
                let page = client.list_projects(call(request)).await?.into_inner();
                projects.extend(page.projects);
                page_token = page.next_page_token;
                if page_token.is_empty() {
                    break;
                }
            }
            let printed: Vec<_> = projects
                .iter()
                .map(|project| Printed::new("sluice.access.v1.Project", project))
                .collect::<Result<_, _>>()?;
            print(context.format, &printed, || {
                let rows = projects.iter().map(|project| {
                    vec![project.name.trim_start_matches("projects/").to_owned(), time(project.create_time.as_ref())]
                });
                Ok(table(&["PROJECT", "MADE"], rows))
            })
        }
    }
}
