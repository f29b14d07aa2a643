//! Where two answers differ.

use crate::engines::Answer;
use crate::explained;
use crate::generator::Request;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Both print the same, or both refuse at the same place.
    Same,
    /// They differ as COMPATIBILITY.md says; the reason is the rule's.
    Explained(&'static str),
    Different,
}

pub(crate) fn judge(request: &Request, ours: &Answer, theirs: &Answer) -> Verdict {
    let same = match (&ours.output, &theirs.output) {
        (Some(ours), Some(theirs)) => ours == theirs,
        (None, None) => (&ours.kind, ours.line, ours.column) == (&theirs.kind, theirs.line, theirs.column),
        _ => false,
    };
    if same {
        return Verdict::Same;
    }
    explained::reason(request, ours, theirs).map_or(Verdict::Different, Verdict::Explained)
}

/// What differences of one cause have in common, more or less: how the engines end, and the words of the errors.
pub(crate) fn signature(ours: &Answer, theirs: &Answer) -> String {
    let ending = |answer: &Answer| if answer.output.is_some() { "output" } else { answer.kind.as_str() }.to_owned();
    let words = |message: &str| -> String {
        let mut words = String::new();
        let mut quoted = false;
        for c in message.lines().find(|line| !line.is_empty()).unwrap_or_default().chars().take(90) {
            match c {
                '"' => quoted = !quoted,
                c if quoted || c.is_ascii_digit() => {}
                c => words.push(c),
            }
        }
        words.trim().to_owned()
    };
    let place = if ours.failed_as() == theirs.failed_as() && ours.error.is_some() { " at another place" } else { "" };
    format!(
        "{} instead of {}{place}: [{}] [{}]",
        ending(ours),
        ending(theirs),
        words(ours.message()),
        words(theirs.message())
    )
}
