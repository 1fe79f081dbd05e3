//! What pools do by the clock, and what others' need makes them do.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::closing::{CapPlace, Closing};
use super::connection::Connection;
use super::idle_hold::ReclaimPolicy;
use super::key::Key;
use super::lease::Lease;
use super::pools::{Pools, State};
use crate::config::values::Priority;
use crate::metrics::PoolFigures;
use crate::net::Peeked;
use crate::pool::timing::TICK;
use crate::upstream::{self, FailedOpen};

/// No client has this number.
const NOBODY: u64 = u64::MAX;

/// Looks after the pools until `stop`: closes what is old, unused or dead, keeps
/// the connections that plans ask for, and makes room when somebody waits at the cap.
pub(crate) async fn maintain(pools: Pools, stop: CancellationToken) {
    let mut rounds = interval(TICK);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = pools.room_wanted() => pools.reclaim(),
            _ = rounds.tick() => {
                pools.tick();
                pools.reclaim();
                pools.probe();
                pools.report();
            }
            () = stop.cancelled() => return,
        }
    }
}

impl State {
    /// Notes who has used the connection that it keeps. Who has not, and needs it no
    /// more, is asked for it: others look for idle ones on the shelf.
    fn look_at_holders(&mut self, now: Instant) {
        for (&id, (pool, holder)) in &self.holds {
            if holder.look() {
                self.allocator.touched(*pool, id, now);
            } else if holder.is_idle() {
                self.allocator.ask((*pool, id), ReclaimPolicy::Anyone);
            }
        }
    }
}

impl Pools {
    pub(super) fn tick(&self) {
        let speaking = self.act(|state| {
            let is_dead = |connection: &Connection| connection.glance() == Peeked::Ended;
            let now = Instant::now();
            state.allocator.retire_unused();
            state.look_at_holders(now);
            state.allocator.reap(now, |connection| is_dead(connection));
            let speaks = |connection: &Connection| connection.glance() == Peeked::Bytes;
            let speaking = state.allocator.inspect(|connection| speaks(connection));
            let pool_of = |number| state.by_number.get(&number).map(Arc::clone);
            let speaking = speaking.into_iter();
            speaking
                .map(|(number, connection)| (pool_of(number), connection))
                .collect::<Vec<_>>()
        });
        let speaking = speaking.into_iter();
        let leases =
            speaking.filter_map(|(pool, connection)| Some(Lease::new(connection, pool?, NOBODY)));
        // Most servers say why before they close: it is heard, and the place is free.
        for mut lease in leases {
            self.spawn(async move {
                match lease.freshen().await {
                    Ok(()) => lease.check_in(),
                    Err(stale) => lease.lose(stale),
                }
            });
        }
    }

    /// Where no client's login shows how the server is, one of the proxy's own does. It has
    /// a place as any other; without one to spare there are connections enough to see it.
    fn probe(&self) {
        let upstream = Arc::clone(&self.inner().upstream);
        let Some(prober) = upstream.prober() else {
            return;
        };
        let key = Key::new(&*prober.role, &*prober.database);
        let has_room = self.inner().state.lock().allocator.limits().has_room(&key);
        if !has_room || !upstream.health().begin_probe() {
            return;
        }
        let Some(permit) = self.try_admit(key, Priority::Low) else {
            return;
        };
        let place = CapPlace::new(permit, upstream.metrics().connection());
        let closing = Closing::new(place, Arc::clone(&upstream));
        self.spawn(async move {
            let Some(prober) = upstream.prober() else {
                return;
            };
            let stream = match upstream::probe(&upstream, prober).await {
                Ok(stream) => Some(stream),
                Err(FailedOpen { error, stream }) => {
                    tracing::debug!(%error, "the upstream lets nobody in");
                    stream
                }
            };
            if let Some(stream) = stream {
                closing.close(stream).await;
            }
        });
    }

    /// Sets the gauges.
    fn report(&self) {
        let mut figures: BTreeMap<String, PoolFigures> = BTreeMap::new();
        {
            let state = self.inner().state.lock();
            for (key, tally, kept) in state.allocator.tallies() {
                let (mut held, mut idle) = (0, 0);
                for (_, holder) in kept.filter_map(|id| state.holds.get(&id)) {
                    idle += u32::from(holder.is_idle());
                    held += u32::from(holder.is_at_rest());
                }
                let figure = figures.entry(key.label()).or_default();
                // One that waits to be asked is as good as one on the shelf.
                figure.idle += tally.idle + idle;
                figure.held += held.saturating_sub(idle);
                figure.active += tally.lent.saturating_sub(held);
                figure.waiting += tally.waiting;
            }
        }
        self.inner().upstream.metrics().pools(&figures);
    }
}
