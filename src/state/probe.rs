//! Asking the server what a session still holds.
//!
//! One simple Query outside of a transaction ([`query`]), whose rows a [`ProbeReader`]
//! gathers. What it cannot see, because no catalog shows it: values of currval
//! (only whether lastval has one), loaded libraries, setseed, custom settings that
//! nobody named to it, descriptors and variables of extensions.
//!
//! Beside what the client did it leaves nothing, but like every simple Query it
//! destroys the unnamed prepared statement.

use super::literal::put_literal;
use super::tracker::HoldReason;
use super::untracked_settings::is_untracked;
use crate::wire::backend;
use crate::wire::frame::Frame;

const SQL: &str = include_str!("probe.sql");
/// An error is how the server says that no sequence was used, and an error must
/// not end the session.
const LASTVAL: &str = include_str!("lastval.sql");

/// Appends the text. `custom` names the settings with a dot in them that the client
/// may have; with `sequences` it asks for lastval, at the price of an error in the
/// server's log where there is none.
pub(crate) fn query<'a>(
    custom: impl IntoIterator<Item = &'a [u8]>,
    sequences: bool,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(SQL.trim_end().as_bytes());
    for name in custom {
        out.extend_from_slice(b"\nUNION ALL SELECT 'custom', ");
        put_literal(name, out);
        out.extend_from_slice(b", pg_catalog.current_setting(");
        put_literal(name, out);
        out.extend_from_slice(b", true)");
    }
    if sequences {
        out.extend_from_slice(b";\n");
        out.extend_from_slice(LASTVAL.trim_end().as_bytes());
    }
}

type Pair = (Box<[u8]>, Box<[u8]>);

/// What the server says.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    settings: Vec<Pair>,
    custom: Vec<Pair>,
    role: Option<Box<[u8]>>,
    parsed: Vec<Box<[u8]>>,
    held: Option<HoldReason>,
    /// Whether lastval has a value, if that was asked.
    sequences: Option<bool>,
    /// A temporary schema was made, be it empty now.
    temporary: bool,
}

/// What that means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProbeVerdict {
    Clean,
    /// Nothing but settings, which can be replayed.
    SettingsOnly,
    /// Sequences were used, and maybe settings changed.
    Sequence,
    Pinned(HoldReason),
}

impl Findings {
    pub(crate) fn verdict(&self) -> ProbeVerdict {
        let customs = self.custom.iter().any(|(_, value)| !value.is_empty());
        match self.held {
            Some(reason) => ProbeVerdict::Pinned(reason),
            None if self.sequences == Some(true) => ProbeVerdict::Sequence,
            None if customs || self.role.is_some() || !self.settings.is_empty() => {
                ProbeVerdict::SettingsOnly
            }
            None => ProbeVerdict::Clean,
        }
    }

    /// Settings changed in the session, as the server spells them.
    pub(crate) fn settings(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.settings
            .iter()
            .map(|(name, value)| (&**name, &**value))
    }

    /// The custom settings that exist, of those that were asked for.
    pub(crate) fn custom(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.custom.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The role, if it may be another than a login begins with.
    pub(crate) fn role(&self) -> Option<&[u8]> {
        self.role.as_deref()
    }

    /// Whether there is a temporary schema. It stays, and shows, until the end of
    /// the connection.
    pub(crate) const fn temporary(&self) -> bool {
        self.temporary
    }

    /// Whether lastval has a value; `None` if that was not asked.
    pub(crate) const fn sequences(&self) -> Option<bool> {
        self.sequences
    }
}

/// Reads the answer, message by message.
#[derive(Debug)]
pub(crate) struct ProbeReader {
    findings: Findings,
    sequences: bool,
    completed: u32,
    failed: bool,
    rights: Rights,
}

/// What only a superuser may set can be set again only by a superuser.
#[derive(Debug, Default)]
struct Rights {
    needed: bool,
    /// The login role has them.
    held: bool,
}

impl ProbeReader {
    /// `sequences` as it was given to [`query`].
    pub(crate) fn new(sequences: bool) -> Self {
        Self {
            findings: Findings::default(),
            sequences,
            completed: 0,
            failed: false,
            rights: Rights::default(),
        }
    }

    /// A message of the answer, up to its ReadyForQuery. Others that the server
    /// sends at any time are passed over; they are the caller's business.
    pub(crate) fn on_backend(&mut self, frame: Frame<'_>) {
        match frame.tag {
            backend::DATA_ROW => {
                let whole = frame.body.len() == frame.len;
                let understood = whole && self.row(frame.body).is_some();
                self.failed |= !understood;
            }
            backend::COMMAND_COMPLETE => self.completed += 1,
            backend::ERROR_RESPONSE => {
                let code = backend::error_field(frame.body, b'C');
                let none = self.sequences && self.completed == 1;
                if none && code.as_deref() == Some("55000") {
                    self.findings.sequences = Some(false);
                    self.completed += 1;
                } else {
                    self.failed = true;
                }
            }
            _ => {}
        }
    }

    /// After ReadyForQuery.
    pub(crate) fn finish(self) -> Findings {
        let mut findings = self.findings;
        if self.rights.needed && !self.rights.held {
            findings.held.get_or_insert(HoldReason::Setting);
        }
        if self.sequences {
            // No row and no error: it was not safe to ask.
            findings.sequences.get_or_insert(true);
        }
        if self.failed || self.completed != 1 + u32::from(self.sequences) {
            findings.held = Some(HoldReason::Unknown);
        }
        findings
    }

    fn row(&mut self, body: &[u8]) -> Option<()> {
        let mut columns = Columns::of(body)?;
        let what = columns.next()??;
        let [name, value] = [columns.next()?, columns.next()?];
        let held = match what {
            b"user" => {
                self.rights.held = value == Some(b"super");
                (value == Some(b"changed")).then_some(HoldReason::Role)
            }
            b"role" => {
                let fresh = name? == b"none" && value.is_none();
                self.findings.role = (!fresh).then(|| name.unwrap_or_default().into());
                None
            }
            b"setting" | b"privileged" => {
                let (name, value) = (name?, value.unwrap_or_default());
                if is_untracked(name) {
                    return Some(());
                }
                self.rights.needed |= what == b"privileged";
                self.findings.settings.push((name.into(), value.into()));
                // Where it names the temporary schema, a CREATE that looks
                // lasting is not.
                let temporary =
                    name == b"search_path" && value.windows(7).any(|part| part == b"pg_temp");
                temporary.then_some(HoldReason::TempObject)
            }
            b"custom" => {
                if let (Some(name), Some(value)) = (name, value) {
                    self.findings.custom.push((name.into(), value.into()));
                }
                None
            }
            b"parsed" => {
                self.findings.parsed.push(name?.into());
                None
            }
            b"sequence" => {
                self.findings.sequences = Some(true);
                None
            }
            b"schema" => {
                self.findings.temporary = true;
                None
            }
            b"listen" => Some(HoldReason::Listen),
            b"cursor" => Some(HoldReason::HoldCursor),
            b"prepared" => Some(HoldReason::Prepared),
            b"temp" => Some(HoldReason::TempObject),
            b"lock" => Some(HoldReason::AdvisoryLock),
            _ => return None,
        };
        if let Some(held) = held {
            self.findings.held.get_or_insert(held);
        }
        Some(())
    }
}

/// The columns of a DataRow; `None` for NULL.
struct Columns<'a>(&'a [u8]);

impl<'a> Columns<'a> {
    fn of(body: &'a [u8]) -> Option<Self> {
        let (count, rest) = body.split_first_chunk::<2>()?;
        (u16::from_be_bytes(*count) == 3).then_some(Self(rest))
    }
}

impl<'a> Iterator for Columns<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Option<&'a [u8]>> {
        let (len, rest) = self.0.split_first_chunk::<4>()?;
        let len = i32::from_be_bytes(*len);
        if len == -1 {
            self.0 = rest;
            return Some(None);
        }
        let (value, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
        self.0 = rest;
        Some(Some(value))
    }
}

#[cfg(test)]
mod tests;
