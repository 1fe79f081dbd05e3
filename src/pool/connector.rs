//! The login of a connection that a pool opens, and what its clients are told if that fails.

use super::key::Key;
use super::lease_error::LeaseError;
use super::plan::OpenerPlan;
use crate::fault::ClientFacing as _;
use crate::upstream::{
    Asked, Credentials, FailedOpen, OpenError, Opened, Upstream, blame, explain, open,
};
use crate::wire::backend;
use crate::wire::frame::HEADER;

pub(super) async fn log_in(upstream: &Upstream, plan: &OpenerPlan) -> Result<Opened, FailedOpen> {
    let who = Credentials {
        user: &plan.user,
        password: plan.password.as_ref(),
        channel_binding: plan.channel_binding,
        require_auth: upstream.config().require_auth,
    };
    open(upstream, &plan.startup, &who).await
}

/// What clients that wait are told.
pub(super) fn error_of(
    error: &OpenError,
    plan: &OpenerPlan,
    (key, upstream): (&Key, &Upstream),
) -> LeaseError {
    match error.refusal() {
        Some(response) => {
            let body = response.get(HEADER..).unwrap_or_default();
            if let Some(fault) = blame(body, &plan.user, &plan.password_key) {
                return LeaseError::Failed(fault);
            }
            let asked = Asked {
                user: &key.user,
                database: &key.database,
                sent: &key.database,
                dbname: upstream.config().dbname.as_deref(),
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
