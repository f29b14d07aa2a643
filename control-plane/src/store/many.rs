//! Statements over many rows. Each statement costs two changes of thread, whatever it does: one for hundreds of rows costs hardly
//! more than one for a single row.

use std::sync::OnceLock;

/// Row counts for which a statement is prepared: rows are cut into such pieces, so that few statements serve all counts.
const SIZES: [usize; 4] = [512, 64, 8, 1];

/// A statement with a list of rows in it.
pub(super) struct Many {
    before: &'static str,
    row: &'static str,
    after: &'static str,
    texts: OnceLock<[String; SIZES.len()]>,
}

impl Many {
    /// `before`, rows such as `(?, ?)` with commas between them, `after`.
    pub(super) const fn new(before: &'static str, row: &'static str, after: &'static str) -> Self {
        Self { before, row, after, texts: OnceLock::new() }
    }

    /// Its text for as many rows as a piece of [`pieces`] has.
    pub(super) fn text(&'static self, rows: usize) -> &'static str {
        let texts = self.texts.get_or_init(|| {
            SIZES.map(|size| format!("{} {} {}", self.before, vec![self.row; size].join(", "), self.after))
        });
        let index = SIZES.iter().position(|size| *size == rows).unwrap_or(SIZES.len() - 1);
        &texts[index]
    }
}

/// Cuts rows into pieces for which statements are prepared.
pub(super) fn pieces<T>(rows: &[T]) -> impl Iterator<Item = &[T]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let size = SIZES.into_iter().find(|size| *size <= rest.len())?;
        let (piece, after) = rest.split_at(size);
        rest = after;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_into_prepared_sizes() {
        let sizes: Vec<_> = pieces(&[0; 661]).map(<[i32]>::len).collect();
        assert_eq!(sizes, [512, 64, 64, 8, 8, 1, 1, 1, 1, 1]);
        assert_eq!(pieces::<i32>(&[]).count(), 0);
    }

    #[test]
    fn a_text_has_as_many_rows_as_its_piece() {
        static INSERT: Many = Many::new("INSERT INTO t VALUES", "(?, ?)", "RETURNING a");
        assert_eq!(INSERT.text(1), "INSERT INTO t VALUES (?, ?) RETURNING a");
        assert_eq!(INSERT.text(64).matches("(?, ?)").count(), 64);
    }
}
