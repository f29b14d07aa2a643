//! Templates in the shape that most have: a JSON object, a field a line, with tags on lines of their own.

use super::Generator;
use super::Kind::*;

impl Generator<'_> {
    pub(super) fn payload(&mut self) -> String {
        let mut text = String::from(self.random.pick(&["{\n", "  {\n", "{ \r\n", "\n{\n"]));
        for _ in 0..self.random.below(6) + 1 {
            text.push_str(&self.field(1, 2));
        }
        text.push_str(self.random.pick(&["}\n", "}", "  }  \n\n"]));
        text
    }

    /// Lines that make a field, with the comma behind it.
    fn field(&mut self, indent: usize, depth: usize) -> String {
        let space = self.indentation(indent);
        let name = self.random.pick(&["id", "name", "time", "props", "tags"]);
        match self.random.below(if depth == 0 { 2 } else { 8 }) {
            0 => format!("{space}\"{name}\": \"{}\",\n", self.value()),
            1 => {
                let number = self.operand(Num, 1);
                format!("{space}\"{name}\": ${{{number}?c}},\n")
            }
            2 | 3 => self.optional(indent, depth),
            4 | 5 if self.has("list") => self.items(indent, depth),
            6 if self.has("assign") => {
                let value = self.atom(Str);
                format!("{space}{}{}\n", self.tag(&format!("assign v = {value}")), self.random.pick(&["", "  ", "\t"]))
            }
            _ => {
                let fields: String = (0..self.random.below(3)).map(|_| self.field(indent + 1, depth - 1)).collect();
                format!("{space}\"{name}\": {{\n{fields}{space}}},\n")
            }
        }
    }

    fn value(&mut self) -> String {
        let expression = self.operand(Str, 1);
        let missing = self.random.pick(&["", "", "!", "!\"none\""]).replace('"', &self.quote.to_string());
        let escape = self.random.pick(&["", "?json_string", "?trim", "?html"]);
        let expression = if missing.is_empty() { expression } else { format!("({expression}{missing})") };
        format!("${{{expression}{}}}", self.word(escape))
    }

    fn optional(&mut self, indent: usize, depth: usize) -> String {
        let (space, end) = (self.indentation(indent), self.random.pick(&["\n", "\n", " \n", "\r\n"]));
        let condition = if self.has("missing") && self.random.percent(60) {
            self.random.pick(&["h1.tag??", "nope??", "(h2.key)?has_content", "z1??", "s1?has_content"]).to_owned()
        } else {
            self.expression(Bool, 1)
        };
        let condition = if self.camel { condition.replace("has_content", "hasContent") } else { condition };
        let mut text =
            format!("{space}{}{end}{}", self.tag(&format!("if {condition}")), self.field(indent + 1, depth - 1));
        if self.random.percent(30) {
            text.push_str(&format!("{space}{}{end}{}", self.tag("else"), self.field(indent + 1, depth - 1)));
        }
        format!("{text}{space}{}{end}", self.end("if"))
    }

    /// A list in brackets, with a separator of one of the usual kinds.
    fn items(&mut self, indent: usize, depth: usize) -> String {
        let space = self.indentation(indent);
        let inner = self.indentation(indent + 1);
        let source = self.random.pick(&["q1", "q2", "q3", "h1.inner?keys", "q1?reverse", "1..3", "[]"]).to_owned();
        let list = self.tag(&format!("list {source} as x"));
        let separator = match self.random.below(4) {
            0 => format!("{},{}", self.tag("sep"), self.end("sep")),
            1 => format!("{},", self.tag("sep")),
            2 => format!("{},{}", self.tag(&format!("if x?{}", self.word("has_next"))), self.end("if")),
            _ => format!("{},{}", self.tag("if x_has_next"), self.end("if")),
        };
        let item = match self.random.below(3) {
            0 if source == "q3" => "{\"name\": \"${x.name}\", \"n\": ${x.n?c}}".to_owned(),
            1 if depth > 1 => format!("{{\n{}{inner}}}", self.field(indent + 2, 0)),
            _ if source == "q3" => format!("${{x?{}}}", self.word("counter")),
            _ => "\"${x}\"".to_owned(),
        };
        let trim = if self.has("trim") && self.random.percent(20) { self.tag("t") } else { String::new() };
        match self.random.below(3) {
            0 => format!("{space}\"list\": [{list}{item}{separator}{}],\n", self.end("list")),
            1 => format!(
                "{space}\"list\": [\n{inner}{list}\n{inner}{item}{separator}{trim}\n{inner}{}\n{space}],\n",
                self.end("list")
            ),
            _ => format!("{space}\"list\": [\n{list}{item}{trim}\n{separator}\n{}{space}]\n", self.end("list")),
        }
    }

    fn indentation(&mut self, depth: usize) -> String {
        self.random.pick(&["  ", "  ", "  ", "\t", ""]).repeat(depth)
    }
}
