//! Built-ins of hashes.

use super::BuiltIn;
use crate::ast::BuiltInCall;
use crate::error::Raised;
use crate::eval::Interp;
use crate::value::Value;

impl<'r> Interp<'r> {
    pub(super) fn hash_built_in(&mut self, call: &'r BuiltInCall) -> Result<Value<'r>, Raised> {
        let hash = match self.value(&call.target)? {
            Value::Hash(hash) => hash,
            Value::Nothing => return self.built_sequence(Vec::new()),
            other => return Err(self.expected("an extended hash", &other, &call.target)),
        };
        let places = 0..hash.len();
        let items = match call.which {
            BuiltIn::Keys => places.filter_map(|place| hash.key(place)).map(Value::String).collect(),
            _ => places.filter_map(|place| hash.entry(place)).map(|(_, value)| value).collect(),
        };
        self.built_sequence(items)
    }
}
