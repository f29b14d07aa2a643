//! How many files and sockets the process may have open.

/// Raises the limit to what the system lets this process have; gives how many that are, none if there is no limit or none is
/// known. The usual limit of 1,024 is there for programs that use `select`, which these do not.
#[must_use]
pub fn raise_limit() -> Option<u64> {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        if current == maximum {
            return current;
        }
        match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
            Ok(()) => maximum,
            Err(error) => {
                tracing::warn!(%error, ?current, ?maximum, "the limit on open files stays as it is");
                current
            }
        }
    }
    #[cfg(not(target_os = "linux"))]
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_once_and_stays() {
        let limit = raise_limit();
        assert_eq!(raise_limit(), limit);
        assert!(limit.is_none_or(|limit| limit > 0));
    }
}
