//! Puts environment variables and files where a manifest says `${env:NAME}` or `${file:PATH}`: in header values, in the
//! URL, and as a whole template. What is put in is not looked through again; FreeMarker's own `${…}` is left alone.

use std::path::Path;

use sluice_client::proto::sync::v1::{Sync, event_selection, header};

/// Largest file that is read: 1 MiB.
const MAX_FILE_BYTES: u64 = 1 << 20;
const ENV: &str = "${env:";
const FILE: &str = "${file:";

/// Where the values come from.
pub(crate) struct Sources<'a> {
    /// Folder that relative paths begin at.
    pub(crate) folder: &'a Path,
    /// Gives an environment variable.
    pub(crate) env: &'a dyn Fn(&str) -> Option<String>,
}

/// Substitutes in `sync`. Gives every problem as `path: what is wrong`; values are never repeated.
pub(crate) fn substitute(sync: &mut Sync, sources: &Sources<'_>) -> Vec<String> {
    let mut problems = Vec::new();
    let mut put = |field: String, text: &mut String| match sources.fill(text) {
        Ok(filled) => *text = filled,
        Err(problem) => problems.push(format!("{field}: {problem}")),
    };
    if let Some(destination) = &mut sync.destination {
        put("destination.url".to_owned(), &mut destination.url);
        for (index, header) in destination.headers.iter_mut().enumerate() {
            match &mut header.value {
                Some(header::Value::Plain(value)) => put(format!("destination.headers[{index}].plain"), value),
                Some(header::Value::Secret(secret)) => {
                    put(format!("destination.headers[{index}].secret.value"), &mut secret.value);
                }
                None => {}
            }
        }
    }
    if let Some(event_selection::Payload::Template(template)) =
        sync.events.as_mut().and_then(|events| events.payload.as_mut())
        && let Some(path) = whole_file(&template.source)
    {
        match sources.file(path) {
            Ok(source) => template.source = source,
            Err(problem) => problems.push(format!("events.template.source: {problem}")),
        }
    }
    problems
}

/// The path, if the whole text is one `${file:PATH}`.
fn whole_file(text: &str) -> Option<&str> {
    let path = text.trim().strip_prefix(FILE)?.strip_suffix('}')?;
    (!path.contains(['{', '}', '\n'])).then_some(path)
}

impl Sources<'_> {
    fn fill(&self, text: &str) -> Result<String, String> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        loop {
            let next = [ENV, FILE].into_iter().filter_map(|mark| rest.find(mark).map(|at| (at, mark))).min();
            let Some((at, mark)) = next else {
                filled.push_str(rest);
                return Ok(filled);
            };
            let (before, from_mark) = rest.split_at(at);
            filled.push_str(before);
            let inner = from_mark.strip_prefix(mark).unwrap_or_default();
            let Some((name, after)) = inner.split_once('}') else {
                return Err(format!("`{mark}` is not closed with a `}}`"));
            };
            if mark == ENV {
                filled.push_str(&self.variable(name)?);
            } else {
                let content = self.file(name)?;
                // Files of secrets end with a line break that is not part of the secret.
                filled.push_str(
                    content.strip_suffix('\n').map_or(content.as_str(), |c| c.strip_suffix('\r').unwrap_or(c)),
                );
            }
            rest = after;
        }
    }

    fn variable(&self, name: &str) -> Result<String, String> {
        let valid = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
        if !valid {
            return Err("`${env:…}` takes the name of an environment variable".to_owned());
        }
        match (self.env)(name) {
            None => Err(format!("the environment variable `{name}` is not set")),
            Some(value) if value.is_empty() => Err(format!("the environment variable `{name}` is empty")),
            Some(value) => Ok(value),
        }
    }

    fn file(&self, name: &str) -> Result<String, String> {
        if name.is_empty() {
            return Err("`${file:…}` takes the path of a file".to_owned());
        }
        let path = self.folder.join(name);
        let failed = |error: std::io::Error| format!("the file {} cannot be read: {error}", path.display());
        let size = std::fs::metadata(&path).map_err(failed)?.len();
        if size > MAX_FILE_BYTES {
            return Err(format!("the file {} is larger than 1 MiB", path.display()));
        }
        std::fs::read_to_string(&path).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use sluice_client::proto::sync::v1::{Destination, EventSelection, Header, Secret, TemplatePayload};

    use super::*;

    fn sync(url: &str, secret: &str, plain: &str, template: &str) -> Sync {
        Sync {
            destination: Some(Destination {
                url: url.into(),
                headers: vec![
                    Header {
                        name: "Authorization".into(),
                        value: Some(header::Value::Secret(Secret { value: secret.into(), set: false })),
                    },
                    Header { name: "X-Env".into(), value: Some(header::Value::Plain(plain.into())) },
                ],
                ..Destination::default()
            }),
            events: Some(EventSelection {
                filter: None,
                payload: Some(event_selection::Payload::Template(TemplatePayload {
                    source: template.into(),
                    allow_invalid_json: false,
                })),
            }),
            display_name: "${env:TOKEN}".into(),
            ..Sync::default()
        }
    }

    fn run(sync: &mut Sync, folder: &Path) -> Vec<String> {
        let env = |name: &str| match name {
            "TOKEN" => Some("t0k}en".to_owned()),
            "HOST" => Some("${env:TOKEN}".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        substitute(sync, &Sources { folder, env: &env })
    }

    fn texts(sync: &Sync) -> Vec<String> {
        let destination = sync.destination.as_ref().unwrap();
        let mut texts = vec![destination.url.clone()];
        for header in &destination.headers {
            match header.value.as_ref().unwrap() {
                header::Value::Plain(value) => texts.push(value.clone()),
                header::Value::Secret(secret) => texts.push(secret.value.clone()),
            }
        }
        match sync.events.as_ref().unwrap().payload.as_ref().unwrap() {
            event_selection::Payload::Template(template) => texts.push(template.source.clone()),
            event_selection::Payload::Original(_) => {}
        }
        texts
    }

    #[test]
    fn variables_and_files_take_their_places() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), "from file\r\n").unwrap();
        std::fs::write(folder.path().join("body.ftl"), "{\"a\": \"${input.a}\"}\n").unwrap();
        let mut sync = sync(
            "https://${env:HOST}/hook",
            "Bearer ${env:TOKEN}${env:TOKEN}",
            "a ${file:secret} b",
            " ${file:body.ftl}\n",
        );
        assert_eq!(run(&mut sync, folder.path()), Vec::<String>::new());
        assert_eq!(
            texts(&sync),
            ["https://${env:TOKEN}/hook", "Bearer t0k}ent0k}en", "a from file b", "{\"a\": \"${input.a}\"}\n"]
        );
        assert_eq!(sync.display_name, "${env:TOKEN}", "nowhere else");
    }

    #[test]
    fn freemarker_is_left_alone() {
        let template = "${file:x} ${input.user_id} ${env:TOKEN} ${file:y}";
        let mut sync = sync("https://a.example", "s", "${x} $${", template);
        assert_eq!(run(&mut sync, Path::new("/nowhere")), Vec::<String>::new());
        assert_eq!(texts(&sync), ["https://a.example", "s", "${x} $${", template]);
    }

    #[test]
    fn every_missing_value_is_named_with_its_field() {
        let mut sync = sync("${env:NOPE}", "${file:nope}", "${env:EMPTY}", "${file:none.ftl}");
        let problems = run(&mut sync, Path::new("/nowhere"));
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert_eq!(problems[0], "destination.url: the environment variable `NOPE` is not set");
        assert!(problems[1].starts_with("destination.headers[0].secret.value: the file /nowhere/nope cannot be read"));
        assert_eq!(problems[2], "destination.headers[1].plain: the environment variable `EMPTY` is empty");
        assert!(problems[3].starts_with("events.template.source: the file /nowhere/none.ftl cannot be read"));
    }

    #[test]
    fn marks_that_are_not_closed_or_name_nothing_are_refused() {
        let mut sync = sync("${env:A B}", "${env:TOKEN", "${file:}", "x");
        let problems = run(&mut sync, Path::new("."));
        assert_eq!(
            problems,
            [
                "destination.url: `${env:…}` takes the name of an environment variable",
                "destination.headers[0].secret.value: `${env:` is not closed with a `}`",
                "destination.headers[1].plain: `${file:…}` takes the path of a file",
            ]
        );
    }
}
