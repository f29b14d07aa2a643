//! From a tree to instructions.

use super::node::{Assertion, Node, Reach, RepeatKind};
use super::set::Set;

/// The most instructions and ranges of a pattern: counted repetitions are laid out.
const MAX_SIZE: usize = 30_000;

#[derive(Debug)]
pub(super) enum Inst {
    Char(char),
    Set(u32),
    Assert(Assertion),
    BackReference {
        group: usize,
        ignore_case: bool,
    },
    Jump(usize),
    /// Goes on at the first place, and at the second when that fails.
    Split(usize, usize),
    Save(usize),
    /// Remembers where a round of a loop begins.
    Mark(usize),
    /// Leaves the loop when its round matched nothing.
    Leave {
        mark: usize,
        exit: usize,
    },
    /// One character again and again.
    Repeat {
        set: u32,
        min: u32,
        max: u32,
        kind: RepeatKind,
    },
    /// The instructions up to `end` are matched on their own, once.
    Atomic {
        end: usize,
    },
    Look {
        behind: Option<Reach>,
        negative: bool,
        end: usize,
    },
    /// The end of the pattern, or of what `Atomic` and `Look` hold.
    Match,
}

#[derive(Debug, Default)]
pub(super) struct Program {
    pub(super) insts: Vec<Inst>,
    pub(super) sets: Vec<Set>,
    pub(super) marks: usize,
    set_ranges: usize,
}

impl Program {
    pub(super) fn compile(node: &Node) -> Result<Self, String> {
        let mut program = Program::default();
        program.node(node)?;
        program.push(Inst::Match)?;
        Ok(program)
    }

    /// How much it took to build.
    pub(super) fn size(&self) -> usize {
        self.insts.len() + self.set_ranges
    }

    fn push(&mut self, inst: Inst) -> Result<usize, String> {
        if self.size() >= MAX_SIZE {
            return Err(format!("it has more than {MAX_SIZE} parts when its repetitions are laid out"));
        }
        self.insts.push(inst);
        Ok(self.insts.len() - 1)
    }

    fn set(&mut self, set: &Set) -> u32 {
        self.set_ranges += set.size();
        self.sets.push(set.clone());
        self.sets.len() as u32 - 1
    }

    fn here(&self) -> usize {
        self.insts.len()
    }

    fn node(&mut self, node: &Node) -> Result<(), String> {
        match node {
            Node::Empty => {}
            Node::Char(c) => {
                self.push(Inst::Char(*c))?;
            }
            Node::Set(set) => {
                let set = self.set(set);
                self.push(Inst::Set(set))?;
            }
            Node::Assert(assertion) => {
                self.push(Inst::Assert(*assertion))?;
            }
            Node::BackReference { group, ignore_case } => {
                self.push(Inst::BackReference { group: *group, ignore_case: *ignore_case })?;
            }
            Node::Group(None, inner) => self.node(inner)?,
            Node::Group(Some(group), inner) => {
                self.push(Inst::Save(2 * group))?;
                self.node(inner)?;
                self.push(Inst::Save(2 * group + 1))?;
            }
            Node::Concat(nodes) => {
                for node in nodes {
                    self.node(node)?;
                }
            }
            Node::Alternate(nodes) => self.alternate(nodes)?,
            Node::Repeat { node, min, max, kind } => self.repeat(node, *min, *max, *kind)?,
            Node::Atomic(inner) => {
                let start = self.push(Inst::Atomic { end: 0 })?;
                self.node(inner)?;
                self.push(Inst::Match)?;
                let here = self.here();
                if let Some(Inst::Atomic { end }) = self.insts.get_mut(start) {
                    *end = here;
                }
            }
            Node::Look { behind, negative, node } => {
                let start = self.push(Inst::Look { behind: *behind, negative: *negative, end: 0 })?;
                self.node(node)?;
                self.push(Inst::Match)?;
                let here = self.here();
                if let Some(Inst::Look { end, .. }) = self.insts.get_mut(start) {
                    *end = here;
                }
            }
        }
        Ok(())
    }

    fn alternate(&mut self, nodes: &[Node]) -> Result<(), String> {
        let mut exits = Vec::new();
        for (i, node) in nodes.iter().enumerate() {
            if i + 1 == nodes.len() {
                self.node(node)?;
                break;
            }
            let split = self.push(Inst::Split(0, 0))?;
            self.node(node)?;
            exits.push(self.push(Inst::Jump(0))?);
            self.aim(split, split + 1, self.here());
        }
        for exit in exits {
            let here = self.here();
            if let Some(Inst::Jump(to)) = self.insts.get_mut(exit) {
                *to = here;
            }
        }
        Ok(())
    }

    fn aim(&mut self, split: usize, first: usize, second: usize) {
        if let Some(inst) = self.insts.get_mut(split) {
            *inst = Inst::Split(first, second);
        }
    }

    fn repeat(&mut self, node: &Node, min: u32, max: Option<u32>, kind: RepeatKind) -> Result<(), String> {
        let single = match node {
            Node::Char(c) => Some(self.set(&Set::of([(*c, *c)]))),
            Node::Set(set) => Some(self.set(set)),
            _ => None,
        };
        if let Some(set) = single {
            self.push(Inst::Repeat { set, min, max: max.unwrap_or(u32::MAX), kind })?;
            return Ok(());
        }
        if kind == RepeatKind::Possessive {
            let start = self.push(Inst::Atomic { end: 0 })?;
            self.repeat(node, min, max, RepeatKind::Greedy)?;
            self.push(Inst::Match)?;
            let here = self.here();
            if let Some(Inst::Atomic { end }) = self.insts.get_mut(start) {
                *end = here;
            }
            return Ok(());
        }
        for _ in 0..min {
            self.push(Inst::Jump(self.here() + 1))?;
            self.node(node)?;
        }
        let prefer = |inside: usize, outside: usize| match kind {
            RepeatKind::Lazy => Inst::Split(outside, inside),
            _ => Inst::Split(inside, outside),
        };
        match max {
            None => {
                let mark = self.marks;
                self.marks += 1;
                let split = self.push(Inst::Split(0, 0))?;
                self.push(Inst::Mark(mark))?;
                self.node(node)?;
                let leave = self.push(Inst::Leave { mark, exit: 0 })?;
                self.push(Inst::Jump(split))?;
                let here = self.here();
                if let Some(inst) = self.insts.get_mut(split) {
                    *inst = prefer(split + 1, here);
                }
                if let Some(Inst::Leave { exit, .. }) = self.insts.get_mut(leave) {
                    *exit = here;
                }
            }
            Some(max) => {
                let mut splits = Vec::new();
                for _ in min..max {
                    splits.push(self.push(Inst::Split(0, 0))?);
                    self.node(node)?;
                }
                let here = self.here();
                for split in splits {
                    if let Some(inst) = self.insts.get_mut(split) {
                        *inst = prefer(split + 1, here);
                    }
                }
            }
        }
        Ok(())
    }
}
