//! Templates that are made while another one is rendered (`?interpret`, `?eval`): they live as long
//! as the rendering, as values may borrow from them.

use std::cell::{Cell, OnceCell};

use crate::template::Inner;

/// Each shelf holds twice as many as the one before.
const SHELVES: usize = 12;
const FIRST_SHELF: usize = 8;

/// How many templates one rendering may make.
pub(crate) const CAPACITY: usize = FIRST_SHELF * ((1 << SHELVES) - 1);

type Shelf = OnceCell<Box<[OnceCell<Inner>]>>;

/// Only grows, and never moves what it holds.
pub(crate) struct Arena {
    /// Most renderings need none.
    shelves: OnceCell<Box<[Shelf; SHELVES]>>,
    len: Cell<usize>,
}

impl Arena {
    pub(crate) fn new() -> Self {
        Arena { shelves: OnceCell::new(), len: Cell::new(0) }
    }

    /// Keeps a template; `None` when there is no room left.
    pub(crate) fn keep(&self, template: Inner) -> Option<&Inner> {
        let mut place = self.len.get();
        let shelves = self.shelves.get_or_init(|| Box::new([const { OnceCell::new() }; SHELVES]));
        for (level, shelf) in shelves.iter().enumerate() {
            let size = FIRST_SHELF << level;
            if place < size {
                let places = shelf.get_or_init(|| (0..size).map(|_| OnceCell::new()).collect());
                self.len.set(self.len.get() + 1);
                return places.get(place).map(|cell| cell.get_or_init(|| template));
            }
            place -= size;
        }
        None
    }
}
