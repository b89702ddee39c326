//! The limit of open files: each client and each origin connection takes one.
//!
//! Service managers start programs with a soft limit of 1,024, for the sake of programs that use `select`. A program
//! that does not may take what the hard limit allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Fewer than this are worth a warning: the default limit of client connections, as many again for origins and drives.
const ENOUGH: u64 = 40_000;

/// Raises the soft limit to the hard one, and says so when that is little.
pub(crate) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    let open_files = getrlimit(Resource::Nofile).current;
    if open_files.is_some_and(|files| files < ENOUGH) {
        tracing::warn!(
            open_files,
            wanted = ENOUGH,
            "few open files: clients may be refused; raise LimitNOFILE= of the service, or `ulimit -Hn`"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let hard = getrlimit(Resource::Nofile).maximum;
        setrlimit(Resource::Nofile, Rlimit { current: Some(256), maximum: hard }).unwrap();
        raise_limit();
        assert_eq!(getrlimit(Resource::Nofile).current, hard);
    }
}
