//! What may be left on a connection, in words: how firmly it is held, why, and
//! what has to be done to it before others may use it.

/// Why a client holds a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum HoldReason {
    /// A function or something else ran code that the text does not show.
    Function,
    /// A setting was changed in a way that the text does not tell exactly.
    Setting,
    Role,
    Sequence,
    AdvisoryLock,
    Prepared,
    HoldCursor,
    Listen,
    TempObject,
    /// It was told which session it is: process id, addresses.
    Identity,
    /// State of another sort.
    Session,
    Dblink,
    Seed,
    Library,
    /// Nobody knows: the text, or the server's answer, was not understood.
    Unknown,
}

impl HoldReason {
    /// For logs and metrics.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Function => "function",
            Self::Setting => "setting",
            Self::Role => "role",
            Self::Sequence => "sequence",
            Self::AdvisoryLock => "advisory_lock",
            Self::Prepared => "prepared",
            Self::HoldCursor => "hold_cursor",
            Self::Listen => "listen",
            Self::TempObject => "temp_object",
            Self::Identity => "identity",
            Self::Session => "session",
            Self::Dblink => "dblink",
            Self::Seed => "seed",
            Self::Library => "library",
            Self::Unknown => "unknown",
        }
    }
}

/// How firmly a client holds its connection. Greater is firmer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hold {
    /// Nothing is left but what can be replayed exactly.
    Free,
    /// Nothing else but values of sequences.
    Soft,
    /// Something may be left: the server has to be asked.
    Check(HoldReason),
    /// As long as the client is there.
    Hard(HoldReason),
}

/// What has to be done to a connection before others may use it. Greater is more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Cleanup {
    #[default]
    Nothing,
    /// `reset::LIGHT`
    Scrub,
    /// `reset::FULL`
    Discard,
    /// It cannot be undone.
    Close,
}

/// What a statement, or all of a client's so far, may leave behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Leftovers {
    pub(super) check: Option<HoldReason>,
    /// The part of `check` that a rollback does not undo.
    pub(super) lasting: Option<HoldReason>,
    pub(super) hard: Option<HoldReason>,
    pub(super) drawn: SequenceUse,
    pub(super) code: HiddenCode,
    pub(super) cleanup: Cleanup,
}

/// Whether code ran that the text does not show: custom settings may exist whose
/// names are known to the database at best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum HiddenCode {
    #[default]
    None,
    /// All names that it may have used are known.
    Known,
    /// Nobody has looked at it.
    Unjudged,
}

/// Whether sequences were used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum SequenceUse {
    #[default]
    No,
    /// By a default, a trigger or the like.
    Perhaps,
    /// The text says so.
    Surely,
}

impl Leftovers {
    pub(super) fn checked(reason: HoldReason, cleanup: Cleanup) -> Self {
        let undone = matches!(
            reason,
            HoldReason::Setting
                | HoldReason::Role
                | HoldReason::Listen
                | HoldReason::TempObject
                | HoldReason::HoldCursor
        );
        Self {
            check: Some(reason),
            lasting: (!undone).then_some(reason),
            cleanup,
            ..Self::default()
        }
    }

    pub(super) fn hard(reason: HoldReason, cleanup: Cleanup) -> Self {
        Self {
            hard: Some(reason),
            cleanup,
            ..Self::default()
        }
    }

    pub(super) fn drawn(drawn: SequenceUse) -> Self {
        Self {
            drawn,
            cleanup: Cleanup::Scrub,
            ..Self::default()
        }
    }

    pub(super) fn code(code: HiddenCode) -> Self {
        Self {
            code,
            ..Self::default()
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.check = self.check.max(other.check);
        self.lasting = self.lasting.max(other.lasting);
        self.hard = self.hard.max(other.hard);
        self.drawn = self.drawn.max(other.drawn);
        self.code = self.code.max(other.code);
        self.cleanup = self.cleanup.max(other.cleanup);
    }

    /// What is left if the server answered with an error: it undid everything
    /// that is bound to a transaction.
    pub(super) fn after_failure(self) -> Self {
        let nothing =
            self.lasting.is_none() && self.hard.is_none() && self.drawn == SequenceUse::No;
        Self {
            check: self.lasting,
            cleanup: if nothing {
                Cleanup::Nothing
            } else {
                self.cleanup
            },
            ..self
        }
    }
}
