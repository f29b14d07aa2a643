//! From source to syntax tree, by recursive descent with a bound on its depth.

mod assigns;
mod checks;
mod directives;
mod expressions;
mod literals;
mod loops;
mod primary;
pub(crate) mod scope;
mod template;

pub(crate) use template::{Parsed, parse};

use crate::error::{Raised, limit, parse as parse_error};
use crate::lexer::token::{Located, Token, lex};
use crate::limits::MAX_NESTING;
use crate::outline::Outline;
use crate::settings::{InterpolationSyntax, TagSyntax};
use crate::span::{Lines, Span};
use scope::Scope;

/// What parsing has found out so far; shared with the parsers of string literals.
struct State<'l> {
    lines: &'l Lines,
    scope: Scope,
    outline: Outline,
    text_count: usize,
    depth: u32,
    tags: TagSyntax,
    interpolation: InterpolationSyntax,
    strip_whitespace: bool,
    /// Drop all text at the top level (`<#ftl strip_text=true>`).
    strip_text: bool,
    naming: Option<Naming>,
    /// The directives around this place that `#break` and its like ask for.
    around: Vec<Around>,
}

/// How names of the language are written; a template may not mix the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Naming {
    Legacy,
    Camel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Around {
    /// `#list`: whether it has loop variables, and whether an `#items` was seen in it.
    List {
        loop_slot: u32,
        has_variables: bool,
        items_seen: bool,
    },
    Items {
        loop_slot: u32,
    },
    Switch,
}

/// What the expression being parsed stands in, and so what ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Surroundings {
    /// A tag: `>` ends it, except in parentheses; `/>` too.
    Tag { square: bool },
    /// `${…}`
    Interpolation,
}

/// A parser over a template's source, or over the text of a string literal in it.
struct Parser<'p, 'l> {
    text: &'p str,
    /// Where the next token or text is looked for.
    pos: usize,
    /// Set in literals with escapes, whose text is not a slice of the source: where errors point.
    fixed: Option<Span>,
    /// Added to offsets, in literals without escapes.
    base: usize,
    /// The next token, while in an expression.
    next: Located<'p>,
    surroundings: Surroundings,
    /// How many parentheses are open in the expression.
    parens: u32,
    state: &'p mut State<'l>,
}

impl<'p, 'l> Parser<'p, 'l> {
    fn new(text: &'p str, state: &'p mut State<'l>) -> Self {
        Parser {
            text,
            pos: 0,
            fixed: None,
            base: 0,
            next: Located { token: Token::End, start: 0, end: 0 },
            surroundings: Surroundings::Interpolation,
            parens: 0,
            state,
        }
    }

    fn span(&self, start: usize, end: usize) -> Span {
        self.fixed.unwrap_or_else(|| Span::new(self.base + start, self.base + end))
    }

    fn next_span(&self) -> Span {
        self.span(self.next.start, self.next.end)
    }

    fn error_at<T>(&self, start: usize, message: impl Into<String>) -> Result<T, Raised> {
        Err(parse_error(self.span(start, start), message))
    }

    /// Starts reading tokens at `pos`.
    fn enter_expression(&mut self, pos: usize, surroundings: Surroundings) {
        self.surroundings = surroundings;
        self.parens = 0;
        self.next = lex(self.text, pos);
    }

    fn bump(&mut self) -> Located<'p> {
        let taken = self.next;
        match taken.token {
            Token::ParenOpen => self.parens += 1,
            Token::ParenClose => self.parens = self.parens.saturating_sub(1),
            _ => {}
        }
        self.next = lex(self.text, taken.end);
        taken
    }

    fn take(&mut self, token: Token<'_>) -> bool {
        let is_next = self.next.token == token;
        if is_next {
            self.bump();
        }
        is_next
    }

    fn expect(&mut self, token: Token<'_>, what: &str) -> Result<Located<'p>, Raised> {
        if self.next.token == token { Ok(self.bump()) } else { self.unexpected(what) }
    }

    /// Whether the tag or interpolation may end here.
    fn at_end(&self) -> bool {
        match (self.surroundings, self.next.token) {
            (Surroundings::Tag { square: false }, Token::Greater | Token::GreaterOrEqual) => self.parens == 0,
            (Surroundings::Tag { square: true }, Token::BracketClose) => true,
            (Surroundings::Tag { .. }, Token::Divide) => self.at_empty_end(),
            (_, Token::End) => true,
            _ => false,
        }
    }

    /// Whether `/>` or `/]` comes next.
    fn at_empty_end(&self) -> bool {
        let Surroundings::Tag { square } = self.surroundings else { return false };
        let closer = if square { "/]" } else { "/>" };
        self.next.token == Token::Divide
            && self.text.get(self.next.start..).is_some_and(|rest| rest.starts_with(closer))
    }

    /// Ends the tag that the expression was in; tells whether it was `/>`.
    fn end_tag(&mut self, allow_empty: bool) -> Result<bool, Raised> {
        if self.at_empty_end() {
            if !allow_empty {
                return self.unexpected("the end of the tag");
            }
            self.pos = self.next.start + 2;
            return Ok(true);
        }
        if self.at_end() && self.next.token != Token::End {
            self.pos = self.next.start + 1;
            return Ok(false);
        }
        self.unexpected("the end of the tag")
    }

    fn unexpected<T>(&self, wanted: &str) -> Result<T, Raised> {
        let message = match self.next.token {
            Token::End => format!("unexpected end of file; expected {wanted}"),
            Token::Unclosed(text) if text.starts_with(['<', '[']) => "unclosed comment".to_owned(),
            Token::Unclosed(_) => "unclosed string literal".to_owned(),
            Token::Unknown(c) => format!("the character '{c}' has no meaning in expressions"),
            Token::BadEscape(offset) => {
                let message = "unknown escape sequence in a string literal";
                return self.error_at(self.next.start + offset + 1, message);
            }
            _ => {
                let text = self.text.get(self.next.start..self.next.end).unwrap_or_default();
                format!("encountered \"{text}\", but expected {wanted}")
            }
        };
        // the end of the file is where its last character is
        let start = match self.next.token {
            Token::End => self.text.char_indices().next_back().map_or(0, |(last, _)| last),
            _ => self.next.start,
        };
        self.error_at(start, message)
    }

    /// Runs a step that nests, within the bound on nesting.
    fn nested<T>(&mut self, step: impl FnOnce(&mut Self) -> Result<T, Raised>) -> Result<T, Raised> {
        if self.state.depth >= MAX_NESTING {
            let place = self.span(self.next.start.max(self.pos), self.next.end.max(self.pos));
            return Err(limit(format!("the template is nested more than {MAX_NESTING} deep")).at(place));
        }
        self.state.depth += 1;
        let result = step(self);
        self.state.depth -= 1;
        result
    }

    /// Notes how a name of the language is written, and refuses to mix the two ways.
    fn check_naming(&mut self, name: &str, start: usize) -> Result<(), Raised> {
        let naming = if name.bytes().any(|b| b.is_ascii_uppercase()) {
            Naming::Camel
        } else if name.contains('_') {
            Naming::Legacy
        } else {
            return Ok(());
        };
        match self.state.naming {
            Some(other) if other != naming => self.error_at(
                start,
                format!(
                    "naming convention mismatch: \"{name}\" is not written in the way (camelCase \
                     or with_underscores) that the template's first such name is"
                ),
            ),
            _ => {
                self.state.naming = Some(naming);
                Ok(())
            }
        }
    }
}
