//! A client of a pool: it stays, and connections come and go beneath it.
//!
//! It keeps the connection that it used last for as long as nobody else needs it,
//! so that alone it is served as in session mode. A connection changes hands only
//! between transactions, and only when it is known what the client leaves on it:
//! see `state::tracker`.

mod admission;
mod at_idle;
mod backend_pid;
mod client;
mod databases;
mod description;
mod idle;
mod inspection;
mod inspector;
mod login;
mod policy;
mod portals;
mod relay;
mod replies;
mod waiting;

use std::future::poll_fn;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::closing::SessionClose;
use super::handle::{Activity, StopOrder, log_session};
use super::new_session::Ahead;
use super::registry::{CancelSlot, Entry};
use super::service::{Route, Service};
use super::session_end::{RelayExit, SessionEnd, UpstreamLeg};
use crate::config::values::{PoolPlan, Scrub};
use crate::fault::ClientFacing as _;
use crate::name::Name;
use crate::pool::{IdleHold, Lease, LeaseError, LeftBehind, PoolHandle, UpstreamState};
use crate::state::reset;
use crate::state::tracker::{Cleanup, Hold, HoldReason};
use crate::wire::frontend;

use at_idle::note_left;
use backend_pid::NotificationPids;
use client::PooledClient;
use idle::{RejectedBatch, Wakeup};
use inspector::{Health, Inspector, Precondition, Rules};
use relay::{ClientLink, LeaseExit, PooledRelay};

pub(crate) use databases::DatabaseRegistry;
pub(super) use login::{PoolRequest, PooledLogin, adopt, log_in};

/// A client of a pool, logged in.
#[derive(Debug)]
pub(super) struct PooledSession<'a> {
    service: &'a Service,
    entry: Entry,
    link: ClientLink,
    client: Box<PooledClient>,
    notification_pids: Arc<NotificationPids>,
    pool: PoolHandle,
    plan: Arc<PoolPlan>,
    route: Arc<Route>,
    cancel_slot: Arc<CancelSlot>,
    /// Places for clients that keep a connection.
    pins: Arc<Semaphore>,
    /// How it is asked for a connection that it keeps.
    idle_hold: Arc<IdleHold>,
    refusal: RejectedBatch,
    pinning: PinRequest,
    /// Its next connection is to be the one that it was told of, if that can be had soon.
    prefers_announced: bool,
    /// Version of TLS of the connection it had last.
    tls: &'static str,
}

/// A client with a connection, and what it needs for rare wishes.
struct Checkout<'a> {
    relay: PooledRelay<'a>,
    pins: &'a Arc<Semaphore>,
    cancel_slot: &'a CancelSlot,
}

impl Checkout<'_> {
    /// Until the client leaves the connection, or wants what it cannot be given on it.
    async fn run(&mut self) -> LeaseExit {
        let relay = &mut self.relay;
        let lease_exit = loop {
            match relay.run().await {
                LeaseExit::Needs(Precondition::Vacant(database)) => {
                    relay.busy();
                    let eviction =
                        Box::pin(relay.pools.evict_database(Name::from(&*database))).await;
                    relay.satisfied(Some(eviction));
                }
                LeaseExit::Needs(Precondition::Pin(reason)) => {
                    let Ok(place) = Arc::clone(self.pins).try_acquire_owned() else {
                        break LeaseExit::Needs(Precondition::Pin(reason));
                    };
                    relay.busy();
                    relay.inspector.client.pin = Some(place);
                    relay.satisfied(None);
                }
                LeaseExit::OrphanedStatement => {
                    if let Err(error) = Box::pin(self.cancel_slot.cancel_at_once()).await {
                        log_session!(
                            debug,
                            relay.handle,
                            %error,
                            "a statement without a client could not be cancelled"
                        );
                    }
                }
                other => break other,
            }
        };
        if matches!(
            lease_exit,
            LeaseExit::Needs(Precondition::Pin(_) | Precondition::AnnouncedBackend)
        ) {
            // A place that it has waited for is still its own.
            let pin = relay.inspector.client.pin.take();
            relay.let_go();
            relay.inspector.client.pin = pin;
        }
        lease_exit
    }
}

/// A statement for which a client has to have a place among those who keep their
/// connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PinRequest {
    None,
    /// It waits for one, without a connection meanwhile.
    Wanted(HoldReason),
    /// It has waited long enough.
    Refused(HoldReason),
}

impl<'a> PooledSession<'a> {
    pub(super) fn new(
        (client, ahead): Ahead,
        entry: Entry,
        login: PooledLogin,
        service: &'a Service,
    ) -> Self {
        let shared = login.route.databases.of(&login.pool.key().database);
        let handle = Arc::clone(entry.handle());
        handle.set_pool(&login.pool);
        let pins = login
            .route
            .databases
            .pins(&login.pool.key(), login.plan.max_pinned);
        Self {
            service,
            entry,
            link: ClientLink::new(client, &ahead),
            client: Box::new(PooledClient::new(
                &handle,
                login.known,
                login.announced,
                shared.catalog,
            )),
            notification_pids: shared.notification_pids,
            pool: login.pool,
            plan: login.plan,
            route: login.route,
            cancel_slot: login.cancel_slot,
            pins,
            idle_hold: login.idle_hold,
            refusal: RejectedBatch::Over,
            pinning: PinRequest::None,
            prefers_announced: false,
            tls: "none",
        }
    }

    /// Serves the client until it leaves.
    pub(super) async fn run(mut self: Box<Self>) -> (SessionEnd, SessionClose) {
        let exit = self.serve().await;
        Box::pin(self.part(exit)).await
    }

    async fn part(self: Box<Self>, exit: RelayExit) -> (SessionEnd, SessionClose) {
        let Self {
            link,
            entry,
            route,
            tls,
            pool,
            ..
        } = *self;
        drop(pool);
        drop(entry);
        let (client, told) = link.part(exit.client_error()).await;
        let over = UpstreamLeg {
            upstream: Arc::clone(&route.upstream),
            tls,
        };
        let end = SessionEnd::Carried { exit, over };
        (end, SessionClose::of(client, told))
    }

    async fn serve(&mut self) -> RelayExit {
        loop {
            let handle = Arc::clone(self.entry.handle());
            handle.set_activity(Activity::Idle);
            let told_by = (&*handle, &*self.idle_hold);
            let wakeup = poll_fn(|cx| self.link.poll_idle(cx, &mut self.refusal, told_by)).await;
            match wakeup {
                Wakeup::Wants => {}
                Wakeup::Left => return RelayExit::ClientLeft,
                Wakeup::Lost(error) => return RelayExit::ClientLost(error),
                Wakeup::BadClient(error) => return RelayExit::BadClient(error),
                Wakeup::BadMessage(tag) => return self.link.unknown(tag),
                Wakeup::Ordered(StopOrder::TimedOut(limit)) => return RelayExit::TimedOut(limit),
                Wakeup::Ordered(_) => return RelayExit::Ordered,
                Wakeup::ConnectionLost(last_words) => return self.link.server_lost(last_words),
            }
            if let PinRequest::Wanted(reason) = self.pinning {
                Box::pin(self.wait_for_pin(reason)).await;
            }
            // Boxed: an idle client is not to pay for what a lease needs.
            let lease = match self.take_at_once().await {
                Some(lease) => Ok(lease),
                None => Box::pin(self.lease()).await,
            };
            let exit = match self.unless_called_off(lease) {
                Ok(lease) => Box::pin(self.carry(lease)).await,
                // As if its own connection had been lost, which it has.
                Err(error @ LeaseError::NoWay) => Some(RelayExit::Stranded(error.fault())),
                Err(LeaseError::Closed) => Some(RelayExit::Ordered),
                Err(error) => {
                    let fault = error.fault_in(self.plan.mode);
                    if !matches!(error, LeaseError::CalledOff) {
                        self.service.metrics.refused(fault.label);
                        self.refusal_told(fault.label, &error.to_string());
                    }
                    self.refusal = RejectedBatch::Answer(fault.error());
                    None
                }
            };
            if let Some(exit) = exit {
                return exit;
            }
        }
    }

    /// Carries over `lease` until the client has left; `None` when it goes on
    /// without a connection. Begins and ends with each transaction, so that what is
    /// rare is boxed: this is to be small.
    async fn carry(&mut self, lease: Lease) -> Option<RelayExit> {
        // Used where it lies: to move it costs as much as to look at a frame.
        let (lease_exit, mut lease, end, dismissal) = {
            let mut checkout = self.check_out(lease);
            let lease_exit = checkout.run().await;
            let relay = &mut checkout.relay;
            let end = (relay.inspector.health(), relay.upstream_state());
            let dismissal = relay.inspector.refusal.take();
            (lease_exit, checkout.relay.lease, end, dismissal)
        };
        lease.dry = self.link.to_client.is_dry();
        match lease_exit {
            LeaseExit::Needs(Precondition::Pin(reason)) => {
                self.pinning = PinRequest::Wanted(reason)
            }
            LeaseExit::Needs(Precondition::AnnouncedBackend) => self.prefers_announced = true,
            _ => {}
        }
        self.cancel_slot.leave();
        let exit = self.check_in(lease, lease_exit, end);
        exit.map(|exit| dismissal.map_or(exit, RelayExit::Dismissed))
    }

    /// Makes `lease` this client's, and says what has to be said first to both sides.
    fn check_out(&mut self, mut lease: Lease) -> Checkout<'_> {
        if self.client.last.replace(lease.id()) != Some(lease.id()) {
            self.client.streak = 0;
        }
        lease.used_by(&self.idle_hold);
        self.tls = lease.stream.tls_version();
        let mut first = Vec::new();
        let batches = self.introduce(&mut lease, &mut first);
        self.link.to_upstream.append(&first);
        self.link.to_upstream.resume();
        self.link.to_client.change_source(lease.dry);
        let rules = Rules {
            mode: self.plan.mode,
            on_session_state: self.plan.on_session_state,
            scrub: self.plan.scrub,
        };
        let mut inspector = Inspector::new(&mut self.client, &self.notification_pids, rules);
        let mut told = Vec::new();
        inspector.begin(batches, &mut lease, &mut told);
        self.link.to_client.append(&told);
        let pools = &self.route.pools;
        let surroundings = (&**self.entry.handle(), &self.service.metrics, pools);
        let mut relay = PooledRelay::new(
            &mut self.link,
            lease,
            inspector,
            surroundings,
            &self.idle_hold,
        );
        if let PinRequest::Refused(reason) = std::mem::replace(&mut self.pinning, PinRequest::None)
        {
            relay.refused(reason);
        }
        Checkout {
            relay,
            pins: &self.pins,
            cancel_slot: &self.cancel_slot,
        }
    }

    /// What becomes of the connection, and whether that was the end of the session.
    fn check_in(
        &self,
        lease: Lease,
        lease_exit: LeaseExit,
        (health, state): (Health, UpstreamState),
    ) -> Option<RelayExit> {
        let doubtful = health != Health::Good;
        match lease_exit {
            // The server is still there.
            LeaseExit::Over(exit) if health == Health::Broken => {
                lease.close(UpstreamState::Torn);
                Some(exit)
            }
            LeaseExit::Over(exit) => {
                lease.close(match exit {
                    RelayExit::UpstreamEnded | RelayExit::UpstreamLost { .. } => {
                        UpstreamState::Ended
                    }
                    RelayExit::BadUpstream(_) => UpstreamState::Torn,
                    _ => state,
                });
                Some(exit)
            }
            LeaseExit::ClientLeft => {
                if doubtful {
                    lease.close(UpstreamState::AtRest);
                } else {
                    self.return_or_close(lease);
                }
                Some(RelayExit::ClientLeft)
            }
            LeaseExit::Lost => {
                let meant =
                    self.route.pools.expects_terminations() && self.client.announced.is(&lease);
                lease.lost();
                meant.then_some(RelayExit::UpstreamLost {
                    commit_in_flight: false,
                    error: None,
                })
            }
            LeaseExit::Released | LeaseExit::Discarded | LeaseExit::Needs(_) if doubtful => {
                lease.close(UpstreamState::AtRest);
                None
            }
            LeaseExit::Discarded => {
                lease.retire();
                None
            }
            LeaseExit::Released | LeaseExit::Needs(_) | LeaseExit::OrphanedStatement => {
                lease.check_in();
                None
            }
        }
    }

    /// What has to be sent first for the connection to be this client's; says how
    /// many batches that is.
    fn introduce(&self, lease: &mut Lease, out: &mut Vec<u8>) -> u8 {
        let id = self.client.handle.id;
        let connection = &mut **lease;
        // What it has is the client's to change from here on.
        let there = connection.settings.take();
        if !connection.give_to(id) {
            return 0;
        }
        let settings = self.client.tracker.settings();
        let same = there.is_some_and(|there| there.is_same(settings));
        let clean = connection.left == LeftBehind::Nothing && same;
        let scrubs = match self.plan.scrub {
            Scrub::Auto => !clean,
            Scrub::Always => true,
            Scrub::Never => false,
        };
        if !scrubs {
            return 0;
        }
        self.service.metrics.scrubs.increment(1);
        let mut batches = 1;
        let mut text = Vec::new();
        if connection.left == LeftBehind::Full {
            for full in reset::FULL {
                out.extend_from_slice(&frontend::query(full.as_bytes()));
                batches += 1;
            }
            connection.statements.clear();
        } else {
            text.extend_from_slice(reset::LIGHT.as_bytes());
        }
        let mut replay = Vec::new();
        settings.replay(&mut replay);
        if !text.is_empty() && !replay.is_empty() {
            text.extend_from_slice(b"; ");
        }
        text.extend_from_slice(&replay);
        out.extend_from_slice(&frontend::query(&text));
        connection.left = LeftBehind::Nothing;
        batches
    }

    /// The client has left at rest: the connection is for others.
    fn return_or_close(&self, mut lease: Lease) {
        let closes = self.client.tracker.cleanup() == Cleanup::Close;
        // What was only suspected was not looked into.
        let left = match self.client.tracker.hold() {
            Hold::Free => LeftBehind::Nothing,
            Hold::Soft => LeftBehind::Light,
            Hold::Check(_) | Hold::Hard(_) => LeftBehind::Full,
        };
        let connection = &mut *lease;
        note_left(connection, &self.client, left);
        connection.owner = None;
        if closes {
            lease.retire();
        } else {
            lease.check_in();
        }
    }
}
