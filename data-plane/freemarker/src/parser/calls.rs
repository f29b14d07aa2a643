//! User-defined directives: `<@expr …>`, and the old `<#call …>`.

use super::{Parser, Surroundings};
use crate::ast::{Bindings, CallArgs, Element, ElementKind, Expr, ExprKind, UserCall};
use crate::builtins::BuiltIn;
use crate::error::Raised;
use crate::java_order;
use crate::lexer::text::Found;
use crate::lexer::token::{Token, lex, plain_name};
use crate::outline::Kind;

impl<'p> Parser<'p, '_> {
    /// Parses a call whose `<@` has been read.
    pub(super) fn user_call(&mut self, found: Found<'p>, square: bool) -> Result<Element, Raised> {
        self.enter_name(found.end, Surroundings::Tag { square });
        let callee = self.expression()?;
        self.leave_name();
        let args = self.call_args()?;
        // white space may follow it, whatever stands before
        self.in_name &= self.next.token != Token::Semicolon;
        let names = match self.take(Token::Semicolon) {
            true => Some(self.content_variables()?),
            false => None,
        };
        let is_empty = self.end_tag(true)?;
        let mut call = UserCall { callee, args, content: None, variables: None, legacy: false };
        if is_empty {
            // the variables are for content that there is not
            call.variables = names.map(|names| self.bind_content(&names, true));
            self.outline(Kind::Leaf, found.start, self.pos);
        } else {
            call.variables = names.as_ref().map(|names| self.bind_content(names, false));
            self.open_outline(Kind::Block, found.start);
            let (content, stop) = self.body("@...", &["/@"])?;
            self.state.scope.pop_locals(names.map_or(0, |names| names.len()));
            if let Some(tag) = stop.found {
                self.check_end_name(&call.callee, tag)?;
            }
            self.end(&stop)?;
            self.close_outline(self.pos);
            call.content = Some(content);
        }
        let span = self.span(found.start, self.pos);
        Ok(Element { kind: ElementKind::Call(Box::new(call)), span })
    }

    fn bind_content(&mut self, names: &[String], forget: bool) -> Bindings {
        let scope = &mut self.state.scope;
        let bound = names.iter().map(|name| (name.as_str().into(), scope.push_content_variable(name))).collect();
        if forget {
            scope.pop_locals(names.len());
        }
        Bindings { names: bound, loop_slot: None, falls_back: scope.falls_back() }
    }

    fn content_variables(&mut self) -> Result<Vec<String>, Raised> {
        let mut names = Vec::new();
        while let Token::Name(name) = self.next.token {
            names.push(plain_name(name));
            self.bump();
            if !self.take(Token::Comma) {
                break;
            }
        }
        Ok(names)
    }

    fn check_end_name(&self, callee: &Expr, tag: Found<'_>) -> Result<(), Raised> {
        let tag_text = self.text.get(tag.start..tag.end).unwrap_or_default();
        let written = plain_name(tag_text.get(3..).unwrap_or_default());
        if written.is_empty() {
            return Ok(());
        }
        match self.dotted_name(callee) {
            None => self.error_at(tag.start, "Expecting </@>"),
            Some(name) if plain_name(&name) != written => {
                self.error_at(tag.start, format!("Expecting </@> or </@{name}>"))
            }
            Some(_) => Ok(()),
        }
    }

    /// The name that an end tag may repeat: `m` or `ns.m`.
    fn dotted_name(&self, callee: &Expr) -> Option<String> {
        match &callee.kind {
            ExprKind::BuiltIn(call) if matches!(call.which, BuiltIn::WithArgs) => self.dotted_name(&call.target),
            ExprKind::Variable(variable) => Some(self.state.scope.name(variable.symbol).to_owned()),
            ExprKind::Dot(member) => Some(format!("{}.{}", self.dotted_name(&member.target)?, &*member.key)),
            _ => None,
        }
    }

    fn call_args(&mut self) -> Result<CallArgs, Raised> {
        if self.at_named_argument() {
            self.in_name = false;
            let mut args: Vec<(Box<str>, Expr)> = Vec::new();
            while let Token::Name(name) = self.next.token {
                self.bump();
                self.expect(Token::Assign, "\"=\"")?;
                self.named_arguments = true;
                let value = self.expression()?;
                let name = plain_name(name);
                match args.iter_mut().find(|(known, _)| **known == *name) {
                    Some(known) => known.1 = value,
                    None => args.push((name.into(), value)),
                }
            }
            self.named_arguments = false;
            // they are kept in a hash table of Java: catch-all parameters show its order
            java_order::arrange(&mut args, |(name, _)| name);
            return Ok(CallArgs::Named(args.into()));
        }
        Ok(CallArgs::Positional(self.positional_args()?))
    }

    /// Values with or without commas between them.
    pub(super) fn positional_args(&mut self) -> Result<Box<[Expr]>, Raised> {
        let mut args = Vec::new();
        let mut goes_on = self.starts_expression();
        while goes_on {
            args.push(self.expression()?);
            goes_on = self.take(Token::Comma) || self.starts_expression();
        }
        Ok(args.into())
    }

    fn at_named_argument(&self) -> bool {
        matches!(self.next.token, Token::Name(_)) && lex(self.text, self.next.end).token == Token::Assign
    }

    /// `<#call name args>`: a call without content.
    pub(super) fn call_directive(&mut self, found: Found<'p>) -> Result<ElementKind, Raised> {
        let span = self.next_span();
        let name = self.name("the name of a macro")?;
        let variable = self.state.scope.resolve(&name);
        let callee = Expr { kind: ExprKind::Variable(variable), span };
        let args = if self.at_named_argument() {
            self.call_args()?
        } else {
            let in_parentheses = self.take(Token::ParenOpen);
            let args = self.call_args()?;
            if in_parentheses {
                self.take(Token::ParenClose);
            }
            args
        };
        self.end_tag(true)?;
        self.outline(Kind::Leaf, found.start, self.pos);
        Ok(ElementKind::Call(Box::new(UserCall { callee, args, content: None, variables: None, legacy: true })))
    }
}
