//! What few templates do, and every engine must still do right: a list of forms, written out, with the generator's own
//! expressions put in.
//!
//! In the forms `'` is the quote of string literals, `§s` stands for an operand of the kind `s` (a string; `n` a number,
//! `b` a boolean, `q` a sequence, `h` a hash, `d` a date, `a` anything), `<#` and `<@` for tags of the template's
//! syntax, `→` and `›` for `->` and a `>` that ends no tag, `¶` for a block; names are as in the legacy naming
//! convention.

use super::Generator;
use super::Kind::{self, *};
use super::rare_elements::{ELEMENTS, OF_MACROS, WRONG_ELEMENTS};
use super::rare_expressions::{BOOLEANS, DATES, HASHES, IN_MACROS, NUMBERS, OF_FUNCTIONS, SEQUENCES, STRINGS};

impl Generator<'_> {
    /// An expression of a rare form that gives the kind.
    pub(super) fn rare_expression(&mut self, kind: Kind, depth: usize) -> String {
        let kind = if kind == Any { self.any_kind() } else { kind };
        let forms = match kind {
            Str => STRINGS,
            Num => NUMBERS,
            Bool => BOOLEANS,
            Seq => SEQUENCES,
            Hash => HASHES,
            Date => DATES,
            _ => STRINGS,
        };
        let form = if self.in_macro && kind == Str && self.random.percent(15) {
            self.random.pick(IN_MACROS)
        } else if !self.functions.is_empty() && kind == Str && self.random.percent(20) {
            self.random.pick(OF_FUNCTIONS)
        } else {
            self.random.pick(forms)
        };
        self.filled(form, depth)
    }

    /// A directive, or some, of a rare form.
    pub(super) fn rare_element(&mut self, depth: usize) -> String {
        let form = if !self.macros.is_empty() && self.random.percent(25) {
            self.random.pick(OF_MACROS)
        } else if self.wrong > 0 && self.random.percent(self.wrong * 3) {
            self.random.pick(WRONG_ELEMENTS)
        } else {
            self.random.pick(ELEMENTS)
        };
        self.filled(form, depth)
    }

    fn filled(&mut self, form: &str, depth: usize) -> String {
        if self.in_string && form.contains("${") {
            return self.string_literal();
        }
        let mut text = String::new();
        let mut chars = form.chars().peekable();
        let mut before = ' ';
        let mut braces = Vec::new();
        let quote = self.quote;
        let mut in_literal = false;
        while let Some(c) = chars.next() {
            match c {
                '§' => {
                    let kind = kind(chars.next().unwrap_or_default());
                    if in_literal {
                        (self.quote, self.in_string) = (if quote == '"' { '\'' } else { '"' }, true);
                        text.push_str(&self.atom(kind));
                        (self.quote, self.in_string) = (quote, false);
                    } else {
                        text.push_str(&self.operand(kind, depth.saturating_sub(1).min(1)));
                    }
                }
                '¶' => {
                    let body = self.block(1, depth.saturating_sub(1));
                    text.push_str(&body);
                }
                '\'' => {
                    in_literal = !in_literal;
                    text.push(quote);
                }
                '<' if self.square && chars.peek().is_some_and(|c| matches!(c, '#' | '@' | '/')) => text.push('['),
                '>' if self.square => text.push(']'),
                '→' => text.push_str("->"),
                '›' => text.push('>'),
                '$' if chars.next_if_eq(&'{').is_some() => {
                    braces.push(true);
                    text.push_str(if self.brackets { "[=" } else { "${" });
                }
                '{' => {
                    braces.push(false);
                    text.push(c);
                }
                '}' => text.push(if braces.pop() == Some(true) && self.brackets { ']' } else { c }),
                c if self.camel && matches!(before, '?' | '.' | '#') && c.is_ascii_lowercase() => {
                    let mut name = String::from(c);
                    while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                        name.push(c);
                    }
                    text.push_str(&self.word(&name));
                }
                c => text.push(c),
            }
            before = c;
        }
        text
    }
}

fn kind(letter: char) -> Kind {
    match letter {
        'n' => Num,
        'b' => Bool,
        'q' => Seq,
        'h' => Hash,
        'd' => Date,
        'a' => Any,
        _ => Str,
    }
}
