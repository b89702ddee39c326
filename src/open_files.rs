//! The limit of open files: each client and each origin connection takes one.
//!
//! Service managers start programs with a soft limit of 1,024, for the sake of programs that use `select`. A program
//! that does not may take what the hard limit allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Fewer than this are worth a warning: the default limit of client connections, as many again for origins and drives.
const ENOUGH: u64 = 40_000;

/// Of each four open files three may be clients; the rest is for origins, drives and routers.
const CLIENTS: (u64, u64) = (3, 4);

/// How many files the process may have open; `None`: any number.
pub(crate) fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// How many client connections there may be at once: what is wanted, or what the limit of open files leaves for them.
/// Beyond it clients are told 503; without files they could not even be told.
pub(crate) fn most_connections(wanted: u64) -> u64 {
    let files = limit().unwrap_or(u64::MAX);
    wanted.min(files / CLIENTS.1 * CLIENTS.0)
}

/// Raises the soft limit to the hard one, and says so when that is little.
pub(crate) fn raise_limit() {
    let found = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: found.maximum, maximum: found.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    let open_files = limit();
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
        assert_eq!(most_connections(1), 1);
        let files = hard.unwrap_or(u64::MAX);
        assert!(most_connections(u64::MAX) < files && most_connections(u64::MAX) > files / 2);
    }
}
