//! What a process of Sluice needs from its machine: a [`clock`], a [`data_folder`] of its own, a [`listen`]er,
//! [`tls`] and room for [`open_files`]. Both planes use it; it knows nothing of events or syncs.

pub mod clock;
pub mod data_folder;
pub mod listen;
pub mod open_files;
pub mod sealing;
pub mod tls;
