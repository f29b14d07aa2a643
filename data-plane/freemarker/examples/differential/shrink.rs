//! Makes a request that shows a difference small.

use std::io;

use crate::difference::{Verdict, judge, signature};
use crate::engines::{Answer, Engine};
use crate::generator::Request;

/// How many requests are tried at most.
const TRIES: usize = 600;

/// Cuts pieces out of the template, and drops settings and other templates, as long as the engines go on to differ in
/// the same way.
pub(crate) fn shrink(
    request: &Request,
    ours: &mut Engine,
    theirs: &mut Engine,
    wanted: &str,
) -> io::Result<(Request, Answer, Answer)> {
    let mut best = request.clone();
    let mut tries = 0;
    let mut differs = |candidate: &Request| -> io::Result<bool> {
        tries += 1;
        let lines = [candidate.line()];
        let (ours, theirs) = (ours.answer_all(&lines)?, theirs.answer_all(&lines)?);
        Ok(tries < TRIES
            && judge(candidate, &ours[0], &theirs[0]) == Verdict::Different
            && signature(&ours[0], &theirs[0]) == wanted)
    };
    for place in (0..best.settings.len()).rev() {
        let mut candidate = best.clone();
        candidate.settings.remove(place);
        if differs(&candidate)? {
            best = candidate;
        }
    }
    for place in (0..best.templates.len()).rev() {
        let mut candidate = best.clone();
        candidate.templates.remove(place);
        if differs(&candidate)? {
            best = candidate;
        }
    }
    let mut size = (best.template.chars().count() / 2).max(1);
    loop {
        let mut at = 0;
        let mut cut_any = false;
        while at < best.template.chars().count() {
            let mut candidate = best.clone();
            candidate.template = without(&best.template, at, size);
            if differs(&candidate)? {
                best = candidate;
                cut_any = true;
            } else {
                at += size;
            }
        }
        if size > 1 {
            size /= 2;
        } else if !cut_any {
            break;
        }
    }
    let lines = [best.line()];
    let (mut ours, mut theirs) = (ours.answer_all(&lines)?, theirs.answer_all(&lines)?);
    Ok((best, ours.remove(0), theirs.remove(0)))
}

fn without(text: &str, at: usize, size: usize) -> String {
    text.chars().take(at).chain(text.chars().skip(at + size)).collect()
}
