//! What the catalog proves of a statement: that it can leave nothing behind.
//!
//! Views, triggers, rules, defaults, domains, policies and functions run code that
//! a statement's text does not show. [`catalog_query`] is one query that finds all code of
//! a database that may leave something in the session, and every name by which a
//! text can reach it; its rows make a [`Catalog`], which then judges without the
//! server.
//!
//! Invariant: a statement is [`CatalogVerdict::Clean`] only if no name in its text belongs
//! to something that may leave a trace, whatever the schema, and nothing that goes
//! without a name does (operators, casts, operator classes). Names are compared
//! with all words of the text, so that a column may cost certainty, never safety.
//!
//! Believed without proof:
//!
//! * What initdb made, but for the functions that `sql` watches.
//! * The C code of the extensions that catalog_query.sql lists. All other C code, and all
//!   languages but SQL and PL/pgSQL, may keep state in the server's process, where
//!   nobody sees it: [`CatalogVerdict::Library`]. That a library is loaded, and defines its
//!   settings, counts as nothing.
//! * That reading settings, cursors, snapshots and transaction numbers, notifying,
//!   and locks of the transaction leave nothing.
//! * What a login trigger does, it does before anybody's first statement.
//! * A COMMIT runs deferred triggers and a FETCH its cursor's query: they are as
//!   clean as the statements before them in the same transaction.
//!
//! Only text is judged. A parameter's type that a Parse gives by a number from 16384
//! up may be a domain, whose constraints then run though no name shows it; the
//! protocol's FunctionCall has no text at all. Neither is to be asked about here.
//!
//! A catalog is as old as its census. Who sees DDL has to stop asking it until the
//! next one, the rest of that transaction included; DDL made elsewhere, between the
//! census and a statement, is not seen. Temporary objects are left out: who has any
//! is not without a trace anyway.

mod fnv;
mod process_state;
mod reader;
mod snapshot;

#[cfg(test)]
mod tests;

pub(crate) use reader::CatalogReader;
pub(crate) use snapshot::{Catalog, CatalogVerdict};

/// For a simple Query outside a transaction: its settings end with it. The server
/// gives up after a few seconds. The rows are for [`CatalogReader`]; everything else that
/// the server says, an error aside, is of no interest.
pub(crate) const fn catalog_query() -> &'static [u8] {
    include_bytes!("catalog/catalog_query.sql")
}
