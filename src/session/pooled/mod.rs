//! A client of a pool: it stays, and connections come and go beneath it.
//!
//! It keeps the connection that it used last for as long as nobody else needs it,
//! so that alone it is served as in session mode. A connection changes hands only
//! between transactions, and only when it is known what the client leaves on it:
//! see `state::trace`.

mod description;
mod gate;
mod guest;
mod idle;
mod knowledge;
mod login;
mod names;
mod policy;
mod portals;
mod relay;
mod replies;
mod rest;
mod talk;
mod terms;
mod voices;
mod waiting;

use std::future::poll_fn;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::handle::{Activity, Order, log_session};
use super::registry::{Entry, Seat};
use super::relay::Departure;
use super::{Ahead, Ending, Leg, Parting, Route, Service};
use crate::config::values::{PoolPlan, Scrub};
use crate::fault::ClientFacing as _;
use crate::name::Name;
use crate::pool::{Holder, Lease, LeaseError, Left, Pool, UpstreamState};
use crate::state::scrub;
use crate::state::trace::{Hold, Reason, Residue};
use crate::wire::frontend;

use guest::Guest;
use idle::{Refusal, Stir};
use relay::{Leave, Line, Relay};
use rest::note_left;
use talk::{Health, Need, Rules, Talk};

pub(crate) use knowledge::Library;
pub(super) use login::{Welcomed, Wish, adopt, welcome};

/// A client of a pool, logged in.
#[derive(Debug)]
pub(super) struct Session<'a> {
    service: &'a Service,
    entry: Entry,
    line: Line,
    guest: Box<Guest>,
    pool: Arc<Pool>,
    plan: Arc<PoolPlan>,
    route: Arc<Route>,
    seat: Arc<Seat>,
    /// Places for clients that keep a connection.
    pins: Arc<Semaphore>,
    /// How it is asked for a connection that it keeps.
    holder: Arc<Holder>,
    refusal: Refusal,
    pinning: Pinning,
    /// Its next connection is to be its home, if that can be had soon.
    homing: bool,
    /// Version of TLS of the connection it had last.
    tls: &'static str,
}

/// A client with a connection, and what it needs for rare wishes.
struct Aboard<'a> {
    relay: Relay<'a>,
    pins: &'a Arc<Semaphore>,
    seat: &'a Seat,
}

impl Aboard<'_> {
    /// Until the client leaves the connection, or wants what it cannot be given on it.
    async fn run(&mut self) -> Leave {
        let relay = &mut self.relay;
        let leave = loop {
            match relay.run().await {
                Leave::Needs(Need::Vacant(database)) => {
                    relay.busy();
                    let vacancy = Box::pin(relay.pools.vacate(Name::from(&*database))).await;
                    relay.satisfied(Some(vacancy));
                }
                Leave::Needs(Need::Pin(reason)) => {
                    let Ok(place) = Arc::clone(self.pins).try_acquire_owned() else {
                        break Leave::Needs(Need::Pin(reason));
                    };
                    relay.busy();
                    relay.talk.guest.pin = Some(place);
                    relay.satisfied(None);
                }
                Leave::Stuck => {
                    if let Err(error) = Box::pin(self.seat.cancel_at_once()).await {
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
        if matches!(leave, Leave::Needs(Need::Pin(_) | Need::Home)) {
            // A place that it has waited for is still its own.
            let pin = relay.talk.guest.pin.take();
            relay.let_go();
            relay.talk.guest.pin = pin;
        }
        leave
    }
}

/// A statement for which a client has to have a place among those who keep their
/// connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pinning {
    None,
    /// It waits for one, without a connection meanwhile.
    Wanted(Reason),
    /// It has waited long enough.
    Refused(Reason),
}

impl<'a> Session<'a> {
    pub(super) fn new(
        (client, ahead): Ahead,
        entry: Entry,
        welcomed: Welcomed,
        service: &'a Service,
    ) -> Self {
        let knowledge = welcomed.route.library.of(&welcomed.pool.key().database);
        let handle = Arc::clone(entry.handle());
        let pins = welcomed
            .route
            .library
            .pins(&welcomed.pool.key(), welcomed.plan.max_pinned);
        Self {
            service,
            entry,
            line: Line::new(client, &ahead),
            guest: Box::new(Guest::new(
                &handle,
                welcomed.known,
                (welcomed.pid, welcomed.home),
                knowledge,
            )),
            pool: welcomed.pool,
            plan: welcomed.plan,
            route: welcomed.route,
            seat: welcomed.seat,
            pins,
            holder: welcomed.holder,
            refusal: Refusal::Over,
            pinning: Pinning::None,
            homing: false,
            tls: "none",
        }
    }

    /// Serves the client until it leaves.
    pub(super) async fn run(mut self: Box<Self>) -> (Ending, Parting) {
        let departure = self.serve().await;
        Box::pin(self.part(departure)).await
    }

    async fn part(self: Box<Self>, departure: Departure) -> (Ending, Parting) {
        let Self {
            line,
            entry,
            route,
            tls,
            pool,
            ..
        } = *self;
        pool.leave();
        drop(entry);
        let (client, told) = line.part(departure.told()).await;
        let over = Leg {
            upstream: Arc::clone(&route.upstream),
            tls,
        };
        let ending = Ending::Carried {
            reason: departure.label(),
            detail: departure.detail(),
            over,
        };
        (ending, Parting::of(client, told))
    }

    async fn serve(&mut self) -> Departure {
        loop {
            let handle = Arc::clone(self.entry.handle());
            handle.set_activity(Activity::Idle);
            let told_by = (&*handle, &*self.holder);
            let stir = poll_fn(|cx| self.line.poll_idle(cx, &mut self.refusal, told_by)).await;
            match stir {
                Stir::Wants => {}
                Stir::Left => return Departure::ClientLeft,
                Stir::Lost(error) => return Departure::ClientLost(error),
                Stir::BadClient(error) => return Departure::BadClient(error),
                Stir::BadMessage(tag) => return self.line.unknown(tag),
                Stir::Ordered(Order::TimedOut(limit)) => return Departure::TimedOut(limit),
                Stir::Ordered(_) => return Departure::Ordered,
                Stir::Bereft(last_words) => return self.line.bereft(last_words),
            }
            if let Pinning::Wanted(reason) = self.pinning {
                Box::pin(self.wait_for_pin(reason)).await;
            }
            // Boxed: an idle client is not to pay for what a lease needs.
            let lease = match self.take_at_once().await {
                Some(lease) => Ok(lease),
                None => Box::pin(self.lease()).await,
            };
            let departure = match self.unless_called_off(lease) {
                Ok(lease) => Box::pin(self.carry(lease)).await,
                // As if its own connection had been lost, which it has.
                Err(error @ LeaseError::NoWay) => Some(Departure::Stranded(error.fault())),
                Err(LeaseError::Closed) => Some(Departure::Ordered),
                Err(error) => {
                    let fault = error.fault_in(self.plan.mode);
                    if !matches!(error, LeaseError::CalledOff) {
                        self.service.metrics.refused(fault.label);
                        self.refusal_told(fault.label, &error.to_string());
                    }
                    self.refusal = Refusal::Answer(fault.error());
                    None
                }
            };
            if let Some(departure) = departure {
                return departure;
            }
        }
    }

    /// Carries over `lease` until the client has left; `None` when it goes on
    /// without a connection. Begins and ends with each transaction, so that what is
    /// rare is boxed: this is to be small.
    async fn carry(&mut self, lease: Lease) -> Option<Departure> {
        // Used where it lies: to move it costs as much as to look at a frame.
        let (leave, mut lease, end, dismissal) = {
            let mut aboard = self.board(lease);
            let leave = aboard.run().await;
            let relay = &mut aboard.relay;
            let end = (relay.talk.health(), relay.upstream_state());
            let dismissal = relay.talk.dismissal.take();
            (leave, aboard.relay.lease, end, dismissal)
        };
        lease.dry = self.line.to_client.is_dry();
        match leave {
            Leave::Needs(Need::Pin(reason)) => self.pinning = Pinning::Wanted(reason),
            Leave::Needs(Need::Home) => self.homing = true,
            _ => {}
        }
        self.seat.leave();
        let departure = self.put_away(lease, leave, end);
        departure.map(|departure| dismissal.map_or(departure, Departure::Dismissed))
    }

    /// Makes `lease` this client's, and says what has to be said first to both sides.
    fn board(&mut self, mut lease: Lease) -> Aboard<'_> {
        if self.guest.last.replace(lease.id()) != Some(lease.id()) {
            self.guest.streak = 0;
        }
        lease.used_by(&self.holder);
        self.tls = lease.stream.tls_version();
        let mut first = Vec::new();
        let batches = self.introduce(&mut lease, &mut first);
        self.line.to_upstream.append(&first);
        self.line.to_upstream.resume();
        self.line.to_client.change_source(lease.dry);
        let rules = Rules {
            mode: self.plan.mode,
            on_session_state: self.plan.on_session_state,
            scrub: self.plan.scrub,
        };
        let mut talk = Talk::new(&mut self.guest, rules);
        let mut told = Vec::new();
        talk.begin(batches, &mut lease, &mut told);
        self.line.to_client.append(&told);
        let pools = &self.route.pools;
        let surroundings = (&**self.entry.handle(), &self.service.metrics, pools);
        let mut relay = Relay::new(&mut self.line, lease, talk, surroundings, &self.holder);
        if let Pinning::Refused(reason) = std::mem::replace(&mut self.pinning, Pinning::None) {
            relay.refused(reason);
        }
        Aboard {
            relay,
            pins: &self.pins,
            seat: &self.seat,
        }
    }

    /// What becomes of the connection, and whether that was the end of the session.
    fn put_away(
        &self,
        lease: Lease,
        leave: Leave,
        (health, state): (Health, UpstreamState),
    ) -> Option<Departure> {
        let doubtful = health != Health::Good;
        match leave {
            // The server is still there.
            Leave::Over(departure) if health == Health::Broken => {
                lease.close(UpstreamState::Torn);
                Some(departure)
            }
            Leave::Over(departure) => {
                lease.close(match departure {
                    Departure::UpstreamEnded | Departure::UpstreamLost { .. } => {
                        UpstreamState::Ended
                    }
                    Departure::BadUpstream(_) => UpstreamState::Torn,
                    _ => state,
                });
                Some(departure)
            }
            Leave::ClientLeft => {
                if doubtful {
                    lease.close(UpstreamState::AtRest);
                } else {
                    self.take_leave(lease);
                }
                Some(Departure::ClientLeft)
            }
            Leave::Lost => {
                let meant = self.route.pools.expects_terminations() && self.guest.is_told(&lease);
                lease.lost();
                meant.then_some(Departure::UpstreamLost {
                    commit_in_flight: false,
                    error: None,
                })
            }
            Leave::Released | Leave::Discarded | Leave::Needs(_) if doubtful => {
                lease.close(UpstreamState::AtRest);
                None
            }
            Leave::Discarded => {
                lease.retire();
                None
            }
            Leave::Released | Leave::Needs(_) | Leave::Stuck => {
                lease.check_in();
                None
            }
        }
    }

    /// What has to be sent first for the connection to be this client's; says how
    /// many batches that is.
    fn introduce(&self, lease: &mut Lease, out: &mut Vec<u8>) -> u8 {
        let id = self.guest.handle.id;
        let connection = &mut **lease;
        // What it has is the client's to change from here on.
        let there = connection.settings.take();
        if !connection.give_to(id) {
            return 0;
        }
        let settings = self.guest.trace.settings();
        let same = there.is_some_and(|there| there.is_same(settings));
        let clean = connection.left == Left::Nothing && same;
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
        if connection.left == Left::Full {
            for full in scrub::FULL {
                out.extend_from_slice(&frontend::query(full.as_bytes()));
                batches += 1;
            }
            connection.statements.clear();
        } else {
            text.extend_from_slice(scrub::LIGHT.as_bytes());
        }
        let mut replay = Vec::new();
        settings.replay(&mut replay);
        if !text.is_empty() && !replay.is_empty() {
            text.extend_from_slice(b"; ");
        }
        text.extend_from_slice(&replay);
        out.extend_from_slice(&frontend::query(&text));
        connection.left = Left::Nothing;
        batches
    }

    /// The client has left at rest: the connection is for others.
    fn take_leave(&self, mut lease: Lease) {
        let closes = self.guest.trace.residue() == Residue::Close;
        // What was only suspected was not looked into.
        let left = match self.guest.trace.hold() {
            Hold::Free => Left::Nothing,
            Hold::Soft => Left::Light,
            Hold::Check(_) | Hold::Hard(_) => Left::Full,
        };
        let connection = &mut *lease;
        note_left(connection, &self.guest, left);
        connection.owner = None;
        if closes {
            lease.retire();
        } else {
            lease.check_in();
        }
    }
}
