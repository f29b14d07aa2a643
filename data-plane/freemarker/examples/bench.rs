//! Times renderings of requests from standard input, one JSON object a line with a template and a model, in the way of
//! `tests/oracle/run.sh --bench`, so that the two can be compared: `bench [RENDERINGS]`.

use std::error::Error;
use std::io::{self, BufRead};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use sluice_freemarker::json::Document;
use sluice_freemarker::{Limits, Root, Settings, Template, Value};

const ROUNDS: usize = 9;

#[derive(Deserialize)]
struct Request {
    id: String,
    template: String,
    model: Box<RawValue>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let renderings = std::env::args().nth(1).map_or(Ok(20_000), |text| text.parse())?;
    for line in io::stdin().lock().lines() {
        let Request { id, template: source, model } = serde_json::from_str(&line?)?;
        let settings = Settings::default();
        let template = Template::parse(&id, &source, &settings)?;
        let document = Document::parse(model.get().as_bytes(), 64)?;
        let variables = root(&document);
        let limits = Limits::default();
        let mut out = Vec::new();
        let render = median(renderings, || {
            out.clear();
            template.render(&variables, &limits, &mut out).map(|_| ())
        })?;
        let with_model = median(renderings, || {
            out.clear();
            let document = Document::parse(model.get().as_bytes(), 64)?;
            template.render(&root(&document), &limits, &mut out)?;
            Ok::<_, Box<dyn Error>>(())
        })?;
        let parse = median(renderings.div_ceil(10), || Template::parse(&id, &source, &settings).map(|_| ()))?;
        println!(
            "{}",
            json!({
                "id": id,
                "ns_per_op": render,
                "ns_per_op_with_json_model_parse": with_model,
                "template_parse_ns": parse,
            })
        );
    }
    Ok(())
}

fn root<'d>(document: &'d Document<'d>) -> Root<'d> {
    document.root().members().fold(Root::new(), |root, (name, node)| root.with(name, Value::json(node)))
}

/// Nanoseconds of the processor that one operation takes, in the median of some rounds after one to warm up.
fn median<E>(operations: usize, mut operation: impl FnMut() -> Result<(), E>) -> Result<u128, E> {
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..=ROUNDS {
        let start = cpu_time();
        for _ in 0..operations {
            operation()?;
        }
        rounds.push((cpu_time() - start).as_nanos() / operations.max(1) as u128);
    }
    rounds.remove(0);
    rounds.sort_unstable();
    Ok(rounds[ROUNDS / 2])
}

/// What this thread has used: the clock on the wall also counts what else the machine does.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
