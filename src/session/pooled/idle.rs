//! A client without a connection: until it wants one, or leaves.

use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::super::flow::FrameAction;
use super::super::handle::{Handle, StopOrder};
use super::super::session_end::RelayExit;
use super::relay::ClientLink;
use crate::pool::IdleHold;
use crate::wire::backend::{self, ErrorFields};
use crate::wire::frame::{BadLength, Frame};
use crate::wire::frontend;
use crate::wire::sqlstate::SqlState;

/// Why an idle client is idle no longer.
#[derive(Debug)]
pub(super) enum Wakeup {
    /// It has sent something for a server.
    Wants,
    Left,
    Lost(io::Error),
    BadClient(BadLength),
    /// It has sent what no server knows.
    BadMessage(u8),
    /// It was told to go.
    Ordered(StopOrder),
    /// The server has ended the connection that it used last, with these words.
    ConnectionLost(Option<Bytes>),
}

/// A batch that cannot be served is answered with an error, and what belongs to it
/// is skipped as a server would.
#[derive(Debug, Default)]
pub(super) enum RejectedBatch {
    #[default]
    Over,
    /// The batch that begins with the next frame gets this error.
    Answer(Bytes),
    /// It has got it; its Sync has not come yet.
    Skipping,
}

impl RejectedBatch {
    fn on_frontend(&mut self, frame: Frame<'_>, replies: &mut Vec<u8>) -> FrameAction {
        match frame.tag {
            // Outside of COPY a server takes no notice: a client whose COPY has failed
            // goes on sending. Nor has a Flush anything to do.
            frontend::COPY_DATA | frontend::COPY_DONE | frontend::COPY_FAIL => {
                return FrameAction::Drop;
            }
            frontend::FLUSH if frame.len == 0 => return FrameAction::Drop,
            tag if tag == frontend::TERMINATE || !frontend::is_known(tag) => {
                return FrameAction::Stop;
            }
            _ => {}
        }
        let alone = matches!(frame.tag, frontend::QUERY | frontend::FUNCTION_CALL);
        match std::mem::take(self) {
            Self::Over => return FrameAction::Stop,
            Self::Answer(error) if frame.tag != frontend::SYNC => {
                replies.extend_from_slice(&error);
                if !alone {
                    *self = Self::Skipping;
                    return FrameAction::Drop;
                }
            }
            Self::Skipping if frame.tag != frontend::SYNC => {
                *self = Self::Skipping;
                return FrameAction::Drop;
            }
            Self::Answer(_) | Self::Skipping => {}
        }
        replies.extend_from_slice(&backend::READY_IDLE);
        FrameAction::Drop
    }
}

impl ClientLink {
    /// Waits until the client wants something.
    pub(super) fn poll_idle(
        &mut self,
        cx: &mut Context<'_>,
        refusal: &mut RejectedBatch,
        (handle, idle_hold): (&Handle, &IdleHold),
    ) -> Poll<Wakeup> {
        loop {
            let mut replies = Vec::new();
            let looked = self
                .to_upstream
                .look(|frame, _| refusal.on_frontend(frame, &mut replies));
            if let Err(error) = looked {
                return Poll::Ready(Wakeup::BadClient(error));
            }
            if !replies.is_empty() {
                self.to_client.append(&replies);
            }
            if let Err(error) = self.to_client.poll_drain(cx, &mut self.client) {
                return Poll::Ready(Wakeup::Lost(error));
            }
            match self.to_upstream.upcoming() {
                Err(error) => return Poll::Ready(Wakeup::BadClient(error)),
                Ok(Some(frontend::TERMINATE)) => return Poll::Ready(Wakeup::Left),
                Ok(Some(tag)) if !frontend::is_known(tag) => {
                    return Poll::Ready(Wakeup::BadMessage(tag));
                }
                Ok(Some(_)) => return Poll::Ready(Wakeup::Wants),
                Ok(None) => {}
            }
            match self.to_upstream.poll_read(cx, &mut self.client) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => return Poll::Ready(Wakeup::Left),
                Poll::Ready(Err(error)) => return Poll::Ready(Wakeup::Lost(error)),
                Poll::Pending => {
                    return match handle.poll_order(cx) {
                        Some(order) => Poll::Ready(Wakeup::Ordered(order)),
                        None => idle_hold.poll_lost(cx).map(Wakeup::ConnectionLost),
                    };
                }
            }
        }
    }

    /// What a server says to a message that it does not know, whatever it is doing. No
    /// connection is sacrificed to hear it.
    pub(super) fn unknown(&mut self, tag: u8) -> RelayExit {
        self.to_client
            .append(&backend::error_response(&ErrorFields {
                severity: "FATAL",
                sqlstate: SqlState::PROTOCOL_VIOLATION,
                message: &format!("invalid frontend message type {tag}"),
                detail: None,
                hint: None,
            }));
        RelayExit::BadMessage(tag)
    }

    /// Without its connection a client could go on here, if others of its pool have
    /// some. But the server, or somebody there, has ended it.
    pub(super) fn server_lost(&mut self, last_words: Option<Bytes>) -> RelayExit {
        match last_words {
            Some(last_words) => {
                self.to_client.append(&last_words);
                RelayExit::UpstreamEnded
            }
            None => RelayExit::UpstreamLost {
                commit_in_flight: false,
                error: None,
            },
        }
    }
}
