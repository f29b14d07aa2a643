//! String literals and the interpolations in them.

use super::{Decoded, Parser, Surroundings};
use crate::ast::{Expr, ExprKind, Piece};
use crate::error::Raised;
use crate::lexer::literal::decode;
use crate::lexer::text::{Mark, next_mark};
use crate::lexer::token::Token;
use crate::settings::InterpolationSyntax;

impl Parser<'_, '_> {
    /// Parses a string literal, quotes and all, that starts at an offset.
    pub(super) fn string_literal(&mut self, literal: &str, start: usize) -> Result<ExprKind, Raised> {
        if let Some(raw) = literal.strip_prefix('r') {
            let body = raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default();
            return Ok(ExprKind::String(body.into()));
        }
        let body = literal.get(1..literal.len().saturating_sub(1)).unwrap_or_default();
        let escaped = body.contains('\\');
        let without_escapes = if escaped { decode(body) } else { String::new() };
        let text = if escaped { &without_escapes } else { body };
        let interpolates = match self.state.syntax.interpolation {
            InterpolationSyntax::Legacy => body.contains("${") || body.contains("#{"),
            InterpolationSyntax::Dollar => body.contains("${"),
            InterpolationSyntax::Square => body.contains("[="),
        };
        // FreeMarker has literals as short as "a${" for plain ones
        if !interpolates || text.encode_utf16().nth(3).is_none() {
            return Ok(ExprKind::String(text.into()));
        }
        let decoded = (escaped || self.decoded.is_some()).then(|| {
            let quote = self.span(start, start).start as usize;
            let breaks = |text: &str| text.bytes().filter(|byte| *byte == b'\n').count();
            let keeps_lines = self.decoded.is_none_or(|outer| outer.keeps_lines) && breaks(body) == breaks(text);
            Decoded { origin: advanced(self.state.source, quote, 1), keeps_lines }
        });
        let here = self.state.escaping;
        self.state.escaping.policy = self.state.policy;
        let mut inner = Parser {
            text,
            pos: 0,
            decoded,
            base: self.base + start + 1,
            next: self.next,
            last_end: 0,
            surroundings: Surroundings::Interpolation,
            parens: 0,
            brackets: Vec::new(),
            named_arguments: false,
            in_name: false,
            state: &mut *self.state,
        };
        let pieces = inner.pieces();
        self.state.escaping = here;
        let pieces = pieces?;
        Ok(ExprKind::Template(pieces.into()))
    }

    /// The place in the source of an offset in a literal whose escapes are decoded: as many characters after the quote,
    /// or the beginning of its line, as there are before it now, as in FreeMarker.
    pub(super) fn decoded_place(&self, decoded: Decoded, offset: usize) -> usize {
        let mut before = self.text.get(..offset).unwrap_or(self.text);
        let mut origin = decoded.origin;
        while decoded.keeps_lines
            && let Some((_, line)) = before.split_once('\n')
            && let Some(end) = self.state.source.get(origin..).and_then(|source| source.find('\n'))
        {
            before = line;
            origin += end + 1;
        }
        advanced(self.state.source, origin, before.encode_utf16().count())
    }

    fn pieces(&mut self) -> Result<Vec<Piece>, Raised> {
        let mut pieces = Vec::new();
        let mut text_start = 0;
        loop {
            // tags have no meaning in a literal
            let found = next_mark(self.text, self.pos, self.state.syntax);
            if !matches!(found.mark, Mark::Dollar | Mark::Hash | Mark::Square | Mark::Eof) {
                self.pos = found.start + 1;
                continue;
            }
            let text = self.text.get(text_start..found.start).unwrap_or_default();
            if !text.is_empty() {
                pieces.push(Piece::Text(text.into()));
            }
            match found.mark {
                Mark::Eof => return Ok(pieces),
                Mark::Hash => {
                    let (value, min_decimals, max_decimals) = self.number_output(found.end)?;
                    pieces.push(Piece::NumberOutput { value, min_decimals, max_decimals });
                }
                mark => pieces.push(Piece::Output(self.output(found.end, mark)?)),
            }
            text_start = self.pos;
        }
    }

    /// Parses what is in an interpolation, and its end.
    pub(super) fn output(&mut self, start: usize, mark: Mark<'_>) -> Result<Expr, Raised> {
        self.enter_expression(start, Surroundings::Interpolation);
        let (opener, close) = match mark {
            Mark::Square => ('[', Token::BracketClose),
            _ => ('{', Token::BraceClose),
        };
        self.brackets.push(opener);
        let value = self.expression()?;
        self.end_interpolation(close)?;
        self.only_printable(&value)?;
        Ok(value)
    }

    /// Parses what is in `#{…}`; gives the fewest and most decimals too.
    pub(super) fn number_output(&mut self, start: usize) -> Result<(Expr, u32, u32), Raised> {
        self.enter_expression(start, Surroundings::Interpolation);
        self.brackets.push('{');
        let value = self.expression()?;
        self.only_number(&value)?;
        let (mut min, mut max) = (None, None);
        if self.take(Token::Semicolon) {
            let Token::Name(format) = self.next.token else {
                return self.unexpected("m or M and a count of digits");
            };
            let start = self.bump().start;
            // what is missing comes before what is wrong
            if self.next.token != Token::BraceClose {
                return self.unexpected("\"}\"");
            }
            let mut rest = format;
            while !rest.is_empty() {
                let after = rest.get(1..).unwrap_or_default();
                let len = after.bytes().take_while(u8::is_ascii_digit).count();
                let (digits, tail) = after.split_at(len);
                let count = digits.parse::<u32>().ok().filter(|count| *count <= 50);
                match (rest.as_bytes().first(), count) {
                    (Some(b'm'), Some(count)) if min.is_none() => min = Some(count),
                    (Some(b'M'), Some(count)) if max.is_none() => max = Some(count),
                    _ => {
                        return self
                            .error_at(start, format!("\"{format}\" is no format such as m2M4, of up to 50 digits"));
                    }
                }
                rest = tail;
            }
            if min.zip(max).is_some_and(|(min, max)| min > max) {
                return self.error_at(start, "the fewest digits are more than the most");
            }
        }
        self.end_interpolation(Token::BraceClose)?;
        let least = min.unwrap_or(0);
        let most = max.unwrap_or(if min.is_some() { least } else { 50 });
        Ok((value, least, most))
    }

    fn end_interpolation(&mut self, close: Token<'_>) -> Result<(), Raised> {
        if self.next.token != close {
            let wanted = if close == Token::BracketClose { "\"]\"" } else { "\"}\"" };
            return self.unexpected(wanted);
        }
        self.brackets.pop();
        self.pos = self.next.end;
        Ok(())
    }
}

/// The offset so many UTF-16 units further on.
fn advanced(source: &str, from: usize, units: usize) -> usize {
    let mut left = units;
    let rest = source.get(from..).unwrap_or_default();
    for (at, c) in rest.char_indices() {
        if left == 0 {
            return from + at;
        }
        left = left.saturating_sub(c.len_utf16());
    }
    source.len()
}
