//! Why a throwaway cluster could not be started.

use std::io;

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClusterError {
    #[error(
        "no PostgreSQL server programs (initdb, postgres) in {searched}; \
         install them, on Debian and Ubuntu with: apt-get install postgresql; \
         or name their directory"
    )]
    NotInstalled { searched: String },
    #[error(
        "PostgreSQL does not run as root, and there is no system user `postgres` to run it as; \
         start this as an ordinary user"
    )]
    OnlyRoot,
    #[error("cannot set up the cluster's directory: {0}")]
    Files(#[from] io::Error),
    #[error("cannot make the cluster's certificates: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("PostgreSQL did not start; its log ends with:\n{log}")]
    Start { log: String },
}
