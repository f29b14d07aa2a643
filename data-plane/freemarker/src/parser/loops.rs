//! `#list`, `#foreach`, `#items`, `#sep`, `#break` and `#continue`.

use super::directive::Directive;
use super::{Around, Parser};
use crate::ast::{Bindings, ElementKind, Items, List, LoopVariables};
use crate::error::Raised;
use crate::lexer::text::Found;
use crate::lexer::token::Token;
use crate::outline::Kind;
use crate::settings::Naming;

impl<'p> Parser<'p, '_> {
    /// Parses the names after `as`.
    fn loop_names(&mut self) -> Result<(String, Option<String>), Raised> {
        let first = self.name("the name of a loop variable")?;
        let second = match self.take(Token::Comma) {
            true => Some(self.name("the name of a loop variable")?),
            false => None,
        };
        Ok((first, second))
    }

    fn declare(&mut self, names: &(String, Option<String>), loop_slot: u32) -> LoopVariables {
        let scope = &mut self.state.scope;
        let first = scope.push_loop_variable(&names.0, loop_slot, true);
        let second = names.1.as_ref().map(|name| scope.push_loop_variable(name, loop_slot, false));
        let mut bound = vec![(names.0.as_str().into(), first)];
        bound.extend(names.1.as_deref().zip(second).map(|(name, slot)| (name.into(), slot)));
        let bindings = Bindings { names: bound.into(), loop_slot: Some(loop_slot), falls_back: scope.falls_back() };
        LoopVariables { first, second, bindings }
    }

    fn check_differ(&self, names: &(String, Option<String>), found: Found<'_>) -> Result<(), Raised> {
        if names.1.as_deref() != Some(&names.0) {
            return Ok(());
        }
        let message = format!("The key and value loop variable names must differ, but both were: {}", names.0);
        self.error_at(found.start, message)
    }

    fn forget(&mut self, variables: &LoopVariables) {
        self.state.scope.pop_locals(1 + usize::from(variables.second.is_some()));
    }

    pub(super) fn list_directive(&mut self, found: Found<'p>) -> Result<ElementKind, Raised> {
        let source = self.expression()?;
        let names = match self.take(Token::Name("as")) {
            true => Some(self.loop_names()?),
            false => None,
        };
        self.end_tag(false)?;
        if let Some(names) = &names {
            self.check_differ(names, found)?;
        }
        let loop_slot = self.state.scope.open_loop();
        let variables = names.map(|names| self.declare(&names, loop_slot));
        self.open_outline(Kind::Block, found.start);
        self.open_outline(Kind::Block, found.start);
        let has_variables = variables.is_some();
        self.state.around.push(Around::List { loop_slot, has_variables, items_seen: false });
        self.state.open.push("#list");
        let (body, mut stop) = self.block()?;
        let around = self.state.around.pop();
        if let Some(variables) = &variables {
            self.forget(variables);
        }
        self.state.scope.close_loop();
        if !has_variables && !matches!(around, Some(Around::List { items_seen: true, .. })) {
            return self.error_at(
                found.start,
                "#list must have either \"as loopVar\" parameter or nested #items that belongs to it.",
            );
        }
        self.check_end(&stop, &["else", "/list"])?;
        let mut otherwise = None;
        let mut listed = None;
        if stop.name == "else" {
            // an #else is within the tags of its #list
            listed = self.state.outline.close_early();
            self.open_stop(&stop);
            self.end_tag(true)?;
            self.open_outline(Kind::Block, stop.found.map_or(self.pos, |tag| tag.start));
            let (block, end) = self.body("#list", &["/list"])?;
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

    /// `<#foreach x in xs>`, the old form of `<#list xs as x>`.
    pub(super) fn foreach_directive(&mut self, found: Found<'p>) -> Result<ElementKind, Raised> {
        let name = self.name("the name of a loop variable")?;
        if !self.take(Token::Name("in")) {
            return self.unexpected("\"in\"");
        }
        let source = self.expression()?;
        self.end_tag(false)?;
        let loop_slot = self.state.scope.open_loop();
        let variables = self.declare(&(name, None), loop_slot);
        self.open_outline(Kind::Block, found.start);
        self.state.around.push(Around::ForEach { loop_slot });
        let (body, stop) = self.body("#foreach", &["/foreach"])?;
        self.state.around.pop();
        self.forget(&variables);
        self.state.scope.close_loop();
        self.end(&stop)?;
        self.close_outline(self.pos);
        let list = List { source, variables: Some(variables), loop_slot, body, otherwise: None };
        Ok(ElementKind::List(Box::new(list)))
    }

    pub(super) fn items_directive(&mut self, found: Found<'p>) -> Result<ElementKind, Raised> {
        match self.next.token {
            Token::Name("as") => self.bump(),
            _ => return self.unexpected("\"as\""),
        };
        let names = self.loop_names()?;
        self.end_tag(false)?;
        let camel = self.state.naming == Some(Naming::Camel);
        let innermost = self.state.around.iter_mut().rev().find(|around| !matches!(around, Around::Switch { .. }));
        let loop_slot = match innermost {
            Some(Around::List { has_variables: false, loop_slot, items_seen }) => {
                *items_seen = true;
                *loop_slot
            }
            Some(Around::List { .. }) => {
                return self
                    .error_at(found.start, "The parent #list of the #items must not have \"as loopVar\" parameter.");
            }
            Some(Around::ForEach { .. }) => {
                let name = if camel { "#forEach" } else { "#foreach" };
                return self.error_at(found.start, format!("{name} doesn't support nested #items."));
            }
            Some(Around::Items { .. }) => {
                return self
                    .error_at(found.start, "Can't nest #items into each other when they belong to the same #list.");
            }
            _ => return self.error_at(found.start, "#items must be inside a #list block."),
        };
        self.check_differ(&names, found)?;
        let variables = self.declare(&names, loop_slot);
        self.state.around.push(Around::Items { loop_slot });
        self.open_outline(Kind::Block, found.start);
        let (body, stop) = self.body("#items", &["/items"])?;
        self.end(&stop)?;
        self.close_outline(self.pos);
        self.state.around.pop();
        self.forget(&variables);
        Ok(ElementKind::Items(Box::new(Items { variables, loop_slot, body })))
    }

    pub(super) fn sep_directive(&mut self, found: Found<'p>) -> Result<ElementKind, Raised> {
        let loop_slot = self.state.around.iter().rev().find_map(|around| match around {
            Around::List { loop_slot, .. } | Around::Items { loop_slot } | Around::ForEach { loop_slot } => {
                Some(*loop_slot)
            }
            _ => None,
        });
        let Some(loop_slot) = loop_slot else {
            let camel = self.state.naming == Some(Naming::Camel);
            let name = if camel { "#forEach" } else { "#foreach" };
            return self.error_at(found.start, format!("#sep must be inside a #list (or {name}) block."));
        };
        // the tag ends with either bracket
        let after = self.text.get(found.end..).unwrap_or_default();
        let blank = after.len() - after.trim_start_matches([' ', '\t', '\n', '\r']).len();
        match after.get(blank..blank + 1) {
            Some(">" | "]") => self.pos = found.end + blank + 1,
            _ => {
                self.end_tag(false)?;
            }
        }
        self.open_outline(Kind::Block, found.start);
        self.state.open.push("#sep");
        let (body, stop) = self.block()?;
        match stop.found {
            Some(_) if stop.name == "/sep" => self.end(&stop)?,
            // without end tag it reaches to the end of what it is in: read that again
            Some(tag) => self.pos = tag.start,
            // the list around it sees the end, too, and may miss something else
            None => {
                self.pos = self.text.len();
                self.close_outline(self.pos);
                return Ok(ElementKind::Sep { loop_slot, body });
            }
        }
        self.state.open.pop();
        self.close_outline(self.pos);
        Ok(ElementKind::Sep { loop_slot, body })
    }

    pub(super) fn break_directive(&mut self, directive: Directive, found: Found<'_>) -> Result<ElementKind, Raised> {
        let is_break = directive == Directive::Break;
        let fits = self.state.around.iter().any(|around| match around {
            Around::List { has_variables, .. } => *has_variables,
            Around::Items { .. } | Around::ForEach { .. } => true,
            Around::Switch { on } => is_break && !on,
            Around::BeforeCases => false,
        });
        if !fits {
            let camel = self.state.naming == Some(Naming::Camel);
            return self.error_at(
                found.start,
                format!(
                    "<#{}> must be nested inside a directive that supports it:  #list with \"as\", #items{} (or the \
                     deprecated {})",
                    if is_break { "break" } else { "continue" },
                    if is_break { ", #switch" } else { "" },
                    if camel { "#forEach" } else { "#foreach" },
                ),
            );
        }
        self.end_tag(true)?;
        self.outline(Kind::Leaf, found.start, self.pos);
        Ok(if is_break { ElementKind::Break } else { ElementKind::Continue })
    }
}
