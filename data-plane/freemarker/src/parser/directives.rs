//! Directives (FreeMarker manual: "Template Language Reference / Directive Reference").

use super::template::Stop;
use super::{Around, Parser, Surroundings};
use crate::ast::{
    AssignOp, Assignment, BinaryOp, Block, Branch, Case, Element, ElementKind, Expr, Items, List,
    LoopVariables, Switch, Target,
};
use crate::error::Raised;
use crate::lexer::text::Found;
use crate::lexer::token::{Token, plain_name};
use crate::settings::{SettingKey, snake_case};
use crate::whitespace::Kind;

/// The directives of FreeMarker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Directive {
    If,
    ElseIf,
    Else,
    List,
    Items,
    Sep,
    Break,
    Continue,
    Assign,
    Setting,
    Switch,
    Case,
    Default,
    Stop,
    Trim,
    LeftTrim,
    RightTrim,
    NoTrim,
    NoParse,
    Comment,
    Flush,
    Ftl,
    /// One that FreeMarker has and this engine has not.
    Unsupported,
}

impl Directive {
    pub(super) fn find(name: &str) -> Option<Self> {
        Some(match name {
            "if" => Directive::If,
            "elseif" | "elseIf" => Directive::ElseIf,
            "else" => Directive::Else,
            "list" => Directive::List,
            "items" => Directive::Items,
            "sep" => Directive::Sep,
            "break" => Directive::Break,
            "continue" => Directive::Continue,
            "assign" => Directive::Assign,
            "setting" => Directive::Setting,
            "switch" => Directive::Switch,
            "case" => Directive::Case,
            "default" => Directive::Default,
            "stop" => Directive::Stop,
            "t" => Directive::Trim,
            "lt" => Directive::LeftTrim,
            "rt" => Directive::RightTrim,
            "nt" => Directive::NoTrim,
            "noparse" | "noParse" => Directive::NoParse,
            "comment" => Directive::Comment,
            "flush" => Directive::Flush,
            "ftl" => Directive::Ftl,
            "attempt" | "recover" | "autoesc" | "autoEsc" | "noautoesc" | "noAutoEsc" | "call"
            | "compress" | "escape" | "noescape" | "noEscape" | "fallback" | "foreach"
            | "forEach" | "function" | "global" | "import" | "include" | "local" | "macro"
            | "nested" | "on" | "outputformat" | "outputFormat" | "recurse" | "return"
            | "transform" | "visit" => Directive::Unsupported,
            _ => return None,
        })
    }

    /// Whether it goes on with a directive that has begun before.
    pub(super) fn continues(self) -> bool {
        matches!(self, Self::ElseIf | Self::Else | Self::Case | Self::Default)
    }
}

impl<'p> Parser<'p, '_> {
    /// Parses a directive whose name has been read.
    pub(super) fn directive(
        &mut self,
        name: &str,
        directive: Option<Directive>,
        square: bool,
        found: Found<'p>,
    ) -> Result<Option<Element>, Raised> {
        let Some(directive) = directive else {
            return self.error_at(found.start + 1, format!("unknown directive: #{name}"));
        };
        if directive == Directive::Unsupported {
            return self.error_at(
                found.start + 1,
                format!("this engine does not support the directive #{name}"),
            );
        }
        self.open_tag(name, square, found)?;
        let kind = match directive {
            Directive::If => Some(self.if_directive(found)?),
            Directive::List => Some(self.list_directive(found)?),
            Directive::Items => Some(self.items_directive(found)?),
            Directive::Sep => Some(self.sep_directive(found)?),
            Directive::Break | Directive::Continue => {
                Some(self.break_directive(directive, name, found)?)
            }
            Directive::Assign => Some(self.assign_directive(found)?),
            Directive::Setting => Some(self.setting_directive(found)?),
            Directive::Switch => Some(self.switch_directive(found)?),
            Directive::Stop => {
                let message = if self.at_end() { None } else { Some(self.expression()?) };
                self.end_tag(true)?;
                self.outline(Kind::Leaf, found.start, self.pos);
                Some(ElementKind::Stop(message))
            }
            Directive::Flush => {
                self.end_tag(true)?;
                self.outline(Kind::Leaf, found.start, self.pos);
                None
            }
            Directive::Trim | Directive::LeftTrim | Directive::RightTrim | Directive::NoTrim => {
                self.end_tag(true)?;
                let left = matches!(directive, Directive::Trim | Directive::LeftTrim);
                let right = matches!(directive, Directive::Trim | Directive::RightTrim);
                self.outline(Kind::Trim { left, right }, found.start, self.pos);
                None
            }
            Directive::NoParse => {
                let text = self.verbatim(name, found)?;
                let element = self.text_element(text.to_owned(), found.start, self.pos);
                return Ok(Some(element));
            }
            Directive::Comment => {
                self.verbatim(name, found)?;
                self.outline(Kind::Silent, found.start, self.pos);
                None
            }
            Directive::Ftl => {
                return self.error_at(found.start, "#ftl must be the first thing in a template");
            }
            _ => return self.misplaced(name, found),
        };
        let span = self.span(found.start, self.pos);
        Ok(kind.map(|kind| Element { kind, span }))
    }

    /// Starts on what follows a directive's name: white space, or the end of the tag.
    fn open_tag(&mut self, name: &str, square: bool, found: Found<'_>) -> Result<(), Raised> {
        let after = self.text.get(found.end..).and_then(|rest| rest.chars().next());
        let closer = if square { ']' } else { '>' };
        match after {
            Some(' ' | '\t' | '\n' | '\r' | '/') => {}
            Some(c) if c == closer => {}
            _ => return self.error_at(found.start + 1, format!("the tag of #{name} is malformed")),
        }
        self.enter_expression(found.end, Surroundings::Tag { square });
        Ok(())
    }

    /// Parses a block that ends with an end tag, or with a tag that goes on with the directive.
    fn body(
        &mut self,
        name: &str,
        found: Found<'_>,
        ends: &[&str],
    ) -> Result<(Block, Stop<'p>), Raised> {
        let (block, stop) = self.block()?;
        match stop.found {
            Some(_) if ends.contains(&stop.name.as_str()) => Ok((block, stop)),
            Some(tag) => {
                let shown = match stop.name.strip_prefix('/') {
                    Some(other) => format!("</#{other}>"),
                    None => format!("<#{}>", stop.name),
                };
                self.error_at(
                    tag.start,
                    format!("encountered {shown}, but here only #{name} can be closed"),
                )
            }
            None => self.error_at(
                found.start,
                format!("unexpected end of file: this #{name} is not closed"),
            ),
        }
    }

    /// Reads the rest of an end tag.
    fn end(&mut self, stop: &Stop<'_>) -> Result<(), Raised> {
        let Some(tag) = stop.found else { return Ok(()) };
        self.open_stop(stop)?;
        if self.at_end() && !self.at_empty_end() {
            self.end_tag(false)?;
            return Ok(());
        }
        self.error_at(tag.start + 1, "the end tag is malformed")
    }

    fn open_stop(&mut self, stop: &Stop<'_>) -> Result<(), Raised> {
        let Some(tag) = stop.found else { return Ok(()) };
        let square = self.text.get(tag.start..).is_some_and(|rest| rest.starts_with('['));
        self.open_tag(&stop.name, square, tag)
    }

    fn open_outline(&mut self, kind: Kind, start: usize) {
        self.state.outline.open(kind, start, self.state.lines);
    }

    fn close_outline(&mut self, end: usize) {
        self.state.outline.close(end, self.state.lines);
    }

    fn if_directive(&mut self, found: Found<'p>) -> Result<ElementKind, Raised> {
        let ends = ["elseif", "else_if", "else", "/if"];
        let mut branches = Vec::new();
        self.open_outline(Kind::Block, found.start);
        let mut start = found;
        let mut condition = Some(self.expression()?);
        self.end_tag(false)?;
        loop {
            self.open_outline(Kind::Block, start.start);
            let (body, stop) = self.body("if", found, &ends)?;
            let after_else = condition.is_none();
            branches.push(Branch { condition, body });
            let Some(tag) = stop.found else { break };
            if stop.name == "/if" {
                self.end(&stop)?;
                // an #if of one branch is as one block to the white space around it
                let end = if branches.len() == 1 { self.pos } else { tag.start };
                self.close_outline(end);
                break;
            }
            self.close_outline(tag.start);
            if after_else {
                return self.misplaced(&stop.name, tag);
            }
            self.open_stop(&stop)?;
            condition = if stop.name == "else" { None } else { Some(self.expression()?) };
            self.end_tag(stop.name == "else")?;
            start = tag;
        }
        self.close_outline(self.pos);
        Ok(ElementKind::If(branches.into()))
    }

    fn name(&mut self, what: &str) -> Result<String, Raised> {
        match self.next.token {
            Token::Name(name) if !matches!(name, "true" | "false" | "as" | "in" | "using") => {
                self.bump();
                Ok(plain_name(name))
            }
            _ => self.unexpected(what),
        }
    }

    /// Parses the names after `as`.
    fn loop_names(&mut self) -> Result<(String, Option<String>), Raised> {
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

    fn declare(&mut self, names: &(String, Option<String>), loop_slot: u32) -> LoopVariables {
        let scope = &mut self.state.scope;
        let first = scope.push_loop_variable(&names.0, loop_slot, true);
        let second =
            names.1.as_ref().map(|name| scope.push_loop_variable(name, loop_slot, false));
        LoopVariables { first, second }
    }

    fn forget(&mut self, variables: LoopVariables) {
        self.state.scope.pop_locals(1 + usize::from(variables.second.is_some()));
    }

    fn list_directive(&mut self, found: Found<'p>) -> Result<ElementKind, Raised> {
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
            return self
                .error_at(found.start, "#list needs \"as\" and a variable, or an #items in it");
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

    fn items_directive(&mut self, found: Found<'p>) -> Result<ElementKind, Raised> {
        let loop_slot = match self.state.around.last_mut() {
            Some(Around::List { has_variables: true, .. }) => {
                return self.error_at(
                    found.start,
                    "the #list around #items must not have \"as\" and a variable itself",
                );
            }
            Some(Around::List { items_seen: true, .. }) => {
                return self.error_at(found.start, "a #list can have only one #items");
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

    fn sep_directive(&mut self, found: Found<'p>) -> Result<ElementKind, Raised> {
        let loop_slot = self.state.around.iter().rev().find_map(|around| match around {
            Around::List { loop_slot, has_variables: true, .. } | Around::Items { loop_slot } => {
                Some(*loop_slot)
            }
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
                return self.error_at(
                    found.start,
                    "unexpected end of file: this #sep is not closed",
                );
            }
        }
        self.close_outline(self.pos);
        Ok(ElementKind::Sep { loop_slot, body })
    }

    fn break_directive(
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
            return self
                .error_at(found.start, format!("#{name} must be in a #list, #items or #switch"));
        }
        self.end_tag(true)?;
        self.outline(Kind::Leaf, found.start, self.pos);
        Ok(if directive == Directive::Break { ElementKind::Break } else { ElementKind::Continue })
    }

    fn target(&mut self) -> Result<Target, Raised> {
        let name = match self.next.token {
            Token::String(text) => {
                let start = self.next.start;
                let kind = self.string_literal(text, start)?;
                let crate::ast::ExprKind::String(name) = kind else {
                    return self.error_at(start, "the name of a variable can't have interpolations");
                };
                self.bump();
                name.into()
            }
            _ => self.name("the name of a variable")?,
        };
        Ok(Target { symbol: self.state.scope.symbol(&name) })
    }

    fn assign_directive(&mut self, found: Found<'p>) -> Result<ElementKind, Raised> {
        let start = self.next.start;
        let target = self.target()?;
        if self.at_end() || self.next.token == Token::Name("in") {
            return self.capture(target, found);
        }
        let mut assignments = vec![self.assignment(target, start)?];
        while !self.at_end() {
            self.take(Token::Comma);
            if self.next.token == Token::Name("in") {
                break;
            }
            let start = self.next.start;
            let target = self.target()?;
            assignments.push(self.assignment(target, start)?);
        }
        if self.next.token == Token::Name("in") {
            return self.error_at(
                self.next.start,
                "this engine does not support assigning into a namespace",
            );
        }
        self.end_tag(true)?;
        self.outline(Kind::Silent, found.start, self.pos);
        Ok(ElementKind::Assign(assignments.into()))
    }

    fn assignment(&mut self, target: Target, start: usize) -> Result<Assignment, Raised> {
        let one = || -> Expr {
            Expr {
                kind: crate::ast::ExprKind::Number(crate::number::Number::Int(1)),
                span: self.next_span(),
            }
        };
        let (op, value) = match self.next.token {
            Token::PlusPlus => (BinaryOp::Add, Some(one())),
            Token::MinusMinus => (BinaryOp::Subtract, Some(one())),
            Token::PlusAssign => (BinaryOp::Add, None),
            Token::MinusAssign => (BinaryOp::Subtract, None),
            Token::TimesAssign => (BinaryOp::Multiply, None),
            Token::DivideAssign => (BinaryOp::Divide, None),
            Token::RemainderAssign => (BinaryOp::Remainder, None),
            Token::Assign => {
                self.bump();
                let value = self.expression()?;
                let span = self.span(start, start).to(value.span);
                return Ok(Assignment { target, op: AssignOp::Set, value, span });
            }
            _ => return self.unexpected("\"=\""),
        };
        let operator = self.bump();
        let (value, end) = match value {
            Some(value) => (value, self.span(operator.end, operator.end)),
            None => {
                let value = self.expression()?;
                let end = value.span;
                (value, end)
            }
        };
        let span = self.span(start, start).to(end);
        Ok(Assignment { target, op: AssignOp::Change(op), value, span })
    }

    fn capture(&mut self, target: Target, found: Found<'p>) -> Result<ElementKind, Raised> {
        if self.next.token == Token::Name("in") {
            return self.error_at(
                self.next.start,
                "this engine does not support assigning into a namespace",
            );
        }
        self.end_tag(false)?;
        self.open_outline(Kind::Closed, found.start);
        let (body, stop) = self.body("assign", found, &["/assign"])?;
        self.end(&stop)?;
        self.close_outline(self.pos);
        Ok(ElementKind::Capture { target, body })
    }

    fn setting_directive(&mut self, found: Found<'_>) -> Result<ElementKind, Raised> {
        let Token::Name(written) = self.next.token else {
            return self.unexpected("the name of a setting");
        };
        let name_start = self.next.start;
        let name = snake_case(written);
        let key = match SettingKey::find(&name) {
            Some(key) => key,
            None if matches!(name.as_str(), "classic_compatible" | "c_format") => {
                return self.error_at(
                    name_start,
                    format!("this engine does not support the setting {name}"),
                );
            }
            None => {
                return self
                    .error_at(name_start, format!("unknown setting name: \"{written}\""));
            }
        };
        self.check_naming(written, name_start)?;
        self.bump();
        self.expect(Token::Assign, "\"=\"")?;
        let value = self.expression()?;
        self.end_tag(true)?;
        self.outline(Kind::Silent, found.start, self.pos);
        Ok(ElementKind::Setting { key, name: name.into(), value })
    }

    fn switch_directive(&mut self, found: Found<'p>) -> Result<ElementKind, Raised> {
        let value = self.expression()?;
        self.end_tag(false)?;
        self.open_outline(Kind::Block, found.start);
        self.state.around.push(Around::Switch);
        let ends = ["case", "default", "/switch"];
        // nothing but white space and comments may come before the first case
        self.open_outline(Kind::Block, self.pos);
        let (before, mut stop) = self.body("switch", found, &ends)?;
        self.state.outline.discard();
        for element in &before {
            let text = element.span.text(self.text);
            if !matches!(element.kind, ElementKind::Text(_)) || !text.trim().is_empty() {
                let start = element.span.start as usize;
                return self.error_at(
                    start,
                    "between #switch and the first #case only white space and comments may stand",
                );
            }
        }
        let mut cases: Vec<Case> = Vec::new();
        while let Some(tag) = stop.found.filter(|_| stop.name != "/switch") {
            self.open_stop(&stop)?;
            let value = if stop.name == "case" { Some(self.expression()?) } else { None };
            if value.is_none() && cases.iter().any(|case| case.value.is_none()) {
                return self.error_at(tag.start, "a #switch can have only one #default");
            }
            self.end_tag(stop.name == "default")?;
            self.open_outline(Kind::Block, tag.start);
            let (body, next) = self.body("switch", found, &ends)?;
            self.close_outline(next.found.map_or(self.pos, |tag| tag.start));
            cases.push(Case { value, body });
            stop = next;
        }
        self.state.around.pop();
        self.end(&stop)?;
        self.close_outline(self.pos);
        Ok(ElementKind::Switch(Box::new(Switch { value, cases: cases.into() })))
    }

    /// Reads the content of a directive in which nothing has a meaning but its end tag.
    fn verbatim(&mut self, name: &str, found: Found<'_>) -> Result<&'p str, Raised> {
        self.end_tag(false)?;
        let start = self.pos;
        let square = self.text.get(found.start..).is_some_and(|rest| rest.starts_with('['));
        let (opener, closer) = if square { ("[/#", ']') } else { ("</#", '>') };
        let mut from = start;
        while let Some(offset) = self.text.get(from..).and_then(|rest| rest.find(opener)) {
            let at = from + offset;
            from = at + opener.len();
            let after = self.text.get(from..).unwrap_or_default();
            if let Some(after_name) = after.strip_prefix(name) {
                let rest = after_name.trim_start_matches([' ', '\t', '\n', '\r']);
                if rest.starts_with(closer) {
                    let rest_start = self.text.len() - rest.len();
                    self.pos = rest_start + closer.len_utf8();
                    return Ok(self.text.get(start..at).unwrap_or_default());
                }
            }
        }
        self.error_at(found.start, format!("this #{name} is not closed"))
    }
}
