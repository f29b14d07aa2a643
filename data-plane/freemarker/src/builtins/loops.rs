//! Built-ins of loop variables.

use super::BuiltIn;
use crate::ast::BuiltInCall;
use crate::error::Raised;
use crate::eval::Interp;
use crate::value::{Text, Value};

impl<'r> Interp<'r> {
    pub(super) fn loop_built_in(&mut self, call: &'r BuiltInCall) -> Result<Value<'r>, Raised> {
        let (index, has_next) = self.loop_state(call.loop_slot);
        let odd = index % 2 == 0;
        let word = |odd_word, even_word| Value::String(Text::Borrowed(if odd { odd_word } else { even_word }));
        Ok(match call.which {
            BuiltIn::Index => Value::int(index),
            BuiltIn::Counter => Value::int(index + 1),
            BuiltIn::HasNext => Value::Bool(has_next),
            BuiltIn::IsFirst => Value::Bool(index == 0),
            BuiltIn::IsLast => Value::Bool(!has_next),
            BuiltIn::IsOddItem => Value::Bool(odd),
            BuiltIn::IsEvenItem => Value::Bool(!odd),
            BuiltIn::ItemParity => word("odd", "even"),
            BuiltIn::ItemParityCap => word("Odd", "Even"),
            _ => match call.args.get(index % call.args.len().max(1)) {
                Some(expr) => self.eval(expr)?,
                None => return Err(super::dispatch::needs_arguments(call)),
            },
        })
    }
}
