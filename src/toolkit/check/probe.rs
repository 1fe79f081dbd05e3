//! Takes one upstream's steps, one after the other, and keeps what a later one needs.

use std::net::SocketAddr;
use std::sync::Arc;

use super::account::{Account, accounts};
use super::moving::{self, Side};
use super::report::{Finding, UpstreamReport};
use super::secure::{self, Handshake};
use super::session::Session;
use super::step::Step;
use super::topic::Topic;
use super::{limits, login, reach, server, versions};
use crate::config::Config;
use crate::config::values::{self, UpstreamAddress, UpstreamTls, Verify};
use crate::metrics::Metrics;
use crate::upstream::Upstream;

/// One upstream that is being looked at.
struct Case<'a> {
    config: &'a Config,
    upstream: &'a Arc<values::Upstream>,
    addresses: Vec<SocketAddr>,
    /// The one that answered.
    address: Option<SocketAddr>,
    handshake: Option<Handshake>,
    /// As the proxy would use it.
    built: Option<Upstream>,
    accounts: Vec<Account>,
    session: Option<(Session, Account)>,
    /// Old servers that were looked at, to compare with.
    olds: &'a mut Vec<Side>,
}

/// Looks at one upstream, as far as it goes.
pub(super) async fn examine(
    config: &Config,
    upstream: &Arc<values::Upstream>,
    planned: Vec<Step>,
    olds: &mut Vec<Side>,
) -> UpstreamReport {
    let mut report = UpstreamReport::new(upstream.name.clone(), place(upstream), planned);
    let mut case = Case {
        config,
        upstream,
        addresses: Vec::new(),
        address: None,
        handshake: None,
        built: None,
        accounts: accounts(config, upstream),
        session: None,
        olds,
    };
    while let Some(step) = report.next() {
        let findings = case.take(step).await;
        report.record(step, findings);
    }
    if let Some((session, _)) = case.session {
        session.close().await;
    }
    report
}

/// Where it is, and how it is verified.
fn place(upstream: &values::Upstream) -> String {
    let address = match &upstream.address {
        UpstreamAddress::Tcp { host, port } => format!("{host}:{port}"),
        UpstreamAddress::Unix(path) => path.display().to_string(),
    };
    let mode = match &upstream.tls {
        UpstreamTls::Disable => "sslmode=disable",
        UpstreamTls::Enable(tls) => match tls.verify {
            Verify::Full => "sslmode=verify-full",
            Verify::Ca => "sslmode=verify-ca",
            Verify::Nothing => "sslmode=require",
        },
    };
    format!("{address}, {mode}")
}

impl Case<'_> {
    async fn take(&mut self, step: Step) -> Vec<Finding> {
        match step {
            Step::Files => self.files(),
            Step::Dns => {
                let (addresses, finding) = reach::dns(self.upstream).await;
                self.addresses = addresses;
                vec![finding]
            }
            Step::Connect => {
                let (address, finding) = reach::connect(self.upstream, &self.addresses).await;
                self.address = address;
                vec![finding]
            }
            Step::SslRequest | Step::Handshake | Step::Chain | Step::Name => {
                self.secured(step).await
            }
            Step::Versions => self.versions().await,
            Step::Authentication => match &self.built {
                Some(upstream) => vec![login::authentication(upstream, &self.accounts).await],
                None => Vec::new(),
            },
            Step::Login => self.log_in().await,
            _ => self.ask(step).await,
        }
    }

    fn files(&mut self) -> Vec<Finding> {
        let findings = secure::files(self.upstream);
        // What is wrong with the files has been found already.
        self.built = Upstream::new(Arc::clone(self.upstream), &Metrics::detached()).ok();
        findings
    }

    async fn secured(&mut self, step: Step) -> Vec<Finding> {
        let UpstreamTls::Enable(tls) = &self.upstream.tls else {
            return vec![Finding::not_applicable(
                "plaintext, which does not leave this machine",
            )];
        };
        if self.handshake.is_none() {
            match Handshake::make(self.upstream, tls).await {
                Ok(handshake) => self.handshake = Some(handshake),
                Err(error) => {
                    return vec![Finding::fail(error.to_string(), error.cure(), Topic::Files)];
                }
            }
        }
        let handshake = self.handshake.as_ref();
        handshake.map_or_else(Vec::new, |handshake| handshake.finding(step, tls))
    }

    async fn versions(&self) -> Vec<Finding> {
        match (&self.upstream.tls, self.address) {
            (UpstreamTls::Enable(tls), Some(address)) => {
                versions::versions(self.upstream, tls, address).await
            }
            _ => vec![Finding::not_applicable("plaintext")],
        }
    }

    async fn log_in(&mut self) -> Vec<Finding> {
        let Some(upstream) = &self.built else {
            return Vec::new();
        };
        let mode = self.config.auth.mode;
        let (session, findings) = login::log_in(upstream, &self.accounts, mode).await;
        self.session = session;
        findings
    }

    async fn ask(&mut self, step: Step) -> Vec<Finding> {
        let Some((session, account)) = &mut self.session else {
            return Vec::new();
        };
        match step {
            Step::Server => server::server(session, self.config).await,
            Step::Pooler => vec![server::pooler(session, &self.upstream.address).await],
            Step::Rights => vec![server::rights(session, account).await],
            Step::Limits => limits::limits(session, &self.config.limits, account).await,
            Step::Clock => vec![server::clock(session).await],
            Step::Latency => vec![server::latency(session).await],
            Step::Move if moving::is_old(self.upstream, &self.config.upstream) => {
                let (side, findings) = moving::old(session, &self.upstream.name).await;
                self.olds.extend(side);
                findings
            }
            Step::Move => moving::new(session, &self.upstream.name, self.olds).await,
            _ => Vec::new(),
        }
    }
}
