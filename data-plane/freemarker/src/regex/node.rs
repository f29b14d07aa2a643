//! A pattern as a tree.

use super::set::Set;

#[derive(Clone, Debug)]
pub(super) enum Node {
    Empty,
    Char(char),
    Set(Set),
    Assert(Assertion),
    /// A group by its number, or one that is not counted.
    Group(Option<usize>, Box<Node>),
    Concat(Vec<Node>),
    Alternate(Vec<Node>),
    Repeat {
        node: Box<Node>,
        min: u32,
        max: Option<u32>,
        kind: RepeatKind,
    },
    /// `(?>…)`: once matched, no other way to match it is tried.
    Atomic(Box<Node>),
    Look {
        behind: Option<Reach>,
        negative: bool,
        node: Box<Node>,
    },
    BackReference {
        group: usize,
        ignore_case: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RepeatKind {
    Greedy,
    Lazy,
    Possessive,
}

/// How far a look-behind looks, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reach {
    pub(super) min: usize,
    pub(super) max: usize,
}

/// What matches between characters. `unix`: only `\n` ends a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Assertion {
    Start,
    End,
    LineStart {
        unix: bool,
    },
    /// `$`: the end, or before the line break that ends the text.
    LastLineEnd {
        unix: bool,
    },
    LineEnd {
        unix: bool,
    },
    WordBoundary {
        negative: bool,
    },
    /// `\G`: where the last match ended.
    LastMatch,
}

impl Node {
    /// The fewest and the most characters that match; `None` when there is no upper bound.
    pub(super) fn width(&self) -> (usize, Option<usize>) {
        match self {
            Node::Empty | Node::Assert(_) | Node::Look { .. } => (0, Some(0)),
            Node::Char(_) | Node::Set(_) => (1, Some(1)),
            Node::Group(_, inner) | Node::Atomic(inner) => inner.width(),
            Node::Concat(nodes) => nodes.iter().map(Node::width).fold((0, Some(0)), |(min, max), (a, b)| {
                (min.saturating_add(a), max.zip(b).map(|(max, b)| max.saturating_add(b)))
            }),
            Node::Alternate(nodes) => {
                let widths = nodes.iter().map(Node::width);
                let both = widths.reduce(|(min, max), (a, b)| (min.min(a), max.zip(b).map(|(max, b)| max.max(b))));
                both.unwrap_or((0, Some(0)))
            }
            Node::Repeat { node, min, max, .. } => {
                let (a, b) = node.width();
                let most = b.zip(*max).map(|(b, max)| b.saturating_mul(max as usize));
                (a.saturating_mul(*min as usize), most)
            }
            Node::BackReference { .. } => (0, None),
        }
    }
}
