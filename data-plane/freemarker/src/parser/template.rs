//! Templates as a whole: text, interpolations, comments, the header, and blocks of them.

use super::{Parser, State, Surroundings};
use crate::ast::{Block, Element, ElementKind, Expr, Macro};
use crate::error::{ErrorKind, Raised, parse as parse_error, raise};
use crate::lexer::text::{Found, Mark, next_mark};
use crate::lexer::token::{Token, comment_end};
use crate::limits::MAX_TEMPLATE_BYTES;
use crate::outline::Kind;
use crate::output_format::Escaping;
use crate::parser::scope::Sizes;
use crate::settings::{Syntax, TagSyntax, snake_case};
use crate::span::{Lines, Span};
use crate::whitespace;

/// A template that has been parsed.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) body: Block,
    /// What white-space stripping left of each text.
    pub(crate) texts: Vec<Box<str>>,
    pub(crate) sizes: Sizes,
    pub(crate) macros: Vec<Macro>,
    /// The macros that there are from the template's start: of those of one name the last.
    pub(crate) hoisted: Vec<u32>,
    /// Of an expression that was parsed alone.
    pub(crate) expression: Option<Expr>,
}

/// Parses a template.
pub(crate) fn parse(source: &str, lines: &Lines, syntax: Syntax, escaping: Escaping) -> Result<Parsed, Raised> {
    if source.len() > MAX_TEMPLATE_BYTES {
        let message = format!("the template is longer than {MAX_TEMPLATE_BYTES} bytes");
        return Err(raise(ErrorKind::Limit, message).at(Span::default()));
    }
    let mut state = State::new(source, lines, syntax, escaping);
    let mut parser = Parser::new(source, &mut state);
    parser.header()?;
    let (body, stop) = parser.block()?;
    if stop.found.is_some() {
        return parser.wrong_end(&stop);
    }
    state.finish(body, None)
}

/// Parses an expression, as `?eval` does.
pub(crate) fn parse_expression(
    source: &str,
    lines: &Lines,
    syntax: Syntax,
    escaping: Escaping,
) -> Result<Parsed, Raised> {
    parse_eval(source, lines, syntax, escaping, |next| *next == Token::End)
}

/// Parses the expression that a text begins with, and looks one token further.
pub(crate) fn parse_leading_expression(
    source: &str,
    lines: &Lines,
    syntax: Syntax,
    escaping: Escaping,
) -> Result<Parsed, Raised> {
    let is_token = |next: &Token<'_>| !matches!(next, Token::Unknown(_) | Token::Unclosed(_) | Token::BadEscape(_));
    parse_eval(source, lines, syntax, escaping, is_token)
}

fn parse_eval(
    source: &str,
    lines: &Lines,
    syntax: Syntax,
    escaping: Escaping,
    may_follow: impl Fn(&Token<'_>) -> bool,
) -> Result<Parsed, Raised> {
    let mut state = State::new(source, lines, syntax, escaping);
    let mut parser = Parser::new(source, &mut state);
    parser.enter_expression(0, Surroundings::Interpolation);
    let expression = parser.expression()?;
    if !may_follow(&parser.next.token) {
        return parser.unexpected("<EOF>");
    }
    state.finish(Block::default(), Some(expression))
}

/// A text that is printed as it is.
pub(crate) fn parse_plain(source: &str, lines: &Lines, syntax: Syntax, escaping: Escaping) -> Result<Parsed, Raised> {
    let mut state = State::new(source, lines, syntax, escaping);
    let element = Parser::new(source, &mut state).text_element(source.to_owned(), 0, source.len());
    state.syntax.strip_whitespace = false;
    state.finish(Box::new([element]), None)
}

impl State<'_> {
    fn finish(self, body: Block, expression: Option<Expr>) -> Result<Parsed, Raised> {
        let State { outline, text_count, scope, syntax, macros, .. } = self;
        let texts = whitespace::strip(outline, syntax.strip_whitespace, text_count)
            .ok_or_else(|| parse_error(Span::default(), "the template has too many tags on one line"))?;
        let sizes = scope.finish();
        let mut last: std::collections::HashMap<u32, u32> = std::collections::HashMap::new();
        for (number, definition) in (0..).zip(&macros) {
            last.insert(definition.symbol, number);
        }
        let mut hoisted: Vec<u32> = last.into_values().collect();
        hoisted.sort_unstable();
        Ok(Parsed { body, texts, sizes, macros, hoisted, expression })
    }
}

/// What ended a block: a tag that belongs to the directive around it, or the end of the template.
#[derive(Debug)]
pub(super) struct Stop<'p> {
    /// The directive's name with underscores; `/` before it for an end tag.
    pub(super) name: String,
    /// `None` at the template's end.
    pub(super) found: Option<Found<'p>>,
}

impl<'p> Parser<'p, '_> {
    /// Parses parts up to a tag that is no part itself.
    pub(super) fn block(&mut self) -> Result<(Block, Stop<'p>), Raised> {
        self.nested(|parser| parser.parts())
    }

    fn parts(&mut self) -> Result<(Block, Stop<'p>), Raised> {
        let mut elements = Vec::new();
        loop {
            let start = self.pos;
            let found = next_mark(self.text, start, self.state.syntax);
            if found.start > start {
                self.no_late_header(start, found.start)?;
                self.text_part(start, found.start, &mut elements);
            }
            self.pos = found.end;
            match found.mark {
                Mark::Eof => {
                    return Ok((elements.into(), Stop { name: String::new(), found: None }));
                }
                Mark::Dollar | Mark::Hash | Mark::Square => {
                    self.no_part_before_cases(found)?;
                    let element = self.interpolation(found)?;
                    elements.push(element);
                }
                Mark::Comment { square } => {
                    self.settle_tags(square);
                    self.comment(found, square)?;
                }
                Mark::Start { name, square } => {
                    // which is one under any syntax
                    if name != "sep" {
                        self.settle_tags(square);
                    }
                    let directive = self.known(name, false, found)?;
                    if directive.continues() {
                        return Ok((elements.into(), stop_at(snake_case(name), found)));
                    }
                    self.no_part_before_cases(found)?;
                    if let Some(element) = self.directive(name, directive, square, found)? {
                        elements.push(element);
                    }
                }
                Mark::End { name, square } => {
                    self.settle_tags(square);
                    self.known(name, true, found)?;
                    let name = snake_case(name);
                    return Ok((elements.into(), stop_at(format!("/{}", join_words(&name)), found)));
                }
                Mark::UserStart { square } => {
                    self.settle_tags(square);
                    self.no_part_before_cases(found)?;
                    let element = self.user_call(found, square)?;
                    elements.push(element);
                }
                Mark::UserEnd { square, .. } => {
                    self.settle_tags(square);
                    return Ok((elements.into(), stop_at("/@".to_owned(), found)));
                }
            }
        }
    }

    /// Under `tag_syntax=auto_detect` the first tag decides.
    pub(super) fn settle_tags(&mut self, square: bool) {
        self.state.syntax.tags = if square { TagSyntax::Square } else { TagSyntax::Angle };
        self.state.tags_settled = true;
    }

    /// As long as there was no tag, a header is one under any syntax.
    fn no_late_header(&self, start: usize, end: usize) -> Result<(), Raised> {
        if self.state.tags_settled {
            return Ok(());
        }
        let text = self.text.get(start..end).unwrap_or_default();
        let is_header = |at: &usize| {
            let rest = self.text.get(start + at + 5..).unwrap_or_default();
            rest.trim_start_matches('/').starts_with(['>', ']']) || rest.starts_with([' ', '\t', '\n', '\r'])
        };
        let headers = ["[#ftl", "<#ftl"].into_iter().flat_map(|tag| text.match_indices(tag)).map(|(at, _)| at);
        match headers.filter(is_header).min() {
            Some(at) => self.error_at(start + at, "#ftl must be the first thing in a template"),
            None => Ok(()),
        }
    }

    fn text_part(&mut self, start: usize, end: usize, elements: &mut Vec<Element>) {
        if self.state.strip_text && self.state.depth <= self.state.syntax.depth + 1 {
            return;
        }
        let text = self.text.get(start..end).unwrap_or_default().to_owned();
        elements.push(self.text_element(text, start, end));
    }

    /// A text whose tags, if any, reach from `start` to `end`.
    pub(super) fn text_element(&mut self, text: String, start: usize, end: usize) -> Element {
        let number = self.state.text_count;
        self.state.text_count += 1;
        self.outline(Kind::Text { text, number }, start, end);
        let id = u32::try_from(number).unwrap_or(u32::MAX);
        Element { kind: ElementKind::Text(id), span: self.span(start, end) }
    }

    pub(super) fn outline(&mut self, kind: Kind, start: usize, end: usize) {
        self.state.outline.add(kind, start, end, self.state.lines);
    }

    fn interpolation(&mut self, found: Found<'_>) -> Result<Element, Raised> {
        let kind = if found.mark == Mark::Hash {
            let (value, min_decimals, max_decimals) = self.number_output(found.end)?;
            let escaping = self.state.escaping;
            ElementKind::NumberOutput { value, min_decimals, max_decimals, escaping }
        } else {
            let value = self.output(found.end, found.mark)?;
            let value = self.escaped(value)?;
            ElementKind::Output { value, escaping: self.state.escaping }
        };
        self.outline(Kind::Output, found.start, self.pos);
        Ok(Element { kind, span: self.span(found.start, self.pos) })
    }

    fn comment(&mut self, found: Found<'_>, square: bool) -> Result<(), Raised> {
        let rest = self.text.get(found.start..).unwrap_or_default();
        match comment_end(rest, Some(square)) {
            Some(len) => {
                self.pos = found.start + len;
                self.outline(Kind::Silent, found.start, self.pos);
                Ok(())
            }
            None => {
                let tag = self.text.get(found.start..found.end).unwrap_or_default();
                self.error_at(found.start, format!("Unclosed \"{tag}\""))
            }
        }
    }

    /// A tag that has no business where it is.
    pub(super) fn misplaced<T>(&self, name: &str, found: Found<'_>) -> Result<T, Raised> {
        self.error_at(found.start, format!("Encountered \"<#{name}\", but it has no place here"))
    }
}

fn stop_at(name: String, found: Found<'_>) -> Stop<'_> {
    Stop { name, found: Some(found) }
}

/// End tags of directives with two words in their name: `/no_escape` is `/noescape`.
fn join_words(name: &str) -> String {
    name.replace('_', "")
}
