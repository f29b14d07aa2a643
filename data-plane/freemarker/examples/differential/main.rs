//! Renders random templates with this engine and with Apache FreeMarker, and compares.
//!
//! Both engines are programs that read requests from standard input, a JSON object a line, and write answers: the
//! `ndjson` example, and `tests/oracle/run.sh`. `tests/oracle/differential.sh` builds and starts all that.

#![allow(
    clippy::disallowed_methods,
    reason = "a program around the engine: it starts processes and takes a seed from the clock"
)]

mod difference;
mod engines;
mod explained;
mod generator;
mod groups;
mod random;
mod shrink;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use difference::{Verdict, judge, signature};
use engines::{Answer, Engine};
use generator::Request;
use groups::Groups;
use random::Random;

const USAGE: &str = "usage: differential --engine PROGRAM --reference PROGRAM [--seed N] [--count N] [--only GROUPS]
    [--without GROUPS] [--allow-refused] [--show N] [--all] [--print]";

/// How many differences of one kind are shown.
const OF_A_KIND: usize = 30;

struct Options {
    engine: String,
    reference: String,
    seed: u64,
    count: usize,
    groups: Groups,
    /// What this engine says it does not support is no difference.
    allow_refused: bool,
    /// How many differences are made small and shown.
    show: usize,
    /// More differences of a kind are shown than the first.
    all: bool,
    /// Prints the requests instead.
    print: bool,
}

fn main() -> ExitCode {
    match options(std::env::args().skip(1)) {
        Ok(options) => match run(&options) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::from(2)
            }
        },
        Err(error) => {
            eprintln!("{error}\n{USAGE}\ngroups: {}", groups::ALL.join(" "));
            ExitCode::from(2)
        }
    }
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    let mut options = Options {
        engine: String::new(),
        reference: String::new(),
        seed: Random::new(since_epoch).next() % 1_000_000_000,
        count: 3000,
        groups: Groups::all(),
        allow_refused: false,
        show: 20,
        all: false,
        print: false,
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        let number = |text: String| text.parse::<u64>().map_err(|error| format!("{text}: {error}"));
        match argument.as_str() {
            "--engine" => options.engine = value()?,
            "--reference" => options.reference = value()?,
            "--seed" => options.seed = number(value()?)?,
            "--count" => options.count = number(value()?)? as usize,
            "--only" => options.groups = Groups::only(&value()?)?,
            "--without" => options.groups = options.groups.without(&value()?)?,
            "--show" => options.show = number(value()?)? as usize,
            "--allow-refused" => options.allow_refused = true,
            "--all" => options.all = true,
            "--print" => options.print = true,
            "--help" => return Err(String::new()),
            _ => return Err(format!("unknown option {argument}")),
        }
    }
    Ok(options)
}

fn run(options: &Options) -> Result<bool, Box<dyn Error>> {
    println!("seed {}, {} templates", options.seed, options.count);
    let mut random = Random::new(options.seed);
    let requests: Vec<Request> = (0..options.count).map(|_| generator::request(&mut random, &options.groups)).collect();
    let lines: Vec<String> = requests.iter().map(Request::line).collect();
    if options.print {
        lines.iter().for_each(|line| println!("{line}"));
        return Ok(true);
    }
    let mut engine = Engine::start(&options.engine)?;
    let mut reference = Engine::start(&options.reference)?;
    let (ours, mut theirs) = (engine.answer_all(&lines)?, reference.answer_all(&lines)?);
    // A template without end may take the memory from those after it: these are asked again, each of a new process.
    for (line, answer) in lines.iter().zip(&mut theirs).filter(|(_, answer)| answer.has_no_memory()) {
        reference = Engine::start(&options.reference)?;
        *answer = reference.answer_all(std::slice::from_ref(line))?.pop().unwrap_or_default();
    }

    let mut explained: BTreeMap<&str, usize> = BTreeMap::new();
    let mut different: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let (mut same, mut printed, mut refused) = (0, 0, 0);
    for (place, (request, (ours, theirs))) in requests.iter().zip(ours.iter().zip(&theirs)).enumerate() {
        if options.allow_refused && ours.message().contains("this engine") {
            refused += 1;
            continue;
        }
        match judge(request, ours, theirs) {
            Verdict::Same => {
                same += 1;
                printed += usize::from(ours.output.is_some());
            }
            Verdict::Explained(reason) => *explained.entry(reason).or_default() += 1,
            Verdict::Different => different.entry(signature(ours, theirs)).or_default().push(place),
        }
    }
    println!("{same} the same, {printed} of them with output");
    if refused > 0 {
        println!("{refused} not supported");
    }
    for (reason, count) in &explained {
        println!("{count} explained: {reason}");
    }
    let count: usize = different.values().map(Vec::len).sum();
    println!("{count} different");
    let mut kinds: Vec<_> = different.iter().collect();
    kinds.sort_by_key(|(_, places)| std::cmp::Reverse(places.len()));
    let mut shown = 0;
    for (signature, places) in kinds {
        let first: Vec<String> = places.iter().take(OF_A_KIND).map(usize::to_string).collect();
        println!("\n== {} × {signature}\n   templates {}", places.len(), first.join(" "));
        // outputs that differ say nothing about their cause: more of them are shown
        let most = if options.all || signature.ends_with("[] []") { OF_A_KIND } else { 1 };
        let mut templates = BTreeSet::new();
        for place in places.iter().take(most) {
            if shown == options.show {
                break;
            }
            let (request, ours, theirs) = shrink::shrink(&requests[*place], &mut engine, &mut reference, signature)?;
            if templates.insert(request.template.clone()) {
                show(options.seed, *place, &request, &ours, &theirs);
                shown += 1;
            }
        }
    }
    if count > 0 {
        println!("\nto repeat: --seed {} --count {} --show {count} --all", options.seed, options.count);
    }
    Ok(count == 0)
}

fn show(seed: u64, place: usize, request: &Request, ours: &Answer, theirs: &Answer) {
    println!("-- template {place} of seed {seed}\n{:?}", request.template);
    println!("   request {}", request.line());
    for (name, value) in &request.settings {
        println!("   {name} = {value:?}");
    }
    for (name, source) in &request.templates {
        println!("   {name}: {source:?}");
    }
    let mut used = Vec::new();
    if let Ok(serde_json::Value::Object(model)) = serde_json::from_str(&request.model) {
        used = model.into_iter().filter(|(name, _)| request.template.contains(name.as_str())).collect();
    }
    for (name, value) in used {
        println!("   {name}: {value}");
    }
    println!("   expected {}", described(theirs));
    println!("   got      {}", described(ours));
}

fn described(answer: &Answer) -> String {
    match &answer.output {
        Some(output) => format!("{output:?}"),
        None => format!("{} {}:{} {:?}", answer.kind, answer.line, answer.column, answer.message()),
    }
}
