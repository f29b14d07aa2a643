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
        let keys = call.which == BuiltIn::Keys;
        let items = (0..hash.len())
            .filter_map(|place| hash.entry(place))
            .map(|(key, value)| if keys { Value::String(key) } else { value })
            .collect();
        self.built_sequence(items)
    }
}
