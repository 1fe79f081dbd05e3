//! What pools do by the clock, and what others' need makes them do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::closing::{CapPlace, Closing};
use super::connection::Connection;
use super::idle_hold::ReclaimPolicy;
use super::lease::Lease;
use super::limiter::{Admission, Whose};
use super::limiter_state::Key;
use super::pools::{Pools, PoolsInner, Work};
use crate::config::values::Priority;
use crate::metrics::PoolFigures;
use crate::net::Peeked;
use crate::upstream::{self, FailedOpen};

/// How often the pools are looked over.
const ROUND: Duration = Duration::from_secs(1);
/// No client has this number.
const NOBODY: u64 = u64::MAX;

/// Looks after the pools until `stop`: closes what is old, unused or dead, keeps
/// the connections that plans ask for, and makes room when somebody waits at the cap.
pub(crate) async fn maintain(pools: Pools, stop: CancellationToken) {
    let mut rounds = interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = pools.inner().limiter.somebody_queued() => pools.reclaim(),
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

impl PoolsInner {
    /// Notes who has used the connection that it keeps. Who has not, and needs it no
    /// more, is asked for it: others look for idle ones on the shelf.
    fn look_at_holders(&mut self, now: Instant, out: &mut Work) {
        for (&id, (pool, holder)) in &self.holders {
            if holder.look() {
                self.pools.touched(*pool, id, now, out);
            } else if holder.is_idle() {
                self.pools.ask((*pool, id), ReclaimPolicy::Anyone, out);
            }
        }
    }
}

impl Pools {
    /// Makes room for those who wait at the cap.
    pub(super) fn reclaim(&self) {
        let rivals = self.competing_waiters();
        if rivals.iter().any(|rival| rival.pool.is_none()) {
            // Before others lose one: clients of passthrough that have left.
            self.retire_unused();
        }
        if !rivals.is_empty() {
            self.act(|room, out| room.pools.reclaim(&rivals, out));
        }
    }

    pub(super) fn tick(&self) {
        self.retire_unused();
        let speaking = self.act(|room, out| {
            let is_dead = |connection: &Connection| connection.glance() == Peeked::Ended;
            let now = Instant::now();
            room.look_at_holders(now, out);
            room.pools.reap(now, |connection| is_dead(connection), out);
            let speaks = |connection: &Connection| connection.glance() == Peeked::Bytes;
            let speaking = room.pools.inspect(|connection| speaks(connection));
            let speaking = speaking.into_iter();
            speaking
                .filter_map(|(pool, connection)| {
                    let pool = room.by_number.get(&pool)?;
                    Some(Lease::new(connection, Arc::clone(pool), NOBODY))
                })
                .collect::<Vec<_>>()
        });
        // Most servers say why before they close: it is heard, and the place is free.
        for mut lease in speaking {
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
        let gatekeeper = &self.inner().limiter;
        if !gatekeeper.has_room(&key) || !upstream.health().begin_probe() {
            return;
        }
        let Ok(Admission::Admitted(permit)) = gatekeeper.ask(key, Priority::Low, Whose::Clients)
        else {
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
            let room = self.inner().state.lock();
            for (key, tally, kept) in room.pools.tallies() {
                let (mut held, mut idle) = (0, 0);
                for (_, holder) in kept.filter_map(|id| room.holders.get(&id)) {
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
