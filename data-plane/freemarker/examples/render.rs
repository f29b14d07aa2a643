//! Renders a template file with a JSON file as its data: `render template.ftl data.json`.

#![allow(clippy::disallowed_methods, reason = "the program around the engine is who reads files")]

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;

use sluice_freemarker::json::Document;
use sluice_freemarker::{Limits, Root, Settings, Template};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [template, data] = arguments.as_slice() else {
        eprintln!("usage: render template.ftl data.json");
        return ExitCode::from(2);
    };
    match render(template, data) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The members of the JSON object are the template's variables.
fn render(template: &str, data: &str) -> Result<(), Box<dyn Error>> {
    let template = Template::parse(template, &fs::read_to_string(template)?, &Settings::default())?;
    let data = fs::read(data)?;
    let document = Document::parse(&data, 64)?;
    let root = document.root().members().fold(Root::new(), |root, (name, node)| root.with_json(name, node));
    let mut out = Vec::new();
    template.render(&root, &Limits::default(), &mut out)?;
    Ok(io::stdout().write_all(&out)?)
}
