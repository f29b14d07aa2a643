//! Directives (FreeMarker manual: "Template Language Reference / Directive Reference").

use super::directive::{Directive, Shape, directive_tip};
use super::{Parser, Surroundings};
use crate::ast::{Branch, Element, ElementKind};
use crate::error::Raised;
use crate::lexer::text::Found;
use crate::lexer::token::{Token, plain_name};
use crate::outline::Kind;
use crate::settings::snake_case;

impl<'p> Parser<'p, '_> {
    /// Finds the directive of a tag, and checks that the tag is well formed and named consistently.
    pub(super) fn known(&mut self, name: &str, is_end: bool, found: Found<'_>) -> Result<Directive, Raised> {
        let Some(directive) = Directive::find(name) else {
            return self.error_at(found.start + 1, format!("Unknown directive: #{name}. {}", directive_tip(name)));
        };
        let rest = self.text.get(found.end..).unwrap_or_default();
        let after = rest.trim_start_matches([' ', '\t', '\n', '\r']);
        let bare = after.starts_with(['>', ']']);
        let empty = after.strip_prefix('/').is_some_and(|after| after.starts_with(['>', ']']));
        let blank = after.len() < rest.len();
        let fits = match if is_end { Shape::Bare } else { directive.shape() } {
            Shape::Bare => bare,
            Shape::BareOrEmpty => bare || empty,
            Shape::Either => bare || empty || blank,
            Shape::Params => blank,
            Shape::Names => {
                let spaced = |text: &str| text.starts_with([' ', '\t', '\n', '\r']);
                blank && after.strip_prefix("as").is_some_and(spaced)
            }
        };
        if !fits {
            return self.error_at(
                found.start + 1,
                format!(
                    "#{name} is an existing directive, but the tag is malformed.  (See FreeMarker Manual / Directive \
                     Reference.)"
                ),
            );
        }
        // such a tag is one token, and #sep is in neither syntax
        let whole = if bare { after.get(..1) } else { after.get(1..2).filter(|_| empty) };
        let tag = self.text.get(found.start..found.end).unwrap_or_default();
        if let Some(closer) = whole
            && closer != if tag.starts_with('[') { "]" } else { ">" }
            && self.state.syntax.strict
            && (is_end || directive != Directive::Sep)
        {
            return self.error_at(found.start, format!("The tag shouldn't end with \"{closer}\"."));
        }
        self.check_tag_naming(name, tag, found.start)?;
        Ok(directive)
    }

    /// Parses a directive whose name has been read.
    pub(super) fn directive(
        &mut self,
        name: &str,
        directive: Directive,
        square: bool,
        found: Found<'p>,
    ) -> Result<Option<Element>, Raised> {
        self.enter_expression(found.end, Surroundings::Tag { square });
        let kind = match directive {
            Directive::If => self.if_directive(found)?,
            Directive::List => self.list_directive(found)?,
            Directive::ForEach => self.foreach_directive(found)?,
            Directive::Items => self.items_directive(found)?,
            Directive::Sep => self.sep_directive(found)?,
            Directive::Break | Directive::Continue => self.break_directive(directive, found)?,
            Directive::Assign | Directive::Global | Directive::Local => self.assign_directive(directive, found)?,
            Directive::Setting => self.setting_directive(found)?,
            Directive::Switch => self.switch_directive(found)?,
            Directive::Stop => {
                let message = if self.at_end() { None } else { Some(self.expression()?) };
                self.end_tag(true)?;
                self.outline(Kind::Leaf, found.start, self.pos);
                ElementKind::Stop(message)
            }
            Directive::Flush => return self.silent_tag(Kind::Leaf, found),
            Directive::Trim => return self.silent_tag(Kind::Trim { left: true, right: true }, found),
            Directive::LeftTrim => return self.silent_tag(Kind::Trim { left: true, right: false }, found),
            Directive::RightTrim => return self.silent_tag(Kind::Trim { left: false, right: true }, found),
            Directive::NoTrim => return self.silent_tag(Kind::Trim { left: false, right: false }, found),
            Directive::NoParse => {
                let text = self.verbatim(name, found)?;
                let element = self.text_element(text.to_owned(), found.start, self.pos);
                return Ok(Some(element));
            }
            Directive::Comment => {
                self.verbatim(name, found)?;
                self.outline(Kind::Silent, found.start, self.pos);
                return Ok(None);
            }
            Directive::Macro | Directive::Function => self.macro_directive(directive, found)?,
            Directive::Nested => self.nested_directive(found)?,
            Directive::Return => self.return_directive(found)?,
            Directive::Call => self.call_directive(found)?,
            Directive::Attempt => self.attempt_directive(found)?,
            Directive::Compress => {
                self.end_tag(false)?;
                ElementKind::Compress(self.content("#compress", "/compress", Kind::Fleeting, found)?)
            }
            Directive::Escape => self.escape_directive(found)?,
            Directive::NoEscape => self.noescape_directive(found)?,
            Directive::OutputFormat => self.output_format_directive(found)?,
            Directive::AutoEsc | Directive::NoAutoEsc => self.auto_esc_directive(directive, name, found)?,
            Directive::Include => self.include_directive(found)?,
            Directive::Import => self.import_directive(found)?,
            Directive::Visit | Directive::Recurse | Directive::Fallback | Directive::Transform => {
                self.node_directive(directive, found)?
            }
            Directive::Ftl if !self.ends_word(found.end) => {
                let message = "#ftl is an existing directive, but the tag is malformed.";
                return self.error_at(found.start + 1, message);
            }
            Directive::Ftl => {
                return self
                    .error_at(found.start, "Encountered \"<#ftl\", but #ftl must be the first thing in a template");
            }
            _ => return self.misplaced(name, found),
        };
        let span = self.span(found.start, self.pos);
        Ok(Some(Element { kind, span }))
    }

    /// Whether a directive's name ends as it must.
    fn ends_word(&self, at: usize) -> bool {
        let after = self.text.get(at..).unwrap_or_default();
        after.starts_with([' ', '\t', '\n', '\r']) || after.strip_prefix('/').unwrap_or(after).starts_with(['>', ']'])
    }

    fn silent_tag(&mut self, kind: Kind, found: Found<'_>) -> Result<Option<Element>, Raised> {
        self.end_tag(true)?;
        self.outline(kind, found.start, self.pos);
        Ok(None)
    }

    pub(super) fn open_outline(&mut self, kind: Kind, start: usize) {
        self.state.outline.open(kind, start, self.state.lines);
    }

    pub(super) fn close_outline(&mut self, end: usize) {
        self.state.outline.close(end, self.state.lines);
    }

    fn if_directive(&mut self, found: Found<'p>) -> Result<ElementKind, Raised> {
        let mut branches = Vec::new();
        self.open_outline(Kind::Block, found.start);
        let mut start = found;
        let mut condition = Some(self.expression()?);
        self.end_tag(false)?;
        let mut span = self.span(found.start, self.pos);
        loop {
            self.open_outline(Kind::Block, start.start);
            let ends: &[&str] = if condition.is_some() { &["elseif", "else_if", "else", "/if"] } else { &["/if"] };
            let (body, stop) = self.body("#if", ends)?;
            branches.push(Branch { span, condition, body });
            let Some(tag) = stop.found else { break };
            if stop.name == "/if" {
                self.end(&stop)?;
                // an #if of one branch is as one block to the white space around it
                let end = if branches.len() == 1 { self.pos } else { tag.start };
                self.close_outline(end);
                break;
            }
            self.close_outline(tag.start);
            self.open_stop(&stop);
            condition = if stop.name == "else" { None } else { Some(self.expression()?) };
            self.end_tag(true)?;
            span = self.span(tag.start, self.pos);
            start = tag;
        }
        self.close_outline(self.pos);
        Ok(ElementKind::If(branches.into()))
    }

    fn attempt_directive(&mut self, found: Found<'p>) -> Result<ElementKind, Raised> {
        self.end_tag(false)?;
        self.open_outline(Kind::Block, found.start);
        self.open_outline(Kind::Fleeting, found.start);
        // an unclosed #attempt lacks its #recover, which is no end tag
        let (body, stop) = self.body("", &["recover"])?;
        let recover_start = stop.found.map_or(self.pos, |tag| tag.start);
        if self.state.outline.close_section(self.state.text_count, recover_start, self.state.lines) {
            self.state.text_count += 1;
        }
        self.end(&stop)?;
        self.open_outline(Kind::Block, recover_start);
        let (recover, stop) = self.body("#attempt", &["/attempt", "/recover"])?;
        self.close_outline(stop.found.map_or(self.pos, |tag| tag.start));
        self.end(&stop)?;
        self.close_outline(self.pos);
        Ok(ElementKind::Attempt(Box::new(crate::ast::Attempt { body, recover })))
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

    /// Reads the content of a directive in which nothing has a meaning but its end tag.
    fn verbatim(&mut self, name: &str, found: Found<'p>) -> Result<&'p str, Raised> {
        self.end_tag(false)?;
        let start = self.pos;
        let mut from = start;
        while let Some(offset) = self.text.get(from..).and_then(|rest| rest.find("/")) {
            let slash = from + offset;
            from = slash + 1;
            let opened = self.text.get(..slash).is_some_and(|before| before.ends_with(['<', '['])) && slash > start;
            let after = self.text.get(from..).unwrap_or_default();
            let after = after.strip_prefix('#').unwrap_or(after);
            if let Some(after_name) = after.strip_prefix(name).filter(|_| opened) {
                let rest = after_name.trim_start_matches([' ', '\t', '\n', '\r']);
                if rest.starts_with(['>', ']']) {
                    self.pos = self.text.len() - rest.len() + 1;
                    return Ok(self.text.get(start..slash - 1).unwrap_or_default());
                }
            }
        }
        let tag = self.text.get(found.start..start).unwrap_or_default();
        self.error_at(found.start, format!("Unclosed \"{tag}\""))
    }

    pub(super) fn setting_directive(&mut self, found: Found<'_>) -> Result<ElementKind, Raised> {
        let Token::Name(written) = self.next.token else {
            return self.unexpected("the name of a setting");
        };
        let name_start = self.bump().start;
        self.expect(Token::Assign, "\"=\"")?;
        let value = self.expression()?;
        self.end_tag(true)?;
        self.check_naming(written, name_start)?;
        let name = snake_case(written);
        let Some(key) = crate::settings::SettingKey::find(&name) else {
            return self.error_at(name_start, self.unknown_setting(written));
        };
        self.outline(Kind::Silent, found.start, self.pos);
        Ok(ElementKind::Setting { key, name: name.into(), value })
    }

    fn unknown_setting(&self, written: &str) -> String {
        const KNOWN: [&str; 12] = [
            "boolean_format",
            "c_format",
            "classic_compatible",
            "date_format",
            "datetime_format",
            "locale",
            "number_format",
            "output_encoding",
            "sql_date_and_time_time_zone",
            "time_format",
            "time_zone",
            "url_escaping_charset",
        ];
        const ELSEWHERE: [&str; 9] = [
            "arithmetic_engine",
            "auto_flush",
            "auto_import",
            "auto_include",
            "lazy_imports",
            "new_builtin_class_resolver",
            "object_wrapper",
            "template_exception_handler",
            "whitespace_stripping",
        ];
        if ELSEWHERE.contains(&snake_case(written).as_str()) {
            return "The setting name is recognized, but changing this setting from inside a template isn't supported."
                .to_owned();
        }
        let camel = self.state.naming == Some(crate::settings::Naming::Camel);
        let names = KNOWN.map(|name| if camel { camel_case(name) } else { name.to_owned() });
        format!("Unknown setting name: \"{written}\". The allowed setting names are: {}", names.join(", "))
    }
}

/// `number_format` as `numberFormat`.
pub(super) fn camel_case(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    for (place, word) in name.split('_').enumerate() {
        match word.split_at_checked(1).filter(|_| place > 0) {
            Some((first, rest)) => {
                camel.push_str(&first.to_ascii_uppercase());
                camel.push_str(rest);
            }
            None => camel.push_str(word),
        }
    }
    camel
}
