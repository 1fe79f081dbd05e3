//! A client without a connection that wants one: what it waits for, and how it is
//! told that it need not.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::time::{Instant, timeout};

use super::super::handle::{Activity, log_session};
use super::super::wait_log;
use super::{PinRequest, PooledSession};
use crate::pool::{CheckoutRequest, Lease, LeaseError, Wait};
use crate::state::tracker::HoldReason;

impl PooledSession<'_> {
    /// Waits for a place among those who keep their connection.
    pub(super) async fn wait_for_pin(&mut self, reason: HoldReason) {
        self.entry.handle().set_activity(Activity::WaitingToPin);
        self.pool.ask_holders();
        let place = Arc::clone(&self.pins).acquire_owned();
        let place = pin!(timeout(self.plan.query_wait_timeout, place));
        let wait = || self.wait_for_pin_told();
        let place = wait_log::noted(place, self.entry.handle(), self.service, wait);
        self.cancel_slot.wait();
        let place = tokio::select! {
            place = place => match place {
                Ok(place) => place.ok(),
                Err(_elapsed) => {
                    self.refusal_told("max_pinned", "no place to keep a connection became free");
                    None
                }
            },
            _ = self.entry.handle().ordered() => None,
            () = self.cancel_slot.called_off() => None,
        };
        self.pinning = match place {
            Some(_) => PinRequest::None,
            None => PinRequest::Refused(reason),
        };
        self.client.pin = place;
    }

    /// What a client waits for that has to keep its connection.
    fn wait_for_pin_told(&self) -> Wait {
        let max = self.plan.max_pinned;
        let free = u32::try_from(self.pins.available_permits()).unwrap_or(max);
        Wait {
            limit: format!("max_pinned = {max} of pool {}", self.pool.label()),
            in_use: max.saturating_sub(free),
            ..self.pool.wait()
        }
    }

    /// A statement of the client gets an error, which the log has too.
    pub(super) fn refusal_told(&self, reason: &'static str, detail: &str) {
        if let Some(unsaid) = self.service.warnings.may_say(reason) {
            log_session!(
                warn,
                self.entry.handle(),
                reason,
                detail,
                unsaid,
                "statement refused"
            );
        }
    }

    /// The connection, unless the client has cancelled what it wanted it for.
    pub(super) fn unless_called_off(
        &mut self,
        lease: Result<Lease, LeaseError>,
    ) -> Result<Lease, LeaseError> {
        let lease = match lease {
            Ok(lease) if self.cancel_slot.take(&lease.key) => return Ok(lease),
            Ok(lease) => {
                lease.check_in();
                Err(LeaseError::CalledOff)
            }
            Err(error) => Err(error),
        };
        self.cancel_slot.leave();
        self.pinning = PinRequest::None;
        lease
    }

    /// Which connections this client may use, and which it would rather.
    fn checkout_request(&self) -> CheckoutRequest {
        let mut request = CheckoutRequest::new(self.client.handle.id);
        request.prefer = self.client.last;
        request.priority = self.plan.priority;
        request.placeholders = self.client.placeholders();
        request
    }

    /// A connection that this client may use, where nothing has to be waited for.
    pub(super) async fn take_at_once(&self) -> Option<Lease> {
        if self.prefers_announced {
            return None;
        }
        let request = self.checkout_request();
        poll_fn(|cx| Poll::Ready(self.pool.take(&request, cx))).await
    }

    /// A connection that this client may use.
    pub(super) async fn lease(&mut self) -> Result<Lease, LeaseError> {
        self.entry.handle().wait_for_pool();
        self.client.streak = 0;
        self.cancel_slot.wait();
        let deadline = Instant::now() + self.plan.query_wait_timeout;
        let request = self.checkout_request();
        let handle = Arc::clone(self.entry.handle());
        if std::mem::take(&mut self.prefers_announced) {
            let announced = &mut self.client.announced;
            let claim = announced.claim(&self.pool, request.clone(), deadline);
            if let Some(lease) = claim.await {
                return Ok(lease);
            }
        }
        tokio::select! {
            biased;
            () = self.cancel_slot.called_off() => Err(LeaseError::CalledOff),
            lease = self.pool.lease(request, deadline) => lease,
            _ = handle.ordered() => Err(LeaseError::Closed),
        }
    }
}
