//! Whose a connection is, and the caps that it counts in.

use crate::name::Name;

/// Whose connection it is; both names as the upstream knows them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) user: Name,
    pub(crate) database: Name,
}

/// A cap beside the total.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SubLimit {
    User(Name),
    Database(Name),
}

impl Key {
    pub(crate) fn new(user: impl Into<Name>, database: impl Into<Name>) -> Self {
        Self {
            user: user.into(),
            database: database.into(),
        }
    }

    /// How metrics and logs call its pool. A slash in a name does not pass for the
    /// one between the two.
    pub(crate) fn label(&self) -> String {
        let part = |name: &Name| name.to_string().replace('/', "\\x2f");
        format!("{}/{}", part(&self.database), part(&self.user))
    }

    /// The two caps, beside the total, that a connection of this key counts in.
    pub(crate) fn gates(&self) -> [SubLimit; 2] {
        [
            SubLimit::User(self.user.clone()),
            SubLimit::Database(self.database.clone()),
        ]
    }

    pub(crate) fn passes(&self, gate: &SubLimit) -> bool {
        match gate {
            SubLimit::User(user) => *user == self.user,
            SubLimit::Database(database) => *database == self.database,
        }
    }
}
