//! The names of directives, and how their tags look.

/// The directives of FreeMarker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Directive {
    If,
    ElseIf,
    Else,
    List,
    Items,
    Sep,
    ForEach,
    Break,
    Continue,
    Assign,
    Global,
    Local,
    Setting,
    Switch,
    Case,
    On,
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
    Macro,
    Function,
    Nested,
    Return,
    Call,
    Attempt,
    Recover,
    Compress,
    Escape,
    NoEscape,
    OutputFormat,
    AutoEsc,
    NoAutoEsc,
    Include,
    Import,
    Visit,
    Recurse,
    Fallback,
    Transform,
}

/// What may stand in a directive's tag after its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Parameters.
    Params,
    /// Nothing.
    Bare,
    /// Nothing but the `/` of `/>`.
    BareOrEmpty,
    /// `as` and names.
    Names,
    /// As [`Shape::BareOrEmpty`], or parameters.
    Either,
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
            "foreach" | "forEach" => Directive::ForEach,
            "break" => Directive::Break,
            "continue" => Directive::Continue,
            "assign" => Directive::Assign,
            "global" => Directive::Global,
            "local" => Directive::Local,
            "setting" => Directive::Setting,
            "switch" => Directive::Switch,
            "case" => Directive::Case,
            "on" => Directive::On,
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
            "macro" => Directive::Macro,
            "function" => Directive::Function,
            "nested" => Directive::Nested,
            "return" => Directive::Return,
            "call" => Directive::Call,
            "attempt" => Directive::Attempt,
            "recover" => Directive::Recover,
            "compress" => Directive::Compress,
            "escape" => Directive::Escape,
            "noescape" | "noEscape" => Directive::NoEscape,
            "outputformat" | "outputFormat" => Directive::OutputFormat,
            "autoesc" | "autoEsc" => Directive::AutoEsc,
            "noautoesc" | "noAutoEsc" => Directive::NoAutoEsc,
            "include" => Directive::Include,
            "import" => Directive::Import,
            "visit" => Directive::Visit,
            "recurse" => Directive::Recurse,
            "fallback" => Directive::Fallback,
            "transform" => Directive::Transform,
            _ => return None,
        })
    }

    /// Whether it goes on with a directive that has begun before.
    pub(super) fn continues(self) -> bool {
        matches!(self, Self::ElseIf | Self::Else | Self::Case | Self::Default | Self::On | Self::Recover)
    }

    pub(super) fn shape(self) -> Shape {
        match self {
            Self::Attempt
            | Self::Recover
            | Self::Sep
            | Self::AutoEsc
            | Self::NoAutoEsc
            | Self::Compress
            | Self::Comment
            | Self::NoParse
            | Self::Default
            | Self::NoEscape => Shape::Bare,
            Self::Else
            | Self::Break
            | Self::Continue
            | Self::Flush
            | Self::Trim
            | Self::LeftTrim
            | Self::RightTrim
            | Self::NoTrim
            | Self::Fallback => Shape::BareOrEmpty,
            Self::Nested | Self::Return | Self::Stop | Self::Recurse | Self::Ftl => Shape::Either,
            Self::Items => Shape::Names,
            _ => Shape::Params,
        }
    }
}

/// What users mean by names that are no directives.
pub(super) fn directive_tip(name: &str) -> &'static str {
    match name {
        "set" | "var" => {
            "Use #assign or #local or #global, depending on the intented scope (#assign is template-scope)."
        }
        "else_if" | "elif" => "Use #elseif.",
        "no_escape" => "Use #noescape instead.",
        "method" => "Use #function instead.",
        "head" | "template" | "fm" => "You may meant #ftl.",
        "try" | "atempt" => "You may meant #attempt.",
        "for" | "each" | "iterate" | "iterator" => {
            "You may meant #list (http://freemarker.org/docs/ref_directive_list.html)."
        }
        "prefix" => "You may meant #import.",
        "item" | "row" | "rows" => "You may meant #items.",
        "separator" | "separate" | "separ" => "You may meant #sep.",
        _ => "Help (latest version): http://freemarker.org/docs/ref_directive_alphaidx.html",
    }
}
