//! What tests of several rooms share: a measure of work.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// CPU time of this thread: what others do meanwhile is not in it.
fn spent() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .unwrap()
        .into()
}

/// Fails where eight times as much takes far more than eight times the work; what grows
/// with the square would take 64 times.
#[track_caller]
pub(crate) fn assert_linear<T>(
    what: &str,
    size: usize,
    make: impl Fn(usize) -> T,
    work: impl Fn(&mut T),
) {
    const FACTOR: u32 = 8;
    let cost = |size: usize| {
        let once = |_| {
            let mut input = make(size);
            let before = spent();
            work(&mut input);
            spent() - before
        };
        // Whatever disturbs a run makes it longer.
        (0..3).map(once).min().unwrap_or_default()
    };
    // What is made once is made here.
    work(&mut make(size));
    let mut tries = (0..4).map(|_| (cost(size), cost(size * FACTOR as usize)));
    let linear = |(one, many): &(Duration, Duration)| {
        *many <= *one * FACTOR * 5 / 2 + Duration::from_millis(1)
    };
    let found: Vec<_> = tries.by_ref().take_while(|costs| !linear(costs)).collect();
    assert!(found.len() < 4, "{what}: {found:?}");
}
