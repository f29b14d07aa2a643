//! `sluice dead-letters export`: written and synced first, marked as exported afterwards, so that nothing is marked that is not
//! kept.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, BufWriter, ErrorKind, Write},
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sluice_client::proto::delivery::v1::{
    DeadLetter, ExportDeadLettersRequest, ExportDeadLettersResponse, MarkDeadLettersExportedRequest, UnreachableNode,
    delivery_service_client::DeliveryServiceClient,
};
use tonic::{Request, Streaming};

use crate::{
    commands::dead_letters::{Chosen, MarkArgs},
    context::{Context, call},
    exit::{Exit, Failure},
    manifest::is_stdin,
    output::{count, note, write},
    unreachable,
};

pub(crate) const HELP: &str = "\
Examples:
  sluice dead-letters export dead.ndjson
  sluice dead-letters export - --sync orders | jq -c .event > events.ndjson   # ready for `sluice events send`
  sluice dlq export render.ndjson --reason render --no-mark

A line holds the delivery, its sync, node, outcome, reason, times and attempts under their names in the API, and the event as it
came in `event` (in base64 as `event_base64` if it is not JSON; neither if it is damaged). The file must not be there yet; it
takes its name once it is complete and on disk. Then what it holds is marked as exported, so that a drained node may be deleted;
what goes to standard output is marked only with --mark.";

/// Dead letters that are marked by one call.
const MARKED_AT_ONCE: usize = 1_000;

/// One line.
#[derive(Serialize)]
struct Line<'a> {
    delivery: &'a str,
    sync: &'a str,
    sync_uid: &'a str,
    node: &'a str,
    event_id: &'a str,
    event_type: &'a str,
    outcome: &'a str,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    accept_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_time: Option<String>,
    schedule: i32,
    attempt_count: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_base64: Option<String>,
}

/// What is read back of a line.
#[derive(Deserialize)]
struct Named {
    delivery: String,
}

pub(crate) async fn run(context: &Context, chosen: Chosen, file: &Path, mark: MarkArgs) -> Result<(), Failure> {
    let shown = file.display().to_string();
    let failed = |error: io::Error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::new(Exit::Conflict, format!("{shown} is there already: name a new file")),
        _ => Failure::failed(format!("{shown}: {error}")),
    };
    let target = if is_stdin(file) { None } else { Some(Target::create(file).map_err(failed)?) };
    let mut export =
        Export { client: context.deliveries().await?, chosen, exported: 0, marked: 0, missing: Vec::new() };
    match target {
        None => export.print_lines(mark.mark).await?,
        Some(target) => {
            export.write_file(target, &failed).await?;
            if !mark.no_mark {
                export.mark_all(file, &failed).await?;
            }
        }
    }
    let marked = if export.marked > 0 { ", marked as exported" } else { "" };
    note(&format!("{} written{marked}", count(export.exported, "dead letter")));
    unreachable::check(&export.missing)
}

struct Export {
    client: DeliveryServiceClient<sluice_client::Connection>,
    chosen: Chosen,
    exported: u64,
    marked: i64,
    missing: Vec<UnreachableNode>,
}

impl Export {
    async fn print_lines(&mut self, mark: bool) -> Result<(), Failure> {
        let mut stream = self.stream().await?;
        while let Some(piece) = stream.message().await? {
            let mut lines = Vec::new();
            for letter in &piece.dead_letters {
                lines.extend(line(letter)?);
            }
            write(&lines)?;
            self.exported += piece.dead_letters.len() as u64;
            self.missing.extend(piece.unreachable_nodes);
            if mark {
                self.mark(piece.dead_letters.into_iter().map(|letter| letter.delivery).collect()).await?;
            }
        }
        Ok(())
    }

    async fn write_file(&mut self, mut target: Target, failed: &impl Fn(io::Error) -> Failure) -> Result<(), Failure> {
        let mut stream = self.stream().await?;
        while let Some(piece) = stream.message().await? {
            for letter in &piece.dead_letters {
                target.writer.write_all(&line(letter)?).map_err(failed)?;
            }
            self.exported += piece.dead_letters.len() as u64;
            self.missing.extend(piece.unreachable_nodes);
        }
        target.keep().map_err(failed)
    }

    async fn stream(&mut self) -> Result<Streaming<ExportDeadLettersResponse>, Failure> {
        let Chosen { parent, filter } = self.chosen.clone();
        // No time limit: it goes on for as long as there are more.
        let request = Request::new(ExportDeadLettersRequest { parent, filter });
        Ok(self.client.export_dead_letters(request).await?.into_inner())
    }

    /// Marks what the file holds, read back from it: what is marked can be read.
    async fn mark_all(&mut self, file: &Path, failed: &impl Fn(io::Error) -> Failure) -> Result<(), Failure> {
        let mut deliveries = Vec::new();
        for line in BufReader::new(File::open(file).map_err(failed)?).lines() {
            let named: Named = serde_json::from_str(&line.map_err(failed)?)
                .map_err(|error| Failure::failed(format!("{}: {error}", file.display())))?;
            deliveries.push(named.delivery);
            if deliveries.len() >= MARKED_AT_ONCE {
                self.mark(std::mem::take(&mut deliveries)).await?;
            }
        }
        self.mark(deliveries).await
    }

    async fn mark(&mut self, deliveries: Vec<String>) -> Result<(), Failure> {
        if deliveries.is_empty() {
            return Ok(());
        }
        let request = MarkDeadLettersExportedRequest { parent: self.chosen.parent.clone(), deliveries };
        let marked = self.client.mark_dead_letters_exported(call(request)).await?.into_inner();
        self.marked += marked.marked_count;
        self.missing.extend(marked.unreachable_nodes);
        Ok(())
    }
}

/// A file that takes its name when it is complete.
struct Target {
    writer: BufWriter<File>,
    unfinished: PathBuf,
    file: PathBuf,
    kept: bool,
}

impl Target {
    fn create(file: &Path) -> io::Result<Self> {
        if file.try_exists()? {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let mut name = file.as_os_str().to_owned();
        name.push(".unfinished");
        let unfinished = PathBuf::from(name);
        let writer = BufWriter::new(File::create(&unfinished)?);
        Ok(Self { writer, unfinished, file: file.to_owned(), kept: false })
    }

    /// On disk when this returns, the name too. Does not take the place of another file.
    fn keep(mut self) -> io::Result<()> {
        self.writer.flush()?;
        self.writer.get_ref().sync_all()?;
        fs::hard_link(&self.unfinished, &self.file)?;
        fs::remove_file(&self.unfinished)?;
        self.kept = true;
        let folder = self.file.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if !self.kept {
            // Of no use to anybody; one that cannot be removed is told by its name.
            let _ = fs::remove_file(&self.unfinished);
        }
    }
}

fn line(letter: &DeadLetter) -> Result<Vec<u8>, Failure> {
    let (event, event_base64) = event(&letter.event_json);
    let line = Line {
        delivery: &letter.delivery,
        sync: letter.delivery.split_once("/deliveries/").map_or("", |(sync, _)| sync),
        sync_uid: &letter.sync_uid,
        node: &letter.node,
        event_id: &letter.event_id,
        event_type: &letter.event_type,
        outcome: letter.outcome().as_str_name(),
        reason: letter.reason().as_str_name(),
        accept_time: letter.accept_time.map(|time| time.to_string()),
        end_time: letter.end_time.map(|time| time.to_string()),
        schedule: letter.schedule,
        attempt_count: letter.attempt_count,
        event,
        event_base64,
    };
    let mut bytes = serde_json::to_vec(&line).map_err(|error| Failure::failed(error.to_string()))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The event as it came, on one line; or in base64 if it is not JSON; neither if there is none.
fn event(json: &[u8]) -> (Option<Box<RawValue>>, Option<String>) {
    if json.is_empty() {
        return (None, None);
    }
    // Line breaks stand only between a JSON text's parts, where a space does as well: within its strings they are escaped.
    let on_one_line = |text: &str| text.replace(['\n', '\r'], " ");
    let is_json = |text: &&str| serde_json::from_str::<&RawValue>(text).is_ok();
    let text = std::str::from_utf8(json).ok().filter(is_json).map(on_one_line);
    match text.and_then(|text| RawValue::from_string(text).ok()) {
        Some(event) => (Some(event), None),
        None => (None, Some(BASE64_STANDARD.encode(json))),
    }
}

#[cfg(test)]
mod tests {
    use sluice_client::proto::delivery::v1::{EndingOutcome, EndingReason};

    use super::*;

    fn letter(json: &'static str) -> DeadLetter {
        DeadLetter {
            delivery: "projects/default/syncs/orders/deliveries/00ff".into(),
            event_type: "Buy".into(),
            outcome: EndingOutcome::Discarded.into(),
            reason: EndingReason::Render.into(),
            accept_time: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
            event_json: json.into(),
            ..DeadLetter::default()
        }
    }

    #[test]
    fn a_dead_letter_is_one_line_with_the_event_as_it_came() {
        let text =
            String::from_utf8(line(&letter("{\r\n  \"price\": 1.50,\n  \"n\": 12345678901234567890 }")).unwrap());
        let text = text.unwrap();
        assert_eq!(text.matches('\n').count(), 1);
        assert!(text.ends_with("\"event\":{    \"price\": 1.50,   \"n\": 12345678901234567890 }}\n"), "{text}");
        for part in [
            "\"sync\":\"projects/default/syncs/orders\"",
            "ENDING_REASON_RENDER",
            "\"accept_time\":\"1970-01-01T00:00:01Z\"",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let named: Named = serde_json::from_str(&text).unwrap();
        assert_eq!(named.delivery, "projects/default/syncs/orders/deliveries/00ff");
    }

    #[test]
    fn an_event_that_is_not_json_or_damaged_is_told_apart() {
        let shown = |json| String::from_utf8(line(&letter(json)).unwrap()).unwrap();
        assert!(shown("{no").ends_with("\"event_base64\":\"e25v\"}\n"));
        assert!(shown("").ends_with("\"attempt_count\":0}\n"));
    }

    #[test]
    fn a_file_takes_its_name_when_it_is_complete_and_nobodys_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dead.ndjson");
        drop(Target::create(&path).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "given up: nothing is left");
        let mut target = Target::create(&path).unwrap();
        target.writer.write_all(b"{}\n").unwrap();
        assert!(!path.exists());
        target.keep().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"{}\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(Target::create(&path).is_err_and(|error| error.kind() == ErrorKind::AlreadyExists));
    }
}
