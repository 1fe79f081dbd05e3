//! Whom a request must be addressed to. A page in a browser can point a name of its
//! own at 127.0.0.1 and then read what is answered there (DNS rebinding); the `Host`
//! that the browser sends gives it away.

use std::net::IpAddr;

use hyper::http::uri::Authority;
use hyper::{Request, Version, header};

/// The names and addresses that this face answers to.
#[derive(Debug)]
pub(super) struct Hosts(Vec<String>);

/// What is wrong with the address of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misaddressed {
    /// No `Host`, several, or none that can be read.
    Unclear,
    /// To somebody else.
    Stranger,
}

impl Hosts {
    /// Loopback, and `more`.
    pub(super) fn new(more: &[String]) -> Self {
        Self(more.iter().map(|host| plain(host)).collect())
    }

    /// # Errors
    /// The request is not for this face.
    pub(super) fn check<B>(&self, request: &Request<B>) -> Result<(), Misaddressed> {
        let mut lines = request.headers().get_all(header::HOST).iter();
        let host = match (request.uri().authority(), lines.next(), lines.next()) {
            (_, _, Some(_)) => return Err(Misaddressed::Unclear),
            // In the request line it counts more than the header.
            (Some(authority), _, None) => authority.clone(),
            (None, Some(line), None) => {
                Authority::try_from(line.as_bytes()).map_err(|_| Misaddressed::Unclear)?
            }
            // Older than the header, and than every browser; some probes speak it.
            (None, None, None) if request.version() <= Version::HTTP_10 => return Ok(()),
            (None, None, None) => return Err(Misaddressed::Unclear),
        };
        match self.know(host.host()) {
            true => Ok(()),
            false => Err(Misaddressed::Stranger),
        }
    }

    fn know(&self, host: &str) -> bool {
        let host = plain(host);
        let is_loopback = match host.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => host == "localhost",
        };
        is_loopback || self.0.contains(&host)
    }
}

/// Without what makes no difference: case, the dot of the root, brackets.
fn plain(host: &str) -> String {
    let host = host.strip_suffix('.').unwrap_or(host);
    let bare = host.strip_prefix('[').and_then(|v6| v6.strip_suffix(']'));
    bare.unwrap_or(host).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(hosts: &[&str]) -> Result<(), Misaddressed> {
        let mut request = Request::builder().uri("/metrics");
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        let more = ["Metrics.Internal".to_owned(), "10.0.0.7".to_owned()];
        Hosts::new(&more).check(&request.body(()).unwrap())
    }

    #[test]
    fn loopback_and_what_is_configured_is_known_in_every_spelling() {
        for host in [
            "localhost",
            "localhost:9127",
            "LOCALHOST.:9127",
            "127.0.0.1",
            "127.3.2.1:9127",
            "[::1]:9127",
            "[::ffff:127.0.0.1]",
            "metrics.internal:80",
            "10.0.0.7:9127",
        ] {
            assert_eq!(check(&[host]), Ok(()), "{host}");
        }
    }

    #[test]
    fn everybody_else_is_a_stranger() {
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:9127",
            "evil.localhost",
            "10.0.0.8",
            "[::2]",
            "0.0.0.0:9127",
        ] {
            assert_eq!(check(&[host]), Err(Misaddressed::Stranger), "{host}");
        }
    }

    #[test]
    fn one_host_is_given_and_can_be_read() {
        let unclear = Err(Misaddressed::Unclear);
        assert_eq!(check(&[]), unclear);
        assert_eq!(check(&[""]), unclear);
        assert_eq!(check(&["a b"]), unclear);
        assert_eq!(check(&["localhost", "localhost"]), unclear);
        let mut old = Request::new(());
        *old.version_mut() = Version::HTTP_10;
        assert_eq!(Hosts::new(&[]).check(&old), Ok(()));
    }

    #[test]
    fn the_request_line_counts_more_than_the_header() {
        let request = Request::builder()
            .uri("http://evil.example/metrics")
            .header(header::HOST, "localhost");
        let checked = Hosts::new(&[]).check(&request.body(()).unwrap());
        assert_eq!(checked, Err(Misaddressed::Stranger));
    }
}
