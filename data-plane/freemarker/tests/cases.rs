//! Runs the case files in `tests/cases/<area>/`.
//!
//! A case is a text file of sections: `-- template`, then `-- model` (JSON), `-- settings`
//! (`name = value` lines) and `-- template NAME` (templates to include or import) if it needs them,
//! then `-- output`, or `-- error` with a line `kind line:column` and the error as it is displayed.
//! What they expect is compared with Apache FreeMarker by `tests/oracle/verify_cases.py`, except for
//! the wording of errors; where it is meant to differ a section `-- deviates` says why, and so does
//! COMPATIBILITY.md.
//!
//! With `UPDATE_CASES=1` what is displayed for errors is written into the files.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]
#![allow(clippy::disallowed_methods, reason = "the cases are files")]

use std::fs;
use std::path::{Path, PathBuf};

use sluice_freemarker::json::Document;
use sluice_freemarker::{Error, ErrorKind, Limits, Root, Settings, Template, Templates, Value};

#[derive(Default)]
struct Case {
    template: String,
    model: String,
    settings: String,
    templates: Vec<(String, String)>,
    output: Option<String>,
    error: Option<String>,
}

impl Case {
    fn parse(text: &str) -> Case {
        let mut case = Case { model: "{}".into(), ..Case::default() };
        let text = text.strip_prefix("-- ").unwrap_or_else(|| panic!("no section at the start"));
        for section in text.split("\n-- ") {
            let (name, content) = section.split_once('\n').unwrap_or((section, ""));
            let content = content.to_owned();
            match name {
                "template" => case.template = content,
                "model" => case.model = content,
                "settings" => case.settings = content,
                "output" => case.output = Some(end_of_file(&content)),
                "error" => case.error = Some(end_of_file(&content)),
                // for tests/oracle/verify_cases.py
                "deviates" => {}
                other => match other.strip_prefix("template ") {
                    Some(name) => case.templates.push((name.to_owned(), content)),
                    None => panic!("unknown section {other}"),
                },
            }
        }
        case
    }

    fn render(&self) -> Result<String, Error> {
        let mut settings = Settings::default();
        for line in self.settings.lines() {
            let (name, value) = line.split_once(" = ").unwrap();
            settings.set(name, value)?;
        }
        let model = Document::parse(self.model.as_bytes(), 100).unwrap();
        let mut root = Root::new().with_now(1_700_000_000_000);
        for (name, node) in model.root().members() {
            root = root.with(name, Value::json(node));
        }
        let mut templates = Templates::new(&settings);
        templates.insert("template.ftl", &self.template);
        for (name, source) in &self.templates {
            templates.insert(name, source);
        }
        let root = root.with_templates(&templates);
        let template = Template::parse("template.ftl", &self.template, &settings)?;
        let mut out = b"before".to_vec();
        let result = template.render(&root, &Limits::default(), &mut out);
        if result.is_err() {
            assert_eq!(out, b"before", "output of a failed rendering");
        }
        result?;
        Ok(String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_owned())
    }
}

/// The last section ends with a line break that is the file's.
fn end_of_file(content: &str) -> String {
    content.strip_suffix('\n').unwrap_or(content).to_owned()
}

fn describe(error: &Error) -> String {
    let kind = match error.kind() {
        ErrorKind::Parse => "parse",
        ErrorKind::Runtime => "runtime",
        ErrorKind::Limit => "limit",
    };
    format!("{kind} {}:{}\n{error}", error.line(), error.column())
}

fn case_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            case_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "txt") {
            files.push(path);
        }
    }
}

#[test]
fn all_cases() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let update = std::env::var_os("UPDATE_CASES").is_some();
    let mut files = Vec::new();
    case_files(&folder, &mut files);
    files.sort();
    assert!(files.len() > 150, "only {} case files were found", files.len());
    let mut failures = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        let case = Case::parse(&text);
        let (expected, got) = match case.render() {
            Ok(output) => (case.output, output),
            Err(error) => {
                let got = describe(&error);
                if let (true, Some(expected)) = (update, &case.error) {
                    let place = |text: &str| text.lines().next().map(str::to_owned);
                    assert_eq!(place(expected), place(&got), "{}", file.display());
                    let (before, after) = text.split_once("\n-- error\n").unwrap();
                    let deviates = after.find("-- deviates").and_then(|at| after.get(at..)).unwrap_or_default();
                    fs::write(file, format!("{before}\n-- error\n{got}\n{deviates}")).unwrap();
                    continue;
                }
                (case.error, got)
            }
        };
        if expected.as_ref() != Some(&got) {
            failures.push(format!("{}\n  expected {expected:?}\n  got      {got:?}", file.display()));
        }
    }
    assert!(failures.is_empty(), "{} cases fail:\n{}", failures.len(), failures.join("\n"));
}
