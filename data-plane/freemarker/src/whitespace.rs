//! White-space stripping: lines that hold only tags leave nothing behind (FreeMarker manual:
//! "Template Authoring / Miscellaneous / White-space handling").
//!
//! The parser writes down the outline of the template as it goes; when all is parsed, [`strip`]
//! decides what is left of each text. The rules look at lines, at neighbours and at what has been
//! stripped before, so the order of the steps matters.

use std::cell::Cell;

use crate::outline::{Kind, Node, Outline, ROOT};

/// How many neighbours may be looked at: lines with very many tags and `<#t>` among them would
/// take quadratic time.
const MAX_LOOKS: u64 = 4_000_000;

/// Strips the texts of a template; gives what is left of each by its number, or `None` when lines
/// hold too many tags.
pub(crate) fn strip(mut outline: Outline, stripping: bool, text_count: usize) -> Option<Vec<Box<str>>> {
    let looks = Cell::new(MAX_LOOKS);
    let trims = outline.nodes.iter().any(|node| matches!(node.kind, Kind::Trim { .. }));
    Stripper { nodes: &mut outline.nodes, stripping, trims, looks: &looks }.clean(ROOT);
    if looks.get() == 0 {
        return None;
    }
    let mut texts = vec![Box::from(""); text_count];
    // what was taken out of the tree as ignorable has been emptied
    for node in outline.nodes {
        if let Kind::Text { text, number } = node.kind
            && let Some(place) = texts.get_mut(number)
        {
            *place = text.into_boxed_str();
        }
    }
    Some(texts)
}

struct Stripper<'n> {
    nodes: &'n mut Vec<Node>,
    stripping: bool,
    /// Whether there are any `<#t>` and the like: without, looking for them is spared.
    trims: bool,
    looks: &'n Cell<u64>,
}

impl Stripper<'_> {
    /// Cleans a node's children, then drops those that mean nothing. The depth of the recursion is
    /// bounded by the parser.
    fn clean(&mut self, id: usize) {
        for place in 0..self.nodes[id].children.len() {
            let child = self.nodes[id].children[place];
            if matches!(self.nodes[child].kind, Kind::Text { .. }) {
                self.clean_text(child);
            } else {
                self.clean(child);
            }
        }
        // a text that is all of the template stays
        if id == ROOT
            && let [only] = *self.nodes[id].children
            && matches!(self.nodes[only].kind, Kind::Text { .. })
        {
            return;
        }
        // a child counts as its next neighbour's only if it stays
        let children = std::mem::take(&mut self.nodes[id].children);
        let mut kept = Vec::with_capacity(children.len());
        for (place, &child) in children.iter().enumerate() {
            let (previous, next) = (kept.last().copied(), children.get(place + 1).copied());
            if self.is_ignorable(child, previous, next) {
                if let Kind::Text { text, .. } = &mut self.nodes[child].kind {
                    text.clear();
                }
            } else {
                self.nodes[child].place = kept.len();
                kept.push(child);
            }
        }
        self.nodes[id].children = kept;
    }

    fn clean_text(&mut self, id: usize) {
        if self.text(id).is_empty() {
            return;
        }
        let left_trimmed = self.trims && self.trim_left(id);
        let right_trimmed = self.trims && self.trim_right(id);
        if !self.stripping || self.text(id).is_empty() {
            return;
        }
        // the first text of a template is left alone
        if self.is_top_level(id) && self.sibling(id, false).is_none() {
            return;
        }
        let trailing = if left_trimmed { 0 } else { self.trailing_to_strip(id) };
        let opening = if right_trimmed { 0 } else { self.opening_to_strip(id) };
        if opening == 0 && trailing == 0 {
            return;
        }
        let text = self.text(id);
        let kept = text.get(opening..text.len() - trailing).unwrap_or_default().to_owned();
        self.set_text(id, kept);
        if opening > 0 {
            self.nodes[id].begin_line += 1;
            self.nodes[id].at_line_start = true;
        }
    }

    /// Does what `<#t>` and `<#lt>` after the text, on its last line, ask for; tells whether that
    /// line's indentation is settled by that.
    fn trim_left(&mut self, id: usize) -> bool {
        let mut settled = false;
        let mut next = self.next_leaf(id);
        while let Some(leaf) = next {
            if self.nodes[leaf].begin_line != self.nodes[id].end_line {
                break;
            }
            if let Kind::Trim { left, right } = self.nodes[leaf].kind {
                settled |= left || !right;
                if left {
                    let text = self.text(id);
                    let line_start = line_break_end(text);
                    if line_start.is_some() || self.nodes[id].at_line_start {
                        let (before, line) = text.split_at(line_start.unwrap_or(0));
                        let kept = format!("{before}{}", line.trim_start_matches(is_java_space));
                        self.set_text(id, kept);
                    }
                }
            }
            next = self.next_leaf(leaf);
        }
        settled
    }

    /// Does what `<#t>` and `<#rt>` before the text, on its first line, ask for; tells whether that
    /// line's end is settled by that.
    fn trim_right(&mut self, id: usize) -> bool {
        let mut settled = false;
        let mut previous = self.previous_leaf(id);
        while let Some(leaf) = previous {
            if self.nodes[leaf].end_line != self.nodes[id].begin_line {
                break;
            }
            if let Kind::Trim { left, right } = self.nodes[leaf].kind {
                settled |= right || !left;
                if right {
                    let text = self.text(id);
                    let Some(first_break) = text.find(['\n', '\r']) else { return false };
                    let after = first_break + if text[first_break..].starts_with("\r\n") { 2 } else { 1 };
                    let (line, rest) = text.split_at(after);
                    if is_blank(line) {
                        let rest = rest.to_owned();
                        self.set_text(id, rest);
                        self.nodes[id].begin_line += 1;
                        self.nodes[id].at_line_start = true;
                    } else {
                        let line = line.trim_end_matches(is_java_space);
                        let drop_rest = is_blank(rest) && self.rest_may_go(id);
                        let kept = if drop_rest { line.to_owned() } else { format!("{line}{rest}") };
                        self.set_text(id, kept);
                    }
                }
            }
            previous = self.previous_leaf(leaf);
        }
        settled
    }

    /// Whether the white space that follows a trimmed line is only the indentation of tags.
    fn rest_may_go(&self, id: usize) -> bool {
        let mut may_go = true;
        let mut next = self.next_leaf(id);
        while let Some(leaf) = next {
            if self.nodes[leaf].begin_line != self.nodes[id].end_line {
                break;
            }
            if self.heeds_before(leaf) {
                may_go = false;
            }
            if matches!(self.nodes[leaf].kind, Kind::Trim { left: true, .. }) {
                return true;
            }
            next = self.next_leaf(leaf);
        }
        may_go
    }

    /// How much of the text's start ends a line of tags.
    fn opening_to_strip(&self, id: usize) -> usize {
        let text = self.text(id);
        let len = match text.find(['\n', '\r']) {
            Some(at) if text[at..].starts_with("\r\n") => at + 2,
            Some(at) => at + 1,
            None if !self.nodes[id].at_line_start => return 0,
            None => 0,
        };
        if !is_blank(&text[..len]) {
            return 0;
        }
        let mut previous = self.previous_leaf(id);
        while let Some(leaf) = previous {
            if self.nodes[leaf].end_line != self.nodes[id].begin_line {
                break;
            }
            if self.heeds_before(leaf) {
                return 0;
            }
            previous = self.previous_leaf(leaf);
        }
        len
    }

    /// How much of the text's end is the indentation of a line of tags.
    fn trailing_to_strip(&self, id: usize) -> usize {
        let text = self.text(id);
        let line_start = match line_break_end(text) {
            Some(at) => at,
            None if !self.nodes[id].at_line_start => return 0,
            None => 0,
        };
        if !is_blank(&text[line_start..]) {
            return 0;
        }
        let mut next = self.next_leaf(id);
        while let Some(leaf) = next {
            if self.nodes[leaf].begin_line != self.nodes[id].end_line {
                break;
            }
            if self.heeds_after(leaf) {
                return 0;
            }
            next = self.next_leaf(leaf);
        }
        text.len() - line_start
    }

    /// Whether white space before this leaf's line break, on the leaf's line, must stay: asked of
    /// what precedes a text, looking back.
    fn heeds_before(&self, id: usize) -> bool {
        match &self.nodes[id].kind {
            Kind::Output => true,
            Kind::Text { text, .. } => !self.is_ignorable_where_it_is(id) && heeds(text.chars().rev()),
            _ => false,
        }
    }

    /// The same of what follows a text, looking ahead.
    fn heeds_after(&self, id: usize) -> bool {
        match &self.nodes[id].kind {
            Kind::Output => true,
            Kind::Text { text, .. } => !self.is_ignorable_where_it_is(id) && heeds(text.chars()),
            _ => false,
        }
    }

    fn is_ignorable(&self, id: usize, previous: Option<usize>, next: Option<usize>) -> bool {
        match self.nodes[id].kind {
            Kind::Trim { .. } => true,
            Kind::Fleeting => self.nodes[id].children.is_empty(),
            Kind::Text { .. } => self.is_ignorable_text(id, self.stripping, previous, next),
            _ => false,
        }
    }

    /// A text is ignorable when it is white space between parts that print nothing.
    fn is_ignorable_text(&self, id: usize, stripping: bool, previous: Option<usize>, next: Option<usize>) -> bool {
        let text = self.text(id);
        if text.is_empty() {
            return true;
        }
        if !stripping || !is_blank(text) {
            return false;
        }
        let top_level = self.is_top_level(id);
        let silent = |sibling: Option<usize>| match sibling {
            Some(sibling) => self.is_silent(sibling),
            None => top_level,
        };
        silent(previous) && silent(next)
    }

    fn is_ignorable_where_it_is(&self, id: usize) -> bool {
        self.is_ignorable_text(id, true, self.sibling(id, false), self.sibling(id, true))
    }

    fn is_silent(&self, id: usize) -> bool {
        matches!(self.nodes[id].kind, Kind::Silent | Kind::Macro)
    }

    fn is_top_level(&self, id: usize) -> bool {
        self.nodes[id].parent == Some(ROOT)
    }

    fn sibling(&self, id: usize, next: bool) -> Option<usize> {
        let siblings = &self.nodes.get(self.nodes[id].parent?)?.children;
        let place = self.nodes[id].place;
        let place = if next { place + 1 } else { place.checked_sub(1)? };
        siblings.get(place).copied()
    }

    fn next_leaf(&self, id: usize) -> Option<usize> {
        self.neighbour_leaf(id, true)
    }

    fn previous_leaf(&self, id: usize) -> Option<usize> {
        self.neighbour_leaf(id, false)
    }

    fn neighbour_leaf(&self, mut id: usize, next: bool) -> Option<usize> {
        self.looks.set(self.looks.get().checked_sub(1)?);
        let mut found = loop {
            if let Some(sibling) = self.sibling(id, next) {
                break sibling;
            }
            id = self.nodes[id].parent?;
        };
        while !matches!(self.nodes[found].kind, Kind::Closed | Kind::Macro) {
            let children = &self.nodes[found].children;
            match if next { children.first() } else { children.last() } {
                Some(child) => found = *child,
                None => break,
            }
        }
        Some(found)
    }

    fn text(&self, id: usize) -> &str {
        match &self.nodes[id].kind {
            Kind::Text { text, .. } => text,
            _ => "",
        }
    }

    fn set_text(&mut self, id: usize, new: String) {
        if let Kind::Text { text, .. } = &mut self.nodes[id].kind {
            *text = new;
        }
    }
}

/// Where the last line of a text begins, if it has a line break.
fn line_break_end(text: &str) -> Option<usize> {
    text.rfind(['\n', '\r']).map(|at| at + 1)
}

/// Whether there is something to heed before a line break comes.
fn heeds(chars: impl Iterator<Item = char>) -> bool {
    for c in chars {
        if matches!(c, '\n' | '\r') {
            return false;
        }
        if !is_java_space(c) {
            return true;
        }
    }
    true
}

/// Java's `String.trim` would leave nothing.
fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c <= ' ')
}

/// Java's `Character.isWhitespace`.
pub(crate) fn is_java_space(c: char) -> bool {
    match c {
        '\t'..='\r' | '\u{1c}'..='\u{1f}' | ' ' => true,
        '\u{a0}' | '\u{2007}' | '\u{202f}' | '\u{85}' => false,
        c => c.is_whitespace(),
    }
}
