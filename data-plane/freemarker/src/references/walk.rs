//! Going through a template's tree with what is known of its variables.

use std::collections::HashMap;

use super::parts::{each_block, each_expr};
use super::path::Path;
use super::{Guard, Read};
use crate::ast::{AssignOp, AssignPlace, Block, Element, ElementKind, Expr, ExprKind, Local, Macro, Special, Variable};
use crate::builtins::BuiltIn;
use crate::template::Inner;

/// What a variable of the template holds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Holds {
    /// The value of a path.
    Path(Path),
    /// Something else, or not always the same.
    Unknown,
}

/// How many proofs are looked through; long rows of `#elseif` make very many.
const MAX_PROVED: usize = 500;

pub(super) struct Walker<'t> {
    template: &'t Inner,
    reads: Vec<Read>,
    /// What the template's own variables hold, by symbol.
    assigned: HashMap<u32, Holds>,
    /// What loop variables and lambda parameters hold, by slot.
    locals: HashMap<u32, Option<Path>>,
    /// The variables of the macro that is walked, by slot.
    macro_vars: HashMap<u32, Holds>,
    /// What the items of a `#list` are, by its loop, for its `#items`.
    lists: HashMap<u32, Option<Path>>,
    /// What conditions around this place have proved to be there.
    proved: Vec<Path>,
}

impl<'t> Walker<'t> {
    pub(super) fn new(template: &'t Inner) -> Self {
        Walker {
            template,
            reads: Vec::new(),
            assigned: HashMap::new(),
            locals: HashMap::new(),
            macro_vars: HashMap::new(),
            lists: HashMap::new(),
            proved: Vec::new(),
        }
    }

    pub(super) fn finish(self) -> Vec<Read> {
        self.reads
    }

    pub(super) fn template(&mut self) {
        let parsed = &self.template.parsed;
        for definition in &parsed.macros {
            self.assigned.insert(definition.symbol, Holds::Unknown);
        }
        // first what variables hold, then what is read: a use may come before an assignment
        for _ in 0..2 {
            self.reads.clear();
            self.block(&parsed.body);
            for definition in &parsed.macros {
                self.definition(definition);
            }
        }
    }

    fn definition(&mut self, definition: &Macro) {
        self.macro_vars.clear();
        let catch_all = definition.catch_all.iter().map(|(_, slot)| *slot);
        for slot in definition.params.iter().map(|param| param.slot).chain(catch_all) {
            self.macro_vars.insert(slot, Holds::Unknown);
        }
        // its locals too are to be known before they are used
        let reads = self.reads.len();
        self.block(&definition.body);
        self.reads.truncate(reads);
        for default in definition.params.iter().filter_map(|param| param.default.as_ref()) {
            self.read(default);
        }
        self.block(&definition.body);
    }

    fn block(&mut self, block: &Block) {
        for element in block {
            self.element(element);
        }
    }

    fn element(&mut self, element: &Element) {
        match &element.kind {
            ElementKind::If(branches) => {
                let before = self.proved.len();
                for branch in branches {
                    let here = self.proved.len();
                    if let Some(condition) = &branch.condition {
                        self.read(condition);
                        let holds = self.proved(condition, true);
                        self.proved.extend(holds);
                    }
                    self.block(&branch.body);
                    self.proved.truncate(here);
                    if let Some(condition) = &branch.condition {
                        let fails = self.proved(condition, false);
                        self.proved.extend(fails);
                    }
                }
                self.proved.truncate(before);
            }
            ElementKind::List(list) => {
                self.read(&list.source);
                let item = self.item_of(&list.source);
                if let Some(variables) = &list.variables {
                    self.loop_variables(variables, item.clone());
                }
                self.lists.insert(list.loop_slot, item);
                self.block(&list.body);
                if let Some(otherwise) = &list.otherwise {
                    self.block(otherwise);
                }
            }
            ElementKind::Items(items) => {
                let item = self.lists.get(&items.loop_slot).cloned().flatten();
                self.loop_variables(&items.variables, item);
                self.block(&items.body);
            }
            ElementKind::Assign(assignments) => {
                if let AssignPlace::In(namespace) = &assignments.place {
                    self.read(namespace);
                }
                for assignment in &assignments.items {
                    self.read(&assignment.value);
                    let holds = match assignment.op {
                        AssignOp::Set => self.path_of(&assignment.value).map_or(Holds::Unknown, Holds::Path),
                        _ => Holds::Unknown,
                    };
                    self.set(&assignments.place, assignment.target.id, holds);
                }
            }
            ElementKind::Capture(capture) => {
                self.block(&capture.body);
                self.set(&capture.place, capture.target.id, Holds::Unknown);
            }
            ElementKind::Import(import) => {
                self.read(&import.name);
                self.assigned.insert(import.target, Holds::Unknown);
            }
            other => {
                if let ElementKind::Call(call) = other {
                    for (_, slot) in call.variables.iter().flat_map(|variables| &variables.names) {
                        self.locals.insert(*slot, None);
                    }
                }
                each_expr(element, &mut |value| self.read(value));
                each_block(element, &mut |body| self.block(body));
            }
        }
    }

    fn loop_variables(&mut self, variables: &crate::ast::LoopVariables, item: Option<Path>) {
        match variables.second {
            Some(second) => {
                self.locals.insert(variables.first, None);
                self.locals.insert(second, item);
            }
            None => {
                self.locals.insert(variables.first, item);
            }
        }
    }

    fn set(&mut self, place: &AssignPlace, id: u32, holds: Holds) {
        let variables = match place {
            AssignPlace::Namespace | AssignPlace::Global => &mut self.assigned,
            AssignPlace::Local => &mut self.macro_vars,
            AssignPlace::In(_) => return,
        };
        match variables.get(&id) {
            Some(known) if *known != holds => variables.insert(id, Holds::Unknown),
            _ => variables.insert(id, holds),
        };
    }

    fn read(&mut self, expr: &Expr) {
        self.expr(expr, Guard::None);
    }

    /// Notes what an expression reads; `guard` is what around it forgives.
    fn expr(&mut self, expr: &Expr, guard: Guard) {
        if let Some(path) = self.own_path(expr) {
            let guard = match self.proved.iter().rev().take(MAX_PROVED).any(|proved| path.leads_to(proved)) {
                true => Guard::All,
                false => guard,
            };
            self.reads.push(Read { path, guard, span: expr.span });
            self.keys(expr);
            return;
        }
        match &expr.kind {
            ExprKind::Group(inner) => {
                self.expr(inner, if guard == Guard::None { Guard::None } else { Guard::All });
            }
            ExprKind::Default(default) => {
                self.expr(&default.0, Guard::LastStep.max(guard));
                if let Some(fallback) = &default.1 {
                    self.expr(fallback, guard);
                }
            }
            ExprKind::Exists(target) => self.expr(target, Guard::LastStep.max(guard)),
            ExprKind::BuiltIn(call) => {
                let forgiving = matches!(
                    call.which,
                    BuiltIn::HasContent
                        | BuiltIn::Exists
                        | BuiltIn::IfExists
                        | BuiltIn::Default
                        | BuiltIn::BlankToNull
                        | BuiltIn::EmptyToNull
                        | BuiltIn::TrimToNull
                );
                // within parentheses that forgive, everything is forgiven
                let inner = if guard == Guard::All { Guard::All } else { Guard::None };
                self.expr(&call.target, if forgiving { Guard::LastStep.max(inner) } else { inner });
                let before = self.proved.len();
                for (place, arg) in call.args.iter().enumerate() {
                    if let ExprKind::Lambda(lambda) = &arg.kind {
                        let item = self.item_of(&call.target);
                        self.locals.insert(lambda.slot, item);
                        self.expr(&lambda.body, inner);
                        continue;
                    }
                    if call.which == BuiltIn::Then {
                        let proved = self.proved(&call.target, place == 0);
                        self.proved.extend(proved);
                    }
                    self.expr(arg, inner);
                    self.proved.truncate(before);
                }
            }
            ExprKind::And(operands) | ExprKind::Or(operands) => {
                // what comes later is evaluated only if the earlier held, or did not
                let holds = matches!(expr.kind, ExprKind::And(_));
                let before = self.proved.len();
                for operand in operands {
                    self.expr(operand, Guard::None);
                    let proved = self.proved(operand, holds);
                    self.proved.extend(proved);
                }
                self.proved.truncate(before);
            }
            _ => {
                let inner = if guard == Guard::All { Guard::All } else { Guard::None };
                for part in super::parts::parts(expr) {
                    self.expr(part, inner);
                }
            }
        }
    }

    /// Expressions on the way of a path that are no part of it: in brackets, and defaults.
    fn keys(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Dot(member) => self.keys(&member.target),
            ExprKind::Group(target) => self.keys(target),
            ExprKind::Index(index) => {
                self.keys(&index.0);
                self.expr(&index.1, Guard::None);
            }
            ExprKind::Default(default) => {
                self.keys(&default.0);
                if let Some(fallback) = &default.1 {
                    self.expr(fallback, Guard::None);
                }
            }
            ExprKind::BuiltIn(call) => {
                self.keys(&call.target);
                call.args.iter().for_each(|arg| self.expr(arg, Guard::None));
            }
            _ => {}
        }
    }

    /// The path that an expression is, without anything that stands for it when it is missing.
    fn own_path(&self, expr: &Expr) -> Option<Path> {
        match &expr.kind {
            ExprKind::Variable(_) | ExprKind::Dot(_) | ExprKind::Index(_) => self.path_of(expr),
            _ => None,
        }
    }

    /// The path whose value an expression has, if it is there.
    pub(super) fn path_of(&self, expr: &Expr) -> Option<Path> {
        match &expr.kind {
            ExprKind::Variable(variable) => self.variable(variable),
            ExprKind::Dot(member) => match &member.target.kind {
                ExprKind::Special(Special::DataModel | Special::Globals | Special::Vars) => {
                    Some(Path::root(&member.key))
                }
                _ => self.path_of(&member.target)?.key(&member.key),
            },
            ExprKind::Index(index) => {
                let target = self.path_of(&index.0)?;
                match &index.1.kind {
                    ExprKind::String(key) => target.key(key),
                    ExprKind::Range(_) => Some(target),
                    _ => target.item(),
                }
            }
            ExprKind::Group(inner) => self.path_of(inner),
            ExprKind::Default(default) => self.path_of(&default.0),
            ExprKind::BuiltIn(call) => match call.which {
                BuiltIn::First | BuiltIn::Last | BuiltIn::Min | BuiltIn::Max => self.item_of(&call.target),
                BuiltIn::Default | BuiltIn::IfExists => self.path_of(&call.target),
                _ => None,
            },
            _ => None,
        }
    }

    fn variable(&self, variable: &Variable) -> Option<Path> {
        for local in &variable.locals {
            match local {
                Local::Loop(slot) | Local::Parameter(slot) => return self.locals.get(slot).cloned().flatten(),
                Local::LoopIndex(_) | Local::LoopHasNext(_) => return None,
                Local::Macro(slot) => match self.macro_vars.get(slot) {
                    Some(Holds::Path(path)) => return Some(path.clone()),
                    Some(Holds::Unknown) => return None,
                    None => {}
                },
            }
        }
        match self.assigned.get(&variable.symbol) {
            Some(Holds::Path(path)) => Some(path.clone()),
            Some(Holds::Unknown) => None,
            None => Some(Path::root(self.template.parsed.sizes.name(variable.symbol))),
        }
    }

    /// What the items are of what an expression gives.
    fn item_of(&self, expr: &Expr) -> Option<Path> {
        match &expr.kind {
            ExprKind::Group(inner) => self.item_of(inner),
            ExprKind::Default(default) => self.item_of(&default.0),
            ExprKind::BuiltIn(call) => match call.which {
                BuiltIn::Filter
                | BuiltIn::TakeWhile
                | BuiltIn::DropWhile
                | BuiltIn::Sort
                | BuiltIn::SortBy
                | BuiltIn::Reverse
                | BuiltIn::Sequence
                | BuiltIn::Values
                | BuiltIn::IfExists
                | BuiltIn::Default => self.item_of(&call.target),
                BuiltIn::Map => match call.args.first().map(|arg| &arg.kind) {
                    // the parameter was set when the source was read
                    Some(ExprKind::Lambda(lambda)) => self.path_of(&lambda.body),
                    _ => None,
                },
                BuiltIn::Keys => None,
                _ => self.path_of(expr)?.item(),
            },
            _ => self.path_of(expr)?.item(),
        }
    }
}
