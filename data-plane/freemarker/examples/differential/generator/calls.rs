//! Macros, functions, and other templates.

use super::Generator;
use super::Kind::*;

impl Generator<'_> {
    /// Definitions at the start of a template, some of them.
    pub(super) fn definitions(&mut self) -> String {
        let mut text = String::new();
        if self.has("macro") && self.random.percent(35) {
            for name in &["m1", "m2"][..self.random.below(2) + 1] {
                text.push_str(&self.macro_definition(name));
                text.push_str(self.gap());
            }
        }
        if self.has("function") && self.random.percent(25) {
            text.push_str(&self.function_definition());
            text.push_str(self.gap());
        }
        text
    }

    fn macro_definition(&mut self, name: &str) -> String {
        let (parameters, count) = *self.random.pick(&[
            &("", 0),
            &(" a", 1),
            &(" a b", 2),
            &(" a b='d'", 2),
            &(" a=1 b=a", 2),
            &(" a rest...", 2),
            &(" a, b", 2),
            &("(a, b=2)", 2),
        ]);
        let parameters = parameters.replace('\'', &self.quote.to_string());
        let names = self.names.len();
        let loops = std::mem::take(&mut self.loops);
        for parameter in ["a", "b"].iter().take(count) {
            self.names.push(((*parameter).into(), if *parameter == "a" { Str } else { Any }));
        }
        let was_in_list = std::mem::replace(&mut self.in_list, false);
        self.in_macro = true;
        let length = self.random.below(3) + 1;
        let body = self.block(length, 2);
        self.in_macro = false;
        self.in_list = was_in_list;
        self.names.truncate(names);
        self.loops = loops;
        self.macros.push((name.to_owned(), count));
        format!("{}{body}{}", self.tag(&format!("macro {name}{parameters}")), self.end("macro"))
    }

    fn function_definition(&mut self) -> String {
        let names = self.names.len();
        self.names.push(("a".into(), Str));
        let loops = std::mem::take(&mut self.loops);
        self.in_function = true;
        let body = if self.random.percent(50) { self.block(1, 2) } else { String::new() };
        let value = self.expression(Str, 2);
        let value = if value.contains('>') { format!("({value})") } else { value };
        self.in_function = false;
        self.names.truncate(names);
        self.loops = loops;
        self.functions.push(("f1".into(), 1));
        let parameters = self.random.pick(&["a", "(a)", "a b=1", "a rest..."]);
        format!(
            "{}{body}{}{}",
            self.tag(&format!("function f1 {parameters}")),
            self.tag(&format!("return {value}")),
            self.end("function")
        )
    }

    /// `#nested` and `#return`.
    pub(super) fn in_definition(&mut self, _depth: usize) -> String {
        if self.in_function {
            let value = self.atom(Str);
            return self.tag(&format!("return {value}"));
        }
        match self.random.below(4) {
            0 => self.tag("return"),
            1 => {
                let value = self.atom(Str);
                self.tag(&format!("nested {value}, 2"))
            }
            2 => self.tag("nested/"),
            _ => self.tag("nested"),
        }
    }

    pub(super) fn macro_call(&mut self, depth: usize) -> String {
        if self.has("eval") && self.random.percent(8) {
            let source = self.literal_of(&[
                "x ${s1} y",
                "<#if b1>yes</#if>",
                "${nope}",
                "<#if",
                "plain",
                "<#assign vi = 1>${vi}",
            ]);
            return self.call(&format!("{source}?interpret/"));
        }
        if self.macros.is_empty() {
            return self.interpolation();
        }
        let (name, count) = self.macros[self.random.below(self.macros.len())].clone();
        let named = self.random.percent(50);
        let count = if self.random.percent(self.wrong) { self.random.below(4) } else { count };
        let mut arguments = String::new();
        for place in 0..count {
            let mut value = self.operand(if place == 0 { Str } else { Any }, 1);
            if value.contains('>') {
                value = format!("({value})");
            }
            let separator = if place > 0 && self.random.percent(40) { "," } else { "" };
            if named {
                let parameter = ["a", "b", "c", "d"][place];
                arguments.push_str(&format!("{separator} {parameter}={value}"));
            } else {
                arguments.push_str(&format!("{separator} {value}"));
            }
        }
        if self.random.percent(50) {
            return self.call(&format!("{name}{arguments}/"));
        }
        let variables = self.random.pick(&["", "", "; p", "; p, q"]);
        let names = self.names.len();
        if !variables.is_empty() && self.wrong > 0 {
            self.names.push(("p".into(), Str));
        }
        let was_in_list = std::mem::replace(&mut self.in_list, false);
        let length = self.random.below(2) + 1;
        let body = self.block(length, depth - 1);
        self.in_list = was_in_list;
        self.names.truncate(names);
        let end = if self.random.percent(50) { name.as_str() } else { "" };
        let end = if self.square { format!("[/@{end}]") } else { format!("</@{end}>") };
        format!("{}{body}{end}", self.call(&format!("{name}{arguments}{variables}")))
    }

    pub(super) fn function_call(&mut self, depth: usize) -> String {
        let (name, count) = self.functions[self.random.below(self.functions.len())].clone();
        let count = if self.random.percent(self.wrong) { self.random.below(3) } else { count };
        let arguments: Vec<String> = (0..count).map(|_| self.expression(Str, depth - 1)).collect();
        format!("{name}({})", arguments.join(", "))
    }

    /// Templates that this one may include.
    pub(super) fn included(&mut self) -> Vec<(&'static str, String)> {
        if !self.has("include") || !self.random.percent(30) {
            return Vec::new();
        }
        let length = self.random.below(3) + 1;
        let part = self.block(length, 2);
        let library = format!("{}{}\n{}", self.definitions(), self.tag("assign inLib = 1"), self.interpolation());
        // the header fixes the syntax of each template alone
        let header = if self.square { "[#ftl]" } else { "" };
        self.macros.clear();
        self.functions.clear();
        let broken = self.random.pick(&["<#if>", "${", "x ${nope} y", "ok"]).to_owned();
        vec![
            ("part.ftl", format!("{header}{part}")),
            ("sub/lib.ftl", format!("{header}{library}")),
            ("sub/broken.ftl", broken),
        ]
    }

    pub(super) fn include(&mut self) -> String {
        let name = self.literal_of(&[
            "part.ftl",
            "/part.ftl",
            "sub/../part.ftl",
            "sub/lib.ftl",
            "part.ftl",
            "sub/broken.ftl",
            "none.ftl",
        ]);
        if self.has("namespace") && self.random.percent(30) {
            let library = self.literal("sub/lib.ftl");
            return format!(
                "{}{}",
                self.tag(&format!("import {library} as ns")),
                self.random.pick(&["${ns.inLib}", "${ns.inLib!0}", "<@ns.m1 1 2/>", "${ns.nope!'-'}", ""])
            );
        }
        let option = match self.random.below(6) {
            0 => format!(" {}=true", self.word("ignore_missing")),
            1 => " parse=false".to_owned(),
            _ => String::new(),
        };
        self.tag(&format!("include {name}{option}"))
    }
}
