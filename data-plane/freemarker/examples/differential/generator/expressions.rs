//! Expressions.

use super::Kind::{self, *};
use super::{Generator, built_ins, data};

impl Generator<'_> {
    /// An expression for where one ends by itself: an interpolation, an argument.
    pub(super) fn expression(&mut self, kind: Kind, depth: usize) -> String {
        let kind = if self.random.percent(self.wrong) { self.any_kind() } else { kind };
        if depth == 0 || self.random.percent(25) {
            return self.atom(kind);
        }
        if self.has("rare") && kind != Charset && self.random.percent(7) {
            return self.rare_expression(kind, depth);
        }
        if self.random.percent(55)
            && let Some(expression) = self.built_in(kind, depth)
        {
            return expression;
        }
        if self.has("function") && !self.functions.is_empty() && self.random.percent(6) {
            return self.function_call(depth);
        }
        match kind {
            Str => self.string_expression(depth),
            Num => self.number_expression(depth),
            Bool => self.boolean_expression(depth),
            Date => self.date(),
            Seq => self.sequence_expression(depth),
            Hash => match self.random.below(3) {
                0 => format!("{} + {}", self.operand(Hash, depth - 1), self.operand(Hash, depth - 1)),
                1 => self.hash_literal(depth),
                _ => self.atom(Hash),
            },
            Any => {
                let kind = self.any_kind();
                self.expression(kind, depth)
            }
            Charset => self.literal_of(&["UTF-8", "ISO-8859-1", "UTF-16BE", "US-ASCII", "nope"]),
        }
    }

    /// An expression that binds as tightly as a name.
    pub(super) fn operand(&mut self, kind: Kind, depth: usize) -> String {
        let expression = self.expression(kind, depth);
        if expression.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.') && !self.random.percent(5) {
            expression
        } else {
            format!("({expression})")
        }
    }

    /// What stands to the left of a `?`: without parentheses, now and then, to see how tightly it binds.
    pub(super) fn target(&mut self, kind: Kind, depth: usize) -> String {
        if self.random.percent(70) {
            return self.atom(kind);
        }
        self.operand(kind, depth)
    }

    pub(super) fn any_kind(&mut self) -> Kind {
        *self.random.pick(&[&Str, &Str, &Num, &Num, &Bool, &Seq, &Hash, if self.has("dates") { &Date } else { &Str }])
    }

    /// A name or a literal.
    pub(super) fn atom(&mut self, kind: Kind) -> String {
        let known: Vec<String> =
            self.names.iter().filter(|(_, known)| *known == kind).map(|(name, _)| name.clone()).collect();
        if !known.is_empty() && self.random.percent(40) {
            return known[self.random.below(known.len())].clone();
        }
        if self.wrong > 0 && self.has("missing") && self.random.percent(self.wrong / 2) {
            return self.random.pick(&["nope", "z1", "h1.nope", "h1.name.x", "q1[99]", "nope.x.y"]).to_owned();
        }
        let literal = self.random.percent(35);
        match kind {
            Str if literal => self.string_literal(),
            Str => self
                .random
                .pick(&["s1", "s2", "s3", "h1.name", "h1[\"name\"]", "h1.inner.s", "s1"])
                .replace('"', self.quote()),
            Num if literal => self.number_literal(),
            Num => self.random.pick(&["n1", "n2", "n3", "h1.n", "h1.inner.k"]).to_owned(),
            Bool if literal => self.random.pick(&["true", "false"]).to_owned(),
            Bool => self.random.pick(&["b1", "b2", "!b1", "(b1 && b2)"]).to_owned(),
            Seq if literal => self
                .random
                .pick(&["[]", "[1, 2, 3]", "[\"b\", \"a\", \"B\"]", "1..3", "3..1", "[1, \"a\", true]", "(0..<4)"])
                .replace('"', self.quote()),
            Seq => self.random.pick(&["q1", "q2", "q3", "q1", "q2", "q4"]).to_owned(),
            Hash if literal => {
                self.random.pick(&["{}", "{\"a\": 1}", "{\"k\": \"v\", \"l\": 2}"]).replace('"', self.quote())
            }
            Hash => self.random.pick(&["h1", "h2", "h1.inner"]).to_owned(),
            Date => self.date(),
            Any => {
                let kind = self.any_kind();
                self.atom(kind)
            }
            Charset => self.literal_of(&["UTF-8", "ISO-8859-1"]),
        }
    }

    fn quote(&self) -> &'static str {
        if self.quote == '"' { "\"" } else { "'" }
    }

    /// A text as a string literal.
    pub(super) fn literal(&mut self, text: &str) -> String {
        let quote = self.quote;
        let mut literal = String::from(quote);
        for c in text.chars() {
            match c {
                '\\' => literal.push_str("\\\\"),
                '\n' if self.random.percent(70) => literal.push_str("\\n"),
                '\r' => literal.push_str("\\r"),
                '\t' => literal.push_str("\\t"),
                '$' | '#' => {
                    // no interpolation, and not always an escape
                    literal.push_str(if c == '$' { "\\x0024" } else { "\\x0023" });
                }
                c if c == quote => {
                    literal.push('\\');
                    literal.push(c);
                }
                '"' | '\'' if self.in_string => {
                    // the literal around this one would end
                    literal.push_str(if c == '"' { "\\x0022" } else { "\\x0027" });
                }
                c if (c as u32) < 0x20 && c != '\n' => literal.push_str(&format!("\\x{:04X}", c as u32)),
                c => literal.push(c),
            }
        }
        literal.push(quote);
        literal
    }

    pub(super) fn literal_of(&mut self, texts: &[&str]) -> String {
        let text = self.random.pick(texts).to_owned();
        self.literal(&text)
    }

    pub(super) fn string_literal(&mut self) -> String {
        if self.has("interpolation") && !self.in_string && self.random.percent(12) {
            return self.with_interpolation();
        }
        if self.random.percent(8) {
            let raw = self.random.pick(&["raw", "a\\b", "${x}", "c:\\dir", ""]);
            return format!("r{0}{raw}{0}", self.quote);
        }
        if self.random.percent(8) {
            return format!(
                "{0}{1}{0}",
                self.quote,
                self.random.pick(&["\\x41", "\\l\\g\\a", "\\{", "tab\\t", "\\\\", "\\\"", "\\'", "\\x1F600"])
            );
        }
        let text = data::string_text(self.random);
        self.literal(text)
    }

    /// `"a ${x} b"`
    fn with_interpolation(&mut self) -> String {
        let outer = self.quote;
        self.quote = if outer == '"' { '\'' } else { '"' };
        self.in_string = true;
        let kind = if self.random.percent(70) { Str } else { Num };
        let inner = self.expression(kind, 1);
        self.quote = outer;
        self.in_string = false;
        let around = self.random.pick(&["", "a ", "<", "}"]);
        let (open, close) = self.interpolation_signs();
        format!("{outer}{around}{open}{inner}{close}{around}{outer}")
    }

    pub(super) fn number_literal(&mut self) -> String {
        self.random
            .pick(&[
                "0",
                "1",
                "2",
                "3",
                "10",
                "0.5",
                "1.50",
                "100",
                "12.345",
                "1000",
                "7",
                "2.5",
                "99999999999",
                "0.001",
            ])
            .to_owned()
    }

    fn string_expression(&mut self, depth: usize) -> String {
        match self.random.below(8) {
            0 | 1 => {
                let other = *self.random.pick(&[&Str, &Str, &Num]);
                let (a, b) = (self.operand(Str, depth - 1), self.operand(other, depth - 1));
                if self.random.percent(70) { format!("{a} + {b}") } else { format!("{b} + {a}") }
            }
            2 => format!("{}[{}]", self.operand(Str, depth - 1), self.slice()),
            3 => format!("{}[{}]", self.atom(Str), self.small()),
            4 => self.default(Str, depth),
            5 => self.loop_variable(Str).unwrap_or_else(|| self.string_literal()),
            6 => self.string_literal(),
            _ => self.special(),
        }
    }

    /// Special variables that are the same in both engines.
    fn special(&mut self) -> String {
        if !self.has("special") {
            return self.atom(Str);
        }
        let names = [
            ".template_name",
            ".main_template_name",
            ".current_template_name",
            ".lang",
            ".locale",
            ".output_encoding!\"-\"",
            ".url_escaping_charset!\"-\"",
            ".output_format",
            ".vars.s1",
            ".data_model.s1",
            ".globals.s1",
            ".main.x!\"-\"",
            ".namespace.x!\"-\"",
            ".incompatible_improvements",
            ".auto_esc?string",
            ".nope",
        ];
        let name = self.random.pick(&names).replace('"', self.quote());
        if self.camel { self.word(&name) } else { name }
    }

    fn number_expression(&mut self, depth: usize) -> String {
        match self.random.below(8) {
            0..=4 => {
                let operator = self.random.pick(&["+", "-", "*", "/", "%", "+", "-"]);
                let space = self.random.pick(&[" ", " ", ""]);
                let (a, b) = (self.operand(Num, depth - 1), self.operand(Num, depth - 1));
                let chain = if self.random.percent(20) {
                    format!(" {} {}", self.random.pick(&["+", "*", "-"]), self.atom(Num))
                } else {
                    String::new()
                };
                format!("{a}{space}{operator}{space}{b}{chain}")
            }
            5 => format!("{}{}", self.random.pick(&["-", "+", "-"]), self.operand(Num, depth - 1)),
            6 => self.default(Num, depth),
            _ => self.loop_variable(Num).unwrap_or_else(|| self.atom(Num)),
        }
    }

    fn boolean_expression(&mut self, depth: usize) -> String {
        match self.random.below(9) {
            0 | 1 => {
                let operator = self.random.pick(&["&&", "||", "&", "|", "&&"]);
                format!("{} {operator} {}", self.operand(Bool, depth - 1), self.operand(Bool, depth - 1))
            }
            2 => format!("!{}", self.operand(Bool, depth - 1)),
            3 | 4 => {
                let kind = *self.random.pick(&[&Str, &Num, &Num, &Bool]);
                let operator = self.random.pick(&["==", "!=", "=", "=="]);
                format!("{} {operator} {}", self.operand(kind, depth - 1), self.operand(kind, depth - 1))
            }
            5 | 6 => {
                let operator =
                    self.random.pick(&["<", "<=", "gt", "gte", "lt", "lte", ">", ">=", "&lt;", "&gt;=", "\\lt"]);
                let (a, b) = (self.operand(Num, depth - 1), self.operand(Num, depth - 1));
                if operator.starts_with('>') { format!("({a} {operator} {b})") } else { format!("{a} {operator} {b}") }
            }
            7 if self.has("missing") => {
                let target =
                    self.random.pick(&["nope", "z1", "h1.tag", "(h1.a.b)", "(nope.x.y)", "s1", "q1[2]", "input"]);
                format!("{target}??")
            }
            _ => self.loop_variable(Bool).unwrap_or_else(|| self.atom(Bool)),
        }
    }

    fn sequence_expression(&mut self, depth: usize) -> String {
        match self.random.below(6) {
            0 => format!("{} + {}", self.operand(Seq, depth - 1), self.operand(Seq, depth - 1)),
            1 => format!("{}[{}]", self.target(Seq, depth - 1), self.slice()),
            2 | 3 => {
                let kind = self.any_kind();
                let items: Vec<String> = (0..self.random.below(4)).map(|_| self.expression(kind, depth - 1)).collect();
                format!("[{}]", items.join(self.random.pick(&[", ", ",", " , "])))
            }
            4 => format!("({})", self.range()),
            _ => self.default(Seq, depth),
        }
    }

    fn hash_literal(&mut self, depth: usize) -> String {
        let members: Vec<String> = (0..self.random.below(3))
            .map(|_| {
                let key = self.literal_of(&["a", "b", "k", "with space", "é"]);
                format!("{key}: {}", self.expression(Any, depth - 1))
            })
            .collect();
        format!("{{{}}}", members.join(", "))
    }

    /// `x!y`, of something that may be missing.
    fn default(&mut self, kind: Kind, depth: usize) -> String {
        if !self.has("missing") {
            return self.atom(kind);
        }
        let target =
            self.random.pick(&["nope", "z1", "(h1.a.b)", "(nope.x.y)", "h2.key", "h1.tag", "q1[2]", "(q3[1].name)"]);
        match self.random.below(4) {
            0 => format!("({target}!{})", self.atom(kind)),
            1 => format!("{target}!"),
            _ => format!("{target}!{}", self.operand(kind, depth - 1)),
        }
    }

    pub(super) fn range(&mut self) -> String {
        let (a, b) = (self.small(), self.small());
        match self.random.below(6) {
            0 | 1 => format!("{a}..{b}"),
            2 => format!("{a}..<{b}"),
            3 => format!("{a}..*{b}"),
            4 => format!("{a}..!{b}"),
            _ => format!("{b}..{a}"),
        }
    }

    /// A range to slice by; only here may it have no end, as nothing ends a list of it.
    fn slice(&mut self) -> String {
        if self.random.percent(25) { format!("{}..", self.small()) } else { self.range() }
    }

    /// A small number, of which most are places in what the data has.
    pub(super) fn small(&mut self) -> String {
        if self.random.percent(self.wrong) {
            return self.random.pick(&["-1", "100", "1.5", "n1", "\"1\"", "2147483648"]).replace('"', self.quote());
        }
        self.random.pick(&["0", "0", "1", "1", "2", "3", "4", "5", "8", "12"]).to_owned()
    }

    fn loop_variable(&mut self, kind: Kind) -> Option<String> {
        if self.loops.is_empty() || !self.has("list") {
            return None;
        }
        let name = self.loops[self.random.below(self.loops.len())].clone();
        let built_in = match kind {
            Num => self.random.pick(&["index", "counter"]),
            Bool => self.random.pick(&["has_next", "is_first", "is_last", "is_odd_item", "is_even_item"]),
            _ => self.random.pick(&["item_parity", "item_parity_cap", "item_cycle(1, 2, 3)"]),
        };
        Some(format!("{name}?{}", self.word(built_in)))
    }

    /// A date, made of a text or of a number.
    pub(super) fn date(&mut self) -> String {
        if !self.has("dates") {
            return self.atom(Str);
        }
        let texts = [
            ("2022-02-28 20:07:01.795", "datetime", "yyyy-MM-dd HH:mm:ss.S"),
            ("2022-02-28 20:07:01.795000", "datetime", "yyyy-MM-dd HH:mm:ss.SSS"),
            ("28.02.2022", "date", "dd.MM.yyyy"),
            ("20:07", "time", "HH:mm"),
            ("02/30/20", "date", "MM/dd/yy"),
            ("Mon, 7 Mar 2022 01:02:03 +0100", "datetime", "EEE, d MMM yyyy HH:mm:ss Z"),
            ("2022-10-24T20:07:32.123Z", "datetime", "iso"),
            ("2022-10-24", "date", "iso"),
            ("20:07:32.5+01:00", "time", "xs"),
            ("20221024T200732Z", "datetime", "iso"),
            ("1600-03-01", "date", "yyyy-MM-dd"),
            ("12 PM", "time", "h a"),
            ("2022-13-45 junk", "date", "yyyy-MM-dd"),
            ("2024-03-31T01:30:00+02:00", "datetime", "iso"),
            ("nonsense", "datetime", "yyyy"),
        ];
        match self.random.below(4) {
            0 => format!(
                "{}?{}",
                self.random.pick(&["0", "1666641999123", "86399999", "(-1)", "1e3"]).replace("1e3", "1000"),
                self.word("number_to_datetime")
            ),
            1 => format!(
                "{}?date.iso",
                self.literal_of(&["2022-10-24", "2020-02-29", "2022-1-1", "20221024", "-0001-01-01"])
            ),
            _ => {
                let (text, built_in, format) = texts[self.random.below(texts.len() - usize::from(self.wrong == 0))];
                let (text, format) = (self.literal(text), self.literal(format));
                if self.random.percent(80) {
                    format!("{text}?{built_in}({format})")
                } else {
                    format!("{text}?{built_in}[{format}]")
                }
            }
        }
    }

    pub(super) fn number_format(&mut self) -> String {
        self.literal_of(built_ins::NUMBER_FORMATS)
    }
}
