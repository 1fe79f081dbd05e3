//! Which versions of TLS and which ciphers a server accepts, beside the ones it chose.
//!
//! A connection for each question. None completes a handshake, none takes one of the server's
//! connection slots; its log may say of each that TLS was broken off.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::report::Finding;
use super::topic::Topic;
use super::words::{millis, span};
use crate::config::values::{TlsClient, Upstream};
use crate::tls::{Answer, Cipher, Grade, Hello, OfferedVersion};

/// For all questions together. A server far away is not asked for its last weak cipher.
const WITHIN: Duration = Duration::from_secs(10);

/// What the server accepts of one version.
struct Accepted {
    version: OfferedVersion,
    ciphers: Vec<&'static Cipher>,
    /// Not every cipher could be asked for.
    is_partial: bool,
}

/// Asks one question after another.
struct Asker<'a> {
    address: SocketAddr,
    tls: &'a TlsClient,
    deadline: Instant,
    questions: u32,
}

pub(super) async fn versions(
    upstream: &Upstream,
    tls: &TlsClient,
    address: SocketAddr,
) -> Vec<Finding> {
    let began = Instant::now();
    let mut asker = Asker {
        address,
        tls,
        deadline: began + WITHIN.max(upstream.connect_timeout),
        questions: 0,
    };
    let mut accepted = Vec::new();
    for version in OfferedVersion::ALL {
        accepted.push(asker.accepted(version).await);
    }
    findings(&accepted, asker.questions, began.elapsed())
}

impl Asker<'_> {
    /// Takes away what the server chose, until it chooses nothing more.
    async fn accepted(&mut self, version: OfferedVersion) -> Accepted {
        let mut ciphers = Vec::new();
        let mut left: Vec<&'static Cipher> = version.ciphers().collect();
        let is_partial = loop {
            if left.is_empty() {
                break false;
            }
            match self.ask(version, &left).await {
                Some(Answer::Chose {
                    version: chosen,
                    cipher,
                }) if chosen == version => {
                    let before = left.len();
                    ciphers.extend(left.iter().copied().find(|one| one.code == cipher));
                    left.retain(|one| one.code != cipher);
                    if left.len() == before {
                        break true;
                    }
                }
                // Another version than the one that was offered is no acceptance.
                Some(Answer::Chose { .. } | Answer::Refused(_)) => break false,
                Some(Answer::Unclear) | None => break true,
            }
            // Whether an outdated version is accepted is all that matters.
            if version.is_outdated() {
                break true;
            }
        };
        Accepted {
            version,
            ciphers,
            is_partial,
        }
    }

    /// `None` when there was no answer that means anything.
    async fn ask(&mut self, version: OfferedVersion, ciphers: &[&Cipher]) -> Option<Answer> {
        self.questions += 1;
        let hello = Hello {
            version,
            ciphers,
            server_name: &self.tls.server_name,
        };
        let question = async {
            let mut socket = TcpStream::connect(self.address).await.ok()?;
            hello.offer(&mut socket, self.tls.negotiation).await.ok()
        };
        let left = self.deadline.saturating_duration_since(Instant::now());
        timeout(left, question).await.ok()?
    }
}

fn findings(accepted: &[Accepted], questions: u32, took: Duration) -> Vec<Finding> {
    let names = |is: fn(&Accepted) -> bool| -> Vec<&'static str> {
        let some = accepted.iter().filter(|one| is(one));
        some.map(|one| one.version.name()).collect()
    };
    let taken = names(|one| !one.ciphers.is_empty());
    let refused = names(|one| one.ciphers.is_empty() && !one.is_partial);
    let unknown = names(|one| one.ciphers.is_empty() && one.is_partial);
    let old = names(|one| !one.ciphers.is_empty() && one.version.is_outdated());
    if taken.is_empty() {
        // A handshake has just been made: whoever answers so answers something else.
        return vec![Finding::unchecked(
            "the server takes a session, and no single question",
            "ask by hand: openssl s_client -starttls postgres -tls1_1 -connect HOST:PORT",
            Topic::OldTls,
        )];
    }
    let evidence = format!(
        "accepts {}, refuses {}; {questions} questions in {}",
        listed(&taken),
        listed(&refused),
        span(took)
    );
    let new = || accepted.iter().filter(|one| !one.version.is_outdated());
    let ciphers = new().flat_map(|one| &one.ciphers);
    let lines = new().filter(|one| !one.ciphers.is_empty()).map(line);
    let all: Vec<_> = ciphers.clone().map(|cipher| cipher.name).collect();
    let broken: Vec<_> = ciphers
        .filter(|cipher| cipher.grade == Grade::Broken)
        .map(|cipher| cipher.name)
        .collect();
    let main = match old.is_empty() {
        true => Finding::pass(evidence),
        false => Finding::fail(
            format!("the server accepts {}; {evidence}", listed(&old)),
            "on the server: ALTER SYSTEM SET ssl_min_protocol_version = 'TLSv1.2'; SELECT pg_reload_conf()",
            Topic::OldTls,
        ),
    };
    let main = main
        .more(lines)
        .figure("accepted", taken)
        .figure("refused", refused)
        .figure("ciphers", all)
        .figure("ms", millis(took));
    let mut findings = vec![main];
    if !broken.is_empty() {
        findings.push(Finding::warn(
            format!("the server accepts broken ciphers: {}", broken.join(", ")),
            "on the server: ALTER SYSTEM SET ssl_ciphers = 'HIGH:!aNULL:!3DES:!RC4'; SELECT pg_reload_conf()",
            Topic::OldTls,
        ));
    }
    if !unknown.is_empty() {
        findings.push(Finding::unchecked(
            format!("the server gave no clear answer for {}", listed(&unknown)),
            "try again, or ask by hand: openssl s_client -starttls postgres -tls1_1 -connect HOST:PORT",
            Topic::OldTls,
        ));
    }
    findings
}

fn line(accepted: &Accepted) -> String {
    let names: Vec<_> = accepted
        .ciphers
        .iter()
        .map(|cipher| match cipher.grade {
            Grade::Strong => cipher.name.to_owned(),
            Grade::Weak => format!("{} (weak)", cipher.name),
            Grade::Broken => format!("{} (broken)", cipher.name),
        })
        .collect();
    let more = if accepted.is_partial {
        ", and perhaps more"
    } else {
        ""
    };
    format!("{}: {}{more}", accepted.version.name(), names.join(" "))
}

fn listed(names: &[&str]) -> String {
    match names {
        [] => "none".to_owned(),
        names => names.join(" and "),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Verdict;
    use super::*;

    fn accepted(version: OfferedVersion, names: &[&str], is_partial: bool) -> Accepted {
        let ciphers = version.ciphers().filter(|one| names.contains(&one.name));
        let ciphers: Vec<_> = ciphers.collect();
        assert_eq!(ciphers.len(), names.len());
        Accepted {
            version,
            ciphers,
            is_partial,
        }
    }

    fn of(all: &[Accepted]) -> Vec<(Verdict, String)> {
        let findings = findings(all, 9, Duration::from_millis(5)).into_iter();
        findings.map(|one| (one.verdict, one.evidence)).collect()
    }

    #[test]
    fn an_outdated_version_that_is_accepted_fails_and_one_that_is_unclear_is_not_passed() {
        use OfferedVersion::{Tls10, Tls11, Tls12, Tls13};
        let good = accepted(Tls13, &["TLS_AES_128_GCM_SHA256"], false);
        let middling = accepted(Tls12, &["TLS_RSA_WITH_3DES_EDE_CBC_SHA"], false);
        let old = accepted(Tls11, &["TLS_RSA_WITH_AES_128_CBC_SHA"], true);
        let unclear = accepted(Tls10, &[], true);
        let found = of(&[unclear, old, middling, good]);
        let verdicts: Vec<_> = found.iter().map(|(verdict, _)| *verdict).collect();
        assert_eq!(verdicts, [Verdict::Fail, Verdict::Warn, Verdict::Unchecked]);
        assert!(found[0].1.contains("accepts TLSv1.1;"), "{found:?}");
        assert!(found[2].1.contains("TLSv1"), "{found:?}");
        let good = accepted(Tls13, &["TLS_AES_128_GCM_SHA256"], false);
        let found = of(&[
            accepted(Tls10, &[], false),
            accepted(Tls11, &[], false),
            good,
        ]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, Verdict::Pass);
        assert!(
            found[0].1.contains("refuses TLSv1 and TLSv1.1"),
            "{found:?}"
        );
        let found = of(&[accepted(Tls10, &[], false), accepted(Tls13, &[], false)]);
        assert_eq!(found[0].0, Verdict::Unchecked, "nothing was found out");
    }
}
