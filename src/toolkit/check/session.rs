//! A logged-in connection that is asked simple questions, one at a time.
//!
//! Opened as the proxy opens one, so that what works here works there. It only reads: no
//! question changes anything on the server.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::net::framed::{Framed, MAX_UPSTREAM_FRAME, WholeFrame};
use crate::tls::MaybeTls;
use crate::upstream::Opened;
use crate::wire::backend;
use crate::wire::frontend::{TERMINATE_MESSAGE, query};

/// One row, a text or NULL for each column.
pub(super) type Row = Vec<Option<String>>;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// The server's own ErrorResponse.
    #[error("{}", backend::error_field(.0.body(), b'M').unwrap_or_default())]
    Refused(WholeFrame),
    #[error("no answer within {0:?}")]
    Silent(Duration),
    #[error("the connection was lost: {0}")]
    Lost(String),
}

/// A connection that is logged in.
pub(super) struct Session {
    stream: Framed<MaybeTls>,
    /// The process that BackendKeyData named.
    pub(super) process_id: Option<u32>,
    limit: Duration,
}

impl Session {
    pub(super) fn new(opened: Opened, limit: Duration) -> Self {
        Self {
            stream: Framed::with_ahead(opened.stream, opened.ahead),
            process_id: opened.key.map(|key| key.pid()),
            limit,
        }
    }

    /// Runs one statement, and gives its rows.
    ///
    /// # Errors
    /// The server refuses it, or does not answer in time.
    pub(super) async fn rows(&mut self, sql: &str) -> Result<Vec<Row>, AskError> {
        let limit = self.limit;
        timeout(limit, self.ask(sql))
            .await
            .map_err(|_| AskError::Silent(limit))?
    }

    /// The first row, and how long the answer took.
    ///
    /// # Errors
    /// As [`Session::rows`], and if there is no row.
    pub(super) async fn timed_row(&mut self, sql: &str) -> Result<(Row, Duration), AskError> {
        let began = Instant::now();
        let rows = self.rows(sql).await?;
        let took = began.elapsed();
        let row = rows.into_iter().next();
        let row = row.ok_or_else(|| AskError::Lost("an answer without a row".to_owned()))?;
        Ok((row, took))
    }

    async fn ask(&mut self, sql: &str) -> Result<Vec<Row>, AskError> {
        let lost = |error: std::io::Error| AskError::Lost(error.to_string());
        self.stream
            .send(&query(sql.as_bytes()))
            .await
            .map_err(lost)?;
        let (mut rows, mut refusal) = (Vec::new(), None);
        loop {
            let frame = self.stream.read(MAX_UPSTREAM_FRAME).await;
            let frame = frame.map_err(|error| AskError::Lost(error.to_string()))?;
            match frame.tag() {
                backend::DATA_ROW => {
                    let row = data_row(frame.body());
                    rows.push(row.ok_or_else(|| AskError::Lost("a damaged row".to_owned()))?);
                }
                backend::ERROR_RESPONSE if backend::is_fatal(frame.body()) => {
                    return Err(AskError::Refused(frame));
                }
                backend::ERROR_RESPONSE => refusal = Some(frame),
                backend::READY_FOR_QUERY => {
                    return refusal.map_or(Ok(rows), |frame| Err(AskError::Refused(frame)));
                }
                _ => {}
            }
        }
    }

    /// Says goodbye; a server that does not want to hear it is left alone.
    pub(super) async fn close(mut self) {
        let _ = self.stream.send(&TERMINATE_MESSAGE).await;
    }
}

fn data_row(body: &[u8]) -> Option<Row> {
    let (count, mut rest) = body.split_first_chunk::<2>()?;
    let mut row = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = i32::from_be_bytes(*length);
        rest = after;
        let Ok(length) = usize::try_from(length) else {
            row.push(None);
            continue;
        };
        let (value, after) = rest.split_at_checked(length)?;
        row.push(Some(String::from_utf8_lossy(value).into_owned()));
        rest = after;
    }
    Some(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_and_damaged_ones_do_not_panic() {
        let body = b"\0\x03\0\0\0\x02ab\xff\xff\xff\xff\0\0\0\0";
        let row = vec![Some("ab".to_owned()), None, Some(String::new())];
        assert_eq!(data_row(body), Some(row));
        for end in 0..body.len() {
            assert_eq!(data_row(&body[..end]), None);
        }
    }
}
