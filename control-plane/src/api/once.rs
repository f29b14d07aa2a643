//! Ids of requests ([AIP-155](https://google.aip.dev/155)): what makes two requests the same.

use sha2::{Digest as _, Sha256};
use sluice_pipeline::violation::reason;

use crate::{
    error::Error,
    store::{Once, Written},
};

const MAX_ID_CHARACTERS: usize = 64;

/// What the store must know of a request with this id; none if the id is empty. `parts` are all that tells it from another of
/// the same method, without secrets.
///
/// # Errors
/// If the id is not of the right form.
pub(super) fn once(
    request_id: &str,
    project: &str,
    now_ms: i64,
    method: &str,
    parts: &[&[u8]],
) -> Result<Option<Once>, Error> {
    if request_id.is_empty() {
        return Ok(None);
    }
    let is_valid = request_id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if !is_valid || request_id.len() > MAX_ID_CHARACTERS {
        let description = format!(
            "not an id of a request: 1 to {MAX_ID_CHARACTERS} characters of `A-Z`, `a-z`, `0-9`, `-` and `_`, such as a UUID"
        );
        return Err(Error::invalid("request_id", reason::INVALID_VALUE, description));
    }
    let mut digest = Sha256::new();
    for part in [method.as_bytes()].iter().chain(parts) {
        digest.update(part.len().to_be_bytes());
        digest.update(part);
    }
    Ok(Some(Once {
        project: project.to_owned(),
        id: request_id.to_owned(),
        digest: digest.finalize().to_vec(),
        now_ms,
    }))
}

/// What a write came to, or the name of what an earlier request with the same id did it to.
///
/// # Errors
/// If the id was another request's.
pub(super) fn done<T>(written: Written<T>) -> Result<Result<T, String>, Error> {
    match written {
        Written::Now(done) => Ok(Ok(done)),
        Written::Before(resource) => Ok(Err(resource)),
        Written::Reused => Err(Error::invalid(
            "request_id",
            "REQUEST_ID_REUSED",
            "another request had this id within the last hour: give each its own, and the same one only to repeat a request",
        )),
    }
}
