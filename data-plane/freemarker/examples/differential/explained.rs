//! The differences that are meant: each rule is as narrow as it can be, and its reason is in COMPATIBILITY.md.

use crate::engines::Answer;
use crate::generator::Request;

pub(crate) fn reason(request: &Request, ours: &Answer, theirs: &Answer) -> Option<&'static str> {
    RULES.iter().find(|(_, rule)| rule(request, ours, theirs)).map(|(reason, _)| *reason)
}

type Rule = fn(&Request, &Answer, &Answer) -> bool;

const RULES: &[(&str, Rule)] = &[
    ("built-ins that take arguments must have them", |_, ours, _| {
        ours.kind == "parse" && ours.message().ends_with("needs arguments in parentheses")
    }),
    ("numbers beyond 64 bits are rounded exactly", |request, ours, theirs| {
        let rounds = ["?floor", "?ceiling", "?round"].iter().any(|name| request.template.contains(name));
        let digits =
            |answer: &Answer| answer.output.as_deref().unwrap_or_default().chars().filter(char::is_ascii_digit).count();
        rounds && digits(ours) >= 16 && digits(ours) == digits(theirs)
    }),
    ("malformed formats are refused when they are set", |_, ours, _| {
        ours.kind == "runtime"
            && ours.message().starts_with("the setting ")
            && ours.message().contains(" can't be set to ")
    }),
    ("?c on strings is there, as in 2.3.32", |_, _, theirs| {
        theirs.message().starts_with(
            "For \"?c\" left-hand operand: Expected a number or boolean, but this has evaluated to a string",
        )
    }),
    ("limits: what does not end in FreeMarker ends here", |_, ours, theirs| {
        ours.kind == "limit" && theirs.exception == "timeout"
    }),
    ("a directive that is not closed is reported at its start tag", |_, ours, theirs| {
        both(ours, theirs, "parse")
            && ours.message().contains("is not closed")
            && theirs.message().contains("Unexpected end of file reached")
    }),
];

fn both(ours: &Answer, theirs: &Answer, kind: &str) -> bool {
    ours.kind == kind && theirs.kind == kind
}
