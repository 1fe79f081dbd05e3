//! Buffers that connections borrow while bytes are in them.
//!
//! An idle connection holds none. Each worker thread keeps a few for reuse, so that
//! the steady state allocates nothing; the rest goes back to the allocator.

use std::cell::RefCell;

/// Size of a buffer in bytes: two full TLS records, which is also what a server
/// writes at most between two looks at its socket.
pub(crate) const BUFFER: usize = 32 * 1024;

/// Buffers a thread keeps; more than that are in use only in bursts.
const KEPT: usize = 64;

thread_local! {
    static FREE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of [`BUFFER`] bytes; what is in it is left over from others and must
/// be written before it is read.
pub(crate) fn take() -> Vec<u8> {
    FREE.with_borrow_mut(Vec::pop)
        .unwrap_or_else(|| vec![0; BUFFER])
}

/// Gives a buffer back.
pub(crate) fn give(buffer: Vec<u8>) {
    if buffer.len() == BUFFER {
        FREE.with_borrow_mut(|free| {
            if free.len() < KEPT {
                free.push(buffer);
            }
        });
    }
}
