//! The differences that are meant: each rule is as narrow as it can be, and its reason is in COMPATIBILITY.md.

use crate::engines::Answer;
use crate::generator::Request;

/// Why the answers differ, if they differ as they are meant to.
pub(crate) fn reason(request: &Request, ours: &Answer, theirs: &Answer) -> Option<&'static str> {
    RULES.iter().find(|(_, rule)| rule(request, ours, theirs)).map(|(reason, _)| *reason)
}

type Rule = fn(&Request, &Answer, &Answer) -> bool;

const RULES: &[(&str, Rule)] = &[
    // Asked in a process of its own. Parsing `(1..)[1..]?size` is enough for it.
    ("the reference takes all of its memory for it alone", |_, _, theirs| {
        theirs.exception == "java.lang.OutOfMemoryError"
    }),
    ("limits: what does not end in FreeMarker ends here", |_, ours, theirs| {
        let endless = ["timeout", "java.lang.StackOverflowError", "java.lang.OutOfMemoryError"];
        ours.kind == "limit"
            && (endless.contains(&theirs.exception.as_str())
                || theirs.output.as_ref().is_some_and(|output| output.len() > 100_000)
                || theirs.message().starts_with("the output is longer than"))
    }),
    ("malformed formats in the host's settings are refused when they are set", |request, ours, _| {
        let format = |name: &str| name.ends_with("_format");
        ours.kind == "request" && request.settings.iter().any(|(name, _)| format(name))
    }),
    ("?c on strings is there, as in 2.3.32", |_, ours, theirs| {
        ours.failed_as() != "parse"
            && starts_with_any(
                theirs,
                &[
                    "For \"?c\" left-hand operand: Expected a number or boolean",
                    "Expected a number or boolean, but this",
                ],
            )
            && [
                "evaluated to a string",
                "evaluated to a sequence+extended_hash+string",
                "+string (wrapper: f.c.BuiltIns",
            ]
            .iter()
            .any(|value| theirs.message().contains(value))
    }),
    ("?c on strings is there, as in 2.3.32, and no error for #attempt to recover from", |request, ours, theirs| {
        // what is done to recover may fail, too
        let quotes = |answer: &Answer| {
            let output = answer.output.as_deref().unwrap_or_default();
            output.matches('"').count() + output.matches("quot;").count()
        };
        contains_any(request, &["#attempt"])
            && contains_any(request, &["?c}", "?c ", "?c)"])
            && (quotes(ours) >= 2 || contains_any(request, &["?c)?"]) || theirs.output.is_none())
            && (ours.output.is_some()
                || ours.kind == "runtime" && (theirs.line, theirs.column) < (ours.line, ours.column))
    }),
    ("?c on strings is there, as in 2.3.32, and no error in a lambda", |request, ours, theirs| {
        ours.failed_as() != "parse"
            && theirs.message() == "Failed to transform element"
            && contains_any(request, &["->"])
            && contains_any(request, &["?c)", "?c}", "?c "])
    }),
    ("FreeMarker makes letters of large numbers for ever", |request, _, theirs| {
        theirs.exception == "timeout"
            && contains_any(request, &["?lower_abc", "?upper_abc", "?lowerAbc", "?upperAbc"])
            && request.model.contains("2147483647")
    }),
    ("built-ins of after 2.3.31 are there, and what is broken is after them", |_, ours, theirs| {
        let later = ["cn", "c_lower_case", "cLowerCase", "c_upper_case", "cUpperCase"];
        let unknown = |name: &&str| theirs.message().starts_with(&format!("Unknown built-in: \"{name}\""));
        both(ours, theirs, "parse") && later.iter().any(unknown)
    }),
    ("XML nodes are refused where they stand, when parsing", |_, ours, _| {
        ours.kind == "parse" && ours.message() == "this engine does not support XML nodes"
    }),
    ("parameters of #ftl with built-ins or members are not known when parsing", |request, ours, theirs| {
        both(ours, theirs, "parse")
            && ours.message().starts_with("Could not evaluate expression (on parse-time)")
            && ours.message().contains(['?', '.', '[', '!', '$'])
            && contains_any(request, &["<#ftl", "[#ftl"])
    }),
    ("formats that are asked for as A{B} have that name", |request, ours, theirs| {
        let nameless = ours.output.as_ref().map(|output| output.replace("XML{HTML}", ""));
        contains_any(request, &["XML{HTML}"])
            && contains_any(request, &[".output_format", ".outputFormat"])
            && ours.output != theirs.output
            && nameless == theirs.output
    }),
    ("lexical errors are reported where the token begins", |request, ours, theirs| {
        let both_kinds = |kind: &str| both(ours, theirs, "parse") || both(ours, theirs, kind);
        let ours = starts_with_any(ours, &["Lexical error", "Unclosed", "Invalid escape sequence"]);
        let automatic = |(name, _): &(&str, String)| name.starts_with("auto_i");
        let wanted = if request.settings.iter().any(automatic) { "runtime" } else { "parse" };
        ours && both_kinds(wanted) && starts_with_any(theirs, &["Lexical error", "Unexpected end of file"])
    }),
    ("FreeMarker's parser reads a token ahead, and a lexical error there comes first", |_, ours, theirs| {
        let ahead = (ours.line, ours.column) < (theirs.line, theirs.column);
        let lexical =
            ["Lexical error", "You can't use ${", "You can't use #{", "You can't use [=", "You can't have an"];
        both(ours, theirs, "parse") && ahead && starts_with_any(theirs, &lexical)
    }),
    ("a range whose end is malformed has none, and the error is before it", |request, ours, theirs| {
        both(ours, theirs, "parse")
            && contains_any(request, &["..{", "..[", "..("])
            && starts_with_any(theirs, &["Encountered \"{\"", "Encountered \"[\"", "Encountered \"(\""])
            && (theirs.line, theirs.column) < (ours.line, ours.column)
    }),
    ("a syntax error may be reported at another token", |_, ours, theirs| {
        let syntax = |answer: &Answer| {
            answer.kind == "parse"
                && (starts_with_any(
                    answer,
                    &[
                        "Encountered",
                        "Unexpected end of file",
                        "You can't use",
                        "You can't have",
                        "The tag shouldn't end with",
                    ],
                ) || answer.message().contains("is an existing directive, but the tag is malformed"))
        };
        syntax(ours) && syntax(theirs)
    }),
    (
        "line breaks and tabs that are written as escapes don't count in places within a literal",
        |request, ours, theirs| {
            ours.failed_as() == theirs.failed_as()
                && contains_any(request, &["\\n", "\\r", "\\t", "\\f"])
                && contains_any(request, &["\"${", "'${", "\"<${", "'<${", "\"a ${", "'a ${", "}${", "${'", "#{"])
                && alike(ours, theirs)
        },
    ),
    ("?string and ?date are evaluated where they stand", |_, ours, theirs| {
        let waiting = ["$DateParser", "$NumberFormatter", "$BooleanFormatter", "$DateFormatter"];
        let called = ours.message().contains("Expected a method or function, but this has evaluated to a string")
            && starts_with_any(theirs, &["?string(...) expects 2 arguments", "?absolute_template_name(...) expects"]);
        both(ours, theirs, "runtime") && (called || waiting.iter().any(|class| theirs.message().contains(class)))
    }),
    ("?date reads where it stands, not where its result is used", |_, ours, theirs| {
        let unreadable = "The string doesn't match the expected date";
        ours.kind == "runtime" && ours.message().starts_with(unreadable) && !theirs.message().starts_with(unreadable)
    }),
    ("characters beyond U+FFFF are not taken apart", |request, ours, theirs| {
        let length = |answer: &Answer| answer.output.iter().map(String::len).sum::<usize>();
        let beyond = |text: &str| text.chars().any(|c| c > '\u{ffff}');
        let any =
            beyond(&request.template) || beyond(&request.model) || request.templates.iter().any(|(_, t)| beyond(t));
        let replaced = theirs.output.iter().any(|output| output.contains('\u{fffd}'));
        let more = length(theirs) > length(ours) && contains_any(request, &["?matches"]);
        let within = contains_any(request, &["?index_of", "?indexOf", "?last_index_of", "?lastIndexOf"]);
        // halves of pairs are items in FreeMarker
        let split = contains_any(request, &["?split(\"\"", "?split(''"]);
        any && both_output(ours, theirs) && (replaced || more || within || split)
    }),
    ("sequences are laid out when they are put together", |request, ours, _| {
        let of_variable = contains_any(request, &["n1..", "n2..", "n3..", "..n1", "..n2", "..n3"]);
        ours.kind == "limit"
            && (ours.message().contains("steps")
                && (has_long_range(request) || of_variable || contains_any(request, &["?chunk"]))
                || ours.message().starts_with("the values built") && contains_any(request, &["+"]) && of_variable)
    }),
    ("a malformed replacement is an error of the template, as any other", |_, _, theirs| {
        (theirs.exception == "java.lang.IllegalArgumentException"
            || theirs.message().contains("java.lang.IllegalArgumentException"))
            && ["Illegal group", "character to be escaped is missing", "No group with name", "named capturing group"]
                .iter()
                .any(|problem| theirs.message().contains(problem))
    }),
    ("an empty terminator of ?truncate gets no space before it, as in 2.3.34", |request, ours, theirs| {
        let mut calls = request.template.split("?truncate").skip(1);
        both_output(ours, theirs)
            && calls.any(|call| {
                call.split(')')
                    .next()
                    .is_some_and(|args| args.contains("\"\"") || args.contains("''") || args.ends_with('0'))
            })
    }),
    ("locales without data are refused", |_, ours, _| {
        ours.kind == "runtime" && ours.message().contains("this engine has no data for the locale")
    }),
    ("there is no zero below zero", |request, ours, theirs| {
        let positive = |answer: &Answer| answer.output.as_ref().map(|output| output.replace("-0", "0"));
        contains_any(request, &["?float", "?double"]) && both_output(ours, theirs) && positive(ours) == positive(theirs)
    }),
    ("names of zones are in English", |request, ours, theirs| {
        let english = |(name, locale): &(&str, String)| *name == "locale" && locale.starts_with("en");
        let names = ["Coordinated Universal Time", " Standard Time", " Daylight Time", " Summer Time"];
        let named = |answer: &Answer| answer.output.iter().any(|output| names.iter().any(|name| output.contains(name)));
        both_output(ours, theirs) && !request.settings.iter().any(english) && named(ours) && !named(theirs)
    }),
    ("no clock changes after the year 9999", |_, ours, theirs| {
        let long = |answer: &Answer| {
            let output = answer.output.as_deref().unwrap_or_default();
            output.split(|c: char| !c.is_ascii_digit()).find(|run| run.len() > 4).map(str::to_owned)
        };
        // the hour differs, the year does not
        both_output(ours, theirs)
            && long(ours).is_some()
            && long(ours) == long(theirs)
            && digits(ours) == digits(theirs)
    }),
    ("ranges of more than 2^31 items have no overflown size when put together", |request, ours, theirs| {
        contains_any(request, &["..2147483648", "..*2147483648", "..<2147483648", "..!2147483648", "2147483648.."])
            && contains_any(request, &["+"])
            && (ours.output.is_some() || theirs.output.is_some())
    }),
    ("numbers don't overflow", |request, ours, theirs| {
        let unsigned = |answer: &Answer| answer.output.as_ref().map(|output| output.replace('-', ""));
        let of_size = |built_in: &str, size: usize| contains_any(request, &[built_in]) && digits(ours) >= size;
        (of_size("?long", 19) || of_size("?int", 10)) && unsigned(ours).is_some() && unsigned(ours) == unsigned(theirs)
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

/// Whether two errors are the same as far as their first words tell.
fn alike(ours: &Answer, theirs: &Answer) -> bool {
    let start = |answer: &Answer| answer.message().chars().take(20).collect::<String>();
    ours.error.is_some() && start(ours) == start(theirs)
}

fn both_output(ours: &Answer, theirs: &Answer) -> bool {
    ours.output.is_some() && theirs.output.is_some()
}

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

/// Whether a range has an end of six digits or more.
fn has_long_range(request: &Request) -> bool {
    let mut sources = std::iter::once(&request.template).chain(request.templates.iter().map(|(_, source)| source));
    sources.any(|source| {
        source.match_indices("..").any(|(at, _)| {
            let (before, after) = (source.get(..at).unwrap_or_default(), source.get(at + 2..).unwrap_or_default());
            let digit = |c: &char| c.is_ascii_digit();
            before.chars().rev().take_while(digit).count() > 5
                || after.trim_start_matches(['<', '!', '*']).chars().take_while(digit).count() > 5
                || after.starts_with(')')
        })
    })
}

fn digits(answer: &Answer) -> usize {
    answer.output.iter().flat_map(|output| output.chars()).filter(char::is_ascii_digit).count()
}
