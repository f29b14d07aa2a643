//! Nobody gets further than their key: both planes with TLS and keys, as they run in earnest.

#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(clippy::disallowed_methods)] // clients come from outside: no guard stands before them

mod keys;
mod matrix;
mod nodes;
mod story;
mod tls;
