//! What directives, interpolations and texts do.

use super::blame::a_or_an;
use super::compress::compressed;
use super::{Flow, Interp};
use crate::ast::{
    AssignOp, AssignPlace, Assignment, Assignments, Attempt, BinaryOp, Block, Capture, Element, ElementKind, Switch,
};
use crate::error::{Raised, runtime};
use crate::settings::SettingKey;
use crate::value::{Text, Value};

/// Where an assignment goes, once it is known.
#[derive(Clone, Copy)]
enum Destination {
    Namespace(u32),
    Global,
    Local,
}

impl<'r> Interp<'r> {
    pub(super) fn element(&mut self, element: &'r Element) -> Result<Flow, Raised> {
        match &element.kind {
            ElementKind::Text(_) | ElementKind::Output { .. } => {}
            ElementKind::If(branches) => {
                for branch in branches {
                    let holds = match &branch.condition {
                        Some(condition) => match self.condition(condition) {
                            Ok(holds) => holds,
                            Err(fault) => return Err(self.traced_at(fault, element, branch.span)),
                        },
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
            ElementKind::Switch(switch) => return self.switch(switch),
            ElementKind::Call(call) => return self.user_call(call),
            ElementKind::Nested(values) => return self.nested(values),
            ElementKind::Plain(body) => return self.block(body),
            ElementKind::Attempt(attempt) => return self.attempt(attempt),
            ElementKind::Include(include) => return self.include(include),
            ElementKind::Capture(capture) => return self.capture(capture),
            ElementKind::Compress(body) => return self.compress(body),
            other => return self.simple_element(other, element),
        }
        Ok(Flow::Next)
    }

    /// Directives without content. Apart from the others: these must not make the stack frames of
    /// nested directives larger.
    #[inline(never)]
    fn simple_element(&mut self, kind: &'r ElementKind, element: &'r Element) -> Result<Flow, Raised> {
        match kind {
            ElementKind::NumberOutput { value, min_decimals, max_decimals, escaping } => {
                let text = self.number_output(value, *min_decimals, *max_decimals)?;
                let text = Value::String(Text::from(text));
                self.print(text, value, *escaping)?;
            }
            ElementKind::Assign(assignments) => self.assign(assignments, element)?,
            ElementKind::Setting { key, name, value } => {
                let set = self.value(value)?;
                let text = match set {
                    Value::Bool(flag) => Text::Borrowed(if flag { "true" } else { "false" }),
                    other => self.text_of(other, value)?,
                };
                let custom = &self.main.settings.custom_dates;
                self.meter.steps(10)?;
                self.formats.to_mut().set(*key, &text, custom).map_err(|problem| {
                    runtime(format!(
                        "Failed to set FreeMarker configuration setting \"{name}\" to value \"{}\": {problem}",
                        &*text
                    ))
                })?;
                if *key == SettingKey::Locale {
                    self.forget_formats();
                }
            }
            ElementKind::Stop(message) => {
                let text = match message {
                    Some(expr) => self.text(expr)?.to_string(),
                    None => "[No error description was available.]".to_owned(),
                };
                return Err(runtime(text));
            }
            ElementKind::Return(value) => {
                if let Some(expr) = value {
                    self.returned = self.eval(expr)?;
                }
                return Ok(Flow::Return);
            }
            ElementKind::Define(number) => self.define(self.ctx.unit, *number),
            ElementKind::Import(import) => self.import(import)?,
            ElementKind::Unsupported(name) => {
                return Err(runtime(format!("{name} works on XML nodes or Java objects, which this engine has not")));
            }
            _ => return self.element(element),
        }
        Ok(Flow::Next)
    }

    /// Runs a block and takes back what it printed; what that is stays in `out` from the start given
    /// on until the caller has cut it off.
    fn captured_block(&mut self, body: &'r Block) -> Result<(usize, Flow), Raised> {
        let start = self.out.len();
        self.captures += 1;
        let flow = self.block(body)?;
        self.captures -= 1;
        Ok((start, flow))
    }

    fn capture(&mut self, capture: &'r Capture) -> Result<Flow, Raised> {
        let (start, flow) = self.captured_block(&capture.body)?;
        // all that is printed is text
        let text = String::from_utf8(self.out.split_off(start)).unwrap_or_default();
        if flow != Flow::Next {
            return Ok(flow);
        }
        let value = self.captured(text, capture.escaping);
        let destination = self.destination(&capture.place)?;
        self.put(destination, capture.target.id, value);
        Ok(Flow::Next)
    }

    fn compress(&mut self, body: &'r Block) -> Result<Flow, Raised> {
        let start = self.out.len();
        let counted = self.meter.output_bytes();
        let flow = self.block(body)?;
        let printed = self.out.get(start..).unwrap_or_default();
        self.meter.scan(4 * printed.len())?;
        let shorter = compressed(std::str::from_utf8(printed).unwrap_or_default());
        self.out.truncate(start);
        self.out.extend_from_slice(shorter.as_bytes());
        if self.captures == 0 {
            self.meter.reset_output(counted + shorter.len());
        }
        Ok(flow)
    }

    /// Takes back what the block printed when it fails, and runs the other.
    fn attempt(&mut self, attempt: &'r Attempt) -> Result<Flow, Raised> {
        let mark = self.mark();
        match self.block(&attempt.body) {
            Err(fault) if fault.can_be_handled() => {
                let fault = self.sealed(fault);
                self.unwind(&mark);
                let message = fault.with_stack();
                self.meter.value(message.len())?;
                self.recovered.push(message.into());
                let flow = self.block(&attempt.recover)?;
                self.recovered.pop();
                Ok(flow)
            }
            // what was printed before is dropped, as in FreeMarker
            Ok(flow) if flow != Flow::Next => {
                self.take_back_output(&mark);
                Ok(flow)
            }
            other => other,
        }
    }

    // assignments

    fn destination(&mut self, place: &'r AssignPlace) -> Result<Destination, Raised> {
        Ok(match place {
            AssignPlace::Namespace => Destination::Namespace(self.ctx.namespace),
            AssignPlace::In(expr) => Destination::Namespace(self.namespace_of(expr)?),
            AssignPlace::Global => Destination::Global,
            AssignPlace::Local => Destination::Local,
        })
    }

    /// Sets a variable: of a macro by its slot, others by their symbol in the running template.
    fn put(&mut self, destination: Destination, id: u32, value: Value<'r>) {
        match destination {
            Destination::Local => self.set_macro_variable(id, value),
            Destination::Global => self.set_global(self.id_of(id), value),
            Destination::Namespace(namespace) => self.set_in(namespace, self.id_of(id), value),
        }
    }

    fn assign(&mut self, assignments: &'r Assignments, element: &'r Element) -> Result<(), Raised> {
        let destination = self.destination(&assignments.place)?;
        // each of several is a directive of its own in FreeMarker
        let one = assignments.items.len() == 1;
        for assignment in &assignments.items {
            let value = match self.assigned(assignment, destination) {
                Ok(value) => value,
                Err(fault) if one => return Err(fault),
                Err(fault) => return Err(self.traced_at(fault, element, assignment.span)),
            };
            self.put(destination, assignment.target.id, value);
        }
        Ok(())
    }

    fn assigned(&mut self, assignment: &'r Assignment, destination: Destination) -> Result<Value<'r>, Raised> {
        let (op, operator) = match assignment.op {
            AssignOp::Set => return self.present(&assignment.value),
            AssignOp::Change(op) => (op, format!("{}=", op.symbol())),
            AssignOp::Step(op) => (op, op.symbol().repeat(2)),
        };
        let id = assignment.target.id;
        let (current, name, scope) = match destination {
            Destination::Local => {
                let frame = self.frame();
                let name = frame.and_then(|frame| frame.definition.frame.names.get(id as usize));
                let name: &'r str = name.map_or("", |name| name);
                (self.local_variable(id), name, "local scope")
            }
            Destination::Global => (self.global(self.id_of(id)), self.symbol_name(id), "global scope"),
            Destination::Namespace(namespace) => {
                let current = self.in_namespace(namespace, self.id_of(id)).clone();
                (current, self.symbol_name(id), "template namespace")
            }
        };
        if current.is_missing() {
            return Err(self.missing_target(name, scope, &operator));
        }
        if !matches!(current, Value::Number(_)) && (op != BinaryOp::Add || matches!(assignment.op, AssignOp::Step(_))) {
            return Err(runtime(format!(
                "Expected a number, but assignment target variable \"{name}\" has evaluated to {}.",
                a_or_an(current.type_name())
            )));
        }
        let right = self.present(&assignment.value)?;
        let joins = matches!(
            (&current, &right),
            (Value::Sequence(_), Value::Sequence(_) | Value::Nothing { .. })
                | (Value::Hash(_), Value::Hash(_) | Value::Nothing { .. })
        );
        if !joins && current.is_unprintable() {
            return Err(runtime(format!(
                "Expected a string or something automatically convertible to string (number, date or boolean), or \
                 \"template output\" , but the expression has evaluated to {}.",
                a_or_an(current.type_name())
            )));
        }
        self.operate(op, current, right, None, &assignment.value)
    }

    /// The first case that is equal is run, and on from there until a break; the default only if
    /// no case is, and then alone. With `#on` nothing is run but that case.
    fn switch(&mut self, switch: &'r Switch) -> Result<Flow, Raised> {
        // looked at when there is something to compare it with
        let mut wanted = None;
        let mut matched = false;
        for case in &switch.cases {
            for expr in &case.values {
                if matched {
                    break;
                }
                let value = match wanted.take() {
                    Some(value) => value,
                    None => self.eval(&switch.value)?,
                };
                let other = self.eval(expr)?;
                for (value, expr) in [(&value, &switch.value), (&other, expr)] {
                    if value.is_missing() {
                        return Err(self.missing(expr));
                    }
                }
                matched = self.equal(&value, &other, expr)?;
                wanted = Some(value);
            }
            if !matched {
                continue;
            }
            match self.block(&case.body)? {
                Flow::Return => return Ok(Flow::Return),
                flow if switch.uses_on => return Ok(flow),
                Flow::Next => {}
                // a #continue in a #switch ends the #switch, as in FreeMarker
                Flow::Break | Flow::Continue => return Ok(Flow::Next),
            }
        }
        let default = switch.cases.iter().find(|case| case.values.is_empty());
        let Some(case) = default.filter(|_| !matched) else { return Ok(Flow::Next) };
        match self.block(&case.body)? {
            Flow::Return => Ok(Flow::Return),
            flow if switch.uses_on => Ok(flow),
            _ => Ok(Flow::Next),
        }
    }
}
