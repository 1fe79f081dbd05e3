//! The proxy as a whole, against real servers and real clients.

mod support;
