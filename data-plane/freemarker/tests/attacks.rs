//! Templates that are meant to do harm, a file each in `tests/attacks/`: those in `limit/` must end in an error that
//! names the limit they reached, those in `soon/` may end as they like. All must end soon, in little memory, on the
//! stack of a server's thread.
//!
//! An attack can include itself, as `attack`. `«20000:text»` stands for that many times the text, with `№` for the number of the time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]
#![allow(clippy::disallowed_methods, reason = "the attacks are files, and run on a thread of their own")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use sluice_freemarker::json::Document;
use sluice_freemarker::{Error, ErrorKind, Limits, Root, Settings, Template, Templates, Usage};

const STACK_BYTES: usize = 2 << 20;
const MAX_MEMORY_BYTES: u64 = 64 << 20;
/// Of the processor, which does not count what else the machine does. Optimised it is some 20 ms.
const MAX_TIME: Duration = Duration::from_secs(4);

/// What attacks find in the data: `big`, a text of 100,000 letters; `many`, 5,000 numbers, unsorted.
fn model() -> String {
    let many: Vec<String> = (0..5000).map(|n| (n * 7919 % 5003).to_string()).collect();
    format!("{{\"big\": \"{}\", \"many\": [{}]}}", "a".repeat(100_000), many.join(","))
}

fn expand(text: &str) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('«') {
        let (times, after) = after.split_once(':').unwrap();
        let (repeated, after) = after.split_once('»').unwrap();
        expanded.push_str(before);
        for n in 0..times.parse::<usize>().unwrap() {
            expanded.push_str(&repeated.replace('№', &n.to_string()));
        }
        rest = after;
    }
    expanded + rest
}

fn render(source: &str, model: &str) -> Result<Usage, Error> {
    let document = Document::parse(model.as_bytes(), 100).unwrap();
    let mut root = Root::new().with_now(0);
    for (name, node) in document.root().members() {
        root = root.with_json(name, node);
    }
    let settings = Settings::default();
    let mut templates = Templates::new(&settings);
    templates.insert("attack", source);
    let template = Template::parse("attack", source, &settings)?;
    let root = root.with_templates(&templates);
    template.render(&root, &Limits::default(), &mut Vec::new())
}

/// What is wrong with how the attack ended.
fn judge(source: &str, model: &str, must_reach_a_limit: bool) -> Option<String> {
    let start = cpu_time();
    let mut ended = Ok(Usage::default());
    let memory = allocation_counter::measure(|| ended = render(source, model));
    let took = cpu_time() - start;
    if memory.bytes_max > MAX_MEMORY_BYTES {
        return Some(format!("took {} bytes", memory.bytes_max));
    }
    if took > MAX_TIME {
        return Some(format!("took {took:?}"));
    }
    let most = Limits::default().max_steps;
    match ended {
        Ok(usage) if must_reach_a_limit => Some(format!("ended well after {} steps", usage.steps)),
        Ok(usage) if usage.steps > most => Some(format!("ended well after {} steps of {most}", usage.steps)),
        Err(error) if must_reach_a_limit && error.kind() != ErrorKind::Limit => {
            Some(format!("ended in another error: {error}"))
        }
        Err(error) if error.kind() == ErrorKind::Limit && !names_a_limit(error.message()) => {
            Some(format!("ended in an error that does not say what the limit is: {error}"))
        }
        Err(error) if error.message().contains("steps") && error.usage().steps <= most => {
            Some(format!("ended for too many steps after {}", error.usage().steps))
        }
        _ => None,
    }
}

/// What this thread has used.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A number, or what there is too much of.
fn names_a_limit(message: &str) -> bool {
    message.contains(|c: char| c.is_ascii_digit())
        || ["without end", "too many", "too large"].iter().any(|words| message.contains(words))
}

fn run(folder: &'static str, least: usize) {
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
        let model = model();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/attacks").join(folder);
        let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        assert!(files.len() >= least, "only {} attacks were found", files.len());
        let failures: Vec<String> = files
            .iter()
            .filter_map(|file| {
                let source = expand(&fs::read_to_string(file).unwrap());
                let wrong = judge(&source, &model, folder.ends_with("limit"))?;
                Some(format!("{}: {wrong}", file.display()))
            })
            .collect();
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    });
    thread.unwrap().join().unwrap();
}

#[test]
fn attacks_end_in_an_error_that_names_a_limit() {
    run("limit", 70);
}

#[test]
fn attacks_end_soon() {
    run("soon", 50);
}
