//! Renders requests from standard input, one JSON object a line, and answers a line each, so that
//! engines can be compared.
//!
//! Request: `{"id": any, "template": "…", "model": {…}, "settings": {…}, "name": "…",
//! "templates": {"name": "…"}}`.
//! Answer: `{"id": …, "output": "…"}` or
//! `{"id": …, "error": "…", "kind": "parse"|"runtime"|"limit", "line": n, "column": n}`.

#![allow(clippy::disallowed_methods, reason = "the program around the engine is who knows the time")]

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::value::RawValue;
use serde_json::{Value as Json, json};
use sluice_freemarker::json::Document;
use sluice_freemarker::{Error, ErrorKind, Limits, Root, Settings, Template, Templates, Value};

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let line = line?;
        if !line.trim().is_empty() {
            writeln!(out, "{}", answer(&line))?;
        }
    }
    out.flush()
}

fn answer(line: &str) -> Json {
    let request: BTreeMap<String, Box<RawValue>> = match serde_json::from_str(line) {
        Ok(request) => request,
        Err(error) => return json!({"id": null, "error": error.to_string(), "kind": "request"}),
    };
    let field = |name: &str| -> Option<Json> { request.get(name).and_then(|raw| serde_json::from_str(raw.get()).ok()) };
    let id = field("id").unwrap_or(Json::Null);
    match render(&request, &field) {
        Ok(output) => json!({"id": id, "output": output}),
        Err(Failure::Template(error)) => json!({
            "id": id,
            "error": error.message(),
            "kind": match error.kind() {
                ErrorKind::Parse => "parse",
                ErrorKind::Runtime => "runtime",
                ErrorKind::Limit => "limit",
            },
            "line": error.line(),
            "column": error.column(),
        }),
        Err(Failure::Request(message)) => json!({"id": id, "error": message, "kind": "request"}),
    }
}

enum Failure {
    Template(Error),
    Request(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Template(error)
    }
}

fn render(request: &BTreeMap<String, Box<RawValue>>, field: &dyn Fn(&str) -> Option<Json>) -> Result<String, Failure> {
    let source = field("template").unwrap_or_default();
    let name = field("name").unwrap_or_else(|| json!("template.ftl"));
    let (Some(source), Some(name)) = (source.as_str(), name.as_str()) else {
        return Err(Failure::Request("template and name must be strings".into()));
    };
    let mut settings = Settings::default();
    let mut shared = Json::Null;
    if let Some(Json::Object(given)) = field("settings") {
        for (setting, value) in given {
            match (setting.as_str(), value) {
                ("shared_variables", value) => shared = value,
                (setting, Json::String(value)) => settings.set(setting, &value)?,
                (setting, _) => {
                    return Err(Failure::Request(format!("the setting {setting} must be a string")));
                }
            }
        }
    }
    let shared = shared.to_string();
    let model = request.get("model").map_or("{}", |model| model.get());
    let parse = |text| Document::parse(text, 1000).map_err(|error| Failure::Request(error.to_string()));
    let (model, shared) = (parse(model.as_bytes())?, parse(shared.as_bytes())?);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as i64);
    let mut root = Root::new().with_now(now);
    for (name, node) in shared.root().members().chain(model.root().members()) {
        root = root.with(name, Value::json(node));
    }
    let mut templates = Templates::new(&settings);
    if let Some(Json::Object(given)) = field("templates") {
        for (name, source) in &given {
            templates.insert(name, source.as_str().unwrap_or_default());
        }
    }
    // a template may include itself
    templates.insert(name, source);
    let root = root.with_templates(&templates);
    let template = Template::parse(name, source, &settings)?;
    let mut out = Vec::new();
    template.render(&root, &Limits::default(), &mut out)?;
    String::from_utf8(out).map_err(|error| Failure::Request(error.to_string()))
}
