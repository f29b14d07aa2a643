//! The differences that are meant: each rule is as narrow as it can be, and its reason is in COMPATIBILITY.md.

use crate::engines::Answer;
use crate::generator::Request;

pub(crate) fn reason(request: &Request, ours: &Answer, theirs: &Answer) -> Option<&'static str> {
    RULES.iter().find(|(_, rule)| rule(request, ours, theirs)).map(|(reason, _)| *reason)
}

type Rule = fn(&Request, &Answer, &Answer) -> bool;

const RULES: &[(&str, Rule)] = &[
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
