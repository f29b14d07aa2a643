//! Directives and what is inside of them.

use super::Kind::{self, *};
use super::{Generator, built_ins};

impl Generator<'_> {
    /// Text, interpolations and directives, one after the other.
    pub(super) fn block(&mut self, length: usize, depth: usize) -> String {
        let (names, loops) = (self.names.len(), self.loops.len());
        let mut block = String::new();
        for _ in 0..length {
            block.push_str(self.gap());
            block.push_str(&self.element(depth));
            block.push_str(self.gap());
        }
        // names made inside of it may not be there after it
        self.names.truncate(names);
        self.loops.truncate(loops);
        block
    }

    fn body(&mut self, depth: usize) -> String {
        let length = self.random.below(3) + 1;
        self.block(length, depth - 1)
    }

    fn element(&mut self, depth: usize) -> String {
        if depth == 0 {
            return if self.random.percent(50) { self.text() } else { self.interpolation() };
        }
        match self.random.below(43) {
            0..=5 => self.text(),
            6..=14 => self.interpolation(),
            15..=17 => self.condition(depth),
            18..=21 if self.has("list") => self.list(depth),
            22 | 23 if self.has("assign") => self.assign(depth),
            24 if self.has("switch") => self.switch(depth),
            25 | 26 if self.has("macro") => self.macro_call(depth),
            27 if self.has("attempt") => self.attempt(depth),
            28 if self.has("compress") => {
                format!("{}{}{}", self.tag("compress"), self.body(depth), self.end("compress"))
            }
            29 if self.has("escape") => self.escape(depth),
            30 if self.has("outputformat") => self.output_format(depth),
            31 if self.has("include") => self.include(),
            32 if self.has("setting") => self.setting(),
            33 | 34 if self.has("trim") => {
                let tag = self.random.pick(&["t", "rt", "lt", "nt", "t", "t/"]);
                format!("{}{}{}", self.gap(), self.tag(tag), self.gap())
            }
            35 => {
                let comment = self.random.pick(&["c", " c\n ", "", " - ", " <#if> "]);
                if self.square { format!("[#--{comment}--]") } else { format!("<#--{comment}-->") }
            }
            36 if self.has("noparse") => {
                let name = self.word("noparse");
                format!(
                    "{}{}{}",
                    self.tag(&name),
                    self.random.pick(&["${x}", "<#if>", " \n ", "</#if> x"]),
                    self.end(&name)
                )
            }
            37 if self.has("wrong") && self.random.percent(self.wrong) => {
                let message = self.any_text();
                self.tag(&format!("stop {message}"))
            }
            37 if self.has("regex") => self.matches(),
            38 if self.in_list => self.leave(),
            40..=42 if self.has("rare") => self.rare_element(depth),
            39 if self.in_macro || self.in_function => self.in_definition(depth),
            _ => self.interpolation(),
        }
    }

    pub(super) fn interpolation(&mut self) -> String {
        let depth = self.random.below(4);
        if self.has("interpolation") && self.random.percent(4) {
            let format = self.random.pick(&["", "; m2", "; m1M3", ";M2", "; M0", ";m3M1"]);
            let expression = self.expression(Num, depth);
            return format!("#{{{expression}{format}}}");
        }
        let kind = *self.random.pick(&[&Str, &Str, &Num, &Num, &Bool, &Date, &Seq, &Hash, &Any]);
        let expression = match kind {
            // what is no text is made one, mostly
            Bool if !self.random.percent(20) => format!("{}?c", self.operand(Bool, depth)),
            Date if !self.has("dates") => self.expression(Str, depth),
            Seq | Any if !self.has("sequences") => self.expression(Str, depth),
            Seq => {
                let sequence = self.operand(Seq, depth);
                match self.random.below(3) {
                    0 => format!("{sequence}?size"),
                    _ => {
                        let separator = self.literal(",");
                        format!("{sequence}?join({separator})")
                    }
                }
            }
            Hash => match (self.random.below(3), self.has("sequences")) {
                (0, true) => format!("{}?size", self.operand(Hash, depth)),
                (1, true) => {
                    let separator = self.literal(",");
                    format!("{}?keys?join({separator})", self.operand(Hash, depth))
                }
                _ => self.expression(Str, depth),
            },
            Any => {
                let kind = self.any_kind();
                self.expression(kind, depth)
            }
            kind => self.expression(kind, depth),
        };
        let (before, after) = self.random.pick(&[&("", ""), &("", ""), &("", ""), &(" ", " "), &("\n", "")]);
        let (open, close) = self.interpolation_signs();
        format!("{open}{before}{expression}{after}{close}")
    }

    /// All that a regular expression finds, and its groups.
    fn matches(&mut self) -> String {
        let text = self.target(Str, 1);
        let expression = self.literal_of(built_ins::REGEXES);
        let list = self.tag(&format!("list {text}?matches({expression}) as m"));
        let groups = "${m?index}:${m}/${m?groups?size}/${m?groups[1]!'-'};";
        format!("{list}{}{}", groups.replace('\'', &self.quote.to_string()), self.end("list"))
    }

    fn condition(&mut self, depth: usize) -> String {
        let condition = self.expression(Bool, 2);
        let mut text = format!("{}{}", self.tag(&format!("if {condition}")), self.body(depth));
        let else_if = self.word("elseif");
        for _ in 0..self.random.below(3) / 2 {
            let condition = self.expression(Bool, 1);
            text.push_str(&self.tag(&format!("{else_if} {condition}")));
            text.push_str(&self.body(depth));
        }
        if self.random.percent(40) {
            let tag = self.random.pick(&["else", "else", "else/", "else "]);
            text.push_str(&self.tag(tag));
            text.push_str(&self.body(depth));
        }
        text + &self.end("if")
    }

    fn list(&mut self, depth: usize) -> String {
        let of_hash = self.random.percent(20);
        let mut source = self.expression(if of_hash { Hash } else { Seq }, 2);
        if source.contains('>') {
            source = format!("({source})");
        }
        let variable = self.random.pick(&["x", "y", "item", "s1", "n1"]).to_owned();
        let variables = if of_hash { format!("k, {variable}") } else { variable.clone() };
        let names = self.names.len();
        if of_hash {
            self.names.push(("k".into(), Str));
        }
        self.names.push((variable.clone(), Any));
        self.loops.push(variable);
        let was_in_list = std::mem::replace(&mut self.in_list, true);
        let mut inner = self.body(depth);
        if self.random.percent(30) {
            let end = if self.random.percent(60) { self.end("sep") } else { String::new() };
            inner.push_str(&format!(
                "{}{}{end}{}",
                self.tag("sep"),
                self.random.pick(&[",", ", ", ",\n", "\n", " \n "]),
                self.gap()
            ));
        }
        self.names.truncate(names);
        self.loops.pop();
        let mut text = match self.random.below(10) {
            0..=6 => format!("{}{inner}", self.tag(&format!("list {source} as {variables}"))),
            7 if !of_hash && self.has("macro") => {
                let name = self.word("foreach");
                self.in_list = was_in_list;
                return format!("{}{inner}{}", self.tag(&format!("{name} {variables} in {source}")), self.end(&name));
            }
            _ => {
                let (before, after) = (self.gap(), self.text());
                let items = format!("{}{inner}{}", self.tag(&format!("items as {variables}")), self.end("items"));
                format!("{}{before}{items}{after}", self.tag(&format!("list {source}")))
            }
        };
        self.in_list = was_in_list;
        if self.random.percent(25) {
            text.push_str(&self.tag("else"));
            text.push_str(&self.body(depth));
        }
        text + &self.end("list")
    }

    /// `#break` or `#continue`, mostly under a condition.
    fn leave(&mut self) -> String {
        let leave = self.random.pick(&["break", "continue"]);
        let leave = self.tag(leave);
        if self.random.percent(20) {
            return leave;
        }
        let condition = self.expression(Bool, 1);
        format!("{}{leave}{}", self.tag(&format!("if {condition}")), self.end("if"))
    }

    fn switch(&mut self, depth: usize) -> String {
        let kind = *self.random.pick(&[&Str, &Num]);
        let value = self.expression(kind, 1);
        let mut text = format!("{}{}", self.tag(&format!("switch {value}")), self.gap());
        let was_in_list = std::mem::replace(&mut self.in_list, true);
        let cases = self.random.below(3) + 1;
        let default_at = self.random.below(5);
        for case in 0..cases {
            if case == default_at {
                text.push_str(&self.tag("default"));
                text.push_str(&self.body(depth));
            }
            let case = if self.random.percent(30) { value.clone() } else { self.expression(kind, 1) };
            text.push_str(&self.tag(&format!("case {case}")));
            text.push_str(&self.body(depth));
            if self.random.percent(60) {
                text.push_str(&self.tag("break"));
                text.push_str(self.gap());
            }
        }
        self.in_list = was_in_list;
        if default_at >= cases && self.random.percent(60) {
            text.push_str(&self.tag("default"));
            text.push_str(&self.body(depth));
        }
        text + &self.end("switch")
    }

    fn assign(&mut self, depth: usize) -> String {
        let kinds: [(&str, Kind); 6] = [("vs", Str), ("vn", Num), ("vb", Bool), ("vq", Seq), ("vh", Hash), ("s2", Str)];
        let (name, kind) = kinds[self.random.below(kinds.len())];
        let directive = match self.random.below(10) {
            0 if self.has("namespace") => "global",
            1 | 2 if self.in_macro || self.in_function => "local",
            _ => "assign",
        };
        let known = self.names.iter().any(|(known, _)| known == name);
        if known && kind == Num && self.random.percent(60) {
            let change = match self.random.below(3) {
                0 => self.random.pick(&["++", "--"]).to_owned(),
                _ => format!(" {} {}", self.random.pick(&["+=", "-=", "*=", "/=", "%="]), self.atom(Num)),
            };
            return self.tag(&format!("{directive} {name}{change}"));
        }
        if kind == Str && self.random.percent(35) {
            let text =
                format!("{}{}{}", self.tag(&format!("{directive} {name}")), self.body(depth), self.end(directive));
            if !self.markup {
                self.names.push((name.into(), kind));
            }
            return text;
        }
        let mut value = self.expression(kind, 2);
        if value.contains('>') {
            value = format!("({value})");
        }
        if self.random.percent(85) && self.wrong == 0 {
            self.names.push((name.into(), kind));
        }
        let more = match self.random.below(8) {
            0 => format!(" vn = {}", self.atom(Num)),
            1 => format!(", vx={}", self.atom(Str)),
            2 => "/".to_owned(),
            _ => String::new(),
        };
        self.tag(&format!("{directive} {name} = {value}{more}"))
    }

    fn setting(&mut self) -> String {
        let settings: [(&str, &[&str]); 6] = [
            ("number_format", built_ins::NUMBER_FORMATS),
            ("boolean_format", &["yes,no", "c", "true,false", "a,b", "x"]),
            ("datetime_format", built_ins::DATE_FORMATS),
            ("date_format", built_ins::DATE_FORMATS),
            ("time_zone", built_ins::ZONES),
            ("url_escaping_charset", &["UTF-8", "ISO-8859-1"]),
        ];
        let (name, values) = settings[self.random.below(if self.has("dates") { 6 } else { 2 })];
        let value = self.literal_of(values);
        let name = self.word(name);
        self.tag(&format!("setting {name}={value}"))
    }

    fn attempt(&mut self, depth: usize) -> String {
        let more = if self.has("wrong") { 15 } else { 0 };
        let wrong = std::mem::replace(&mut self.wrong, more);
        let body = self.body(depth);
        self.wrong = wrong;
        let recover = self.random.pick(&["recover", "recover", "recover/"]);
        let seen = if self.has("special") && self.random.percent(20) { "${.error?has_content?c}" } else { "" };
        format!("{}{body}{}{seen}{}{}", self.tag("attempt"), self.tag(recover), self.body(depth), self.end("attempt"))
    }

    fn escape(&mut self, depth: usize) -> String {
        let built_in = self.random.pick(&["html", "xml", "json_string", "upper_case", "js_string", "trim"]);
        let built_in = self.word(built_in);
        let expression = match self.random.below(3) {
            0 => format!("e?{built_in}"),
            1 => format!("(e!)?{built_in}"),
            _ => format!("e?string?{built_in}"),
        };
        let mut body = self.body(depth);
        if self.random.percent(30) {
            let name = self.word("noescape");
            body.push_str(&format!("{}{}{}", self.tag(&name), self.body(depth), self.end(&name)));
        }
        format!("{}{body}{}", self.tag(&format!("escape e as {expression}")), self.end("escape"))
    }

    fn output_format(&mut self, depth: usize) -> String {
        let format = self.random.pick(&[
            "HTML",
            "XML",
            "XHTML",
            "RTF",
            "JSON",
            "plainText",
            "undefined",
            "JavaScript",
            "CSS",
            "XML{HTML}",
            "nope",
        ]);
        let format = if format == "nope" && self.wrong == 0 { "HTML" } else { format };
        let was = std::mem::replace(&mut self.markup, matches!(format, "HTML" | "XML" | "XHTML" | "RTF" | "XML{HTML}"));
        let inner = match self.random.below(4) {
            0 => {
                let name = self.word("noautoesc");
                format!("{}{}{}", self.tag(&name), self.body(depth), self.end(&name))
            }
            1 => {
                let name = self.word("autoesc");
                format!("{}{}{}", self.tag(&name), self.body(depth), self.end(&name))
            }
            _ => self.body(depth),
        };
        self.markup = was;
        let name = self.word("outputformat");
        let format = self.literal(format);
        format!("{}{inner}{}", self.tag(&format!("{name} {format}")), self.end(&name))
    }
}
