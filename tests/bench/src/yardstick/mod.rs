//! What the same work costs when nothing else is done. Each runs in a process of its own, like what is compared with it.

mod append;
mod echo;
mod parse;
mod post;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{
    child::{self, Child},
    clock::{cpu_ns, now_ns},
    event::Shape,
    sink::Sink,
    usage::Usage,
};

/// A yardstick, by name.
#[derive(Debug, clap::Subcommand)]
pub enum Yardstick {
    /// POST of a body over bare hyper connections
    Post(post::Args),
    /// Append of events to a plain file, with fdatasync after each batch
    Append(append::Args),
    /// serde_json reads an event into a `Value`
    Parse(parse::Args),
    /// A bare gRPC server that acks batches of events and does nothing with them
    Echo,
}

/// What one came to.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Done {
    /// How often the work was done.
    pub count: u64,
    /// How long it took.
    pub seconds: f64,
    /// Time on processors, user and system, in milliseconds for 1,000 of them.
    pub cpu_per_thousand_ms: f64,
}

impl Done {
    /// How many in a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.count as f64 / self.seconds
    }

    /// What its process used.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            process: "yardstick".to_owned(),
            cpu_per_thousand_ms: self.cpu_per_thousand_ms,
            written_bytes: 0.0,
            rss_bytes: 0,
            peak_rss_bytes: 0,
        }
    }
}

/// Runs one and says [`Done`].
pub async fn run(yardstick: Yardstick) {
    match yardstick {
        Yardstick::Post(args) => child::say(&post::run(args).await),
        Yardstick::Append(args) => child::say(&append::run(&args)),
        Yardstick::Parse(args) => child::say(&parse::run(&args)),
        Yardstick::Echo => echo::serve().await,
    }
}

/// Posts bodies of so many bytes to a sink, as many at once as a sync does.
pub async fn post(sink: &Sink, ca_file: &Path, body_bytes: usize, count: u64) -> Done {
    let (address, body, count) = (sink.address(0).to_string(), body_bytes.to_string(), count.to_string());
    let ca_file = ca_file.to_string_lossy();
    let arguments = ["--to", &address, "--protocol", sink.protocol().name(), "--ca-file", &ca_file];
    told("post", &[&arguments[..], &["--body-bytes", &body, "--count", &count]].concat()).await
}

/// Appends events to a file in this folder.
pub async fn append(folder: &Path, shape: Shape, batch: usize, count: u64) -> Done {
    let (batch, count) = (batch.to_string(), count.to_string());
    let arguments = ["--folder", &folder.to_string_lossy(), "--shape", shape.name()];
    told("append", &[&arguments[..], &["--batch", &batch, "--count", &count]].concat()).await
}

/// Parses events.
pub async fn parse(shape: Shape, count: u64) -> Done {
    told("parse", &["--shape", shape.name(), "--count", &count.to_string()]).await
}

/// A server that acks and does nothing else.
pub struct Echo {
    child: Child,
    /// Where it takes events.
    pub url: String,
}

impl Echo {
    /// Starts one.
    pub async fn start() -> Self {
        let mut child = Child::start(&["yardstick", "echo"]);
        let listening: echo::Listening = child.says().await;
        Self { child, url: format!("http://{}", listening.address) }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

async fn told(name: &str, arguments: &[&str]) -> Done {
    Child::start(&[&["yardstick", name], arguments].concat()).says().await
}

/// Measures work within this process.
struct Stopwatch {
    began_ns: u64,
    cpu_ns: u64,
}

impl Stopwatch {
    fn start() -> Self {
        Self { began_ns: now_ns(), cpu_ns: cpu_ns() }
    }

    fn stop(&self, count: u64) -> Done {
        Done {
            count,
            seconds: (now_ns() - self.began_ns) as f64 / 1e9,
            cpu_per_thousand_ms: (cpu_ns() - self.cpu_ns) as f64 / 1e3 / count.max(1) as f64,
        }
    }
}
