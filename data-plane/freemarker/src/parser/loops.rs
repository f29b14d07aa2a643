//! `#list`, `#items`, `#sep`, `#break` and `#continue`.

use super::directives::Directive;
use super::{Around, Parser};
use crate::ast::{ElementKind, Items, List, LoopVariables};
use crate::error::Raised;
use crate::lexer::text::Found;
use crate::lexer::token::Token;
use crate::outline::Kind;

impl<'p> Parser<'p, '_> {
    /// Parses the names after `as`.
    pub(super) fn loop_names(&mut self) -> Result<(String, Option<String>), Raised> {
        let first = self.name("the name of a loop variable")?;
        let second = match self.take(Token::Comma) {
            true => Some(self.name("the name of a loop variable")?),
            false => None,
        };
        if second.as_deref() == Some(&first) {
            return self.error_at(self.next.start, "the loop variables must have different names");
        }
        Ok((first, second))
    }

    pub(super) fn declare(&mut self, names: &(String, Option<String>), loop_slot: u32) -> LoopVariables {
        let scope = &mut self.state.scope;
        let first = scope.push_loop_variable(&names.0, loop_slot, true);
        let second = names.1.as_ref().map(|name| scope.push_loop_variable(name, loop_slot, false));
        LoopVariables { first, second }
    }

    pub(super) fn forget(&mut self, variables: LoopVariables) {
        self.state.scope.pop_locals(1 + usize::from(variables.second.is_some()));
    }

    pub(super) fn list_directive(&mut self, found: Found<'p>) -> Result<ElementKind, Raised> {
        let source = self.expression()?;
        let names = match self.next.token {
            Token::Name("as") => {
                self.bump();
                Some(self.loop_names()?)
            }
            _ => None,
        };
        self.end_tag(false)?;
        let loop_slot = self.state.scope.open_loop();
        let variables = names.map(|names| self.declare(&names, loop_slot));
        self.open_outline(Kind::Block, found.start);
        self.open_outline(Kind::Block, found.start);
        let has_variables = variables.is_some();
        self.state.around.push(Around::List { loop_slot, has_variables, items_seen: false });
        let (body, mut stop) = self.body("list", found, &["else", "/list"])?;
        let around = self.state.around.pop();
        if let Some(variables) = variables {
            self.forget(variables);
        }
        self.state.scope.close_loop();
        if !has_variables && !matches!(around, Some(Around::List { items_seen: true, .. })) {
            return self.error_at(found.start, "#list needs \"as\" and a variable, or an #items in it");
        }
        let mut otherwise = None;
        let mut listed = None;
        if stop.name == "else" {
            // an #else is within the tags of its #list
            listed = self.state.outline.close_early();
            self.open_stop(&stop)?;
            self.end_tag(true)?;
            self.open_outline(Kind::Block, stop.found.map_or(self.pos, |tag| tag.start));
            let (block, end) = self.body("list", found, &["/list"])?;
            otherwise = Some(block);
            stop = end;
        }
        self.end(&stop)?;
        self.close_outline(self.pos);
        self.close_outline(self.pos);
        if let Some(id) = listed {
            self.state.outline.set_end(id, self.pos, self.state.lines);
        }
        Ok(ElementKind::List(Box::new(List { source, variables, loop_slot, body, otherwise })))
    }

    pub(super) fn items_directive(&mut self, found: Found<'p>) -> Result<ElementKind, Raised> {
        let loop_slot = match self.state.around.iter_mut().rev().find(|around| **around != Around::Switch) {
            Some(Around::List { has_variables: true, .. }) => {
                return self
                    .error_at(found.start, "the #list around #items must not have \"as\" and a variable itself");
            }
            Some(Around::List { loop_slot, items_seen, .. }) => {
                *items_seen = true;
                *loop_slot
            }
            Some(Around::Items { .. }) => {
                return self.error_at(found.start, "an #items can't be in another one");
            }
            _ => return self.error_at(found.start, "#items must be in a #list"),
        };
        match self.next.token {
            Token::Name("as") => self.bump(),
            _ => return self.unexpected("\"as\""),
        };
        let names = self.loop_names()?;
        self.end_tag(false)?;
        let variables = self.declare(&names, loop_slot);
        self.state.around.push(Around::Items { loop_slot });
        self.open_outline(Kind::Block, found.start);
        let (body, stop) = self.body("items", found, &["/items"])?;
        self.end(&stop)?;
        self.close_outline(self.pos);
        self.state.around.pop();
        self.forget(variables);
        Ok(ElementKind::Items(Box::new(Items { variables, loop_slot, body })))
    }

    pub(super) fn sep_directive(&mut self, found: Found<'p>) -> Result<ElementKind, Raised> {
        let loop_slot = self.state.around.iter().rev().find_map(|around| match around {
            Around::List { loop_slot, has_variables: true, .. } | Around::Items { loop_slot } => Some(*loop_slot),
            _ => None,
        });
        let Some(loop_slot) = loop_slot else {
            return self.error_at(found.start, "#sep must be in a #list or #items");
        };
        self.end_tag(false)?;
        self.open_outline(Kind::Block, found.start);
        let (body, stop) = self.block()?;
        match stop.found {
            Some(_) if stop.name == "/sep" => self.end(&stop)?,
            // without end tag it reaches to the end of what it is in: read that again
            Some(tag) if matches!(stop.name.as_str(), "/list" | "/items" | "else") => {
                self.pos = tag.start;
            }
            Some(tag) => return self.misplaced(&stop.name, tag),
            None => {
                return self.error_at(found.start, "unexpected end of file: this #sep is not closed");
            }
        }
        self.close_outline(self.pos);
        Ok(ElementKind::Sep { loop_slot, body })
    }

    pub(super) fn break_directive(
        &mut self,
        directive: Directive,
        name: &str,
        found: Found<'_>,
    ) -> Result<ElementKind, Raised> {
        let fits = self.state.around.iter().any(|around| match around {
            Around::List { has_variables, .. } => *has_variables,
            Around::Items { .. } => true,
            Around::Switch => directive == Directive::Break,
        });
        if !fits {
            return self.error_at(found.start, format!("#{name} must be in a #list, #items or #switch"));
        }
        self.end_tag(true)?;
        self.outline(Kind::Leaf, found.start, self.pos);
        Ok(if directive == Directive::Break { ElementKind::Break } else { ElementKind::Continue })
    }
}
