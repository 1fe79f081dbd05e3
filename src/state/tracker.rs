//! What the statements of a client may have left behind.
//!
//! The session tells a [`SessionTracker`] what it forwards for execution ([`SessionTracker::ran`],
//! [`SessionTracker::synced`]) and what the server answers ([`SessionTracker::tag`],
//! [`SessionTracker::failed`], [`SessionTracker::reported`], [`SessionTracker::settle`]), in order; at the end
//! of a transaction `settle` says how firmly the client holds its connection.
//! Outcomes count, not intentions: a SET that failed or was rolled back set nothing,
//! a text that the server could not parse left nothing. What a transaction does not
//! undo (sequences, advisory locks, SQL's PREPARE, what functions did) counts also
//! where it failed.
//!
//! Invariant: where outcome and text do not fit together, the worse one counts.
//!
//! What it cannot see: a custom setting that code made whose text does not show the
//! name, because no view of the server lists those. Who asks the server has to add
//! the names that code of the database may use ([`SessionTracker::code`]).

use std::collections::VecDeque;

use super::probe::{Findings, ProbeVerdict};
use super::settings::Settings;
use crate::sql::Dialect;
use crate::sql::effects::Marks;
use crate::wire::ledger::TransactionStatus;

mod analysis_cache;
mod dynamic_settings;
mod hold;
mod in_progress;
mod spelling;
mod statement_effects;
mod unclassified;

#[cfg(test)]
mod tests;

pub(crate) use analysis_cache::AnalysisCache;
pub(crate) use hold::{Cleanup, HiddenCode, Hold, HoldReason};
pub(crate) use in_progress::ExecutedBy;
pub(crate) use statement_effects::{Alignment, Proof, StatementEffects, digest};
pub(crate) use unclassified::Unclassified;

use hold::{Leftovers, SequenceUse};
use in_progress::{Discarding, PendingReply, Transaction, never_ran};
use statement_effects::{SettingChange, Traits};

/// Names of custom settings that code may have made; the eldest make room.
const MAX_SUSPECTS: usize = 64;

/// Of one client: what it left on its connection, and its settings.
#[derive(Debug, Default)]
pub(crate) struct SessionTracker {
    settings: Settings,
    pending: VecDeque<PendingReply>,
    /// Changes of settings that the transaction's end decides about.
    staged: Vec<SettingChange>,
    transaction: Transaction,
    suspects: VecDeque<Box<[u8]>>,
    /// What ran since the server was asked, and nobody could judge.
    unjudged: Option<Box<Unclassified>>,
    left: TrackedState,
}

#[derive(Debug, Default)]
struct TrackedState {
    leaves: Leftovers,
    /// What the server has confirmed.
    pinned: Option<HoldReason>,
    /// The client asks for values of sequences (currval, lastval).
    asks: bool,
}

impl SessionTracker {
    /// Something was forwarded for execution.
    pub(crate) fn ran(&mut self, digest: &StatementEffects, via: ExecutedBy) {
        if self.transaction.discarding == Discarding::Yes {
            return;
        }
        let digest = digest.clone();
        self.pending.push_back(match via {
            ExecutedBy::Query => PendingReply::Query {
                digest,
                begun: false,
            },
            ExecutedBy::Execute => PendingReply::Execute(digest),
        });
    }

    /// A Sync was forwarded.
    pub(crate) fn synced(&mut self) {
        self.transaction.discarding = Discarding::No;
        self.pending.push_back(PendingReply::Ready);
    }

    /// CommandComplete; also PortalSuspended and EmptyQueryResponse, which have no
    /// tag.
    pub(crate) fn tag(&mut self, tag: &[u8]) {
        // A Sync that was sent along with the start of a COPY has no answer.
        while let Some(PendingReply::Ready) = self.pending.front() {
            self.pending.pop_front();
        }
        let (digest, whole) = match self.pending.front_mut() {
            Some(PendingReply::Query { digest, begun }) => {
                *begun = true;
                (digest.clone(), false)
            }
            Some(PendingReply::Execute(digest)) => {
                let digest = std::mem::take(digest);
                self.pending.pop_front();
                (digest, true)
            }
            _ => (StatementEffects::unknown(), true),
        };
        if digest.traits().has(Traits::DIVIDES) {
            self.divide();
        }
        match tag {
            b"COMMIT" => self.commit(),
            b"ROLLBACK" if !digest.traits().has(Traits::DIVIDES) => self.roll_back(),
            b"DISCARD ALL" => self.discarded(),
            _ => self.compare(tag, digest.marks()),
        }
        if whole {
            self.done(&digest);
        }
    }

    /// A second opinion on what ran, by the server.
    fn compare(&mut self, tag: &[u8], marks: Marks) {
        let setting = || marks.has(Marks::SETTING) || marks.has(Marks::SETTING_LOCAL);
        let missed = match tag {
            b"SET" | b"RESET" if !setting() => {
                Leftovers::checked(HoldReason::Setting, Cleanup::Scrub)
            }
            b"LISTEN" if !marks.has(Marks::LISTEN) => {
                Leftovers::checked(HoldReason::Listen, Cleanup::Scrub)
            }
            b"PREPARE" if !marks.has(Marks::PREPARED) => {
                Leftovers::checked(HoldReason::Prepared, Cleanup::Discard)
            }
            b"DECLARE CURSOR" if !marks.has(Marks::CURSOR) => {
                Leftovers::checked(HoldReason::HoldCursor, Cleanup::Scrub)
            }
            b"LOAD" if !marks.has(Marks::LIBRARY) => {
                Leftovers::hard(HoldReason::Library, Cleanup::Close)
            }
            _ => return,
        };
        self.left.leaves.add(missed);
    }

    /// An ErrorResponse, whatever it is about.
    pub(crate) fn failed(&mut self, body: &[u8]) {
        let unrun = never_ran(body);
        match self.pending.pop_front() {
            Some(PendingReply::Query { digest, begun }) => {
                self.pending.push_front(PendingReply::Ready);
                self.undone(&digest, unrun && !begun);
            }
            Some(PendingReply::Execute(digest)) => {
                self.undone(&digest, unrun);
                self.skip();
            }
            Some(PendingReply::Ready) => self.pending.push_front(PendingReply::Ready),
            None => self.skip(),
        }
        if !self.transaction.divided {
            self.staged.clear();
        }
    }

    /// The server discards everything up to the next Sync.
    fn skip(&mut self) {
        while let Some(next) = self.pending.front() {
            if matches!(next, PendingReply::Ready) {
                return;
            }
            self.pending.pop_front();
        }
        self.transaction.discarding = Discarding::Yes;
    }

    /// A ParameterStatus came between answers.
    pub(crate) fn reported(&mut self, name: &[u8]) {
        let pending_sets = self.pending.front().is_some_and(|pending| match pending {
            PendingReply::Query { digest, .. } | PendingReply::Execute(digest) => sets(digest),
            PendingReply::Ready => false,
        });
        if !self.transaction.sets && !pending_sets && name != b"in_hot_standby" {
            let reason = Leftovers::checked(HoldReason::Setting, Cleanup::Scrub);
            self.left.leaves.add(reason);
        }
    }

    /// ReadyForQuery. `quiescent`: the server owes nothing more.
    pub(crate) fn settle(&mut self, status: TransactionStatus, quiescent: bool) -> Hold {
        match self.pending.pop_front() {
            Some(PendingReply::Query { digest, .. }) => self.done(&digest),
            Some(pending @ PendingReply::Execute(_)) => self.pending.push_front(pending),
            Some(PendingReply::Ready) | None => {}
        }
        if quiescent {
            // What is still here lost its answer: nobody knows what came of it.
            self.transaction.divided |= !self.pending.is_empty();
            while let Some(pending) = self.pending.pop_front() {
                match pending {
                    PendingReply::Query { digest, .. } | PendingReply::Execute(digest) => {
                        self.done(&digest)
                    }
                    PendingReply::Ready => {}
                }
            }
            self.transaction.discarding = Discarding::No;
        }
        if status == TransactionStatus::Idle {
            self.commit();
            self.transaction.sets = false;
        }
        self.hold()
    }

    /// How firmly the connection is held, as far as answers have come.
    pub(crate) fn hold(&self) -> Hold {
        let TrackedState {
            leaves,
            pinned,
            asks,
        } = &self.left;
        let hard = leaves.hard.or(*pinned);
        match (hard, leaves.check, leaves.drawn) {
            (Some(reason), ..) => Hold::Hard(reason),
            (None, _, SequenceUse::Surely) if *asks => Hold::Hard(HoldReason::Sequence),
            (None, Some(reason), _) => Hold::Check(reason),
            (None, None, SequenceUse::No) => Hold::Free,
            (None, None, _) if *asks => Hold::Check(HoldReason::Sequence),
            (None, None, _) => Hold::Soft,
        }
    }

    /// The server was asked while nothing was owed.
    pub(crate) fn checked(&mut self, findings: &Findings) -> ProbeVerdict {
        let verdict = findings.verdict();
        let leaves = &mut self.left.leaves;
        if findings.temporary() {
            leaves.cleanup = Cleanup::Close;
        }
        if let ProbeVerdict::Pinned(reason) = verdict {
            leaves.check = None;
            leaves.lasting = None;
            if reason == HoldReason::TempObject {
                leaves.cleanup = Cleanup::Close;
            }
            self.left.pinned = Some(reason);
            for (name, _) in findings.custom() {
                if !self.settings.create(name) {
                    self.hide();
                }
            }
            return verdict;
        }
        // No prepared statement of SQL's is left.
        if leaves.cleanup == Cleanup::Discard {
            leaves.cleanup = Cleanup::Scrub;
        }
        leaves.check = None;
        leaves.lasting = None;
        leaves.code = HiddenCode::None;
        self.left.pinned = None;
        leaves.drawn = match (verdict, leaves.drawn) {
            (ProbeVerdict::Sequence, _) => SequenceUse::Surely,
            (_, SequenceUse::Perhaps) if findings.sequences() == Some(false) => SequenceUse::No,
            (_, drawn) => drawn,
        };
        self.settings.adopt(findings);
        self.suspects.clear();
        self.unjudged = None;
        verdict
    }

    /// Something was found that no scrub undoes.
    pub(crate) fn cannot_be_undone(&mut self) {
        self.left.leaves.cleanup = Cleanup::Close;
    }

    /// Names for `probe::query`: the custom settings that may exist.
    pub(crate) fn custom(&self) -> impl Iterator<Item = &[u8]> {
        let suspects = self.suspects.iter().map(|name| &**name);
        self.settings.placeholders().chain(suspects)
    }

    /// Whether code has run that may have made others, since the server was asked.
    pub(crate) const fn code(&self) -> HiddenCode {
        self.left.leaves.code
    }

    /// That code may have made custom settings of names that nobody knows.
    pub(crate) fn hide(&mut self) {
        let hidden = Leftovers::hard(HoldReason::Setting, Cleanup::Close);
        self.left.leaves.add(hidden);
    }

    /// A text ran, or may run, that nobody can judge; the last answer of the catalog
    /// is of `epoch`. `None`: it is not known.
    pub(crate) fn judge_later(&mut self, text: Option<&[u8]>, dialect: Dialect, epoch: u32) {
        let unclassified = self
            .unjudged
            .get_or_insert_with(|| Box::new(Unclassified::since(epoch)));
        unclassified.add(text, dialect);
    }

    /// What has run since the server was asked that nobody could judge.
    pub(crate) fn unjudged(&self) -> Option<&Unclassified> {
        self.unjudged.as_deref()
    }

    /// That code may have left what only the server's process has.
    pub(crate) fn keep(&mut self) {
        self.unjudged = None;
        let kept = Leftovers::hard(HoldReason::Library, Cleanup::Close);
        self.left.leaves.add(kept);
    }

    /// Whether the client has used currval or lastval, so that it matters where
    /// sequences left their values.
    pub(crate) const fn asks_for_sequences(&self) -> bool {
        self.left.asks
    }

    /// Others like it have used them: it is taken to do the same.
    pub(crate) const fn expect_sequences(&mut self) {
        self.left.asks = true;
    }

    /// What has to be done before others may use the connection.
    pub(crate) fn cleanup(&self) -> Cleanup {
        let settings = if self.settings.is_empty() {
            Cleanup::Nothing
        } else {
            Cleanup::Scrub
        };
        self.left.leaves.cleanup.max(settings)
    }

    /// The same, where the settings that can be replayed are seen to otherwise.
    pub(crate) const fn cleanup_beside_settings(&self) -> Cleanup {
        self.left.leaves.cleanup
    }

    pub(crate) const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The connection was handed back: the client keeps its settings, and begins
    /// on another one (or the same) with nothing else.
    pub(crate) fn reset(&mut self) {
        // It is the same few places, transaction after transaction.
        let mut pending = std::mem::take(&mut self.pending);
        pending.clear();
        *self = Self {
            settings: std::mem::take(&mut self.settings),
            pending,
            left: TrackedState {
                asks: self.left.asks,
                ..TrackedState::default()
            },
            ..Self::default()
        };
    }

    /// It ran, and the server did not object.
    fn done(&mut self, digest: &StatementEffects) {
        self.left.leaves.add(digest.leaves());
        self.note(digest);
        if digest.traits().has(Traits::DIVIDES) {
            self.divide();
        }
        if self.transaction.divided && !digest.changes().is_empty() {
            self.left
                .leaves
                .add(Leftovers::checked(HoldReason::Setting, Cleanup::Scrub));
        } else {
            self.staged.extend_from_slice(digest.changes());
        }
    }

    /// It was answered by an error; `unrun`: before anything of it was executed.
    fn undone(&mut self, digest: &StatementEffects, unrun: bool) {
        if unrun {
            return;
        }
        // A text with a COMMIT in it was not undone as a whole.
        let several = digest.traits().has(Traits::SEVERAL);
        let leaves = if several && digest.marks().has(Marks::TRANSACTION) {
            digest.leaves()
        } else {
            digest.leaves().after_failure()
        };
        self.left.leaves.add(leaves);
        self.note(digest);
    }

    /// What counts whether it succeeded or not.
    fn note(&mut self, digest: &StatementEffects) {
        self.left.asks |= digest.marks().has(Marks::SEQUENCE_GET);
        self.transaction.sets |= sets(digest);
        for name in digest.created() {
            if !self.settings.create(name) {
                let many = Leftovers::hard(HoldReason::Setting, Cleanup::Scrub);
                self.left.leaves.add(many);
            }
        }
        for name in digest.suspected() {
            if !self.suspects.contains(name) {
                self.suspects.push_back(name.clone());
            }
        }
        while self.suspects.len() > MAX_SUSPECTS {
            self.suspects.pop_front();
        }
        if digest.traits().has(Traits::RELEASES)
            && let Some(reason) = self.left.pinned.take()
        {
            let again = Leftovers::checked(reason, Cleanup::Scrub);
            self.left.leaves.add(again);
        }
    }

    fn divide(&mut self) {
        self.transaction.divided = true;
        if !self.staged.is_empty() {
            self.staged.clear();
            self.left
                .leaves
                .add(Leftovers::checked(HoldReason::Setting, Cleanup::Scrub));
        }
    }

    fn commit(&mut self) {
        self.transaction.divided = false;
        for change in std::mem::take(&mut self.staged) {
            let kept = match &change {
                SettingChange::Set { name, statement } => self.settings.record(name, statement),
                SettingChange::Value { name, value } => self.settings.record_value(name, value),
                SettingChange::Reset(name) => {
                    self.settings.reset(name);
                    true
                }
                SettingChange::ResetAll => {
                    self.settings.reset_all();
                    true
                }
            };
            let mut leaves = Leftovers::default();
            if !kept {
                leaves = Leftovers::checked(HoldReason::Setting, Cleanup::Scrub);
            }
            leaves.cleanup = Cleanup::Scrub;
            self.left.leaves.add(leaves);
        }
    }

    fn roll_back(&mut self) {
        self.transaction.divided = false;
        self.staged.clear();
    }

    fn discarded(&mut self) {
        self.settings.discard_all();
        self.staged.clear();
        self.transaction.sets = true;
        self.left.pinned = None;
        let leaves = &mut self.left.leaves;
        let closes = leaves.cleanup == Cleanup::Close;
        // Custom settings stay, without their values.
        let asks = (leaves.code != HiddenCode::None).then_some(HoldReason::Function);
        *leaves = Leftovers {
            hard: leaves.hard,
            check: asks,
            lasting: asks,
            code: leaves.code,
            ..Leftovers::default()
        };
        if closes {
            leaves.cleanup = Cleanup::Close;
        }
    }
}

fn sets(digest: &StatementEffects) -> bool {
    let marks = digest.marks();
    let own = [Marks::SETTING, Marks::SETTING_LOCAL];
    own.into_iter().any(|mark| marks.has(mark))
}
