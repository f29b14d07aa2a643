//! Built-ins of hashes.

use std::sync::Arc;

use super::BuiltIn;
use crate::ast::BuiltInCall;
use crate::error::{Raised, limit};
use crate::eval::Interp;
use crate::model::{Hash, List, Sequence};
use crate::value::Value;

impl<'r> Interp<'r> {
    pub(super) fn hash_built_in(&mut self, call: &'r BuiltInCall) -> Result<Value<'r>, Raised> {
        let hash = match self.value(&call.target)? {
            Value::Hash(hash) => hash,
            Value::Nothing { .. } => Hash::Map(Arc::default()),
            other => return Err(self.expected("an extended hash", &other, &call.target)),
        };
        let places = 0..hash.len();
        let items: Vec<_> = match call.which {
            BuiltIn::Keys => places.filter_map(|place| hash.key(place)).map(Value::String).collect(),
            _ => places.filter_map(|place| hash.entry(place)).map(|(_, value)| value).collect(),
        };
        self.charge_items(items.len())?;
        Ok(Value::Sequence(Sequence::List(Arc::new(List::collection(items).map_err(limit)?))))
    }
}
