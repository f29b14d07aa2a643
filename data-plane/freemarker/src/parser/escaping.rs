//! `#escape` and `#noescape`, `#outputformat`, `#autoesc` and `#noautoesc`.

use super::constants::{Constant, constant};
use super::directive::Directive;
use super::{Escape, Parser, Surroundings};
use crate::ast::{Block, ElementKind, Expr};
use crate::error::{Raised, limit, parse};
use crate::lexer::text::Found;
use crate::lexer::token::Token;
use crate::outline::Kind;
use crate::output_format::{AutoEscaping, Escaping, OutputFormat};

impl<'p> Parser<'p, '_> {
    pub(super) fn escape_directive(&mut self, found: Found<'p>) -> Result<ElementKind, Raised> {
        let Escaping { format, .. } = self.state.escaping;
        if self.state.escaping.is_on() {
            return self.error_at(
                found.start,
                format!(
                    "Using the \"escape\" directive (legacy escaping) is not allowed when auto-escaping is on with a \
                     markup output format ({format}), to avoid confusion and double-escaping mistakes."
                ),
            );
        }
        let name = self.name("the name of the placeholder")?;
        match self.next.token {
            Token::Name("as") => self.bump(),
            _ => return self.unexpected("\"as\""),
        };
        let start = self.next.start;
        let square = matches!(self.surroundings, Surroundings::Tag { square: true });
        // read for its mistakes; what is escaped with it is put in place at each interpolation
        self.expression()?;
        self.end_tag(false)?;
        let escaping = self.state.escaping;
        self.state.escapes.push(Escape { name, start, square, escaping });
        let body = self.content("#escape", "/escape", Kind::Block, found);
        self.state.escapes.pop();
        Ok(ElementKind::Plain(body?))
    }

    pub(super) fn noescape_directive(&mut self, found: Found<'p>) -> Result<ElementKind, Raised> {
        self.end_tag(false)?;
        let Some(escape) = self.state.escapes.pop() else {
            return self.error_at(found.start, "#noescape with no matching #escape encountered.");
        };
        let body = self.content("#noescape", "/noescape", Kind::Block, found);
        self.state.escapes.push(escape);
        Ok(ElementKind::Plain(body?))
    }

    /// What an interpolation prints within the `#escape` blocks around it.
    pub(super) fn escaped(&mut self, value: Expr) -> Result<Expr, Raised> {
        let mut value = value;
        for place in (0..self.state.escapes.len()).rev() {
            let Some(escape) = self.state.escapes.get(place).cloned() else { continue };
            let before = (self.pos, self.next, self.surroundings, self.parens);
            let brackets = std::mem::take(&mut self.brackets);
            self.enter_expression(escape.start, Surroundings::Tag { square: escape.square });
            self.state.placeholder = Some((escape.name, value));
            // what its built-ins may do was settled where it stands
            let here = std::mem::replace(&mut self.state.escaping, escape.escaping);
            let escaped = self.expression();
            self.state.escaping = here;
            self.state.placeholder = None;
            (self.pos, self.next, self.surroundings, self.parens) = before;
            self.brackets = brackets;
            value = escaped?;
        }
        Ok(value)
    }

    /// What stands for a name within an `#escape`'s expression.
    pub(super) fn replacement(&mut self, name: &str) -> Result<Option<Expr>, Raised> {
        let Some((_, expr)) = self.state.placeholder.as_ref().filter(|(placeholder, _)| placeholder == name) else {
            return Ok(None);
        };
        let size = super::macros::size_of_expr(expr);
        let expr = expr.clone();
        match self.state.replacements.checked_sub(size) {
            Some(left) => self.state.replacements = left,
            None => return Err(limit("#escape blocks make the template too large").at(self.next_span())),
        }
        Ok(Some(expr))
    }

    pub(super) fn output_format_directive(&mut self, found: Found<'p>) -> Result<ElementKind, Raised> {
        let param = self.expression()?;
        self.end_tag(false)?;
        let shown = param.span.text(self.state.source);
        let name = match constant(&param) {
            Some(Constant::Text(name)) => name,
            Some(_) => return Err(parse(param.span, format!("Parameter must be a string, but was: {shown}"))),
            None => {
                return Err(parse(
                    param.span,
                    format!("Parameter expression must be parse-time evaluable (constant): {shown}"),
                ));
            }
        };
        let format = match self.named_format(&name) {
            Ok(format) => format,
            Err(problem) => return self.error_at(found.start, problem),
        };
        if !format.is_markup() && self.state.escaping.policy == AutoEscaping::Forced {
            return self.error_at(found.start, forced(&format!("Non-markup output format \"{format}\"")));
        }
        let escaping = Escaping { format, ..self.state.escaping };
        let body = self.escaping_block(escaping, "#outputformat", "/outputformat", found)?;
        Ok(ElementKind::Plain(body))
    }

    fn named_format(&self, name: &str) -> Result<OutputFormat, String> {
        let Some(rest) = name.strip_prefix('{') else { return OutputFormat::find(name) };
        let Some(inner) = rest.strip_suffix('}') else {
            return Err(format!("Output format name that starts with '{{' must end with '}}': {name}"));
        };
        let inner = OutputFormat::find(inner)?;
        if !inner.is_markup() {
            return Err(format!("The output format inside the {{...}} must be a markup format, but was: {inner}"));
        }
        let outer = self.state.escaping.format;
        if !outer.is_markup() {
            return Err(format!(
                "The current output format must be a markup format when using {{...}}, but was: {outer}"
            ));
        }
        outer.with_inner(inner)
    }

    pub(super) fn auto_esc_directive(
        &mut self,
        directive: Directive,
        name: &str,
        found: Found<'p>,
    ) -> Result<ElementKind, Raised> {
        self.end_tag(false)?;
        let on = directive == Directive::AutoEsc;
        if on {
            self.check_can_escape(found.start)?;
        } else if self.state.escaping.policy == AutoEscaping::Forced {
            return self.error_at(found.start, forced(&format!("<#{name}>")));
        }
        let policy = if on { AutoEscaping::Enabled } else { AutoEscaping::Disabled };
        let escaping = Escaping { policy, ..self.state.escaping };
        let (shown, end) = if on { ("#autoesc", "/autoesc") } else { ("#noautoesc", "/noautoesc") };
        Ok(ElementKind::Plain(self.escaping_block(escaping, shown, end, found)?))
    }

    fn escaping_block(
        &mut self,
        escaping: Escaping,
        shown: &'static str,
        end: &str,
        found: Found<'p>,
    ) -> Result<Block, Raised> {
        let outer = std::mem::replace(&mut self.state.escaping, escaping);
        let body = self.content(shown, end, Kind::Fleeting, found);
        self.state.escaping = outer;
        body
    }

    pub(super) fn check_can_escape(&self, start: usize) -> Result<(), Raised> {
        let format = self.state.escaping.format;
        if format.is_markup() {
            return Ok(());
        }
        self.error_at(start, format!("The current output format can't do escaping: {format}"))
    }
}

/// The error of switching off what the settings force.
pub(super) fn forced(what: &str) -> String {
    format!(
        "{what} can't be used when the \"auto_escaping_policy\" configuration setting was set to \"force\" \
         (FORCE_AUTO_ESCAPING_POLICY)."
    )
}
