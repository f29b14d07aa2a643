//! Built-ins and their arguments.

use super::Kind::{self, *};
use super::built_ins::{self, Arg, BuiltIn};
use super::{Generator, data};

impl Generator<'_> {
    /// A built-in that gives the kind, applied; nothing where none of the allowed does.
    pub(super) fn built_in(&mut self, gives: Kind, depth: usize) -> Option<String> {
        let fitting: Vec<&BuiltIn> = built_ins::ALL
            .iter()
            .filter(|built_in| {
                self.has(built_in.group) && (built_in.gives == gives || built_in.gives == Any || gives == Any)
            })
            .collect();
        if fitting.is_empty() {
            return None;
        }
        let mut built_in = fitting[self.random.below(fitting.len())];
        // the many that answer with the wrong kind or whatever it is, less often
        if built_in.gives == Any && gives != Any {
            built_in = fitting[self.random.below(fitting.len())];
        }
        let target = match (built_in.name, built_in.on) {
            ("default" | "exists" | "if_exists" | "has_content", _) if self.has("missing") => self
                .random
                .pick(&["nope", "z1", "(nope.x)", "h1.tag", "s1", "q1", "h2", "(h2.key)", "q1[1]"])
                .to_owned(),
            ("eval", _) => {
                self.literal_of(&["1 + 2", "s1", "\"x\" + n1", "nope", "1 +", "[1, 2]", "{\"a\": 1}.a", "(1 gt 0)?c"])
            }
            ("eval_json", _) => self.literal_of(&[
                "{\"a\": [1, 2.50, null]}",
                "1e3",
                "\"x\\u0041\"",
                "[",
                "true",
                "[1,]",
                "'a'",
                "// c\n1",
            ]),
            ("number", _) => {
                self.literal_of(&["12", "-7.50", "1e3", "0x10", " 1", "", "1.", ".5", "+3", "1E-3", "12abc", "00012"])
            }
            ("boolean", _) => self.literal_of(&["true", "false", "True", "yes", ""]),
            ("lower_abc" | "upper_abc", _) => self.small(),
            ("matches", _) => self.target(Str, depth - 1),
            _ => self.target(built_in.on, depth - 1),
        };
        let arguments = built_in.args[self.random.below(built_in.args.len())];
        let name = self.word(built_in.name);
        if arguments.is_empty() && !(self.random.percent(1) && self.wrong > 0) {
            return Some(format!("{target}?{name}"));
        }
        let mut written: Vec<String> = arguments.iter().map(|arg| self.argument(*arg, depth)).collect();
        if self.random.percent(self.wrong / 3) {
            match self.random.below(3) {
                0 => drop(written.pop()),
                1 => written.push(self.atom(Any)),
                _ => return Some(format!("{target}?{name}")),
            }
        }
        Some(format!("{target}?{name}({})", written.join(", ")))
    }

    fn argument(&mut self, arg: Arg, depth: usize) -> String {
        if !matches!(arg, Arg::Lambda(_)) && self.random.percent(self.wrong / 2) {
            return self.expression(Any, depth - 1);
        }
        match arg {
            Arg::Of(kind) => self.expression(kind, depth - 1),
            Arg::Small => self.small(),
            Arg::Needle => self.literal_of(&[
                "a", "b", ",", " ", "", "x", "foo", "ab", "A", ";", "...", "é", "\n", "<", "$1", "\\", "-", "[…]",
            ]),
            Arg::Regex => self.literal_of(built_ins::REGEXES),
            Arg::Replacement => self.literal_of(built_ins::REPLACEMENTS),
            Arg::Flags => {
                let with_regex = ["r", "ri", "rf", "rm", "rs", "rc", "irf", "r", "i", "m"];
                let plain = ["i", "f", "if", "", "m", "s", "c"];
                if self.has("regex") && self.random.percent(60) {
                    self.literal_of(&with_regex)
                } else {
                    self.literal_of(&plain)
                }
            }
            Arg::NumberFormat => self.number_format(),
            Arg::DateFormat => self.literal_of(built_ins::DATE_FORMATS),
            Arg::Zone => self.literal_of(built_ins::ZONES),
            Arg::Lambda(kind) => {
                let name = self.random.pick(&["x", "it", "s1"]).to_owned();
                self.names.push((name.clone(), Any));
                let body = match self.random.below(5) {
                    0 if kind != Bool => name.clone(),
                    1 if kind == Bool => format!("{name}??"),
                    2 if kind == Bool => format!("{name}?{}", self.word("is_string")),
                    3 if kind != Bool => format!("{name}!{}", self.atom(Str)),
                    _ => self.expression(kind, depth - 1),
                };
                self.names.pop();
                if self.random.percent(70) { format!("{name} -> {body}") } else { format!("({name}) -> {body}") }
            }
            Arg::Keys => {
                if self.random.percent(70) {
                    self.literal_of(&["name", "n", "tag", "nope"])
                } else {
                    self.random
                        .pick(&["['inner', 'k']", "['inner', 's']", "['name']", "[]"])
                        .replace('\'', &self.quote.to_string())
                }
            }
        }
    }

    /// Some text of the data.
    pub(super) fn any_text(&mut self) -> String {
        let text = data::string_text(self.random);
        self.literal(text)
    }
}
