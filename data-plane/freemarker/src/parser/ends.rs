//! Where the content of directives ends, and the errors when it ends elsewhere.

use super::template::Stop;
use super::{CHECK_END_TAGS, Parser, Surroundings};
use crate::ast::Block;
use crate::error::Raised;
use crate::lexer::text::Found;
use crate::outline::Kind;

impl<'p> Parser<'p, '_> {
    /// Parses the content of a directive whose start tag has been read, and its end tag.
    pub(super) fn content(
        &mut self,
        shown: &'static str,
        end: &str,
        kind: Kind,
        found: Found<'p>,
    ) -> Result<Block, Raised> {
        self.open_outline(kind, found.start);
        let (body, stop) = self.body(shown, &[end])?;
        self.end(&stop)?;
        self.close_outline(self.pos);
        Ok(body)
    }

    /// Parses a block that ends with an end tag, or with a tag that goes on with the directive.
    pub(super) fn body(&mut self, shown: &'static str, ends: &[&str]) -> Result<(Block, Stop<'p>), Raised> {
        self.state.open.push(shown);
        let (block, stop) = self.block()?;
        self.check_end(&stop, ends)?;
        Ok((block, stop))
    }

    /// Whether a directive's block ends with one of its own tags.
    pub(super) fn check_end(&mut self, stop: &Stop<'p>, ends: &[&str]) -> Result<(), Raised> {
        if stop.found.is_none() || !ends.contains(&stop.name.as_str()) {
            return self.wrong_end(stop);
        }
        self.state.open.pop();
        Ok(())
    }

    /// The error of a block that ends where it must not.
    pub(super) fn wrong_end<T>(&self, stop: &Stop<'_>) -> Result<T, Raised> {
        let mut closable: Vec<&str> = Vec::new();
        for shown in self.state.open.iter().rev() {
            closable.insert(0, shown);
            // the end tag of #sep may be left out
            if *shown != "#sep" {
                break;
            }
        }
        // what an #else could close is none of what is left
        closable.retain(|shown| !shown.is_empty());
        let Some(tag) = stop.found else {
            let unclosed = match closable.is_empty() {
                true => String::new(),
                false => format!(" You have an unclosed {}. {CHECK_END_TAGS}", closable.join(" and ")),
            };
            return self.error_at(self.last_char(), format!("Unexpected end of file reached.{unclosed}"));
        };
        let shown = self.text.get(tag.start..tag.end).unwrap_or_default();
        let mut message = format!("Encountered \"{shown}");
        message.push_str(if shown.starts_with('[') { "]\"" } else { ">\"" });
        let continues = matches!(stop.name.as_str(), "else" | "elseif" | "else_if");
        let is_end = stop.name.starts_with('/');
        if continues || is_end {
            if continues {
                message.push_str(", which can only be used where an #if");
                if stop.name == "else" {
                    message.push_str(" or #list");
                }
                message.push_str(" could be closed");
            }
            let own = format!("#{}", stop.name.trim_start_matches('/'));
            closable.retain(|shown| *shown != own && !(continues && *shown == "#if"));
            if closable.is_empty() {
                message.push_str(", but there's nothing here that it could close or continue.");
            } else {
                let these = if closable.len() > 1 { "these" } else { "this" };
                message.push_str(&format!(", but at this place only {these} can be closed: \""));
                message.push_str(&closable.join("\", \""));
                message.push_str("\".");
            }
            if is_end {
                message.push_str(
                    " This usually because of wrong nesting of FreeMarker directives, like a missed or malformed \
                     end-tag somewhere. (Note that FreeMarker end-tags must have # or @ after the / character.)",
                );
            }
        } else {
            message.push_str(", but this directive can't be used at this place.");
        }
        self.error_at(tag.start, message)
    }

    /// Reads the rest of an end tag.
    pub(super) fn end(&mut self, stop: &Stop<'_>) -> Result<(), Raised> {
        let Some(tag) = stop.found else { return Ok(()) };
        if stop.name.starts_with('/') {
            // it was looked at when it was found, and any bracket that it has then will do
            let rest = self.text.get(tag.end..).unwrap_or_default();
            let closer = rest.find(['>', ']']).map_or(rest.len(), |at| at + 1);
            self.pos = tag.end + closer;
            return Ok(());
        }
        self.open_stop(stop);
        self.end_tag(false)?;
        Ok(())
    }

    pub(super) fn open_stop(&mut self, stop: &Stop<'_>) {
        let Some(tag) = stop.found else { return };
        let square = self.text.get(tag.start..).is_some_and(|rest| rest.starts_with('['));
        self.enter_expression(tag.end, Surroundings::Tag { square });
    }
}
