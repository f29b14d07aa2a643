//! What a run has measured, and how it is told.

mod figures;
pub mod markdown;
pub mod plot;
pub mod table;

pub use figures::{Axis, Fact, Goal, Measured, Point, Ratio, Report, Series, Spread};
