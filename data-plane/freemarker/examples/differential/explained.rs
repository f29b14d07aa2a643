//! The differences that are meant: each rule is as narrow as it can be, and its reason is in COMPATIBILITY.md.

use crate::engines::Answer;
use crate::generator::Request;

/// Why the answers differ, if they differ as they are meant to.
pub(crate) fn reason(request: &Request, ours: &Answer, theirs: &Answer) -> Option<&'static str> {
    RULES.iter().find(|(_, rule)| rule(request, ours, theirs)).map(|(reason, _)| *reason)
}

type Rule = fn(&Request, &Answer, &Answer) -> bool;

const RULES: &[(&str, Rule)] = &[
    ("limits: what does not end in FreeMarker ends here", |_, ours, theirs| {
        let endless = ["timeout", "java.lang.StackOverflowError", "java.lang.OutOfMemoryError"];
        ours.kind == "limit" && endless.contains(&theirs.exception.as_str())
    }),
    ("malformed formats are refused when they are set", |_, ours, _| {
        ours.kind == "runtime"
            && ((ours.message().starts_with("the setting ") && ours.message().contains(" can't be set to "))
                || ours.message().starts_with("Failed to set FreeMarker configuration setting"))
    }),
    ("an error in a lambda is reported where it is", |request, ours, theirs| {
        both(ours, theirs, "runtime")
            && request.template.contains("->")
            && theirs.message() == "Failed to transform element"
    }),
    ("?c on strings is there, as in 2.3.32", |_, ours, theirs| {
        ours.failed_as() != "parse"
            && theirs.message().starts_with("For \"?c\" left-hand operand: Expected a number or boolean")
            && ["evaluated to a string", "evaluated to a sequence+extended_hash+string"]
                .iter()
                .any(|value| theirs.message().contains(value))
    }),
    ("lexical errors are reported where the token begins", |_, ours, theirs| {
        let ours =
            ours.kind == "parse" && starts_with_any(ours, &["Lexical error", "Unclosed", "Invalid escape sequence"]);
        ours && theirs.kind == "parse" && starts_with_any(theirs, &["Lexical error", "Unexpected end of file"])
    }),
    ("a syntax error may be reported at another token", |_, ours, theirs| {
        let syntax = |answer: &Answer| {
            answer.kind == "parse"
                && (starts_with_any(answer, &["Encountered", "Unexpected end of file", "You can't use"])
                    || answer.message().contains("is an existing directive, but the tag is malformed"))
        };
        syntax(ours) && syntax(theirs)
    }),
    ("?url and ?url_path fail where they stand, not where their result is used", |_, ours, _| {
        ours.kind == "runtime"
            && starts_with_any(
                ours,
                &["?url needs to know the character set", "?url_path needs to know the character set"],
            )
    }),
    ("built-ins that take arguments must have them", |_, ours, _| {
        ours.kind == "parse" && ours.message().ends_with("needs arguments in parentheses")
    }),
    ("x?if_exists of a missing x is what x! is: no boolean", |request, ours, _| {
        (request.template.contains("?if_exists") || request.template.contains("?ifExists"))
            && ours.kind == "runtime"
            && ours.message().starts_with("Expected a boolean")
            && ours.message().contains("the empty default")
    }),
    ("numbers beyond 64 bits are rounded exactly", |request, ours, theirs| {
        let long = |answer: &Answer| digits(answer) >= 16;
        contains_any(request, &["?floor", "?ceiling", "?round"]) && long(ours) && digits(ours) == digits(theirs)
    }),
    ("?sort orders other scripts than the Latin one by code point", |request, ours, theirs| {
        let letters = |answer: &Answer| {
            let mut letters: Vec<char> = answer.output.iter().flat_map(|output| output.chars()).collect();
            letters.sort_unstable();
            letters
        };
        contains_any(request, &["?sort"])
            && ours.output.iter().any(|output| output.chars().any(|c| c > '\u{24f}'))
            && letters(ours) == letters(theirs)
    }),
];

fn both(ours: &Answer, theirs: &Answer, kind: &str) -> bool {
    ours.kind == kind && theirs.kind == kind
}

fn starts_with_any(answer: &Answer, texts: &[&str]) -> bool {
    texts.iter().any(|text| answer.message().starts_with(text))
}

/// Whether one of the request's templates contains one of the texts.
fn contains_any(request: &Request, texts: &[&str]) -> bool {
    let mut sources = std::iter::once(&request.template).chain(request.templates.iter().map(|(_, source)| source));
    sources.any(|source| texts.iter().any(|text| source.contains(text)))
}

fn digits(answer: &Answer) -> usize {
    answer.output.iter().flat_map(|output| output.chars()).filter(char::is_ascii_digit).count()
}
