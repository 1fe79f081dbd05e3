//! What makes a session a session: the state that a client relies on, and what a
//! server connection holds of it. Pure: no sockets, no clock, no locks.
//!
//! Transaction pooling lets a client's session move between connections. This
//! room answers the questions that asks: what did a transaction leave behind
//! (`tracker`), can that be proven from the catalog (`catalog`), what does the server
//! say (`probe`), what has to be replayed (`settings`), what undone (`reset`),
//! and which prepared statements are where (`prepared`).

mod literal;
pub(crate) mod parameters;
pub(crate) mod prepared;
pub(crate) mod probe;
pub(crate) mod reset;
pub(crate) mod settings;
pub(crate) mod tracker;
mod untracked_settings;
