//! Cutting template source into pieces: text and tags ([`text`]), and within tags the tokens of
//! expressions ([`token`]) with their string literals ([`literal`]) and names ([`letters`]).

pub(crate) mod letters;
pub(crate) mod literal;
pub(crate) mod text;
pub(crate) mod token;
