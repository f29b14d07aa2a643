//! Manifests: files of syncs in protobuf's JSON mapping, as YAML or JSON, one or many documents.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use prost_reflect::{DeserializeOptions, DynamicMessage};
use serde_json::Value;
use sluice_client::proto::{name::SyncName, sync::v1::Sync};
use sluice_pipeline::sync::Rules;

use crate::{
    context::Context,
    exit::Failure,
    fields,
    proto_json::descriptor,
    substitute::{Sources, substitute},
    violation::Shown,
};

/// Largest manifest that is read: 16 MiB.
const MAX_MANIFEST_BYTES: u64 = 16 << 20;

/// Folders within folders that are looked into.
const MAX_FOLDER_DEPTH: usize = 16;

/// One document of a manifest.
pub(crate) struct Document {
    /// What to call it in messages: its name, or its place in the file.
    pub(crate) label: String,
    /// The sync with every value in its place, or what is wrong with the document.
    pub(crate) sync: Result<Sync, Failure>,
}

/// The manifests that paths stand for: a folder stands for those in it and below it, in the order of their names.
///
/// # Errors
/// If a folder cannot be read, or holds none.
pub(crate) fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if is_stdin(path) || !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let before = files.len();
        collect(path, 0, &mut files)?;
        if files.len() == before {
            let message = format!("the folder {} holds no manifest (.yaml, .yml or .json)", path.display());
            return Err(Failure::invalid(message, Vec::new()));
        }
    }
    Ok(files)
}

fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::failed(format!("{} cannot be read: {error}", folder.display()));
    if depth > MAX_FOLDER_DEPTH {
        return Err(Failure::failed(format!("{} lies too deep: does a link lead back?", folder.display())));
    }
    let entries = std::fs::read_dir(folder).map_err(failed)?;
    let mut paths =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    paths.sort_unstable();
    for path in paths {
        let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if is_hidden {
            continue;
        }
        if path.is_dir() {
            collect(&path, depth + 1, files)?;
        } else if path
            .extension()
            .is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
        {
            files.push(path);
        }
    }
    Ok(())
}

/// Reads every document of `path` (`-`: standard input). Fails only if the file cannot be read or parsed at all.
pub(crate) fn read(context: &Context, path: &Path) -> Result<Vec<Document>, Failure> {
    let (text, folder) = load(path)?;
    let shown = if is_stdin(path) { "standard input".to_owned() } else { path.display().to_string() };
    let documents = parse(&text).map_err(|error| Failure::invalid(format!("{shown} cannot be parsed"), vec![error]))?;
    if documents.is_empty() {
        return Err(Failure::invalid(format!("{shown} holds no document"), Vec::new()));
    }
    let env = |name: &str| std::env::var(name).ok();
    let sources = Sources { folder: &folder, env: &env };
    Ok(documents
        .iter()
        .enumerate()
        .map(|(index, document)| read_document(context, document, &sources, &shown, index))
        .collect())
}

/// Whether a path stands for standard input.
pub(crate) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn load(path: &Path) -> Result<(String, PathBuf), Failure> {
    let failed = |error: std::io::Error| Failure::failed(format!("{} cannot be read: {error}", path.display()));
    let mut text = String::new();
    let folder = if is_stdin(path) {
        let stdin = std::io::stdin().lock();
        stdin.take(MAX_MANIFEST_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
        PathBuf::from(".")
    } else {
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(MAX_MANIFEST_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
        path.parent().map(Path::to_owned).unwrap_or_default()
    };
    if text.len() as u64 > MAX_MANIFEST_BYTES {
        return Err(Failure::invalid(format!("{} is larger than 16 MiB", path.display()), Vec::new()));
    }
    Ok((text, folder))
}

/// The documents of a text; the elements of a list are documents of their own.
fn parse(text: &str) -> Result<Vec<Value>, String> {
    let json = text.trim_start().starts_with(['{', '[']);
    let documents: Vec<Value> = match json.then(|| serde_json::from_str::<Value>(text)) {
        Some(Ok(document)) => vec![document],
        // YAML too may begin with a bracket.
        Some(Err(_)) | None => serde_saphyr::from_multiple(text).map_err(|error| error.to_string())?,
    };
    let mut flat = Vec::new();
    for document in documents {
        match document {
            Value::Array(documents) => flat.extend(documents),
            Value::Null => {}
            document => flat.push(document),
        }
    }
    Ok(flat)
}

fn read_document(context: &Context, document: &Value, sources: &Sources<'_>, file: &str, index: usize) -> Document {
    let place = || format!("{file}, document {}", index + 1);
    let label = match document.get("name") {
        Some(Value::String(name)) if !name.is_empty() => {
            context.sync_name(name).map_or_else(|_| place(), |name| name.to_string())
        }
        _ => place(),
    };
    let sync = read_sync(context, document, sources)
        .map_err(|problems| Failure::invalid("the document is not a valid sync", problems));
    Document { label, sync }
}

fn read_sync(context: &Context, document: &Value, sources: &Sources<'_>) -> Result<Sync, Vec<String>> {
    let descriptor = descriptor("sluice.sync.v1.Sync").map_err(|failure| vec![failure.message])?;
    let mut problems = fields::check(&descriptor, document);
    // What the check lets pass and this does not is a number out of its range: no text of the document is in it.
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let sync = DynamicMessage::deserialize_with_options(descriptor, document, &options)
        .map_err(|error| error.to_string())
        .and_then(|message| message.transcode_to::<Sync>().map_err(|error| error.to_string()));
    let mut sync = match sync {
        Ok(sync) => sync,
        Err(error) if problems.is_empty() => return Err(vec![error]),
        Err(_) => return Err(problems),
    };
    problems.extend(substitute(&mut sync, sources));
    if !sync.name.is_empty() {
        match context.sync_name(&sync.name) {
            Ok(name) => sync.name = name.to_string(),
            Err(failure) => problems.push(format!("name: {}", failure.message)),
        }
    }
    if problems.is_empty() {
        return Ok(sync);
    }
    problems.extend(violations(&sync, &problems));
    Err(problems)
}

/// What the server would say of the rest of a document that never gets there, so that everything is said at once. What only
/// the server knows, such as which destinations it allows, is left to it; fields that have a problem already are too.
fn violations(sync: &Sync, problems: &[String]) -> Vec<String> {
    let rules = Rules { allow_http: true, allow_private_destinations: true, ..Rules::default() };
    let found = sluice_pipeline::sync::compile(sync, &rules).err().unwrap_or_default();
    let known = |field: &str| {
        problems.iter().any(|problem| problem.strip_prefix(field).is_some_and(|rest| rest.starts_with(": ")))
    };
    // A header that keeps its stored secret is judged with it, on the server.
    let kept = |field: &str| field.ends_with(".secret.value");
    found
        .iter()
        .filter(|violation| !known(&violation.field) && !kept(&violation.field))
        .map(|violation| Shown(violation.into()).to_string())
        .collect()
}

/// The name of a sync that must have one.
pub(crate) fn name_of(sync: &Sync) -> Result<SyncName, Failure> {
    sync.name.parse().map_err(|_| {
        let problem = "name: is missing; a short one such as `orders` will do".to_owned();
        Failure::invalid("the document is not a valid sync", vec![problem])
    })
}

#[cfg(test)]
mod tests {
    use sluice_client::proto::sync::v1::{event_selection, header};

    use super::*;
    use crate::cli::Cli;

    fn context() -> Context {
        Context::new(<Cli as clap::Parser>::parse_from(["sluice", "sync", "list"]).global)
    }

    fn read_text(text: &str) -> Result<Vec<Document>, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("syncs.yaml");
        std::fs::write(&path, text).unwrap();
        std::fs::write(folder.path().join("token"), "s3cret\n").unwrap();
        read(&context(), &path)
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let text = "
name: orders
destination:
  url: ftp://example.com
  timeuot: 5s
  headers: [{name: Host, plain: x}]
events:
  template: {source: '${a?nosuch}'}
";
        let failure = read_text(text).unwrap().remove(0).sync.unwrap_err();
        for field in ["destination.timeuot: unknown", "destination.url: ", "destination.headers[0].name: "] {
            assert!(failure.details.iter().any(|detail| detail.starts_with(field)), "{field}: {:?}", failure.details);
        }
        assert!(failure.details.iter().any(|detail| detail.contains("line 1, column 5")), "{:?}", failure.details);
    }

    const SYNC: &str = "
name: orders
enabled: true
destination:
  url: https://example.com/hook
  headers:
    - name: Authorization
      secret: { value: 'Bearer ${file:token}' }
events:
  filter:
    event_types: [Purchase]
  template:
    source: |
      {\"id\": \"${input.user_id}\"}
";

    #[test]
    fn yaml_is_read_with_short_names_and_secrets_from_files() {
        let documents = read_text(SYNC).unwrap();
        assert_eq!(documents.len(), 1);
        assert_eq!(documents[0].label, "projects/default/syncs/orders");
        let sync = documents[0].sync.as_ref().unwrap();
        assert_eq!(sync.name, "projects/default/syncs/orders");
        let destination = sync.destination.as_ref().unwrap();
        match destination.headers[0].value.as_ref().unwrap() {
            header::Value::Secret(secret) => assert_eq!(secret.value, "Bearer s3cret"),
            header::Value::Plain(_) => panic!("it is a secret"),
        }
        match sync.events.as_ref().unwrap().payload.as_ref().unwrap() {
            event_selection::Payload::Template(template) => {
                assert_eq!(template.source, "{\"id\": \"${input.user_id}\"}\n");
            }
            event_selection::Payload::Original(_) => panic!("it is a template"),
        }
    }

    #[test]
    fn many_documents_are_read_and_a_bad_one_leaves_the_others_good() {
        let documents = read_text(&format!("{SYNC}---\nname: b\nurl: x\n---\n# nothing\n---\nname: c\n")).unwrap();
        let labels: Vec<_> = documents.iter().map(|document| document.label.as_str()).collect();
        assert_eq!(labels, ["projects/default/syncs/orders", "projects/default/syncs/b", "projects/default/syncs/c"]);
        assert!(documents[0].sync.is_ok() && documents[2].sync.is_ok());
        let failure = documents[1].sync.as_ref().unwrap_err();
        assert_eq!(failure.details[0], "url: unknown field; did you mean `destination.url`?");
    }

    #[test]
    fn json_is_read_alone_and_in_lists() {
        for (text, names) in [
            (r#"{"name": "projects/p/syncs/a", "enabled": true}"#, vec!["projects/p/syncs/a"]),
            (
                r#" [{"name": "a"}, {"name": "b", "displayName": "\u00e9\/"}]"#,
                vec!["projects/default/syncs/a", "projects/default/syncs/b"],
            ),
        ] {
            let documents = read_text(text).unwrap();
            let read: Vec<_> = documents.iter().map(|document| document.sync.as_ref().unwrap().name.clone()).collect();
            assert_eq!(read, names);
        }
    }

    #[test]
    fn all_problems_of_a_document_come_at_once() {
        let text = "name: Orders!\ndestination: { url: '${env:SLUICE_NOT_SET_1}' }\nevents: { original: {} }\n";
        let documents = read_text(text).unwrap();
        assert!(documents[0].label.ends_with("syncs.yaml, document 1"));
        let details = &documents[0].sync.as_ref().unwrap_err().details;
        assert_eq!(details.len(), 2, "{details:?}");
        assert!(details[0].starts_with("destination.url: "), "{details:?}");
        assert!(details[1].starts_with("name: "), "{details:?}");
    }

    #[test]
    fn files_that_hold_no_syncs_are_refused() {
        for text in ["", "# nothing", "a: [", "{\"a\": ", "name: a\nname: b\n"] {
            assert_eq!(read_text(text).err().unwrap().exit, crate::exit::Exit::Invalid, "{text}");
        }
        assert!(read(&context(), Path::new("/nowhere/at/all.yaml")).is_err());
        let scalar = read_text("just words").unwrap();
        assert!(scalar[0].sync.is_err());
    }
}
