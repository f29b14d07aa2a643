//! Directives (FreeMarker manual: "Template Language Reference / Directive Reference").

use super::template::Stop;
use super::{Around, Parser, Surroundings};
use crate::ast::{Block, Branch, Case, Element, ElementKind, Switch};
use crate::error::Raised;
use crate::lexer::text::Found;
use crate::lexer::token::{Token, plain_name};
use crate::outline::Kind;
use crate::settings::{SettingKey, snake_case};

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
            "attempt" | "recover" | "autoesc" | "autoEsc" | "noautoesc" | "noAutoEsc" | "call" | "compress"
            | "escape" | "noescape" | "noEscape" | "fallback" | "foreach" | "forEach" | "function" | "global"
            | "import" | "include" | "local" | "macro" | "nested" | "on" | "outputformat" | "outputFormat"
            | "recurse" | "return" | "transform" | "visit" => Directive::Unsupported,
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
            return self.error_at(found.start + 1, format!("this engine does not support the directive #{name}"));
        }
        self.open_tag(name, square, found)?;
        let kind = match directive {
            Directive::If => Some(self.if_directive(found)?),
            Directive::List => Some(self.list_directive(found)?),
            Directive::Items => Some(self.items_directive(found)?),
            Directive::Sep => Some(self.sep_directive(found)?),
            Directive::Break | Directive::Continue => Some(self.break_directive(directive, name, found)?),
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
    pub(super) fn body(&mut self, name: &str, found: Found<'_>, ends: &[&str]) -> Result<(Block, Stop<'p>), Raised> {
        let (block, stop) = self.block()?;
        match stop.found {
            Some(_) if ends.contains(&stop.name.as_str()) => Ok((block, stop)),
            Some(tag) => {
                let shown = match stop.name.strip_prefix('/') {
                    Some(other) => format!("</#{other}>"),
                    None => format!("<#{}>", stop.name),
                };
                self.error_at(tag.start, format!("encountered {shown}, but here only #{name} can be closed"))
            }
            None => self.error_at(found.start, format!("unexpected end of file: this #{name} is not closed")),
        }
    }

    /// Reads the rest of an end tag.
    pub(super) fn end(&mut self, stop: &Stop<'_>) -> Result<(), Raised> {
        let Some(tag) = stop.found else { return Ok(()) };
        self.open_stop(stop)?;
        if self.at_end() && !self.at_empty_end() {
            self.end_tag(false)?;
            return Ok(());
        }
        self.error_at(tag.start + 1, "the end tag is malformed")
    }

    pub(super) fn open_stop(&mut self, stop: &Stop<'_>) -> Result<(), Raised> {
        let Some(tag) = stop.found else { return Ok(()) };
        let square = self.text.get(tag.start..).is_some_and(|rest| rest.starts_with('['));
        self.open_tag(&stop.name, square, tag)
    }

    pub(super) fn open_outline(&mut self, kind: Kind, start: usize) {
        self.state.outline.open(kind, start, self.state.lines);
    }

    pub(super) fn close_outline(&mut self, end: usize) {
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

    pub(super) fn name(&mut self, what: &str) -> Result<String, Raised> {
        match self.next.token {
            Token::Name(name) if !matches!(name, "true" | "false" | "as" | "in" | "using") => {
                self.bump();
                Ok(plain_name(name))
            }
            _ => self.unexpected(what),
        }
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
                return self.error_at(name_start, format!("this engine does not support the setting {name}"));
            }
            None => {
                return self.error_at(name_start, format!("unknown setting name: \"{written}\""));
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
                return self
                    .error_at(start, "between #switch and the first #case only white space and comments may stand");
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
