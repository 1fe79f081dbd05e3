//! Connections that the pools make themselves: a slot, a login, the shelf.

use std::io;
use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use super::closing::{CapPlace, Closing};
use super::connection::Connection;
use super::lease::LeaseError;
use super::limiter::{Admission, Permit, QueuePlace, Whose};
use super::plan::OpenerPlan;
use super::pools::{ClosingGuard, Pool, Pools};
use crate::fault::ClientFacing as _;
use crate::tls::MaybeTls;
use crate::upstream::{
    Asked, Credentials, FailedOpen, LoginError, OpenError, Opened, blame, explain, open,
};
use crate::wire::backend;
use crate::wire::frame::HEADER;

/// An opener as the books count it; dropped, it has come to nothing.
struct OpenAttempt {
    pool: Arc<Pool>,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Queued,
    Admitted,
    /// The books know how it ended.
    Over,
}

/// Makes one connection in the background. Whoever it was made for, the first in
/// line gets it.
pub(super) fn begin(pool: &Arc<Pool>) {
    let mut opening = OpenAttempt {
        pool: Arc::clone(pool),
        stage: Stage::Admitted,
    };
    let (pools, number) = (pool.pools().clone(), pool.number);
    let gatekeeper = &pools.inner().limiter;
    match gatekeeper.ask(pool.key(), pool.plan.priority, Whose::Pools(number)) {
        Ok(Admission::Admitted(permit)) => pools.spawn(opening.run(permit)),
        Ok(Admission::Wait(waiting)) => {
            opening.stage = Stage::Queued;
            pools.act(|room, out| room.pools.opener_queued(number, Instant::now(), out));
            pools.spawn(opening.wait(waiting));
        }
        Err(_closed) => opening.refuse(),
    }
}

impl OpenAttempt {
    async fn wait(mut self, mut waiting: QueuePlace) {
        let pools = self.pool.pools().clone();
        let number = self.pool.number;
        let permit = loop {
            let withdrawn = pools.inner().withdrawn.notified();
            if pools.act(|room, out| room.pools.may_withdraw(number, Instant::now(), out)) {
                self.stage = Stage::Over;
                return;
            }
            tokio::select! {
                admitted = waiting.turn() => match admitted {
                    Ok(permit) => break permit,
                    Err(_closed) => {
                        self.leave_queue();
                        self.refuse();
                        return;
                    }
                },
                () = withdrawn => {}
            }
        };
        drop(waiting);
        self.leave_queue();
        self.run(permit).await;
    }

    fn leave_queue(&mut self) {
        self.stage = Stage::Admitted;
        let number = self.pool.number;
        self.pool.pools().act(|room, out| {
            room.pools.opener_admitted(number, Instant::now(), out);
        });
    }

    async fn run(mut self, permit: Permit) {
        let pools = self.pool.pools().clone();
        let upstream = &pools.inner().upstream;
        let place = CapPlace::new(permit, upstream.metrics().connection());
        let closing = Closing::new(place, Arc::clone(upstream));
        let Some(plan) = self.pool.opener.clone() else {
            return;
        };
        let opened = {
            let _turn = pools.inner().logins.acquire().await;
            log_in(&pools, &plan).await
        };
        let number = self.pool.number;
        let (error, closing, stream) = match opened {
            Ok(opened) => match self.connection(opened, closing) {
                Ok(connection) => return self.succeed(connection),
                Err(parts) => {
                    let (closing, stream) = *parts;
                    // Let in, and ended at once: by an administrator, or with the server.
                    let ended = io::Error::from(io::ErrorKind::ConnectionAborted);
                    let error = LoginError::from(ended);
                    (error.into(), closing, Some(stream))
                }
            },
            Err(FailedOpen { error, stream }) => (error, closing, stream),
        };
        let retry_at = self.fail(&error, &plan);
        match stream {
            // It has said all it will, and is about to close.
            Some(stream) => pools.close_in_background(number, closing, stream),
            None => {
                drop(closing);
                drop(ClosingGuard {
                    pools,
                    pool: number,
                });
            }
        }
        sleep_until(retry_at).await;
        self.pool.look_again();
    }

    fn connection(
        &self,
        opened: Opened,
        closing: Closing,
    ) -> Result<Box<Connection>, Box<(Closing, MaybeTls)>> {
        let id = self.pool.pools().next_connection();
        let max = self.pool.plan.max_prepared_statements;
        let mut connection = Connection::new((id, self.pool.number), opened, closing, max)?;
        connection.share(&mut self.pool.reported.lock());
        Ok(connection)
    }

    /// The proxy is going down.
    fn refuse(mut self) {
        self.stage = Stage::Over;
        *self.pool.last_error.lock() = Some(LeaseError::Closed);
        let number = self.pool.number;
        self.pool.pools().act(|room, out| {
            room.pools.opener_refused(number, Instant::now(), out);
        });
    }

    fn succeed(mut self, connection: Box<Connection>) {
        self.stage = Stage::Over;
        let pools = self.pool.pools();
        let metrics = pools.inner().upstream.metrics();
        metrics.pool_opened(&self.pool.label());
        *self.pool.last_error.lock() = None;
        let number = self.pool.number;
        pools.act(|room, out| {
            let item = (number, connection);
            room.pools.opened(item, Instant::now(), out);
        });
    }

    /// Says when the next attempt may be made.
    fn fail(&mut self, error: &OpenError, plan: &OpenerPlan) -> Instant {
        self.stage = Stage::Over;
        let pool = self.pool.label();
        let told = told(error, plan, &self.pool);
        tracing::warn!(pool, %error, fix = told.cure(), "no connection for the pool");
        // Before the waiters are told, who look for it.
        *self.pool.last_error.lock() = Some(told);
        let (number, may_pass) = (self.pool.number, error.may_pass());
        let retry_at = self.pool.pools().act(|room, out| {
            room.pools
                .open_failed(number, may_pass, Instant::now(), out)
        });
        self.pool.opener_ended();
        retry_at
    }
}

impl Drop for OpenAttempt {
    fn drop(&mut self) {
        let (number, stage) = (self.pool.number, self.stage);
        if stage != Stage::Over {
            self.pool.pools().act(|room, out| {
                let now = Instant::now();
                if stage == Stage::Queued {
                    room.pools.opener_admitted(number, now, out);
                }
                room.pools.opener_gone(number, now, out);
            });
        }
        self.pool.opener_ended();
    }
}

async fn log_in(pools: &Pools, plan: &OpenerPlan) -> Result<Opened, FailedOpen> {
    let who = Credentials {
        user: &plan.user,
        password: plan.password.as_ref(),
        channel_binding: plan.channel_binding,
        require_auth: pools.inner().upstream.config().require_auth,
    };
    open(&pools.inner().upstream, &plan.startup, &who).await
}

/// What clients that wait are told.
fn told(error: &OpenError, plan: &OpenerPlan, pool: &Pool) -> LeaseError {
    match error.refusal() {
        Some(response) => {
            let body = response.get(HEADER..).unwrap_or_default();
            if let Some(fault) = blame(body, &plan.user, &plan.password_key) {
                return LeaseError::Failed(fault);
            }
            let key = pool.key();
            let asked = Asked {
                user: &key.user,
                database: &key.database,
                sent: &key.database,
                dbname: pool.pools().inner().upstream.config().dbname.as_deref(),
            };
            let response = match explain(body, asked) {
                Some(hint) => backend::with_hint(body, &hint),
                None => response.clone(),
            };
            LeaseError::Refused {
                text: backend::error_field(body, b'M').unwrap_or_default(),
                response,
            }
        }
        None => LeaseError::Failed(error.fault()),
    }
}
