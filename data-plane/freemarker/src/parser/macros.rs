//! `#macro`, `#function`, `#nested` and `#return`.

use super::directive::Directive;
use super::{Inside, Parser};
use crate::ast::{ElementKind, Expr, ExprKind, Macro, Param, Piece};
use crate::error::Raised;
use crate::lexer::text::Found;
use crate::lexer::token::{Token, plain_name};
use crate::outline::Kind;

/// The parameters of a definition, and that which catches all others with its slot.
type Params = (Vec<Param>, Option<(Box<str>, u32)>);

impl<'p> Parser<'p, '_> {
    pub(super) fn macro_directive(&mut self, directive: Directive, found: Found<'p>) -> Result<ElementKind, Raised> {
        let is_function = directive == Directive::Function;
        if self.state.inside.is_some() {
            return self.error_at(found.start, "Macro or function definitions can't be nested into each other.");
        }
        let (name, _) = self.target_name()?;
        self.state.inside = Some(if is_function { Inside::Function } else { Inside::Macro });
        self.state.wants_args = false;
        self.state.scope.open_macro();
        let around = std::mem::take(&mut self.state.around);
        let definition = self.definition(name, is_function, found);
        let frame = self.state.scope.close_macro();
        self.state.around = around;
        self.state.inside = None;
        let mut definition = definition?;
        definition.frame = frame;
        definition.symbol = self.state.scope.symbol(&definition.name);
        definition.wants_args = self.state.wants_args;
        let number = u32::try_from(self.state.macros.len()).unwrap_or(u32::MAX);
        self.state.macros.push(definition);
        Ok(ElementKind::Define(number))
    }

    fn definition(&mut self, name: String, is_function: bool, found: Found<'p>) -> Result<Macro, Raised> {
        // either may be there without the other
        self.take(Token::ParenOpen);
        let (params, catch_all) = self.params()?;
        self.take(Token::ParenClose);
        self.end_tag(false)?;
        self.open_outline(Kind::Macro, found.start);
        let (body, stop) = self.body("#macro or #function", &["/macro", "/function"])?;
        let wanted = if is_function { "function" } else { "macro" };
        if stop.name != format!("/{wanted}") {
            let at = stop.found.map_or(self.pos, |tag| tag.start);
            return self.error_at(at, format!("Expected {wanted} end tag here."));
        }
        self.end(&stop)?;
        self.close_outline(self.pos);
        let span = self.span(found.start, self.pos);
        Ok(Macro {
            name: name.into(),
            symbol: 0,
            is_function,
            params: params.into(),
            catch_all,
            body,
            frame: crate::ast::FrameSizes::default(),
            wants_args: false,
            span,
        })
    }

    fn params(&mut self) -> Result<Params, Raised> {
        let mut params: Vec<Param> = Vec::new();
        let mut catch_all = None;
        let mut defaults = false;
        while let Token::Name(written) = self.next.token {
            let start = self.bump().start;
            let name = plain_name(written);
            let slot = self.state.scope.macro_slot(&name).unwrap_or_default();
            let catches = self.take(Token::Ellipsis);
            let mut default = None;
            if self.take(Token::Assign) {
                default = Some(self.expression()?);
                defaults = true;
            }
            self.take(Token::Comma);
            if catch_all.is_some() {
                return self.error_at(
                    start,
                    "There may only be one \"catch-all\" parameter in a macro declaration, and it must be the last \
                     parameter.",
                );
            }
            if catches {
                if default.is_some() {
                    return self.error_at(start, "\"Catch-all\" macro parameter may not have a default value.");
                }
                catch_all = Some((name.into(), slot));
                continue;
            }
            if defaults && default.is_none() {
                return self.error_at(
                    start,
                    "In a macro declaration, parameters without a default value must all occur before the parameters \
                     with default values.",
                );
            }
            match params.iter_mut().find(|param| *param.name == *name) {
                Some(param) => param.default = default,
                None => params.push(Param { name: name.into(), slot, default }),
            }
        }
        Ok((params, catch_all))
    }

    pub(super) fn nested_directive(&mut self, found: Found<'_>) -> Result<ElementKind, Raised> {
        let values = self.positional_args()?;
        self.end_tag(true)?;
        if self.state.inside != Some(Inside::Macro) {
            let tag = self.text.get(found.start..found.end).unwrap_or_default();
            return self.error_at(found.start, format!("Cannot use a {tag}> instruction outside a macro."));
        }
        self.outline(Kind::Leaf, found.start, self.pos);
        Ok(ElementKind::Nested(values))
    }

    pub(super) fn return_directive(&mut self, found: Found<'_>) -> Result<ElementKind, Raised> {
        let value = if self.at_end() { None } else { Some(self.expression()?) };
        self.end_tag(true)?;
        let problem = match (self.state.inside, &value) {
            (Some(Inside::Macro), Some(_)) => "A macro cannot return a value",
            (Some(Inside::Function), None) => "A function must return a value",
            (None, None) => "A return instruction can only occur inside a macro or function",
            _ => {
                self.outline(Kind::Leaf, found.start, self.pos);
                return Ok(ElementKind::Return(value));
            }
        };
        self.error_at(found.start, problem)
    }
}

/// How many nodes an expression has.
pub(super) fn size_of_expr(expr: &Expr) -> usize {
    let all = |exprs: &[Expr]| exprs.iter().map(size_of_expr).sum::<usize>();
    1 + match &expr.kind {
        ExprKind::String(text) => text.len() / 16,
        ExprKind::Number(_) | ExprKind::Bool(_) | ExprKind::Variable(_) | ExprKind::Special(_) | ExprKind::Held(_) => 0,
        ExprKind::Template(pieces) => pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.len() / 16,
                Piece::Output(value) | Piece::NumberOutput { value, .. } => size_of_expr(value),
            })
            .sum(),
        ExprKind::List(items) | ExprKind::And(items) | ExprKind::Or(items) => all(items),
        ExprKind::Hash(entries) => entries.iter().map(|(key, value)| size_of_expr(key) + size_of_expr(value)).sum(),
        ExprKind::Range(range) => size_of_expr(&range.start) + range.end.as_ref().map_or(0, size_of_expr),
        ExprKind::Dot(member) => size_of_expr(&member.target),
        ExprKind::Exists(target) | ExprKind::Not(target) | ExprKind::Group(target) => size_of_expr(target),
        ExprKind::Sign { operand, .. } => size_of_expr(operand),
        ExprKind::Index(index) => size_of_expr(&index.0) + size_of_expr(&index.1),
        ExprKind::Call { callee, args } => size_of_expr(callee) + all(args),
        ExprKind::BuiltIn(call) => size_of_expr(&call.target) + all(&call.args),
        ExprKind::Default(default) => size_of_expr(&default.0) + default.1.as_ref().map_or(0, size_of_expr),
        ExprKind::Chain(chain) => {
            size_of_expr(&chain.first) + chain.rest.iter().map(|(_, operand)| size_of_expr(operand)).sum::<usize>()
        }
        ExprKind::Compare(comparison) => size_of_expr(&comparison.left) + size_of_expr(&comparison.right),
        ExprKind::Lambda(lambda) => size_of_expr(&lambda.body),
    }
}
