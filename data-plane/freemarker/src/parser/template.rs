//! Templates as a whole: text, interpolations, comments, the header, and blocks of them.

use super::directives::Directive;
use super::{Parser, State, Surroundings};
use crate::ast::{Block, Element, ElementKind, ExprKind};
use crate::error::{ErrorKind, Raised, parse as parse_error, raise};
use crate::lexer::text::{Found, Mark, next_mark};
use crate::lexer::token::{Token, comment_end};
use crate::limits::MAX_TEMPLATE_BYTES;
use crate::outline::{Kind, Outline};
use crate::parser::scope::{Scope, Sizes};
use crate::settings::{Syntax, TagSyntax, snake_case};
use crate::span::{Lines, Span};
use crate::whitespace::{self, is_java_space};

/// A template that has been parsed.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) body: Block,
    /// What white-space stripping left of each text.
    pub(crate) texts: Vec<Box<str>>,
    pub(crate) sizes: Sizes,
}

/// Parses a template.
pub(crate) fn parse(source: &str, lines: &Lines, syntax: Syntax) -> Result<Parsed, Raised> {
    if source.len() > MAX_TEMPLATE_BYTES {
        let message = format!("the template is longer than {MAX_TEMPLATE_BYTES} bytes");
        return Err(raise(ErrorKind::Limit, message).at(Span::default()));
    }
    let mut state = State {
        lines,
        scope: Scope::default(),
        outline: Outline::new(),
        text_count: 0,
        depth: 0,
        tags: syntax.tags,
        interpolation: syntax.interpolation,
        strip_whitespace: syntax.strip_whitespace,
        strip_text: false,
        naming: None,
        around: Vec::new(),
    };
    let mut parser = Parser::new(source, &mut state);
    parser.header()?;
    let (body, stop) = parser.block()?;
    if let Some(found) = stop.found {
        return parser.misplaced(&stop.name, found);
    }
    let State { outline, text_count, scope, strip_whitespace, .. } = state;
    let texts = whitespace::strip(outline, strip_whitespace, text_count)
        .ok_or_else(|| parse_error(Span::default(), "the template has too many tags on one line"))?;
    Ok(Parsed { body, texts, sizes: scope.finish() })
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
            let found = next_mark(self.text, start, self.state.tags, self.state.interpolation);
            if found.start > start {
                self.text_part(start, found.start, &mut elements);
            }
            self.pos = found.end;
            match found.mark {
                Mark::Eof => {
                    return Ok((elements.into(), Stop { name: String::new(), found: None }));
                }
                Mark::Dollar | Mark::Hash | Mark::Square => {
                    let element = self.interpolation(found)?;
                    elements.push(element);
                }
                Mark::Comment { square } => {
                    self.settle_tags(square);
                    self.comment(found)?;
                }
                Mark::Start { name, square } => {
                    self.settle_tags(square);
                    let directive = Directive::find(name);
                    self.check_naming_of(name, directive, found)?;
                    if directive.is_some_and(Directive::continues) {
                        return Ok((elements.into(), stop_at(snake_case(name), found)));
                    }
                    if let Some(element) = self.directive(name, directive, square, found)? {
                        elements.push(element);
                    }
                }
                Mark::End { name, square } => {
                    self.settle_tags(square);
                    self.check_naming_of(name, Directive::find(name), found)?;
                    return Ok((elements.into(), stop_at(format!("/{}", snake_case(name)), found)));
                }
                Mark::UserStart { .. } | Mark::UserEnd { .. } => {
                    return self.error_at(found.start, "this engine does not support user-defined directives (macros)");
                }
            }
        }
    }

    /// Under `tag_syntax=auto_detect` the first tag decides.
    fn settle_tags(&mut self, square: bool) {
        self.state.tags = if square { TagSyntax::Square } else { TagSyntax::Angle };
    }

    fn check_naming_of(&mut self, name: &str, directive: Option<Directive>, found: Found<'_>) -> Result<(), Raised> {
        match directive {
            Some(_) => self.check_naming(name, found.start + 1),
            None => self.error_at(found.start + 1, format!("unknown directive: #{name}")),
        }
    }

    fn text_part(&mut self, start: usize, end: usize, elements: &mut Vec<Element>) {
        if self.state.strip_text && self.state.depth <= 1 {
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
            ElementKind::NumberOutput { value, min_decimals, max_decimals }
        } else {
            ElementKind::Output(self.output(found.end, found.mark)?)
        };
        self.outline(Kind::Output, found.start, self.pos);
        Ok(Element { kind, span: self.span(found.start, self.pos) })
    }

    fn comment(&mut self, found: Found<'_>) -> Result<(), Raised> {
        let rest = self.text.get(found.start..).unwrap_or_default();
        match comment_end(rest) {
            Some(len) => {
                self.pos = found.start + len;
                self.outline(Kind::Silent, found.start, self.pos);
                Ok(())
            }
            None => self.error_at(found.start, "unclosed comment"),
        }
    }

    /// A tag that has no business where it is.
    pub(super) fn misplaced<T>(&self, name: &str, found: Found<'_>) -> Result<T, Raised> {
        let message = match name.strip_prefix('/') {
            Some(name) => format!("the end tag </#{name}> does not end anything here"),
            None => format!("#{name} has no place here"),
        };
        self.error_at(found.start, message)
    }

    /// Parses `<#ftl …>` when the template begins with it.
    fn header(&mut self) -> Result<(), Raised> {
        let start = self.text.len() - self.text.trim_start_matches([' ', '\t', '\n', '\r']).len();
        let rest = self.text.get(start..).unwrap_or_default();
        let square = rest.starts_with("[#ftl");
        let Some(after) = rest.get(5..).filter(|_| square || rest.starts_with("<#ftl")) else {
            return Ok(());
        };
        if after.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            return Ok(());
        }
        self.settle_tags(square);
        self.enter_expression(start + 5, Surroundings::Tag { square });
        while !self.at_end() {
            let Token::Name(name) = self.next.token else {
                return self.unexpected("the name of a parameter");
            };
            let name_start = self.bump().start;
            self.check_naming(name, name_start)?;
            self.expect(Token::Assign, "\"=\"")?;
            let value = self.expression()?;
            self.header_parameter(name, name_start, &value.kind)?;
        }
        self.end_tag(true)?;
        // the rest of the header's line goes with it
        let rest = self.text.get(self.pos..).unwrap_or_default();
        for (i, c) in rest.char_indices() {
            let line_break = match c {
                '\r' if rest.get(i..).is_some_and(|r| r.starts_with("\r\n")) => 2,
                // FreeMarker looks for the rest of a line break, and at the end gives up
                '\r' if rest.len() == i + 1 => break,
                '\r' | '\n' => 1,
                c if is_java_space(c) => continue,
                _ => break,
            };
            self.pos += i + line_break;
            break;
        }
        Ok(())
    }

    fn header_parameter(&mut self, name: &str, start: usize, value: &ExprKind) -> Result<(), Raised> {
        let flag = match value {
            ExprKind::Bool(flag) => Some(*flag),
            ExprKind::String(text) if matches!(&**text, "yes" | "true") => Some(true),
            ExprKind::String(text) if matches!(&**text, "no" | "false") => Some(false),
            _ => None,
        };
        match (snake_case(name).as_str(), flag) {
            ("strip_whitespace", Some(flag)) => self.state.strip_whitespace = flag,
            ("strip_text", Some(flag)) => self.state.strip_text = flag,
            ("strict_syntax", Some(true)) | ("encoding", _) | ("auto_esc", Some(false)) => {}
            ("strip_whitespace" | "strip_text" | "strict_syntax" | "auto_esc", None) => {
                return self.error_at(start, format!("{name} must be true or false"));
            }
            ("strict_syntax" | "auto_esc" | "output_format" | "attributes" | "ns_prefixes", _) => {
                return self.error_at(start, format!("this engine does not support the header's parameter {name}"));
            }
            _ => return self.error_at(start, format!("unknown header parameter: {name}")),
        }
        Ok(())
    }
}

fn stop_at(name: String, found: Found<'_>) -> Stop<'_> {
    Stop { name, found: Some(found) }
}
