//! From a built-in to what does it.

use super::BuiltIn;
use crate::ast::{BuiltInCall, Expr, Form};
use crate::error::{Place, Raised, runtime};
use crate::eval::{Followed, Interp};
use crate::number::Number;
use crate::value::{Text, Value};

impl<'r> Interp<'r> {
    pub(crate) fn built_in(&mut self, call: &'r BuiltInCall, expr: &'r Expr) -> Result<Value<'r>, Raised> {
        use BuiltIn as B;
        self.check_argument_count(call, expr)?;
        if call.form == Form::Bare && call.which.is_method() {
            return self.waiting(call, expr);
        }
        match call.which {
            B::HasContent | B::Exists | B::IfExists | B::Default | B::BlankToNull | B::EmptyToNull | B::TrimToNull => {
                self.existence(call)
            }
            B::Interpret
            | B::Eval
            | B::EvalJson
            | B::Esc
            | B::NoEsc
            | B::MarkupString
            | B::Namespace
            | B::WithArgs
            | B::WithArgsLast
            | B::AbsoluteTemplateName => self.evaluator_built_in(call, expr),
            B::Then | B::Switch => self.choice(call, expr),
            B::Index
            | B::Counter
            | B::HasNext
            | B::IsFirst
            | B::IsLast
            | B::IsOddItem
            | B::IsEvenItem
            | B::ItemParity
            | B::ItemParityCap
            | B::ItemCycle => self.loop_built_in(call),
            B::Filter | B::Map | B::TakeWhile | B::DropWhile => {
                let items = self.items_of(expr)?;
                self.laid_out_items(items.at_once())
            }
            B::Size
            | B::First
            | B::Last
            | B::Join
            | B::SeqContains
            | B::SeqIndexOf
            | B::SeqLastIndexOf
            | B::Reverse
            | B::Sort
            | B::SortBy
            | B::Chunk
            | B::Min
            | B::Max
            | B::Sequence => self.sequence_built_in(call, expr),
            B::Ancestors
            | B::Children
            | B::NodeName
            | B::NodeNamespace
            | B::NodeType
            | B::Parent
            | B::Root
            | B::NextSibling
            | B::PreviousSibling
            | B::Api
            | B::HasApi
            | B::New => self.refused(call),
            B::Keys | B::Values => self.hash_built_in(call),
            B::C | B::Cn | B::String => self.printing(call, expr),
            B::Round
            | B::Floor
            | B::Ceiling
            | B::Abs
            | B::Int
            | B::Long
            | B::Short
            | B::Byte
            | B::Float
            | B::Double
            | B::LowerAbc
            | B::UpperAbc
            | B::NumberToDate
            | B::NumberToTime
            | B::NumberToDatetime
            | B::IsNan
            | B::IsInfinite => self.number_built_in(call),
            B::Date
            | B::Time
            | B::Datetime
            | B::DateIfUnknown
            | B::TimeIfUnknown
            | B::DatetimeIfUnknown
            | B::Iso(_) => self.date_built_in(call, expr),
            B::IsString
            | B::IsNumber
            | B::IsBoolean
            | B::IsSequence
            | B::IsHash
            | B::IsHashEx
            | B::IsEnumerable
            | B::IsIndexable
            | B::IsCollection
            | B::IsCollectionEx
            | B::IsMethod
            | B::IsMacro
            | B::IsDirective
            | B::IsTransform
            | B::IsNode
            | B::IsMarkupOutput
            | B::IsDate
            | B::IsDateLike
            | B::IsDateOnly
            | B::IsTime
            | B::IsDatetime
            | B::IsUnknownDateLike => self.is_of_type(call).map(Value::Bool),
            B::JsonString
            | B::JsString
            | B::JString
            | B::Html
            | B::WebSafe
            | B::Xhtml
            | B::Xml
            | B::Rtf
            | B::Url
            | B::UrlPath => self.escape(call, expr),
            B::Contains
            | B::StartsWith
            | B::EndsWith
            | B::IndexOf
            | B::LastIndexOf
            | B::Substring
            | B::RemoveBeginning
            | B::RemoveEnding
            | B::EnsureEndsWith => self.search(call),
            B::Matches
            | B::Groups
            | B::Replace
            | B::Split
            | B::KeepBefore
            | B::KeepAfter
            | B::KeepBeforeLast
            | B::KeepAfterLast
            | B::EnsureStartsWith => self.pattern_built_in(call, expr),
            B::Truncate | B::TruncateW | B::TruncateC | B::TruncateM | B::TruncateWM | B::TruncateCM => {
                self.truncate(call)
            }
            B::Boolean
            | B::Number
            | B::Length
            | B::UpperCase
            | B::LowerCase
            | B::CUpperCase
            | B::CLowerCase
            | B::CapFirst
            | B::UncapFirst
            | B::Capitalize
            | B::Trim
            | B::ChopLinebreak
            | B::WordList
            | B::LeftPad
            | B::RightPad => self.string_built_in(call),
        }
    }

    /// `?is_string` and its like.
    pub(crate) fn is_of_type(&mut self, call: &'r BuiltInCall) -> Result<bool, Raised> {
        if let Some(value) = self.peek(&call.target) {
            let is = super::types::is(call.which, value);
            self.meter.step().at(call.target.span)?;
            return Ok(is);
        }
        if let Some(is) = self.is_unfinished(call)? {
            return Ok(is);
        }
        let value = match self.follow(&call.target)? {
            Followed::Node(node) if !node.is_null() => Value::like(node),
            Followed::Node(_) | Followed::Missing => return Err(self.missing(&call.target)),
            Followed::Other => self.value(&call.target)?,
        };
        Ok(super::types::is(call.which, &value))
    }

    /// Most built-ins give methods, whose arguments are counted when they are called.
    #[inline]
    pub(super) fn check_argument_count(&mut self, call: &'r BuiltInCall, expr: &'r Expr) -> Result<(), Raised> {
        if call.fits { Ok(()) } else { Err(self.miscounted(call, expr)) }
    }

    /// An argument that must be a string.
    pub(crate) fn text_arg(&mut self, call: &'r BuiltInCall, place: usize) -> Result<Option<Text<'r>>, Raised> {
        let Some(expr) = call.args.get(place) else { return Ok(None) };
        match self.eval(expr)? {
            Value::String(text) => Ok(Some(text)),
            Value::Nothing { .. } => Ok(Some(Text::Borrowed(""))),
            other => Err(self.wrong_argument(call, place, "string", &other)),
        }
    }

    /// A string argument that the built-in can't do without.
    pub(crate) fn needed_text(&mut self, call: &'r BuiltInCall, place: usize) -> Result<Text<'r>, Raised> {
        self.text_arg(call, place)?.ok_or_else(|| needs_arguments(call))
    }

    /// The error of an argument of the wrong type; those after it are evaluated before any is looked at.
    #[cold]
    fn wrong_argument(&mut self, call: &'r BuiltInCall, place: usize, wanted: &str, value: &Value<'r>) -> Raised {
        for later in call.args.iter().skip(place + 1) {
            if let Err(fault) = self.eval(later) {
                return fault;
            }
        }
        self.bad_argument(call.which.name(), place, wanted, value)
    }

    /// An argument that must be a number, as an index.
    pub(crate) fn index_arg(&mut self, call: &'r BuiltInCall, place: usize) -> Result<Option<i64>, Raised> {
        Ok(self.number_arg(call, place)?.map(|number| number.to_index()))
    }

    fn number_arg(&mut self, call: &'r BuiltInCall, place: usize) -> Result<Option<Number>, Raised> {
        let Some(expr) = call.args.get(place) else { return Ok(None) };
        match self.eval(expr)? {
            Value::Number(number) => Ok(Some(number)),
            other => Err(self.wrong_argument(call, place, "number", &other)),
        }
    }

    /// The value of the left side; the format after it in brackets, parentheses or after a dot.
    pub(super) fn format_arg(&mut self, call: &'r BuiltInCall) -> Result<Option<Text<'r>>, Raised> {
        match call.form {
            Form::Bare => Ok(None),
            _ => self.printed_arg(call, 0),
        }
    }

    /// An argument that is made a string as if it were printed.
    pub(super) fn printed_arg(&mut self, call: &'r BuiltInCall, place: usize) -> Result<Option<Text<'r>>, Raised> {
        match call.args.get(place) {
            Some(expr) => self.text(expr).map(Some),
            None => Ok(None),
        }
    }
}

/// The error of a built-in without its arguments; the parser lets none through.
pub(super) fn needs_arguments(call: &BuiltInCall) -> Raised {
    runtime(format!("?{} needs arguments", call.which.name()))
}
