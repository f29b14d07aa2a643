//! The tokens of expressions.

use super::letters::is_letter;

/// A token; names and literals as they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token<'s> {
    /// A name, with its backslashes; keywords too.
    Name(&'s str),
    Integer(&'s str),
    Decimal(&'s str),
    /// A string literal with its quotes, and its `r` when it is raw.
    String(&'s str),
    Dot,
    DotDot,
    /// `..<` or `..!`
    DotDotLess,
    DotDotStar,
    Ellipsis,
    Question,
    QuestionQuestion,
    Exclamation,
    Comma,
    Semicolon,
    Colon,
    ParenOpen,
    ParenClose,
    BracketOpen,
    BracketClose,
    BraceOpen,
    BraceClose,
    Assign,
    Equal,
    NotEqual,
    PlusAssign,
    MinusAssign,
    TimesAssign,
    DivideAssign,
    RemainderAssign,
    PlusPlus,
    MinusMinus,
    Plus,
    Minus,
    Times,
    TimesTimes,
    Divide,
    Remainder,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// `gt`, `\gt` or `&gt;`: never the end of a tag
    GreaterWord,
    GreaterOrEqualWord,
    And,
    Or,
    Arrow,
    /// `${`, `#{` or `[=` where an expression is already being read.
    Interpolation(&'static str),
    /// White space that ends the name of a user-defined directive.
    Gap,
    /// A character that begins no token.
    Unknown(char),
    /// A string literal or comment that does not end.
    Unclosed(&'s str),
    /// The offset of a bad escape in a string literal counts from the token's start.
    BadEscape(usize),
    End,
}

/// A token and where it stands, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Located<'s> {
    pub(crate) token: Token<'s>,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

const SYMBOLS: &[(&str, Token<'static>)] = &[
    // longest first
    ("${", Token::Interpolation("${")),
    ("#{", Token::Interpolation("#{")),
    ("[=", Token::Interpolation("[=")),
    ("&amp;&amp;", Token::And),
    ("&lt;=", Token::LessOrEqual),
    ("&gt;=", Token::GreaterOrEqualWord),
    ("&lt;", Token::Less),
    ("&gt;", Token::GreaterWord),
    ("\\and", Token::And),
    ("\\lte", Token::LessOrEqual),
    ("\\gte", Token::GreaterOrEqualWord),
    ("\\lt", Token::Less),
    ("\\gt", Token::GreaterWord),
    ("...", Token::Ellipsis),
    ("..<", Token::DotDotLess),
    ("..!", Token::DotDotLess),
    ("..*", Token::DotDotStar),
    ("..", Token::DotDot),
    (".", Token::Dot),
    ("??", Token::QuestionQuestion),
    ("?", Token::Question),
    ("!=", Token::NotEqual),
    ("!", Token::Exclamation),
    ("==", Token::Equal),
    ("=", Token::Assign),
    ("+=", Token::PlusAssign),
    ("-=", Token::MinusAssign),
    ("*=", Token::TimesAssign),
    ("/=", Token::DivideAssign),
    ("%=", Token::RemainderAssign),
    ("++", Token::PlusPlus),
    ("--", Token::MinusMinus),
    ("->", Token::Arrow),
    ("-&gt;", Token::Arrow),
    ("+", Token::Plus),
    ("-", Token::Minus),
    ("**", Token::TimesTimes),
    ("*", Token::Times),
    ("/", Token::Divide),
    ("%", Token::Remainder),
    ("<=", Token::LessOrEqual),
    ("<", Token::Less),
    (">=", Token::GreaterOrEqual),
    (">", Token::Greater),
    ("&&", Token::And),
    ("&", Token::And),
    ("||", Token::Or),
    ("|", Token::Or),
    (",", Token::Comma),
    (";", Token::Semicolon),
    (":", Token::Colon),
    ("(", Token::ParenOpen),
    (")", Token::ParenClose),
    ("[", Token::BracketOpen),
    ("]", Token::BracketClose),
    ("{", Token::BraceOpen),
    ("}", Token::BraceClose),
];

/// Reads the token at or after `pos`; white space and comments before it are passed over.
pub(crate) fn lex(text: &str, pos: usize) -> Located<'_> {
    let start = match skip_blank(text, pos) {
        Ok(start) => start,
        Err(at) => {
            let rest = text.get(at..).unwrap_or_default();
            return Located { token: Token::Unclosed(rest), start: at, end: text.len() };
        }
    };
    let rest = text.get(start..).unwrap_or_default();
    let (token, len) = token(rest);
    Located { token, start, end: start + len }
}

/// The offset of what follows white space and comments; `Err` with the offset of a comment that
/// does not end.
pub(crate) fn skip_blank(text: &str, mut pos: usize) -> Result<usize, usize> {
    loop {
        let rest = text.get(pos..).unwrap_or_default();
        let blanks = rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
        pos += blanks;
        let rest = text.get(pos..).unwrap_or_default();
        if !(rest.starts_with("<#--") || rest.starts_with("[#--")) {
            return Ok(pos);
        }
        match comment_end(rest, None) {
            Some(len) => pos += len,
            None => return Err(pos),
        }
    }
}

/// How long a comment is that `text` begins with, its marks included. One in square brackets ends
/// with `--]`; in expressions (`None`) either end will do.
pub(crate) fn comment_end(text: &str, square: Option<bool>) -> Option<usize> {
    let mut from = 4;
    loop {
        // one search for both ends: looking for each up to the end of the text would take quadratic time
        let dashes = from + text.get(from..)?.find("--")?;
        match (text.as_bytes().get(dashes + 2)?, square) {
            (b'>', Some(false) | None) | (b']', Some(true) | None) => return Some(dashes + 3),
            _ => from = dashes + 1,
        }
    }
}

fn token(rest: &str) -> (Token<'_>, usize) {
    let Some(first) = rest.chars().next() else { return (Token::End, 0) };
    if first == '"' || first == '\'' || first == 'r' && rest.get(1..).is_some_and(|r| r.starts_with(['"', '\''])) {
        return string(rest);
    }
    if first.is_ascii_digit() {
        return number(rest);
    }
    let name_len = if rest.starts_with("${") { 0 } else { name_len(rest) };
    if name_len > 0 {
        let name = rest.get(..name_len).unwrap_or_default();
        let token = match name {
            "gt" => Token::GreaterWord,
            "gte" => Token::GreaterOrEqualWord,
            "lt" => Token::Less,
            "lte" => Token::LessOrEqual,
            name => Token::Name(name),
        };
        return (token, name_len);
    }
    for (symbol, token) in SYMBOLS {
        if rest.starts_with(symbol) {
            return (*token, symbol.len());
        }
    }
    (Token::Unknown(first), first.len_utf8())
}

/// How long a name is that `text` begins with; 0 when it begins with none.
pub(crate) fn name_len(text: &str) -> usize {
    let mut len = 0;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\\' {
            match chars.peek() {
                Some('-' | '.' | ':' | '#') => {
                    chars.next();
                    len += 2;
                }
                _ => break,
            }
        } else if is_letter(c) || len > 0 && c.is_ascii_digit() {
            len += c.len_utf8();
        } else {
            break;
        }
    }
    len
}

/// A name without the backslashes that were needed to write it.
pub(crate) fn plain_name(name: &str) -> String {
    name.replace('\\', "")
}

fn number(rest: &str) -> (Token<'_>, usize) {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let whole = digits(rest);
    let after = rest.get(whole..).unwrap_or_default();
    if let Some(fraction) = after.strip_prefix('.').map(digits)
        && fraction > 0
    {
        let len = whole + 1 + fraction;
        return (Token::Decimal(rest.get(..len).unwrap_or_default()), len);
    }
    (Token::Integer(rest.get(..whole).unwrap_or_default()), whole)
}

fn string(rest: &str) -> (Token<'_>, usize) {
    let raw = rest.starts_with('r');
    let body_start = if raw { 2 } else { 1 };
    let Some(quote) = rest.as_bytes().get(body_start - 1).copied() else { return (Token::End, 0) };
    let bytes = rest.as_bytes();
    let mut pos = body_start;
    while let Some(&byte) = bytes.get(pos) {
        if byte == quote {
            return (Token::String(rest.get(..=pos).unwrap_or_default()), pos + 1);
        }
        if byte == b'\\' && !raw {
            let known = matches!(
                bytes.get(pos + 1),
                Some(b'n' | b't' | b'r' | b'f' | b'b' | b'g' | b'l' | b'a' | b'\\' | b'\'' | b'"' | b'{' | b'=')
            ) || bytes.get(pos + 1) == Some(&b'x') && bytes.get(pos + 2).is_some_and(u8::is_ascii_hexdigit);
            if !known {
                return (Token::BadEscape(pos), rest.len());
            }
            pos += 1;
        }
        pos += 1;
    }
    (Token::Unclosed(rest), rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<Token<'_>> {
        let mut pos = 0;
        let mut all = Vec::new();
        loop {
            let next = lex(text, pos);
            if next.token == Token::End {
                return all;
            }
            all.push(next.token);
            pos = next.end;
        }
    }

    #[test]
    fn reads_names_numbers_and_ranges() {
        assert_eq!(
            tokens("1..5 1.5.. data\\-id r'a\\' a gt b"),
            [
                Token::Integer("1"),
                Token::DotDot,
                Token::Integer("5"),
                Token::Decimal("1.5"),
                Token::DotDot,
                Token::Name("data\\-id"),
                Token::String("r'a\\'"),
                Token::Name("a"),
                Token::GreaterWord,
                Token::Name("b"),
            ]
        );
        assert_eq!(tokens("1 <#-- c --> + [#-- d --] 2").len(), 3);
        assert_eq!(tokens("\"a\\qb\""), [Token::BadEscape(2)]);
    }
}
