//! The two engines, each a process that reads requests and writes answers, a line each.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;

use serde::Deserialize;

/// What an engine says to a request.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(crate) struct Answer {
    pub(crate) output: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) kind: String,
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) exception: String,
}

impl Answer {
    /// What is said of a request that ended the process.
    fn crash() -> Self {
        Answer { error: Some("the engine crashed".into()), kind: "crash".into(), ..Answer::default() }
    }

    /// Whether the process had no memory left, be it for this request or for another.
    pub(crate) fn has_no_memory(&self) -> bool {
        self.kind == "crash" || self.exception == "java.lang.OutOfMemoryError"
    }

    pub(crate) fn message(&self) -> &str {
        self.error.as_deref().unwrap_or_default()
    }

    /// The kind of an error; nothing for output.
    pub(crate) fn failed_as(&self) -> &str {
        if self.output.is_some() { "" } else { &self.kind }
    }
}

pub(crate) struct Engine {
    command: String,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Engine {
    pub(crate) fn start(command: &str) -> io::Result<Engine> {
        let mut child = Command::new(command).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take();
        let output = child.stdout.take().ok_or_else(|| io::Error::other("no standard output"))?;
        Ok(Engine { command: command.to_owned(), child, input, output: BufReader::new(output) })
    }

    /// Answers all requests. One that ends the process is answered so, and the rest by a new one.
    pub(crate) fn answer_all(&mut self, lines: &[String]) -> io::Result<Vec<Answer>> {
        let mut answers = Vec::with_capacity(lines.len());
        while answers.len() < lines.len() {
            let rest = &lines[answers.len()..];
            let mut input = self.input.take().ok_or_else(|| io::Error::other("no standard input"))?;
            let input = thread::scope(|scope| {
                // both pipes have an end: who writes all before reading waits for ever
                let writer = scope.spawn(move || {
                    // a closed pipe shows on the other side
                    let _ = rest.iter().try_for_each(|line| writeln!(input, "{line}")).and_then(|()| input.flush());
                    input
                });
                for _ in rest {
                    let mut line = String::new();
                    if self.output.read_line(&mut line)? == 0 {
                        answers.push(Answer::crash());
                        break;
                    }
                    answers.push(serde_json::from_str(&line)?);
                }
                writer.join().map_err(|_| io::Error::other("the writing thread panicked"))
            })?;
            self.input = Some(input);
            if answers.last().is_some_and(|answer| answer.kind == "crash") {
                *self = Engine::start(&self.command.clone())?;
            }
        }
        Ok(answers)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.child.wait();
    }
}
