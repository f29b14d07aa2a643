//! How a run ends when it does not end well: one readable line, details beneath it, and an exit code for scripts.

use std::{error::Error as _, process::ExitCode};

use sluice_client::Error;
use tonic::{Code, Status};

use crate::{
    output::{count, note},
    violation::{self, Shown},
};

/// Exit codes, the same for all of Sluice's programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// The reader of our output has gone: nothing to report.
    Done = 0,
    /// Did not work.
    Failed = 1,
    /// The arguments make no sense.
    Usage = 2,
    /// The input is not valid.
    Invalid = 3,
    /// Not found, or in conflict with what is there.
    Conflict = 4,
    /// The server is unavailable, or was waited for too long.
    Unavailable = 5,
    /// Cannot start here.
    CannotStart = 6,
    /// The API key is missing, unknown, or may not do that.
    Denied = 7,
}

/// Why a run did not end well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
    /// Printed below the message, indented; may hold line breaks.
    pub(crate) details: Vec<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), details: Vec::new() }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn invalid(message: impl Into<String>, details: Vec<String>) -> Self {
        Self { exit: Exit::Invalid, message: message.into(), details }
    }

    /// Something that has been said already; only the exit code is left.
    pub(crate) fn told(exit: Exit) -> Self {
        Self::new(exit, "")
    }

    /// Puts `what` before the message.
    pub(crate) fn context(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// Adds what to do about it, if the server could not be reached.
    pub(crate) fn hint(mut self, hint: &str) -> Self {
        if self.exit == Exit::Unavailable {
            self.details.push(hint.to_owned());
        }
        self
    }

    /// Message and details as they are printed.
    pub(crate) fn text(&self) -> String {
        let mut text = self.message.clone();
        for detail in &self.details {
            for line in detail.lines() {
                text.push_str("\n  ");
                text.push_str(line);
            }
        }
        text
    }

    /// Prints it and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        if !self.message.is_empty() {
            note(&format!("error: {}", self.text()));
        }
        ExitCode::from(self.exit as u8)
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let violations = violation::of_status(&status);
        let details: Vec<String> = violations.iter().map(Shown::to_string).collect();
        let message = match status.message() {
            // The server's message repeats them.
            _ if !details.is_empty() => format!("the server found {}", count(details.len() as u64, "problem")),
            "" => format!("the server answered {}", status.code().description()),
            message => message.to_owned(),
        };
        Self { exit: exit_of(status.code()), message, details }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        if let Error::Refused(status) = &error {
            return Self::from((**status).clone());
        }
        let exit = match &error {
            Error::InvalidAddress { .. } | Error::InvalidSetting { .. } | Error::Credentials(_) => Exit::Usage,
            Error::Unreachable { .. } | Error::Outage { .. } | Error::Silent { .. } | Error::Closed(_) => {
                Exit::Unavailable
            }
            Error::Fenced { .. } | Error::Gap { .. } => Exit::Conflict,
            Error::EventTooLarge { .. } => Exit::Invalid,
            Error::Protocol(_) | Error::Ended | Error::Refused(_) => Exit::Failed,
        };
        Self { exit, message: error.to_string(), details: causes(&error) }
    }
}

/// The causes of an error, the nearest first, each said once.
fn causes(error: &Error) -> Vec<String> {
    let mut causes = Vec::<String>::new();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        // What these two say is said by the message.
        if !matches!(text.as_str(), "transport error" | "tcp connect error")
            && !causes.iter().any(|said| said.contains(&text))
        {
            causes.push(text);
        }
        source = cause.source();
    }
    causes
}

fn exit_of(code: Code) -> Exit {
    match code {
        Code::InvalidArgument | Code::OutOfRange => Exit::Invalid,
        Code::NotFound | Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => Exit::Conflict,
        Code::Unavailable | Code::DeadlineExceeded => Exit::Unavailable,
        Code::Unauthenticated | Code::PermissionDenied => Exit::Denied,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_tells_what_kind_of_failure_it_was() {
        for (status, exit) in [
            (Status::invalid_argument("x"), Exit::Invalid),
            (Status::not_found("x"), Exit::Conflict),
            (Status::already_exists("x"), Exit::Conflict),
            (Status::aborted("x"), Exit::Conflict),
            (Status::unavailable("x"), Exit::Unavailable),
            (Status::deadline_exceeded("x"), Exit::Unavailable),
            (Status::internal("x"), Exit::Failed),
        ] {
            assert_eq!(Failure::from(status).exit, exit);
        }
    }

    #[test]
    fn details_are_indented_below_the_message() {
        let failure = Failure::invalid("the sync is invalid", vec!["a: b\n  | c".into(), "d".into()]);
        assert_eq!(failure.context("orders").text(), "orders: the sync is invalid\n  a: b\n    | c\n  d");
    }

    #[test]
    fn hints_are_given_only_where_the_server_is_missing() {
        assert_eq!(Failure::usage("x").hint("start it").details, Vec::<String>::new());
        assert_eq!(Failure::new(Exit::Unavailable, "x").hint("start it").details, ["start it"]);
    }
}
