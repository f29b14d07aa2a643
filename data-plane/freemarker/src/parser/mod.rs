//! From source to syntax tree, by recursive descent with a bound on its depth.

mod assigns;
mod built_ins;
mod calls;
mod checks;
mod constants;
mod directive;
mod directives;
mod ends;
mod escaping;
mod expressions;
mod header;
mod literals;
mod loops;
mod macros;
mod modules;
mod names;
mod primary;
pub(crate) mod scope;
mod special;
mod switch;
mod template;

pub(crate) use template::{Parsed, parse, parse_expression, parse_leading_expression, parse_plain};

use crate::ast::{Expr, Macro};
use crate::error::{Raised, limit, parse as parse_error};
use crate::lexer::token::{Located, Token, lex};
use crate::limits::MAX_NESTING;
use crate::outline::Outline;
use crate::output_format::{AutoEscaping, Escaping};
use crate::settings::{Naming, Syntax};
use crate::span::{Lines, Span};
use scope::Scope;

/// What parsing has found out so far; shared with the parsers of string literals.
struct State<'l> {
    source: &'l str,
    lines: &'l Lines,
    syntax: Syntax,
    scope: Scope,
    outline: Outline,
    text_count: usize,
    depth: u32,
    /// Drop all text at the top level (`<#ftl strip_text=true>`).
    strip_text: bool,
    naming: Option<Naming>,
    /// What decided on the naming: where it is, and how it is written.
    named_by: Option<(Span, String)>,
    /// The directives around this place that `#break` and its like ask for.
    around: Vec<Around>,
    /// What can be closed at this place, innermost last.
    open: Vec<&'static str>,
    escaping: Escaping,
    /// The `#escape` blocks around this place, innermost last.
    /// What the settings say of escaping, which is what counts within string literals.
    policy: AutoEscaping,
    /// Whether a tag was seen, which says what tags look like.
    tags_settled: bool,
    escapes: Vec<Escape>,
    /// While the expression of an `#escape` is read: what stands for its placeholder.
    placeholder: Option<(String, Expr)>,
    /// How many nodes the placeholders of a template may be replaced with: escapes in one another
    /// double what they escape.
    replacements: usize,
    macros: Vec<Macro>,
    inside: Option<Inside>,
    wants_args: bool,
}

impl<'l> State<'l> {
    fn new(source: &'l str, lines: &'l Lines, syntax: Syntax, escaping: Escaping) -> Self {
        State {
            source,
            lines,
            syntax,
            scope: Scope::new(syntax.falls_back),
            outline: Outline::new(),
            text_count: 0,
            depth: syntax.depth,
            strip_text: false,
            naming: syntax.naming,
            named_by: None,
            around: Vec::new(),
            open: Vec::new(),
            escaping,
            policy: escaping.policy,
            tags_settled: false,
            escapes: Vec::new(),
            placeholder: None,
            replacements: 200_000,
            macros: Vec::new(),
            inside: None,
            wants_args: false,
        }
    }
}

/// The definition that is being parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    Macro,
    Function,
}

/// `<#escape name as …>`: where the expression starts in the source.
#[derive(Clone, Debug)]
struct Escape {
    name: String,
    start: usize,
    square: bool,
    /// How output is escaped where it stands.
    escaping: Escaping,
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
    ForEach {
        loop_slot: u32,
    },
    Switch {
        on: bool,
    },
    /// A `#switch` whose cases have not begun.
    BeforeCases,
}

/// What is expected where an operand is missing.
const EXPRESSION: &str = "an expression";

const CHECK_END_TAGS: &str = "Check if the FreeMarker end-tags are present, and aren't malformed. (Note that FreeMarker \
                              end-tags must have # or @ after the / character.)";

/// What the expression being parsed stands in, and so what ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Surroundings {
    /// A tag: `>` ends it, except in parentheses; `/>` too.
    Tag { square: bool },
    /// `${…}`
    Interpolation,
}

/// Where the text of a literal with escapes is in the source.
#[derive(Clone, Copy, Debug)]
struct Decoded {
    /// Of its first character.
    origin: usize,
    /// Whether each of its line breaks is one of the source, too.
    keeps_lines: bool,
}

/// A parser over a template's source, or over the text of a string literal in it.
struct Parser<'p, 'l> {
    text: &'p str,
    /// Where the next token or text is looked for.
    pos: usize,
    /// Set in literals with escapes, whose text is not a slice of the source.
    decoded: Option<Decoded>,
    /// Added to offsets, in literals without escapes.
    base: usize,
    /// The next token, while in an expression.
    next: Located<'p>,
    /// Where the token before it ends.
    last_end: usize,
    surroundings: Surroundings,
    /// How many parentheses are open in the expression.
    parens: u32,
    /// The brackets that are open.
    brackets: Vec<char>,
    /// In the named arguments of a call: `!` before white space takes nothing after it.
    named_arguments: bool,
    /// In the name of a user-defined directive: white space ends it.
    in_name: bool,
    state: &'p mut State<'l>,
}

impl<'p, 'l> Parser<'p, 'l> {
    fn new(text: &'p str, state: &'p mut State<'l>) -> Self {
        Parser {
            text,
            pos: 0,
            decoded: None,
            base: 0,
            next: Located { token: Token::End, start: 0, end: 0 },
            last_end: 0,
            surroundings: Surroundings::Interpolation,
            parens: 0,
            brackets: Vec::new(),
            named_arguments: false,
            in_name: false,
            state,
        }
    }

    fn span(&self, start: usize, end: usize) -> Span {
        match self.decoded {
            Some(decoded) => Span::new(self.decoded_place(decoded, start), self.decoded_place(decoded, end)),
            None => Span::new(self.base + start, self.base + end),
        }
    }

    fn next_span(&self) -> Span {
        self.span(self.next.start, self.next.end)
    }

    /// An expression that started at an offset and has just ended. In an `#escape` its parts may be from elsewhere.
    fn spanning(&self, start: usize, mut expr: Expr) -> Expr {
        if self.state.placeholder.is_some() {
            expr.span = self.span(start, self.last_end);
        }
        expr
    }

    fn error_at<T>(&self, start: usize, message: impl Into<String>) -> Result<T, Raised> {
        Err(parse_error(self.span(start, start), message))
    }

    /// Starts reading tokens at `pos`.
    fn enter_expression(&mut self, pos: usize, surroundings: Surroundings) {
        self.surroundings = surroundings;
        self.parens = 0;
        self.brackets.clear();
        self.named_arguments = false;
        self.in_name = false;
        self.next = lex(self.text, pos);
    }

    /// Starts on the name of a user-defined directive.
    fn enter_name(&mut self, pos: usize, surroundings: Surroundings) {
        self.enter_expression(pos, surroundings);
        self.in_name = true;
        self.heed_gap(pos);
    }

    /// Leaves the name at its white space; without any, arguments follow in which there may be none either.
    fn leave_name(&mut self) {
        if self.next.token == Token::Gap {
            self.in_name = false;
            self.next = lex(self.text, self.next.start);
        }
    }

    fn heed_gap(&mut self, after: usize) {
        if self.in_name && self.parens == 0 && self.next.start > after {
            self.next = Located { token: Token::Gap, start: after, end: after + 1 };
        }
    }

    fn bump(&mut self) -> Located<'p> {
        let taken = self.next;
        match taken.token {
            Token::ParenOpen => self.parens += 1,
            Token::ParenClose => {
                self.parens = self.parens.saturating_sub(1);
                // what follows parentheses is no name any more
                self.in_name &= self.parens > 0;
            }
            _ => {}
        }
        self.next = lex(self.text, taken.end);
        self.heed_gap(taken.end);
        self.last_end = taken.end;
        taken
    }

    fn take(&mut self, token: Token<'_>) -> bool {
        let is_next = self.next.token == token;
        if is_next {
            self.bump();
        }
        is_next
    }

    /// Takes an opening bracket, which the end of the file leaves unclosed.
    fn open_bracket(&mut self, bracket: char) -> Located<'p> {
        self.brackets.push(bracket);
        self.bump()
    }

    fn close_bracket(&mut self, token: Token<'_>, what: &str) -> Result<Located<'p>, Raised> {
        if self.next.token != token {
            return self.unexpected(what);
        }
        self.brackets.pop();
        Ok(self.bump())
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

    /// Whether the tag's `/>` or `/]` comes next.
    fn at_empty_end(&self) -> bool {
        let Surroundings::Tag { square } = self.surroundings else { return false };
        self.at_slash(if square { b']' } else { b'>' })
    }

    /// Whether `/>` or `/]` comes next, which is no division wherever it stands.
    fn at_any_empty_end(&self) -> bool {
        self.at_slash(b'>') || self.at_slash(b']')
    }

    fn at_slash(&self, closer: u8) -> bool {
        self.next.token == Token::Divide
            && self.parens == 0
            && self.text.as_bytes().get(self.next.start + 1) == Some(&closer)
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

    /// The error of a token that does not fit; `wanted` is what would.
    fn unexpected<T>(&self, wanted: &str) -> Result<T, Raised> {
        let message = match self.next.token {
            Token::End => {
                let unclosed = match self.brackets.last().filter(|_| wanted != EXPRESSION) {
                    Some(bracket) => format!(" You have an unclosed \"{bracket}\". {CHECK_END_TAGS}"),
                    None => String::new(),
                };
                format!("Unexpected end of file reached.{unclosed}")
            }
            Token::Unclosed(text) if text.starts_with(['<', '[']) => "Unclosed comment".to_owned(),
            Token::Unclosed(_) => "Unclosed string literal".to_owned(),
            Token::Unknown(c) => format!("Lexical error: encountered {c:?}, which has no meaning in expressions."),
            Token::BadEscape(offset) => {
                let message = "Invalid escape sequence in a string literal";
                return self.error_at(self.next.start + offset + 1, message);
            }
            Token::Interpolation(opener) => {
                let closer = if opener == "[=" { "]" } else { "}" };
                format!(
                    "You can't use {opener}...{closer} (an interpolation) here as you are already in \
                     FreeMarker-expression-mode. Thus, instead of {opener}myExpression{closer}, just write \
                     myExpression. ({opener}...{closer} is only used where otherwise static text is expected, i.e., \
                     outside FreeMarker tags and interpolations, or inside string literals.)"
                )
            }
            Token::BraceClose | Token::BracketClose if self.is_stray() => {
                let text = self.text.get(self.next.start..self.next.end).unwrap_or_default();
                format!("You can't have an \"{text}\" here, as there's nothing open that it could close.")
            }
            _ => {
                let text = self.text.get(self.next.start..self.next.end).unwrap_or_default();
                format!("Encountered \"{text}\", but was expecting pattern:\n    {wanted}")
            }
        };
        match self.next.token {
            Token::End => self.error_at(self.last_char(), message),
            // these may begin a token: it is what follows that does not fit
            Token::Unknown('#' | '\\') => self.error_at(self.next.start + 1, message),
            _ => self.error_at(self.next.start, message),
        }
    }

    /// Where the end of the file is: at its last character.
    fn last_char(&self) -> usize {
        self.text.char_indices().next_back().map_or(0, |(last, _)| last)
    }

    /// Whether the closing bracket that comes next closes nothing.
    fn is_stray(&self) -> bool {
        let opener = if self.next.token == Token::BraceClose { '{' } else { '[' };
        let in_square_tag = opener == '[' && self.surroundings == Surroundings::Tag { square: true };
        !self.brackets.contains(&opener) && !in_square_tag
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
}
