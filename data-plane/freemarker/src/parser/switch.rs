//! `#switch` with `#case`, `#on` and `#default`.

use super::{Around, Parser};
use crate::ast::{Block, Case, ElementKind, Expr, Switch};
use crate::error::Raised;
use crate::lexer::text::{Found, next_mark};
use crate::lexer::token::Token;
use crate::outline::Kind;

impl<'p> Parser<'p, '_> {
    pub(super) fn switch_directive(&mut self, found: Found<'p>) -> Result<ElementKind, Raised> {
        let value = self.expression()?;
        self.end_tag(false)?;
        self.open_outline(Kind::Block, found.start);
        let ends = ["case", "on", "default", "/switch"];
        self.no_text()?;
        // nothing but white space and comments may come before the first case
        self.state.around.push(Around::BeforeCases);
        self.open_outline(Kind::Block, self.pos);
        let (before, mut stop) = self.body("#switch", &ends)?;
        self.state.outline.discard();
        self.state.around.pop();
        self.only_blank(&before)?;
        let mut cases: Vec<Case> = Vec::new();
        let mut uses_on = false;
        while let Some(tag) = stop.found.filter(|_| stop.name != "/switch") {
            self.open_stop(&stop);
            let values = self.case_values(&stop.name)?;
            let is_default = stop.name == "default";
            if is_default && cases.iter().any(|case| case.values.is_empty()) {
                return self.error_at(found.start, "You can only have one default case in a switch statement");
            }
            if uses_on && cases.iter().any(|case| case.values.is_empty()) {
                return self.error_at(tag.start, "#default must be the last in a #switch that has #on");
            }
            match stop.name.as_str() {
                "on" if !uses_on && !cases.is_empty() => {
                    return self.error_at(tag.start, "#on can't be in a #switch that has #case, or after #default");
                }
                "on" => uses_on = true,
                "case" if uses_on => {
                    return self.error_at(tag.start, "#case can't be in a #switch that has #on");
                }
                _ => {}
            }
            self.end_tag(false)?;
            self.open_outline(Kind::Block, tag.start);
            self.state.around.push(Around::Switch { on: uses_on });
            let (body, next) = self.body("#switch", &ends)?;
            self.state.around.pop();
            self.close_outline(next.found.map_or(self.pos, |tag| tag.start));
            cases.push(Case { values: values.into(), body });
            stop = next;
        }
        self.end(&stop)?;
        self.close_outline(self.pos);
        Ok(ElementKind::Switch(Box::new(Switch { value, cases: cases.into(), uses_on })))
    }

    fn case_values(&mut self, tag: &str) -> Result<Vec<Expr>, Raised> {
        let mut values = Vec::new();
        if tag != "default" {
            values.push(self.expression()?);
        }
        while tag == "on" && !self.at_end() {
            self.take(Token::Comma);
            values.push(self.expression()?);
        }
        Ok(values)
    }

    /// Refuses text right after the tag, whatever comes later.
    fn no_text(&self) -> Result<(), Raised> {
        let text = self.text.get(self.pos..).unwrap_or_default();
        let next = next_mark(self.text, self.pos, self.state.syntax).start;
        let text = text.get(..next.saturating_sub(self.pos)).unwrap_or_default();
        let shown = text.trim_start();
        if shown.is_empty() { Ok(()) } else { self.text_before_case(self.pos + text.len() - shown.len(), shown) }
    }

    /// Refuses a tag or interpolation before the first case, before what is in it.
    pub(super) fn no_part_before_cases(&self, found: Found<'_>) -> Result<(), Raised> {
        if self.state.around.last() != Some(&Around::BeforeCases) {
            return Ok(());
        }
        let part = self.text.get(found.start..found.end).unwrap_or_default();
        self.text_before_case(found.start, part)
    }

    fn text_before_case(&self, start: usize, text: &str) -> Result<(), Raised> {
        let shown: String = text.chars().take(20).collect();
        self.error_at(
            start,
            format!(
                "Encountered \"{shown}\", but between #switch and the first #case only white space and comments may \
                 stand"
            ),
        )
    }

    fn only_blank(&self, before: &Block) -> Result<(), Raised> {
        for element in before {
            let text = element.span.text(self.text);
            if !matches!(element.kind, ElementKind::Text(_)) || !text.trim().is_empty() {
                let shown = text.trim_start();
                let start = element.span.start as usize + (text.len() - shown.len());
                return self.text_before_case(start, shown);
            }
        }
        Ok(())
    }
}
