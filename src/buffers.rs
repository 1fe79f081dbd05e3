//! Buffers that connections borrow while bytes are in them.
//!
//! An idle connection holds none. Each worker thread keeps a few for reuse, so that
//! the steady state allocates nothing; the rest goes back to the allocator. What large
//! frames take beyond that is counted: it is bounded for all connections together.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Size of a buffer in bytes: two full TLS records, which is also what a server
/// writes at most between two looks at its socket.
pub(crate) const BUFFER: usize = 32 * 1024;

/// Buffers a thread keeps; more than that are in use only in bursts.
const KEPT: usize = 64;

/// With more than this beyond the size of buffers, no further large frame is waited for.
const SCARCE: usize = 64 << 20;

/// Bytes of all buffers beyond their usual size.
static BEYOND: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static FREE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of [`BUFFER`] bytes; what is in it is left over from others and must
/// be written before it is read.
pub(crate) fn take() -> Vec<u8> {
    FREE.with_borrow_mut(Vec::pop)
        .unwrap_or_else(|| vec![0; BUFFER])
}

/// Makes a buffer larger, up to `len` bytes.
pub(crate) fn grow(buffer: &mut Vec<u8>, len: usize) {
    if len > buffer.len() {
        BEYOND.fetch_add(len - buffer.len(), Ordering::Relaxed);
        buffer.resize(len, 0);
    }
}

/// Whether large frames take so much that no more of them is to be waited for.
pub(crate) fn are_scarce() -> bool {
    BEYOND.load(Ordering::Relaxed) >= SCARCE
}

/// Gives a buffer back.
pub(crate) fn give(buffer: Vec<u8>) {
    if buffer.len() > BUFFER {
        BEYOND.fetch_sub(buffer.len() - BUFFER, Ordering::Relaxed);
    }
    if buffer.len() == BUFFER {
        FREE.with_borrow_mut(|free| {
            if free.len() < KEPT {
                free.push(buffer);
            }
        });
    }
}
