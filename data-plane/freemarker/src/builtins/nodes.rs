//! Built-ins of XML nodes and Java objects: JSON data has neither, so they end as they do in
//! FreeMarker for any other value.

use super::BuiltIn;
use crate::ast::BuiltInCall;
use crate::error::{Raised, runtime};
use crate::eval::Interp;
use crate::value::Value;

impl<'r> Interp<'r> {
    pub(super) fn refused(&mut self, call: &'r BuiltInCall) -> Result<Value<'r>, Raised> {
        let value = self.value(&call.target)?;
        match call.which {
            BuiltIn::HasApi => Ok(Value::Bool(false)),
            BuiltIn::Api => Err(runtime("Can't use ?api: values have no API of Java here").at(call.target.span)),
            BuiltIn::New => {
                let class = self.text_of(value, &call.target)?;
                let shown: String = class.chars().take(80).collect();
                Err(runtime(format!("Instantiating {shown} is not allowed in the template for security reasons.")))
            }
            _ => Err(self.expected("node", &value, &call.target)),
        }
    }
}
