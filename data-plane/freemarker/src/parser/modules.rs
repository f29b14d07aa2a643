//! `#include`, `#import`, and the directives for XML nodes.

use super::directive::Directive;
use super::{Inside, Parser};
use crate::ast::{ElementKind, ExprKind, Import, Include};
use crate::error::{Raised, parse};
use crate::lexer::text::Found;
use crate::lexer::token::{Token, plain_name};
use crate::outline::Kind;

impl<'p> Parser<'p, '_> {
    pub(super) fn include_directive(&mut self, found: Found<'_>) -> Result<ElementKind, Raised> {
        let name = self.expression()?;
        self.take(Token::Semicolon);
        let mut include = Include { name, parse: None, encoding: None, ignore_missing: None };
        while let Token::Name(written) = self.next.token {
            let start = self.bump().start;
            self.expect(Token::Assign, "\"=\"")?;
            let value = self.expression()?;
            match written.to_ascii_lowercase().as_str() {
                "parse" => {
                    if matches!(value.kind, ExprKind::Number(_) | ExprKind::List(_) | ExprKind::Hash(_)) {
                        let message = "Expected a boolean or string as the value of the parse attribute";
                        return Err(parse(value.span, message));
                    }
                    include.parse = Some(value);
                }
                "encoding" => {
                    if matches!(value.kind, ExprKind::Number(_) | ExprKind::Bool(_)) {
                        let message = "Expected a string as the value of the \"encoding\" argument";
                        return Err(parse(value.span, message));
                    }
                    include.encoding = Some(value);
                }
                "ignore_missing" | "ignoremissing" if written != "ignoremissing" => {
                    self.check_naming(written, start)?;
                    if matches!(value.kind, ExprKind::Number(_) | ExprKind::String(_)) {
                        let message = "Expected a boolean as the value of the \"ignore_missing\" attribute";
                        return Err(parse(value.span, message));
                    }
                    include.ignore_missing = Some(value);
                }
                _ => {
                    let message = format!(
                        "Unsupported named #include parameter: \"{written}\". Supported parameters are: \"parse\", \
                         \"encoding\", \"ignore_missing\"."
                    );
                    return self.error_at(start, message);
                }
            }
        }
        self.end_tag(true)?;
        self.outline(Kind::Leaf, found.start, self.pos);
        Ok(ElementKind::Include(Box::new(include)))
    }

    pub(super) fn import_directive(&mut self, found: Found<'_>) -> Result<ElementKind, Raised> {
        let name = self.expression()?;
        match self.next.token {
            Token::Name("as") => self.bump(),
            _ => return self.unexpected("\"as\""),
        };
        let Token::Name(target) = self.next.token else {
            return self.unexpected("the name of a namespace");
        };
        self.bump();
        let target = self.state.scope.symbol(&plain_name(target));
        self.end_tag(true)?;
        self.outline(Kind::Silent, found.start, self.pos);
        Ok(ElementKind::Import(Box::new(Import { name, target })))
    }

    /// `#visit`, `#recurse`, `#fallback` and `#transform`: parsed, and refused when they are run.
    pub(super) fn node_directive(&mut self, directive: Directive, found: Found<'p>) -> Result<ElementKind, Raised> {
        let name = match directive {
            Directive::Visit => "#visit",
            Directive::Recurse => "#recurse",
            Directive::Fallback => {
                if self.state.inside != Some(Inside::Macro) {
                    return self.error_at(found.start, "Cannot fall back outside a macro.");
                }
                "#fallback"
            }
            _ => "#transform",
        };
        if directive == Directive::Transform {
            self.expression()?;
            self.take(Token::Semicolon);
            while let Token::Name(_) = self.next.token {
                self.bump();
                self.expect(Token::Assign, "\"=\"")?;
                self.expression()?;
            }
            if !self.end_tag(true)? {
                self.content("#transform", "/transform", Kind::Block, found)?;
                return Ok(ElementKind::Unsupported(name));
            }
        } else {
            if self.begins_expression() {
                self.expression()?;
            }
            if self.take(Token::Name("using")) {
                self.expression()?;
            }
            self.end_tag(true)?;
        }
        self.outline(Kind::Leaf, found.start, self.pos);
        Ok(ElementKind::Unsupported(name))
    }
}
