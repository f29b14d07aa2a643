//! Places in a template's source.

/// A stretch of a template's source, in bytes: `start` inclusive, `end` exclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Span { start: to_u32(start), end: to_u32(end) }
    }

    /// From the start of this to the end of `other`.
    pub(crate) fn to(self, other: Span) -> Self {
        Span { start: self.start, end: other.end }
    }

    pub(crate) fn text(self, source: &str) -> &str {
        source.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// Templates are far smaller than 4 GiB (see the template size limit).
fn to_u32(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

/// A line and column as FreeMarker counts them: from 1, a tab reaching to the next multiple of 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

const TAB_SIZE: u32 = 8;

/// Where each line of a template starts: `\n`, `\r\n` and a lone `\r` end a line.
#[derive(Debug)]
pub(crate) struct Lines {
    starts: Vec<u32>,
}

impl Lines {
    pub(crate) fn new(source: &str) -> Self {
        let bytes = source.as_bytes();
        let mut starts = vec![0];
        for (i, byte) in bytes.iter().enumerate() {
            let ends = *byte == b'\n' || *byte == b'\r' && bytes.get(i + 1) != Some(&b'\n');
            if ends {
                starts.push(to_u32(i + 1));
            }
        }
        Lines { starts }
    }

    /// The line that the byte at `offset` is on; a line break is on the line that it ends.
    pub(crate) fn line(&self, offset: u32) -> u32 {
        to_u32(self.starts.partition_point(|start| *start <= offset))
    }

    /// Whether a line starts at `offset`.
    pub(crate) fn is_line_start(&self, offset: u32) -> bool {
        self.starts.binary_search(&offset).is_ok()
    }

    /// The line and column of the character at `offset`.
    pub(crate) fn position(&self, source: &str, offset: u32) -> Position {
        let line = self.line(offset);
        let start = self.line_start(line);
        let before = source.get(start..offset as usize).unwrap_or_default();
        let column = before.chars().fold(0, |column, c| match c {
            '\t' => column + TAB_SIZE - column % TAB_SIZE,
            c => column + c.len_utf16() as u32,
        });
        // a tab's own column is the one it reaches to
        let is_tab = source.as_bytes().get(offset as usize) == Some(&b'\t');
        Position { line, column: if is_tab { column + TAB_SIZE - column % TAB_SIZE } else { column + 1 } }
    }

    /// The text of a line without its line break.
    pub(crate) fn text<'s>(&self, source: &'s str, line: u32) -> &'s str {
        let rest = source.get(self.line_start(line)..).unwrap_or_default();
        rest.split(['\n', '\r']).next().unwrap_or_default()
    }

    fn line_start(&self, line: u32) -> usize {
        let index = line.saturating_sub(1) as usize;
        self.starts.get(index).copied().unwrap_or_default() as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_lines_and_columns_as_freemarker_does() {
        let source = "a\tb\r\nc\rd\n\te";
        let lines = Lines::new(source);
        let at = |offset| {
            let p = lines.position(source, offset);
            (p.line, p.column)
        };
        assert_eq!(at(0), (1, 1));
        assert_eq!(at(1), (1, 8));
        assert_eq!(at(2), (1, 9));
        assert_eq!(at(4), (1, 11)); // the \n of \r\n
        assert_eq!(at(5), (2, 1));
        assert_eq!(at(7), (3, 1));
        assert_eq!(at(10), (4, 9));
        assert_eq!(lines.text(source, 4), "\te");
        assert_eq!(lines.text(source, 1), "a\tb");
    }
}
