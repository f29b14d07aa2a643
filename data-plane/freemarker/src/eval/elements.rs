//! What directives, interpolations and texts do.

use super::{Flow, Interp};
use crate::ast::{AssignOp, Assignment, Element, ElementKind, Switch};
use crate::error::{Place, Raised, runtime};
use crate::value::{Text, Value};

impl<'r> Interp<'r> {
    pub(super) fn element(&mut self, element: &'r Element) -> Result<Flow, Raised> {
        match &element.kind {
            ElementKind::Text(id) => {
                if let Some(text) = self.template.parsed.texts.get(*id as usize) {
                    self.emit(text.as_bytes())?;
                }
            }
            ElementKind::Output(expr) => {
                let value = self.eval(expr)?;
                let text = self.text_of(value, expr)?;
                self.emit(text.as_bytes())?;
            }
            ElementKind::NumberOutput { value, min_decimals, max_decimals } => {
                let text = self.number_output(value, *min_decimals, *max_decimals)?;
                self.emit(text.as_bytes())?;
            }
            ElementKind::If(branches) => {
                for branch in branches {
                    let holds = match &branch.condition {
                        Some(condition) => self.condition(condition)?,
                        None => true,
                    };
                    if holds {
                        return self.block(&branch.body);
                    }
                }
            }
            ElementKind::List(list) => return self.list(list),
            ElementKind::Items(items) => return self.items(items),
            ElementKind::Sep { loop_slot, body } => {
                if self.loop_state(*loop_slot).1 {
                    return self.block(body);
                }
            }
            ElementKind::Break => return Ok(Flow::Break),
            ElementKind::Continue => return Ok(Flow::Continue),
            ElementKind::Assign(assignments) => {
                for assignment in assignments {
                    self.assign(assignment)?;
                }
            }
            ElementKind::Capture { target, body } => {
                let outer = std::mem::take(&mut self.out);
                self.captures += 1;
                let flow = self.block(body);
                self.captures -= 1;
                let captured = std::mem::replace(&mut self.out, outer);
                let flow = flow?;
                // all that is printed is text
                let text = String::from_utf8(captured).unwrap_or_default();
                self.set(target.symbol, Value::String(Text::from(text)));
                return Ok(flow);
            }
            ElementKind::Setting { key, name, value } => {
                let set = self.value(value)?;
                let text = match set {
                    Value::Bool(flag) => Text::Borrowed(if flag { "true" } else { "false" }),
                    other => self.text_of(other, value)?,
                };
                let custom = &self.template.settings.custom_dates;
                self.meter.steps(10)?;
                self.formats.to_mut().set(*key, &text, custom).map_err(|problem| {
                    runtime(format!("the setting {name} can't be set to \"{}\": {problem}", &*text))
                })?;
            }
            ElementKind::Switch(switch) => return self.switch(switch),
            ElementKind::Stop(message) => {
                let text = match message {
                    Some(expr) => self.text(expr)?.to_string(),
                    None => "the template was stopped by #stop".to_owned(),
                };
                return Err(runtime(text));
            }
        }
        Ok(Flow::Next)
    }

    pub(super) fn set(&mut self, symbol: u32, value: Value<'r>) {
        if let Some(place) = self.namespace.get_mut(symbol as usize) {
            *place = value;
        }
    }

    fn assign(&mut self, assignment: &'r Assignment) -> Result<(), Raised> {
        let symbol = assignment.target.symbol;
        let value = match assignment.op {
            AssignOp::Set => self.value(&assignment.value)?,
            AssignOp::Change(op) => {
                let current = self.namespace.get(symbol as usize).cloned().unwrap_or(Value::Missing);
                if current.is_missing() {
                    let name = self.symbol_name(symbol);
                    return Err(runtime(format!(
                        "the variable \"{name}\" has no value in the template's namespace yet, \
                         so \"{}=\" has nothing to start from\nTip: set it with <#assign {name} = \
                         …> before",
                        op.symbol()
                    )));
                }
                let right = self.value(&assignment.value)?;
                self.operate(op, current, right, None, &assignment.value).at(assignment.span)?
            }
        };
        self.set(symbol, value);
        Ok(())
    }

    /// The first case that is equal is run, and on from there until a break; the default only if
    /// no case is, and then alone.
    fn switch(&mut self, switch: &'r Switch) -> Result<Flow, Raised> {
        let value = self.value(&switch.value)?;
        let mut matched = false;
        for case in &switch.cases {
            if !matched && let Some(expr) = &case.value {
                let other = self.value(expr)?;
                matched = self.equal(&value, &other, expr)?;
            }
            if matched {
                match self.block(&case.body)? {
                    Flow::Next => {}
                    // a #continue in a #switch ends the #switch, as in FreeMarker
                    Flow::Break | Flow::Continue => return Ok(Flow::Next),
                }
            }
        }
        let default = switch.cases.iter().find(|case| case.value.is_none());
        if let Some(case) = default.filter(|_| !matched) {
            self.block(&case.body)?;
        }
        Ok(Flow::Next)
    }
}
