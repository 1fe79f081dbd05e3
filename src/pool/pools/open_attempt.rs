//! One connection that a pool opens: from its place under the caps to its idle set.

use std::io;
use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use super::Pool;
use crate::pool::closing::{CapPlace, Closing};
use crate::pool::connection::Connection;
use crate::pool::connector::{error_of, log_in};
use crate::pool::permit::Permit;
use crate::pool::plan::OpenerPlan;
use crate::tls::MaybeTls;
use crate::upstream::{FailedOpen, LoginError, OpenError, Opened};

/// An opener as the allocator counts it; dropped, it has come to nothing.
struct OpenAttempt {
    pool: Arc<Pool>,
    /// The allocator knows how it ended.
    over: bool,
}

impl Pool {
    /// Makes one connection in the background, which has its place. Whoever it was made
    /// for, the first in line gets it.
    pub(super) fn open(self: Arc<Self>) {
        let pools = self.pools.clone();
        let permit = pools.permit(self.key(), None);
        let runtime = self.runtime.lock().clone();
        let attempt = OpenAttempt {
            pool: self,
            over: false,
        };
        let task = attempt.run(permit);
        match runtime {
            Some(runtime) => drop(pools.inner.tasks.spawn_on(task, &runtime)),
            None => pools.spawn(task),
        }
    }

    /// The clock may allow what it did not before.
    pub(super) fn look_again(&self) {
        let pool = self.number;
        self.pools
            .act(|state| state.allocator.schedule(pool, Instant::now()));
    }

    /// One of its openers has come to its end, well or not.
    pub(super) fn opener_ended(&self) {
        self.settled.notify_waiters();
    }
}

impl OpenAttempt {
    async fn run(mut self, permit: Permit) {
        let pools = self.pool.pools.clone();
        let upstream = &pools.inner.upstream;
        let place = CapPlace::new(permit, upstream.metrics().connection());
        let closing = Closing::new(place, Arc::clone(upstream));
        let Some(plan) = self.pool.opener.clone() else {
            return;
        };
        let opened = {
            let _turn = pools.inner.logins.acquire().await;
            log_in(upstream, &plan).await
        };
        let number = self.pool.number;
        let (error, mut closing, stream) = match opened {
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
                closing.joins(number);
                drop(closing);
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
        let id = self.pool.pools.next_connection();
        let max = self.pool.plan.max_prepared_statements;
        let mut connection = Connection::new((id, self.pool.number), opened, closing, max)?;
        connection.share(&mut self.pool.reported.lock());
        Ok(connection)
    }

    fn succeed(mut self, connection: Box<Connection>) {
        self.over = true;
        let pools = &self.pool.pools;
        let metrics = pools.inner.upstream.metrics();
        metrics.pool_opened(&self.pool.label());
        *self.pool.last_error.lock() = None;
        let item = (self.pool.number, connection);
        pools.act(|state| state.allocator.opened(item, Instant::now()));
    }

    /// Says when the next attempt may be made.
    fn fail(&mut self, error: &OpenError, plan: &OpenerPlan) -> Instant {
        self.over = true;
        let (key, upstream) = (self.pool.key(), &self.pool.pools.inner.upstream);
        let told = error_of(error, plan, (&key, upstream));
        tracing::warn!(pool = key.label(), %error, fix = told.cure(), "no connection for the pool");
        // Before the waiters are told, who look for it.
        *self.pool.last_error.lock() = Some(told);
        let (number, may_pass) = (self.pool.number, error.may_pass());
        let retry_at = self.pool.pools.act(|state| {
            let now = Instant::now();
            state.allocator.open_failed(number, may_pass, now)
        });
        self.pool.opener_ended();
        retry_at
    }
}

impl Drop for OpenAttempt {
    fn drop(&mut self) {
        let number = self.pool.number;
        if !self.over {
            self.pool
                .pools
                .act(|state| state.allocator.opener_gone(number, Instant::now()));
        }
        self.pool.opener_ended();
    }
}
