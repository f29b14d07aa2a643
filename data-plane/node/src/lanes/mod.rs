//! Lanes decide which deliveries are in memory and which may begin now; the dispatcher acts.

mod gate;
mod lane;
mod pace;
mod places;
mod window;

pub use self::{
    gate::{Gate, Told},
    lane::{Lane, Work},
    pace::Pace,
    places::{Held, Places},
};
