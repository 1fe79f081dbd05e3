//! What the server says of prepared statements: noted as the client is told, and
//! compared where a statement was parsed anew on its behalf.

use std::collections::VecDeque;

use super::super::flow::FrameAction;
use crate::state::prepared::Described;
use crate::wire::backend;
use crate::wire::frame::Frame;
use crate::wire::frontend;

/// Stands in a refusal for what is told instead of it.
const STALE: &str = "cached plan must not change result type";

/// Describes of statements whose replies have not come.
#[derive(Debug, Default)]
pub(super) struct Descriptions {
    /// The client's, by the names of the statements.
    asked: VecDeque<Box<[u8]>>,
    /// The first half of a reply.
    types: Option<Option<Box<[u8]>>>,
}

impl Descriptions {
    pub(super) fn ask(&mut self, name: &[u8]) {
        self.asked.push_back(name.into());
    }

    /// The server skips so many.
    pub(super) fn skip(&mut self, count: usize) {
        self.asked.drain(..count.min(self.asked.len()));
        self.types = None;
    }

    /// The name of the statement that the client has been told about.
    pub(super) fn answered(&mut self) -> Option<Box<[u8]>> {
        self.asked.pop_front()
    }

    /// A message from the server; returns the description that it completes.
    pub(super) fn on_backend(&mut self, frame: Frame<'_>) -> Option<Described> {
        let body = (frame.body.len() == frame.len).then_some(frame.body);
        match frame.tag {
            backend::PARAMETER_DESCRIPTION => {
                self.types = Some(body.map(Into::into));
                None
            }
            backend::ROW_DESCRIPTION | backend::NO_DATA => {
                let types = self.types.take()?;
                Some(Described::new(types.as_deref(), body))
            }
            _ => None,
        }
    }
}

/// Appends a message that fails in place of a Bind or Describe of a statement which
/// a plain server would refuse to execute.
pub(super) fn refuse_stale(out: &mut Vec<u8>) {
    frontend::failing_bind(&format!("pgsluice: {STALE}"), out);
}

/// The error that a plain server raises, in place of the one that
/// [`refuse_stale`] provoked.
pub(super) fn translate(error: Frame<'_>, before: &mut Vec<u8>) -> FrameAction {
    let provoked = backend::error_field(error.body, b'C').as_deref() == Some("26000")
        && backend::error_field(error.body, b'M')
            .is_some_and(|message| message.contains("pgsluice: ") && message.contains(STALE));
    if !provoked {
        return FrameAction::Pass;
    }
    let severity = backend::error_field(error.body, b'S').unwrap_or_default();
    let fields = [
        (b'S', severity.as_str()),
        (b'V', "ERROR"),
        (b'C', "0A000"),
        (b'M', STALE),
        (b'F', "plancache.c"),
        (b'R', "RevalidateCachedQuery"),
    ];
    let mut body = Vec::new();
    for (field, text) in fields {
        body.push(field);
        body.extend_from_slice(text.as_bytes());
        body.push(0);
    }
    body.push(0);
    before.push(backend::ERROR_RESPONSE);
    let len = u32::try_from(4 + body.len()).unwrap_or(u32::MAX);
    before.extend_from_slice(&len.to_be_bytes());
    before.extend_from_slice(&body);
    FrameAction::Drop
}
