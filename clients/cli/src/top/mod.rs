//! `sluice top`: syncs and nodes, live. What is known, what is shown of it and how it looks are plain data and functions; only
//! [`read`] speaks to the control plane and only [`screen`] to the terminal.
//!
//! | module | concern |
//! |---|---|
//! | [`rows`] | one sync, one node, as they are shown |
//! | [`board`] | what is known: readings go in, rows and rates come out, and what to ask next |
//! | [`columns`] | the columns: titles, cells, order, which fit |
//! | [`app`] | what the user has chosen, and what keys do |
//! | [`draw`] | the picture |
//! | [`once`] | the same as plain text or JSON |
//! | [`read`], [`screen`] | the calls; the terminal |

pub(crate) mod app;
pub(crate) mod board;
mod columns;
mod draw;
pub(crate) mod once;
pub(crate) mod read;
mod rows;
#[cfg(test)]
mod sample;
pub(crate) mod screen;
