//! Parts of the bench that run as processes of their own: this program with another subcommand. They say what they have to say
//! as one JSON object a line, and end when their standard input does.

use std::{io::Read as _, process::Stdio, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{ChildStdin, ChildStdout, Command},
};

/// How long a part may take for all that it does.
const LONGEST: Duration = Duration::from_secs(3_600);

/// A running part. Dropping it ends it.
pub struct Child {
    child: tokio::process::Child,
    lines: Lines<BufReader<ChildStdout>>,
    _stdin: ChildStdin,
}

impl Child {
    /// Starts this program with these arguments.
    #[must_use]
    pub fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(arguments).kill_on_drop(true).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("this program starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let stdin = child.stdin.take().expect("a pipe");
        Self { child, lines, _stdin: stdin }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id().expect("it runs until it is dropped")
    }

    /// What it says next.
    pub async fn says<T: DeserializeOwned>(&mut self) -> T {
        let line = tokio::time::timeout(LONGEST, self.lines.next_line()).await.expect("a part says nothing");
        let line = line.expect("a pipe").expect("a part of the bench has ended");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }
}

/// Says something to whoever has started this process.
pub fn say(what: &impl Serialize) {
    println!("{}", serde_json::to_string(what).expect("plain data"));
}

/// Waits until whoever has started this process has had enough.
pub async fn until_told() {
    let reading = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    let _ = reading.await;
}
