//! What can be seen of a running proxy from outside: its metrics and its memory.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::Proxy;

/// The line of a proxy's configuration that [`Metrics::of`] needs.
pub(crate) const ADMIN: &str = "admin.http = \"127.0.0.1:0\"";

pub(crate) const WAITING: &str = "pgsluice_client_waiting_connections{upstream=\"cluster\"}";
pub(crate) const CONNECTIONS: &str = "pgsluice_upstream_connections{upstream=\"cluster\"}";
pub(crate) const CLIENTS: &str = "pgsluice_client_connections";

/// Where a proxy shows its metrics.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Metrics(SocketAddr);

impl Metrics {
    pub(crate) fn of(proxy: &Proxy) -> Self {
        let log = proxy.log();
        let mut lines = log.iter();
        let line = lines.find(|line| line["message"] == "http listening");
        let address = line.unwrap()["address"].as_str().unwrap();
        Self(address.parse().unwrap())
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.0
    }

    /// All samples by name and labels, as they are written.
    pub(crate) async fn read(&self) -> BTreeMap<String, f64> {
        let mut stream = TcpStream::connect(self.0).await.unwrap();
        let request = "GET /metrics HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let samples = text.lines().filter(|line| line.starts_with("pgsluice_"));
        samples
            .map(|line| {
                let (name, value) = line.rsplit_once(' ').unwrap();
                (name.to_owned(), value.parse().unwrap())
            })
            .collect()
    }

    /// One sample; 0 before it was ever counted.
    pub(crate) async fn get(&self, name: &str) -> f64 {
        self.read().await.get(name).copied().unwrap_or_default()
    }
}

/// Resident memory of a proxy in bytes.
pub(crate) fn resident(proxy: &Proxy) -> u64 {
    status(proxy, "VmRSS:")
}

/// The most resident memory that a proxy ever had, in bytes.
pub(crate) fn peak(proxy: &Proxy) -> u64 {
    status(proxy, "VmHWM:")
}

fn status(proxy: &Proxy, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.id())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .unwrap();
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kilobytes * 1024
}
