//! Random templates, from a grammar: mostly such as people write, some with mistakes in them.

mod arguments;
mod built_ins;
mod calls;
mod data;
mod directives;
mod expressions;
mod mutate;
mod payload;
mod rare;
mod rare_elements;
mod rare_expressions;
mod text;

pub(crate) use data::quoted;

use crate::groups::Groups;
use crate::random::Random;

/// What both engines are asked to render.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) template: String,
    /// JSON text.
    pub(crate) model: String,
    pub(crate) settings: Vec<(&'static str, String)>,
    /// What the template may include, by name.
    pub(crate) templates: Vec<(&'static str, String)>,
}

impl Request {
    /// The line that engines read.
    pub(crate) fn line(&self) -> String {
        let object = |members: Vec<(&str, &String)>| {
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("{}: {}", quoted(name), quoted(value))).collect();
            format!("{{{}}}", members.join(", "))
        };
        format!(
            "{{\"template\": {}, \"model\": {}, \"settings\": {}, \"templates\": {}}}",
            quoted(&self.template),
            self.model,
            object(self.settings.iter().map(|(name, value)| (*name, value)).collect()),
            object(self.templates.iter().map(|(name, source)| (*name, source)).collect()),
        )
    }
}

/// What an expression gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Str,
    Num,
    Bool,
    Date,
    Seq,
    Hash,
    /// One of these.
    Any,
    /// The name of a character set.
    Charset,
}

/// One request: the same for the same state of `random` and the same groups.
pub(crate) fn request(random: &mut Random, groups: &Groups) -> Request {
    let model = data::model(random);
    let wrong = if groups.has("wrong") { *random.pick(&[&0, &0, &0, &2, &2, &10]) } else { 0 };
    let mut generator = Generator {
        groups,
        wrong,
        square: groups.has("square") && random.percent(12),
        camel: groups.has("camel") && random.percent(8),
        brackets: groups.has("interpolation") && random.percent(3),
        quote: '"',
        in_string: false,
        names: Vec::new(),
        loops: Vec::new(),
        macros: Vec::new(),
        functions: Vec::new(),
        in_macro: false,
        in_function: false,
        in_list: false,
        markup: false,
        random,
    };
    let (settings, header) = generator.settings();
    let templates = generator.included();
    let length = generator.random.below(5) + 1;
    let mut template = header;
    template.push_str(&generator.definitions());
    let body = if generator.random.percent(25) { generator.payload() } else { generator.block(length, 3) };
    template.push_str(&body);
    if groups.has("broken") && generator.random.percent(10) {
        template = mutate::mutate(generator.random, &template);
    }
    Request { template, model, settings, templates }
}

struct Generator<'g> {
    random: &'g mut Random,
    groups: &'g Groups,
    /// How many expressions in a hundred are of another kind than they should be.
    wrong: usize,
    square: bool,
    camel: bool,
    /// Interpolations are `[=…]`.
    brackets: bool,
    /// The quote of string literals: the other one inside of them.
    quote: char,
    in_string: bool,
    /// Variables that the template made, as far as they are in scope.
    names: Vec<(String, Kind)>,
    /// Loop variables in scope.
    loops: Vec<String>,
    macros: Vec<(String, usize)>,
    functions: Vec<(String, usize)>,
    in_macro: bool,
    in_function: bool,
    in_list: bool,
    /// Inside an output format that escapes.
    markup: bool,
}

impl Generator<'_> {
    fn has(&self, group: &str) -> bool {
        self.groups.has(group)
    }

    /// A name of the language, in the template's naming convention.
    fn word(&self, name: &str) -> String {
        if !self.camel {
            return name.to_owned();
        }
        let directives = [("noparse", "noParse"), ("noescape", "noEscape"), ("foreach", "forEach")];
        let more = [
            ("outputformat", "outputFormat"),
            ("autoesc", "autoEsc"),
            ("noautoesc", "noAutoEsc"),
            ("elseif", "elseIf"),
        ];
        if let Some((_, camel)) = directives.iter().chain(&more).find(|(legacy, _)| *legacy == name) {
            return (*camel).to_owned();
        }
        let mut camel = String::new();
        let mut up = false;
        for c in name.chars() {
            match c {
                '_' => up = true,
                c if up => {
                    camel.push(c.to_ascii_uppercase());
                    up = false;
                }
                c => camel.push(c),
            }
        }
        // the letters of these are initials
        camel.replace("Nz", "NZ").replace("Fz", "FZ")
    }

    /// `<#content>`
    fn tag(&self, content: &str) -> String {
        if self.square { format!("[#{content}]") } else { format!("<#{content}>") }
    }

    /// `</#name>`
    fn end(&self, name: &str) -> String {
        if self.square { format!("[/#{name}]") } else { format!("</#{name}>") }
    }

    /// What stands around the expression of an interpolation.
    fn interpolation_signs(&self) -> (&'static str, &'static str) {
        if self.brackets { ("[=", "]") } else { ("${", "}") }
    }

    /// `<@content>`
    fn call(&self, content: &str) -> String {
        if self.square { format!("[@{content}]") } else { format!("<@{content}>") }
    }

    /// Settings of the configuration, and the template's header.
    fn settings(&mut self) -> (Vec<(&'static str, String)>, String) {
        let mut settings = Vec::new();
        let mut header = String::new();
        if self.square {
            match self.random.below(3) {
                0 => settings.push(("tag_syntax", "square_bracket".to_owned())),
                1 => {
                    settings.push(("tag_syntax", "auto_detect".to_owned()));
                    header = "[#ftl]".into();
                }
                _ => header = "[#ftl]".into(),
            }
        } else if self.has("header") && self.random.percent(8) {
            let parameters = [
                "",
                " strip_whitespace=false",
                " strip_whitespace=true",
                " encoding='UTF-8'",
                " strip_text=true",
                " stripWhitespace=false",
                " nope=1",
                "/",
                " strip_whitespace='x'",
                " output_format='HTML'",
                " output_format='XML' auto_esc=false",
                " auto_esc=true",
                " output_format='nope'",
                " attributes={'a': 1}",
            ];
            let more = self.random.pick(&["", "\n", "  \n\n", " "]);
            header = format!("{}<#ftl{}>{more}", self.random.pick(&["", "", " \n"]), self.random.pick(&parameters));
        }
        let mut set = |random: &mut Random, percent, name, values: &[&str]| {
            if random.percent(percent) {
                settings.push((name, random.pick(values).to_owned()));
            }
        };
        let random = &mut *self.random;
        if self.groups.has("formats") {
            set(random, 25, "number_format", &["0.####", "computer", "#,##0.00", "0", "percent", "currency"]);
            set(random, 50, "boolean_format", &["c", "yes,no", "true,false", "Y,N"]);
        }
        if self.groups.has("dates") {
            set(
                random,
                20,
                "datetime_format",
                &["iso", "yyyy-MM-dd HH:mm:ss.S", "xs", "short", "EEE d MMM yyyy h:mm a"],
            );
            set(random, 10, "date_format", &["iso", "dd.MM.yyyy", "long"]);
            set(random, 10, "time_format", &["iso", "HH:mm", "xs"]);
            set(random, 15, "time_zone", built_ins::ZONES);
        }
        if self.groups.has("strings") {
            set(random, 30, "url_escaping_charset", &["UTF-8", "ISO-8859-1", "utf-8"]);
        }
        set(random, 6, "whitespace_stripping", &["false", "true"]);
        if self.groups.has("interpolation") {
            set(random, 6, "interpolation_syntax", &["legacy", "dollar"]);
        }
        if self.groups.has("rare") {
            set(random, 6, "locale", &["en_GB", "de_DE", "fr_FR", "en", "ja_JP"]);
            set(random, 3, "fallback_on_null_loop_variable", &["false", "true"]);
            set(random, 3, "naming_convention", &["legacy", "camel_case", "auto_detect"]);
            set(random, 4, "output_encoding", &["UTF-8", "ISO-8859-1"]);
            set(random, 3, "auto_escaping_policy", &["enable_if_supported", "disable", "enable_if_default"]);
            set(random, 3, "auto_import", &["sub/lib.ftl as al"]);
            set(random, 2, "auto_include", &["part.ftl"]);
        }
        if self.groups.has("outputformat") && random.percent(12) {
            let format = random.pick(&["HTML", "XML", "XHTML", "RTF", "JSON", "plainText", "undefined"]);
            self.markup = matches!(format, "HTML" | "XML" | "XHTML" | "RTF");
            settings.push(("output_format", format.to_owned()));
        }
        (settings, header)
    }
}
