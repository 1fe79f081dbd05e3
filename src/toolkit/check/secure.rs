//! SSLRequest, handshake, chain and name: one handshake, whose outcome is the business of
//! the step at which it ended.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, timeout};

use super::report::Finding;
use super::step::Step;
use super::topic::Topic;
use super::words::{days, millis, span};
use crate::config::values::{Negotiation, TlsClient, Upstream, UpstreamTls, Verify};
use crate::net::{DialOptions, ReadAhead, Resolver, dial};
use crate::tls::{Certificate, Connector, Description, MaybeTls, SetupError, TlsFault, Trusted};

/// Days that are few for a certificate.
const FEW_DAYS: i64 = 14;

/// One handshake, however far it came.
pub(super) struct Handshake {
    outcome: Result<Description, Failure>,
    took: Duration,
    shown: Vec<Certificate>,
    trusted: Option<Trusted>,
}

enum Failure {
    Tls(TlsFault),
    /// The connection was made a moment ago, and cannot be made now.
    Dial(String),
    Silent(Duration),
}

/// Unix seconds.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

impl Handshake {
    /// Shakes hands as a session would.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub(super) async fn make(upstream: &Upstream, tls: &TlsClient) -> Result<Self, SetupError> {
        let (connector, recorder) = Connector::recording(tls)?;
        let began = Instant::now();
        let limit = upstream.connect_timeout;
        let outcome = match timeout(limit, attempt(upstream, &connector)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::Silent(limit)),
        };
        Ok(Self {
            outcome,
            took: began.elapsed(),
            shown: recorder.certificates(),
            trusted: crate::tls::trusted(tls)?,
        })
    }

    /// What it says about one of its steps.
    pub(super) fn finding(&self, step: Step, tls: &TlsClient) -> Vec<Finding> {
        match &self.outcome {
            Err(failure) if failure.step() <= step => vec![self.failed(failure, step)],
            _ => self.passed(step, tls),
        }
    }

    fn passed(&self, step: Step, tls: &TlsClient) -> Vec<Finding> {
        match step {
            Step::SslRequest if tls.negotiation == Negotiation::Direct => {
                vec![Finding::not_applicable("sslnegotiation = \"direct\"")]
            }
            Step::SslRequest => vec![Finding::pass("the server speaks TLS")],
            Step::Handshake => vec![self.agreed()],
            Step::Chain => self.chain(tls),
            _ => vec![self.name(tls)],
        }
    }

    fn agreed(&self) -> Finding {
        let took = format!("in {} from the first packet", span(self.took));
        let Ok(description) = &self.outcome else {
            // It ended later, at the certificate.
            return Finding::pass(format!("the server showed its certificate, {took}"));
        };
        let Description {
            version, cipher, ..
        } = description;
        let finding = Finding::pass(format!("{version}, {cipher}, {took}"))
            .figure("version", *version)
            .figure("cipher", cipher.as_str())
            .figure("ms", millis(self.took));
        match description.retried {
            true => finding.more([
                "the server wanted another curve first: each connection takes one more round trip"
                    .to_owned(),
            ]),
            false => finding,
        }
    }

    fn chain(&self, tls: &TlsClient) -> Vec<Finding> {
        let now = now();
        let own = self.shown.first().map(|own| lasting(own, now));
        let own = own.unwrap_or_else(|| "no certificate".to_owned());
        if tls.verify == Verify::Nothing {
            let evidence = format!("sslmode = \"require\" verifies nothing; shown: {own}");
            let cure = "write sslmode = \"verify-full\" and sslrootcert = \"ca-certificate.crt\" (the provider's CA)";
            return vec![Finding::warn(evidence, cure, Topic::NotVerified).more(self.lines(now))];
        }
        let place = self.trusted.as_ref().map_or("", |trusted| &trusted.place);
        let finding = Finding::pass(format!("{own}; its chain ends at a CA in {place}"))
            .more(self.lines(now));
        let finding = self
            .shown
            .first()
            .into_iter()
            .fold(finding, |finding, own| {
                finding
                    .figure("days_left", days(own.not_after - now))
                    .figure("fingerprint", own.fingerprint.as_str())
                    .figure("issuer", own.issuer.as_str())
            });
        let soon = self
            .shown
            .iter()
            .filter(|one| days(one.not_after - now) < FEW_DAYS);
        let warnings = soon.map(|one| {
            let cure = "renew it now, or ask who runs the server when it is renewed: after that day nobody can connect";
            Finding::warn(lasting(one, now), cure, Topic::Expired)
        });
        std::iter::once(finding).chain(warnings).collect()
    }

    fn lines(&self, now: i64) -> Vec<String> {
        let shown = self.shown.iter().skip(1);
        let shown = shown.map(|one| format!("also shown: {}", lasting(one, now)));
        let trusted = self.trusted.iter().flat_map(|trusted| {
            const FEW: usize = 5;
            let place = &trusted.place;
            let named = trusted.certificates.iter().take(FEW);
            let mut lines: Vec<_> = named
                .map(|one| format!("trusted, from {place}: {}", lasting(one, now)))
                .collect();
            if let more @ 1.. = trusted.certificates.len().saturating_sub(FEW) {
                lines.push(format!("trusted, from {place}: {more} more"));
            }
            lines
        });
        shown.chain(trusted).collect()
    }

    fn name(&self, tls: &TlsClient) -> Finding {
        let wanted = &tls.server_name;
        let names = self.shown.first().map(|own| own.names.join(", "));
        let names = names.filter(|names| !names.is_empty());
        let names = names.unwrap_or_else(|| "no name at all".to_owned());
        if tls.verify == Verify::Full {
            return Finding::pass(format!(
                "the certificate is for {wanted} (it bears: {names})"
            ));
        }
        let evidence = format!("not compared with {wanted}; the certificate bears: {names}");
        let cure = "write sslmode = \"verify-full\"; if the names differ, give the right one in server_name";
        Finding::warn(evidence, cure, Topic::NotVerified)
    }

    fn failed(&self, failure: &Failure, step: Step) -> Finding {
        let (cure, topic) = match failure {
            Failure::Tls(fault) => (fault.cure(), topic_of(fault)),
            Failure::Dial(_) => (
                "try again: the connection before this one was taken",
                Topic::NoAnswer,
            ),
            Failure::Silent(_) => (
                "check host and port: what listens there is no Postgres, or something in between takes connections in its place",
                Topic::NoAnswer,
            ),
        };
        let evidence = match failure {
            Failure::Tls(fault) => fault.to_string(),
            Failure::Dial(text) => text.clone(),
            Failure::Silent(limit) => {
                format!(
                    "the connection was taken, and no answer came within {}",
                    span(*limit)
                )
            }
        };
        let finding = Finding::fail(evidence, cure, topic);
        match step {
            Step::Chain => {
                let now = now();
                let own = self
                    .shown
                    .first()
                    .map(|own| format!("shown: {}", lasting(own, now)));
                finding.more(own).more(self.lines(now))
            }
            _ => finding,
        }
    }
}

impl Failure {
    /// Where the handshake ended.
    fn step(&self) -> Step {
        match self {
            Self::Tls(fault) => step_of(fault),
            Self::Dial(_) | Self::Silent(_) => Step::SslRequest,
        }
    }
}

async fn attempt(upstream: &Upstream, connector: &Connector) -> Result<Description, Failure> {
    let resolver = Resolver::default();
    let reach = DialOptions {
        resolver: &resolver,
        within: upstream.connect_timeout,
        loopback_only: false,
    };
    let socket = dial(&upstream.address, &upstream.keepalive, reach).await;
    let socket = socket.map_err(|error| Failure::Dial(error.to_string()))?;
    let stream = connector.secure(ReadAhead::new(socket)).await;
    let stream = MaybeTls::connected(stream.map_err(Failure::Tls)?);
    let lost = || Failure::Dial("the connection has no TLS".to_owned());
    stream.description().ok_or_else(lost)
}

/// The step that a fault of TLS belongs to.
pub(super) fn step_of(fault: &TlsFault) -> Step {
    match fault {
        TlsFault::PlaintextServer
        | TlsFault::ServerError
        | TlsFault::NotPostgres { .. }
        | TlsFault::Stuffed => Step::SslRequest,
        TlsFault::Closed { during }
        | TlsFault::Reset { during }
        | TlsFault::Network { during, .. }
            if during.is_before_tls() =>
        {
            Step::SslRequest
        }
        TlsFault::WrongName(_) => Step::Name,
        TlsFault::UnknownCa(_)
        | TlsFault::Expired { .. }
        | TlsFault::NotYetValid { .. }
        | TlsFault::SelfSigned { .. }
        | TlsFault::Revoked { .. }
        | TlsFault::CrlExpired { .. }
        | TlsFault::CrlOfAnotherCa { .. }
        | TlsFault::BadSignature
        | TlsFault::BadCertificate { .. } => Step::Chain,
        _ => Step::Handshake,
    }
}

pub(super) fn topic_of(fault: &TlsFault) -> Topic {
    match fault {
        TlsFault::PlaintextServer => Topic::NoTls,
        TlsFault::UnknownCa(_) | TlsFault::BadSignature => Topic::UnknownCa,
        TlsFault::SelfSigned { .. } => Topic::SelfSigned,
        TlsFault::Expired { .. } | TlsFault::NotYetValid { .. } => Topic::Expired,
        TlsFault::WrongName(_) => Topic::WrongName,
        TlsFault::ClientCertificateRequired | TlsFault::ClientCertificateRefused { .. } => {
            Topic::ClientCertificate
        }
        TlsFault::ProtocolTooOld { .. } => Topic::OldTls,
        TlsFault::Closed { during } | TlsFault::Reset { during } if during.is_before_tls() => {
            Topic::NoAnswer
        }
        _ => Topic::OtherTls,
    }
}

/// A certificate, and how long it is good for.
fn lasting(one: &Certificate, now: i64) -> String {
    let left = one.not_after - now;
    let until = one.expiry();
    match left {
        0.. => format!("{}, {} days left (until {until})", one.title, days(left)),
        _ => format!("{}, expired on {until}", one.title),
    }
}

/// The files of the upstream's section: they can be used, and for how long.
pub(super) fn files(upstream: &Upstream) -> Vec<Finding> {
    let UpstreamTls::Enable(tls) = &upstream.tls else {
        return vec![Finding::not_applicable(
            "sslmode = \"disable\": no certificates are needed",
        )];
    };
    match read_files(tls) {
        Ok(findings) => findings,
        Err(error) => {
            let finding = Finding::fail(error.to_string(), error.cure(), Topic::Files);
            vec![finding]
        }
    }
}

fn read_files(tls: &TlsClient) -> Result<Vec<Finding>, SetupError> {
    // Reads everything that a connection needs, keys and lists as well.
    Connector::new(tls)?;
    let now = now();
    let mut findings = Vec::new();
    if let Some(trusted) = crate::tls::trusted(tls)? {
        let certificates = &trusted.certificates;
        let place = &trusted.place;
        let evidence = match &certificates[..] {
            [one] => format!("{place}: {}", lasting(one, now)),
            many => format!("{place}: {} CAs", many.len()),
        };
        let least = certificates.iter().map(|one| one.not_after).min();
        let finding = Finding::pass(evidence);
        findings.push(match least {
            Some(least) => finding.figure("days_left", days(least - now)),
            None => finding,
        });
        if certificates.len() < 10 {
            findings.extend(ending("sslrootcert", certificates, now));
        }
    }
    if let Some((certificate, _)) = &tls.identity {
        let own = crate::tls::own_certificates("sslcert", certificate)?;
        if let Some(first) = own.first() {
            let evidence = format!("{}: {}", certificate.display(), lasting(first, now));
            findings.push(Finding::pass(evidence));
        }
        findings.extend(ending("sslcert", &own, now));
    }
    if let Some(path) = &tls.crl
        && let Some(ends) = crate::tls::revocation_expiry(path)?
    {
        findings.push(revocations(&path.display().to_string(), ends - now));
    }
    if findings.is_empty() {
        findings.push(Finding::not_applicable("the upstream names no files"));
    }
    Ok(findings)
}

fn revocations(place: &str, left: i64) -> Finding {
    let evidence = format!("{place}: the next list is due in {} days", days(left));
    match days(left) < FEW_DAYS {
        false => Finding::pass(evidence),
        true => {
            let cure = "fetch a new list and replace sslcrl: with one that is out of date nobody can connect";
            Finding::warn(evidence, cure, Topic::Expired)
        }
    }
}

fn ending(
    key: &'static str,
    certificates: &[Certificate],
    now: i64,
) -> impl Iterator<Item = Finding> {
    let few = certificates.iter();
    let few = few.filter(move |one| days(one.not_after - now) < FEW_DAYS);
    few.map(move |one| {
        let evidence = format!("{key}: {}", lasting(one, now));
        let cure = format!("download it again, or have a new one issued, and replace {key}");
        Finding::warn(evidence, cure, Topic::Expired)
    })
}
