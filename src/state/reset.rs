//! Undoing what a client left on a connection.
//!
//! Neither text undoes what the server has no command for: loaded libraries,
//! setseed, the existence of custom settings (they stay, as ''), variables of
//! procedural languages, connections of dblink, that a temporary schema was made
//! (`pg_my_temp_schema()`; `temp_buffers` can no longer be set). `tracker` asks for
//! such a connection to be closed, or names the custom settings.

/// Undoes everything else, but keeps prepared statements, of SQL too. One simple
/// Query outside of a transaction; it returns a row. The first of it is RESET
/// ALL, so that the rest does not run under the settings of who left: a timeout,
/// a level of messages. RESET ROLE is there for logins that begin with a role
/// (ALTER ROLE … SET role), which SET SESSION AUTHORIZATION alone need not give.
pub(crate) const LIGHT: &str = include_str!("reset.sql");

/// Undo everything else, prepared statements included. They have to be Queries of
/// their own: a text of several is a transaction, in which DISCARD ALL is refused. It
/// runs the settings down first, so that no timeout of who left is in its way; and
/// DISCARD ALL forgets that a login may begin with a role.
pub(crate) const FULL: [&str; 3] = ["RESET ALL", "DISCARD ALL", "RESET ROLE"];

/// Whether a temporary schema is left, which nothing undoes: one row of one column.
pub(crate) const TEMPORARY: &str =
    "SELECT pg_catalog.pg_my_temp_schema() OPERATOR(pg_catalog.<>) 0";
