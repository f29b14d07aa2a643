//! Mistakes, as typing makes them.

use crate::random::Random;

const PIECES: &[&str] = &[
    "<",
    ">",
    "#",
    "</#if>",
    "<#else>",
    "}",
    "${",
    "{",
    "(",
    ")",
    "[",
    "]",
    "\"",
    "'",
    "?",
    "!",
    ".",
    ",",
    ";",
    "=",
    "-->",
    "<#--",
    " ",
    "\n",
    "</#list>",
    "<#nope>",
    "</#nope>",
    "?nope",
    "<#break>",
    "<@",
    "</@>",
    "&&",
    "-",
    "1",
    "<#sep>",
    "<#return>",
    "\\",
    "<#if x",
    "as",
    "??",
];

/// The text with a piece cut out, doubled, or put in.
pub(super) fn mutate(random: &mut Random, text: &str) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..random.below(2) + 1 {
        let at = random.below(chars.len() + 1);
        let end = (at + random.below(4) + 1).min(chars.len());
        match random.below(4) {
            0 => drop(chars.drain(at..end)),
            1 => {
                let piece: Vec<char> = chars[at..end].to_vec();
                chars.splice(at..at, piece);
            }
            _ => drop(chars.splice(at..at, random.pick(PIECES).chars())),
        }
    }
    chars.into_iter().collect()
}
