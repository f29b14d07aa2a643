//! Built-ins: `x?name` (FreeMarker manual: "Built-in Reference").
//!
//! This file knows their names and arguments; what they do is in the modules by type.

mod dates;
mod dispatch;
pub(crate) mod escapes;
mod flags;
mod hashes;
mod loops;
mod methods;
mod nodes;
mod numbers;
mod patterns;
mod search;
mod sequences;
mod sorting;
mod strings;
mod truncate;
mod types;
mod url;

pub(crate) use methods::{Waiting, unfinished, when_called};

use crate::ast::Form;
use crate::settings::snake_case;

/// What the parser must know about a built-in's arguments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arguments {
    pub(crate) min: usize,
    pub(crate) max: usize,
    /// May stand without parentheses even though it takes arguments.
    pub(crate) optional: bool,
    /// Takes a format after `.` or in brackets.
    pub(crate) keyed: bool,
    pub(crate) lambda: bool,
    /// The left side must be a loop variable.
    pub(crate) loop_variable: bool,
    /// A wrong number of arguments is found when parsing.
    pub(crate) counted_early: bool,
}

const NONE: Arguments = Arguments {
    min: 0,
    max: 0,
    optional: true,
    keyed: false,
    lambda: false,
    loop_variable: false,
    counted_early: false,
};

const fn takes(min: usize, max: usize) -> Arguments {
    Arguments { min, max, optional: false, ..NONE }
}

const fn may_take(max: usize) -> Arguments {
    Arguments { min: 1, max, optional: true, ..NONE }
}

const LAMBDA: Arguments = Arguments { min: 1, max: 1, optional: false, lambda: true, counted_early: true, ..NONE };
const FORMAT: Arguments = Arguments { min: 1, max: 1, keyed: true, ..NONE };
const LOOP: Arguments = Arguments { loop_variable: true, ..NONE };
const MANY: usize = usize::MAX;

/// The result of looking up a built-in's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    Found(BuiltIn),
    Unknown,
}

macro_rules! built_ins {
    ($($name:literal $variant:ident $arguments:expr;)*) => {
        /// The built-ins of this engine.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum BuiltIn {
            $($variant,)*
            /// `?iso_utc` and its 24 relatives.
            Iso(Iso),
        }

        impl BuiltIn {
            fn by_snake_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(BuiltIn::$variant),)*
                    _ => None,
                }
            }

            pub(crate) fn arguments(self) -> Arguments {
                match self {
                    $(BuiltIn::$variant => $arguments,)*
                    BuiltIn::Iso(iso) if iso.zone == IsoZone::Given => takes(1, 1),
                    BuiltIn::Iso(_) => NONE,
                }
            }

            /// The name with underscores.
            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(BuiltIn::$variant => $name,)*
                    BuiltIn::Iso(_) => "iso",
                }
            }
        }
    };
}

built_ins! {
    // any type
    "c" C NONE;
    "cn" Cn NONE;
    "string" String Arguments { max: 2, ..FORMAT };
    "has_content" HasContent NONE;
    "exists" Exists NONE;
    "if_exists" IfExists NONE;
    "default" Default takes(1, MANY);
    "then" Then Arguments { counted_early: true, ..takes(2, 2) };
    "switch" Switch Arguments { counted_early: true, ..takes(2, MANY) };
    "is_string" IsString NONE;
    "is_number" IsNumber NONE;
    "is_boolean" IsBoolean NONE;
    "is_sequence" IsSequence NONE;
    "is_hash" IsHash NONE;
    "is_hash_ex" IsHashEx NONE;
    "is_enumerable" IsEnumerable NONE;
    "is_indexable" IsIndexable NONE;
    "is_collection" IsCollection NONE;
    "is_collection_ex" IsCollectionEx NONE;
    "is_method" IsMethod NONE;
    "is_macro" IsMacro NONE;
    "is_directive" IsDirective NONE;
    "is_transform" IsTransform NONE;
    "is_node" IsNode NONE;
    "is_markup_output" IsMarkupOutput NONE;
    "is_date" IsDate NONE;
    "is_date_like" IsDateLike NONE;
    "is_date_only" IsDateOnly NONE;
    "is_time" IsTime NONE;
    "is_datetime" IsDatetime NONE;
    "is_unknown_date_like" IsUnknownDateLike NONE;
    "is_nan" IsNan NONE;
    "is_infinite" IsInfinite NONE;
    // the evaluator's own
    "interpret" Interpret NONE;
    "eval" Eval NONE;
    "eval_json" EvalJson NONE;
    "esc" Esc NONE;
    "no_esc" NoEsc NONE;
    "markup_string" MarkupString NONE;
    "namespace" Namespace NONE;
    "with_args" WithArgs takes(1, 1);
    "with_args_last" WithArgsLast takes(1, 1);
    "absolute_template_name" AbsoluteTemplateName may_take(1);
    // strings
    "boolean" Boolean NONE;
    "number" Number NONE;
    "length" Length NONE;
    "upper_case" UpperCase NONE;
    "lower_case" LowerCase NONE;
    "c_upper_case" CUpperCase NONE;
    "c_lower_case" CLowerCase NONE;
    "cap_first" CapFirst NONE;
    "uncap_first" UncapFirst NONE;
    "capitalize" Capitalize NONE;
    "trim" Trim NONE;
    "chop_linebreak" ChopLinebreak NONE;
    "word_list" WordList NONE;
    "contains" Contains takes(1, 1);
    "starts_with" StartsWith takes(1, 1);
    "ends_with" EndsWith takes(1, 1);
    "index_of" IndexOf takes(1, 2);
    "last_index_of" LastIndexOf takes(1, 2);
    "substring" Substring takes(1, 2);
    "replace" Replace takes(2, 3);
    "split" Split takes(1, 2);
    "matches" Matches takes(1, 2);
    "groups" Groups NONE;
    "truncate" Truncate takes(1, 3);
    "truncate_w" TruncateW takes(1, 3);
    "truncate_c" TruncateC takes(1, 3);
    "truncate_m" TruncateM takes(1, 3);
    "truncate_w_m" TruncateWM takes(1, 3);
    "truncate_c_m" TruncateCM takes(1, 3);

    "keep_before" KeepBefore takes(1, 2);
    "keep_after" KeepAfter takes(1, 2);
    "keep_before_last" KeepBeforeLast takes(1, 2);
    "keep_after_last" KeepAfterLast takes(1, 2);
    "remove_beginning" RemoveBeginning takes(1, 1);
    "remove_ending" RemoveEnding takes(1, 1);
    "ensure_starts_with" EnsureStartsWith takes(1, 3);
    "ensure_ends_with" EnsureEndsWith takes(1, 1);
    "left_pad" LeftPad takes(1, 2);
    "right_pad" RightPad takes(1, 2);
    "blank_to_null" BlankToNull NONE;
    "empty_to_null" EmptyToNull NONE;
    "trim_to_null" TrimToNull NONE;
    "json_string" JsonString NONE;
    "js_string" JsString NONE;
    "j_string" JString NONE;
    "html" Html NONE;
    "web_safe" WebSafe NONE;
    "xhtml" Xhtml NONE;
    "xml" Xml NONE;
    "rtf" Rtf NONE;
    "url" Url may_take(1);
    "url_path" UrlPath may_take(1);
    // numbers
    "round" Round NONE;
    "floor" Floor NONE;
    "ceiling" Ceiling NONE;
    "abs" Abs NONE;
    "int" Int NONE;
    "long" Long NONE;
    "short" Short NONE;
    "byte" Byte NONE;
    "float" Float NONE;
    "double" Double NONE;
    "lower_abc" LowerAbc NONE;
    "upper_abc" UpperAbc NONE;
    "number_to_date" NumberToDate NONE;
    "number_to_time" NumberToTime NONE;
    "number_to_datetime" NumberToDatetime NONE;
    // dates
    "date" Date FORMAT;
    "time" Time FORMAT;
    "datetime" Datetime FORMAT;
    "date_if_unknown" DateIfUnknown NONE;
    "time_if_unknown" TimeIfUnknown NONE;
    "datetime_if_unknown" DatetimeIfUnknown NONE;
    // sequences
    "size" Size NONE;
    "first" First NONE;
    "last" Last NONE;
    "join" Join takes(1, 3);
    "seq_contains" SeqContains takes(1, 1);
    "seq_index_of" SeqIndexOf takes(1, 2);
    "seq_last_index_of" SeqLastIndexOf takes(1, 2);
    "reverse" Reverse NONE;
    "sort" Sort NONE;
    "sort_by" SortBy takes(1, MANY);
    "chunk" Chunk takes(1, 2);
    "filter" Filter LAMBDA;
    "map" Map LAMBDA;
    "take_while" TakeWhile LAMBDA;
    "drop_while" DropWhile LAMBDA;
    "min" Min NONE;
    "max" Max NONE;
    "sequence" Sequence NONE;
    // hashes
    "keys" Keys NONE;
    "values" Values NONE;
    // of nodes and Java objects, which there are none of
    "ancestors" Ancestors may_take(MANY);
    "children" Children NONE;
    "node_name" NodeName NONE;
    "node_namespace" NodeNamespace NONE;
    "node_type" NodeType NONE;
    "parent" Parent NONE;
    "root" Root NONE;
    "next_sibling" NextSibling NONE;
    "previous_sibling" PreviousSibling NONE;
    "api" Api NONE;
    "has_api" HasApi NONE;
    "new" New Arguments { min: 0, ..may_take(MANY) };
    // loop variables
    "index" Index LOOP;
    "counter" Counter LOOP;
    "has_next" HasNext LOOP;
    "is_first" IsFirst LOOP;
    "is_last" IsLast LOOP;
    "is_odd_item" IsOddItem LOOP;
    "is_even_item" IsEvenItem LOOP;
    "item_parity" ItemParity LOOP;
    "item_parity_cap" ItemParityCap LOOP;
    "item_cycle" ItemCycle Arguments { loop_variable: true, ..takes(1, MANY) };
}

impl BuiltIn {
    /// Whether a call has as many arguments as there must be.
    pub(crate) fn fits(self, form: Form, count: usize) -> bool {
        let arguments = self.arguments();
        // without parentheses it is a method at most; ?default counts them only where it has to do something
        form == Form::Bare || self == BuiltIn::Default || (arguments.min..=arguments.max).contains(&count)
    }

    /// Finds a built-in by its name, written either way.
    pub(crate) fn find(name: &str) -> Lookup {
        let snake = snake_case(name);
        if let Some(found) = Self::by_snake_name(&snake).or_else(|| Iso::find(name).map(Self::Iso)) {
            Lookup::Found(found)
        } else {
            Lookup::Unknown
        }
    }
}

/// One of the `?iso_…` built-ins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Iso {
    pub(crate) zone: IsoZone,
    pub(crate) accuracy: crate::format::iso::Accuracy,
    pub(crate) show_offset: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IsoZone {
    Utc,
    Local,
    /// Given as the argument.
    Given,
}

impl Iso {
    fn find(name: &str) -> Option<Self> {
        use crate::format::iso::Accuracy;
        // isoUtcMsNZ and iso_utc_ms_nz alike
        let camel = name.bytes().any(|b| b.is_ascii_uppercase());
        let snake = if camel {
            let spaced = snake_case(&name.replace("NZ", "_nz").replace("FZ", "_fz"));
            if name.contains('_') {
                return None;
            }
            spaced
        } else {
            name.to_owned()
        };
        let mut words = snake.split('_');
        if words.next() != Some("iso") {
            return None;
        }
        let mut iso = Iso { zone: IsoZone::Given, accuracy: Accuracy::Seconds, show_offset: None };
        let mut word = words.next();
        match word {
            Some("utc") => iso.zone = IsoZone::Utc,
            Some("local") => iso.zone = IsoZone::Local,
            _ => {}
        }
        if iso.zone != IsoZone::Given {
            word = words.next();
        }
        let accuracy = match word {
            Some("h") => Some(Accuracy::Hours),
            Some("m") => Some(Accuracy::Minutes),
            Some("ms") => Some(Accuracy::Milliseconds),
            _ => None,
        };
        if let Some(accuracy) = accuracy {
            iso.accuracy = accuracy;
            word = words.next();
        }
        match word {
            None => {}
            Some("nz") => iso.show_offset = Some(false),
            Some("fz") if accuracy.is_none() && iso.zone != IsoZone::Given || iso.zone == IsoZone::Utc => {
                iso.show_offset = Some(true);
            }
            Some(_) => return None,
        }
        words.next().is_none().then_some(iso)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_written_either_way() {
        assert_eq!(BuiltIn::find("upper_case"), Lookup::Found(BuiltIn::UpperCase));
        assert_eq!(BuiltIn::find("upperCase"), Lookup::Found(BuiltIn::UpperCase));
        assert_eq!(BuiltIn::find("isoUtcMsNZ"), BuiltIn::find("iso_utc_ms_nz"));
        assert!(matches!(BuiltIn::find("iso_utc_ms_nz"), Lookup::Found(_)));
        assert_eq!(BuiltIn::find("nope"), Lookup::Unknown);
        assert_eq!(BuiltIn::find("iso_x"), Lookup::Unknown);
    }
}
