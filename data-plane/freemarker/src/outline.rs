//! The outline of a template, as white-space stripping needs it: which parts there are, on which
//! lines, and what each means to the white space around it.

use crate::span::Lines;

/// The parts of a template as white-space stripping sees them.
#[derive(Debug)]
pub(crate) struct Outline {
    pub(crate) nodes: Vec<Node>,
    /// Open blocks, innermost last.
    open: Vec<usize>,
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) parent: Option<usize>,
    /// The place among the parent's children.
    pub(crate) place: usize,
    pub(crate) children: Vec<usize>,
    pub(crate) begin_line: u32,
    pub(crate) end_line: u32,
    /// Whether it begins in column 1.
    pub(crate) at_line_start: bool,
}

/// What a part of a template means to the white space around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A directive with content.
    Block,
    /// A directive with content that is nothing when there is nothing left in it.
    Fleeting,
    /// A directive whose content is not seen from outside it: captures.
    Closed,
    /// As [`Kind::Closed`], and as silent as [`Kind::Silent`]: macros.
    Macro,
    /// Prints something: white space next to it stays.
    Output,
    /// Prints nothing and is no place to print at: assignments, settings, comments.
    Silent,
    /// Any other directive without content.
    Leaf,
    /// `<#t>`, `<#lt>`, `<#rt>`; with neither it is `<#nt>`.
    Trim { left: bool, right: bool },
    /// Text, with its number.
    Text { text: String, number: usize },
}

/// The template as a whole.
pub(crate) const ROOT: usize = 0;

impl Outline {
    pub(crate) fn new() -> Self {
        let root = Node {
            kind: Kind::Block,
            parent: None,
            place: 0,
            children: Vec::new(),
            begin_line: 1,
            end_line: 1,
            at_line_start: true,
        };
        Outline { nodes: vec![root], open: vec![ROOT] }
    }

    /// Adds a part that reaches from the byte at `start` to the one before `end`.
    pub(crate) fn add(&mut self, kind: Kind, start: usize, end: usize, lines: &Lines) -> usize {
        let parent = self.open.last().copied();
        let id = self.nodes.len();
        // a tab's own column is the one it reaches to
        let begins_with_tab = matches!(
            &kind,
            Kind::Text { text, .. } if text.starts_with('\t') && text.len() == end - start
        );
        let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        self.nodes.push(Node {
            kind,
            parent,
            place: 0,
            children: Vec::new(),
            begin_line: lines.line(offset(start)),
            end_line: lines.line(offset(end.saturating_sub(1).max(start))),
            at_line_start: lines.is_line_start(offset(start)) && !begins_with_tab,
        });
        self.nodes[id].place = match parent.and_then(|parent| self.nodes.get_mut(parent)) {
            Some(parent) => {
                parent.children.push(id);
                parent.children.len() - 1
            }
            None => 0,
        };
        id
    }

    /// Adds a part and makes what follows its content, until [`Outline::close`].
    pub(crate) fn open(&mut self, kind: Kind, start: usize, lines: &Lines) -> usize {
        let id = self.add(kind, start, start, lines);
        self.open.push(id);
        id
    }

    /// Ends the innermost open part, whose tags nevertheless go on: gives what
    /// [`Outline::set_end`] needs to say where they end.
    pub(crate) fn close_early(&mut self) -> Option<usize> {
        self.open.pop()
    }

    /// Ends the innermost open part; if there is nothing in it, it is a text without characters that
    /// is on no line. Tells whether the text's number was taken.
    pub(crate) fn close_section(&mut self, number: usize, end: usize, lines: &Lines) -> bool {
        let id = self.open.last().copied();
        self.close(end, lines);
        let Some(node) = id.and_then(|id| self.nodes.get_mut(id)).filter(|node| node.children.is_empty()) else {
            return false;
        };
        (node.begin_line, node.end_line) = (0, 0);
        node.kind = Kind::Text { text: String::new(), number };
        true
    }

    /// Says where a part ends, with the byte before `end`.
    pub(crate) fn set_end(&mut self, id: usize, end: usize, lines: &Lines) {
        if let Some(node) = self.nodes.get_mut(id) {
            let last = u32::try_from(end.saturating_sub(1)).unwrap_or(u32::MAX);
            node.end_line = lines.line(last).max(node.begin_line);
        }
    }

    /// Takes back the innermost open part with all of its content.
    pub(crate) fn discard(&mut self) {
        let parent = self.open.pop().and_then(|id| self.nodes.get(id)?.parent);
        if let Some(parent) = parent.and_then(|parent| self.nodes.get_mut(parent)) {
            parent.children.pop();
        }
    }

    /// Ends the innermost open part with the byte before `end`.
    pub(crate) fn close(&mut self, end: usize, lines: &Lines) {
        if let Some(id) = self.open.pop() {
            self.set_end(id, end, lines);
        }
    }
}
