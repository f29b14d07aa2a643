//! Finding tags and interpolations in template text.

use crate::lexer::token::name_len;
use crate::settings::{InterpolationSyntax, Syntax, TagSyntax};

/// What ends a stretch of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark<'s> {
    /// `${`
    Dollar,
    /// `#{`
    Hash,
    /// `[=`
    Square,
    /// `<#name` or `[#name`
    Start { name: &'s str, square: bool },
    /// `</#name` or `[/#name`
    End { name: &'s str, square: bool },
    /// `<@` or `[@`
    UserStart { square: bool },
    /// `</@name` or `[/@name`, the name may be missing and may have dots.
    UserEnd { name: &'s str, square: bool },
    /// `<#--` or `[#--`
    Comment { square: bool },
    /// The end of the text.
    Eof,
}

/// A mark and where it stands: `end` is after its name, or after the bracket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'s> {
    pub(crate) mark: Mark<'s>,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// Finds the next tag, interpolation or comment from `pos` on.
pub(crate) fn next_mark(text: &str, pos: usize, syntax: Syntax) -> Found<'_> {
    let bytes = text.as_bytes();
    let mut at = pos;
    while let Some(offset) =
        bytes.get(at..).and_then(|rest| rest.iter().position(|b| matches!(b, b'<' | b'[' | b'$' | b'#')))
    {
        at += offset;
        let rest = text.get(at..).unwrap_or_default();
        if let Some((mark, len)) = mark(rest, syntax) {
            return Found { mark, start: at, end: at + len };
        }
        at += 1;
    }
    Found { mark: Mark::Eof, start: text.len(), end: text.len() }
}

fn mark(rest: &str, syntax: Syntax) -> Option<(Mark<'_>, usize)> {
    let interpolation = syntax.interpolation;
    let bytes = rest.as_bytes();
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    match (first, second) {
        (b'$', b'{') if interpolation != InterpolationSyntax::Square => {
            return Some((Mark::Dollar, 2));
        }
        (b'#', b'{') if interpolation == InterpolationSyntax::Legacy => {
            return Some((Mark::Hash, 2));
        }
        (b'[', b'=') if interpolation == InterpolationSyntax::Square => {
            return Some((Mark::Square, 2));
        }
        _ => {}
    }
    if let Some(len) = sep_len(rest) {
        let start = len - "sep".len();
        return Some((Mark::Start { square: first == b'[', name: rest.get(start..len)? }, len));
    }
    let square = match (first, syntax.tags) {
        (b'<', TagSyntax::Angle | TagSyntax::Detect) => false,
        (b'[', TagSyntax::Square | TagSyntax::Detect) => true,
        _ => return None,
    };
    let closing = second == b'/';
    let at = if closing { 2 } else { 1 };
    match bytes.get(at)? {
        // it settles no syntax, and without one tags have angle brackets
        b'@' if closing && square && syntax.tags == TagSyntax::Detect => None,
        b'@' if closing => {
            let len = user_end_len(rest.get(3..)?)?;
            Some((Mark::UserEnd { square, name: rest.get(3..3 + len)? }, 3 + len))
        }
        b'@' => Some((Mark::UserStart { square }, 2)),
        b'#' => {
            let name_start = at + 1;
            let after = rest.get(name_start..)?;
            if !closing && after.starts_with("--") {
                return Some((Mark::Comment { square }, 4));
            }
            let len = after.bytes().take_while(|b| b.is_ascii_alphabetic() || *b == b'_').count();
            let name = after.get(..len).filter(|name| !name.is_empty())?;
            let end = name_start + len;
            let mark = if closing { Mark::End { name, square } } else { Mark::Start { name, square } };
            Some((mark, end))
        }
        _ if !syntax.strict && !square => {
            let len = old_name_len(rest.get(at..)?)?;
            let name = rest.get(at..at + len)?;
            let mark = if closing { Mark::End { name, square } } else { Mark::Start { name, square } };
            Some((mark, at + len))
        }
        _ => None,
    }
}

/// How long the start of a `<sep>`, `<#sep>` or `[#sep]` is, which are tags under any syntax.
fn sep_len(rest: &str) -> Option<usize> {
    let start = ["<sep", "<#sep", "[#sep"].into_iter().find(|start| rest.starts_with(start))?;
    let after = rest.get(start.len()..)?.trim_start_matches([' ', '\t', '\n', '\r']);
    after.starts_with(['>', ']']).then_some(start.len())
}

/// How long the name in an end tag is that is otherwise well formed. Either bracket closes it.
fn user_end_len(rest: &str) -> Option<usize> {
    let mut len = 0;
    loop {
        let part = name_len(rest.get(len..)?);
        if part == 0 && len > 0 {
            return None;
        }
        len += part;
        if part == 0 || !rest.get(len..)?.starts_with('.') {
            break;
        }
        len += 1;
    }
    let after = rest.get(len..)?.trim_start_matches([' ', '\t', '\n', '\r']);
    after.starts_with(['>', ']']).then_some(len)
}

/// The names that tags may have without `#`, when the syntax is not strict.
const OLD_NAMES: [&str; 45] = [
    "assign",
    "attempt",
    "autoesc",
    "break",
    "call",
    "case",
    "comment",
    "compress",
    "continue",
    "default",
    "else",
    "elseif",
    "escape",
    "fallback",
    "flush",
    "foreach",
    "function",
    "global",
    "if",
    "import",
    "include",
    "items",
    "list",
    "local",
    "lt",
    "macro",
    "nested",
    "noautoesc",
    "noescape",
    "noparse",
    "nt",
    "on",
    "outputformat",
    "recover",
    "recurse",
    "return",
    "rt",
    "sep",
    "setting",
    "stop",
    "switch",
    "t",
    "transform",
    "visit",
    "ftl",
];

fn old_name_len(rest: &str) -> Option<usize> {
    let len = rest.bytes().take_while(u8::is_ascii_lowercase).count();
    let name = rest.get(..len).filter(|name| !name.is_empty() && OLD_NAMES.contains(name))?;
    let after = rest.get(len..)?;
    let ends = match name {
        // these take parameters
        "if" | "elseif" | "list" | "foreach" | "switch" | "case" | "assign" | "global" | "local" | "include"
        | "import" | "function" | "macro" | "setting" => after.starts_with([' ', '\t', '\n', '\r', '>']),
        _ => after.starts_with([' ', '\t', '\n', '\r', '>', '/']),
    };
    ends.then_some(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &str) -> (Mark<'_>, usize) {
        let found = next_mark(text, 0, Syntax::default());
        (found.mark, found.start)
    }

    #[test]
    fn tells_tags_from_text() {
        assert_eq!(find("a < b $x { [#if] <# if> <#1 ${"), (Mark::Dollar, 28));
        assert_eq!(find("<b><#if x>"), (Mark::Start { name: "if", square: false }, 3));
        assert_eq!(find("é</#if>"), (Mark::End { name: "if", square: false }, 2));
        assert_eq!(find("<#--"), (Mark::Comment { square: false }, 0));
        assert_eq!(find("<@"), (Mark::UserStart { square: false }, 0));
        assert_eq!(find("$"), (Mark::Eof, 1));
    }
}
