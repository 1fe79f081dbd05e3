//! What is on its way to the server and changes its statements: a queue in the
//! order of the replies, with an index by name.

use std::collections::VecDeque;
use std::sync::Arc;

use super::entry::PreparedEntry;
use super::{ByName, Environment};

/// One message, and what it does when the server confirms it.
#[derive(Debug)]
pub(super) struct Op<T> {
    pub(super) name: Box<[u8]>,
    pub(super) act: Act<T>,
}

#[derive(Debug)]
pub(super) enum Act<T> {
    /// The client's own Parse; `None` if there is no room to note even its name.
    Parse(Option<PreparedEntry<T>>),
    /// The client's own Close.
    Close,
    /// A simple Query: it destroys the unnamed statement, whatever else it does.
    Query,
    InjectedParse(Arc<[u8]>, Environment),
    /// With types of parameters that the text alone would not have now.
    InjectedTyped(Environment),
    InjectedClose,
}

/// The messages in flight about one name.
#[derive(Debug, Clone, Copy)]
struct Pending {
    /// Number of the latest.
    latest: u64,
    /// The batch that is in.
    batch: u64,
    plain: bool,
}

/// What is known of the latest message in flight about a name.
#[derive(Debug)]
pub(super) enum Latest<'a, T> {
    /// It is in the batch that is being written: whatever the server reads next in
    /// this batch, it reads only if this one was done.
    Sure(&'a Act<T>),
    /// It may be skipped, but then the server and the client agree all the same.
    Plain,
    /// It is in a batch before, and what the server holds of the name depends on
    /// whether that fails.
    Unsure,
}

#[derive(Debug)]
pub(super) struct InFlight<T> {
    ops: VecDeque<Op<T>>,
    /// Number of the first of `ops`, and of the one that will follow the last.
    first: u64,
    next: u64,
    /// Syncs so far: what stands between two of them is done or skipped together.
    batch: u64,
    pending: ByName<Pending>,
    /// Names in doubt, and those that will be from the next Sync on; the unnamed one
    /// aside.
    unsure: usize,
    daring: usize,
    /// By how many the server's named statements will grow, if all goes well.
    growth: isize,
}

impl<T> Default for InFlight<T> {
    fn default() -> Self {
        Self {
            ops: VecDeque::new(),
            first: 0,
            next: 0,
            batch: 0,
            pending: ByName::default(),
            unsure: 0,
            daring: 0,
            growth: 0,
        }
    }
}

impl<T> Act<T> {
    fn growth(&self, name: &[u8]) -> isize {
        match self {
            _ if name.is_empty() => 0,
            Self::Parse(_) | Self::InjectedParse(..) | Self::InjectedTyped(..) => 1,
            Self::Close | Self::InjectedClose => -1,
            Self::Query => 0,
        }
    }

    pub(super) fn injected(&self) -> bool {
        matches!(
            self,
            Self::InjectedParse(..) | Self::InjectedTyped(..) | Self::InjectedClose
        )
    }
}

impl<T> InFlight<T> {
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// A message was written. `fresh`: neither the server nor the client has
    /// anything of this name, that we know of.
    pub(super) fn push(&mut self, name: &[u8], act: Act<T>, fresh: bool) {
        let before = match self.pending.get(name) {
            None => fresh,
            // Two definitions in flight: which one will be there is open.
            Some(pending) => {
                let first = self.act(pending.latest);
                pending.plain && !matches!(first, Some(Act::Parse(_)))
            }
        };
        let pending = Pending {
            latest: self.next,
            batch: self.batch,
            plain: before && !act.injected(),
        };
        let replaced = match self.pending.get_mut(name) {
            Some(known) => Some(std::mem::replace(known, pending)),
            None => self.pending.insert(name.into(), pending),
        };
        if let Some(replaced) = replaced {
            self.uncount(name, replaced);
        }
        self.daring += usize::from(!pending.plain && !name.is_empty());
        self.next += 1;
        self.growth += act.growth(name);
        self.ops.push_back(Op {
            name: name.into(),
            act,
        });
    }

    /// The first message was answered, or skipped.
    pub(super) fn pop(&mut self) -> Option<Op<T>> {
        let op = self.ops.pop_front()?;
        let number = self.first;
        self.first += 1;
        self.growth -= op.act.growth(&op.name);
        let pending = self.pending.get(&op.name);
        if let Some(pending) = pending.filter(|pending| pending.latest == number).copied() {
            self.pending.remove(&op.name);
            self.uncount(&op.name, pending);
        }
        Some(op)
    }

    /// What was in flight about `name` is so no longer, or no longer the latest.
    fn uncount(&mut self, name: &[u8], pending: Pending) {
        if pending.plain || name.is_empty() {
            return;
        }
        match pending.batch == self.batch {
            true => self.daring -= 1,
            false => self.unsure -= 1,
        }
    }

    /// A Sync was written.
    pub(super) fn sync(&mut self) {
        self.batch += 1;
        self.unsure += std::mem::take(&mut self.daring);
    }

    pub(super) fn growth(&self) -> isize {
        self.growth
    }

    pub(super) fn concerns(&self, name: &[u8]) -> bool {
        self.pending.contains_key(name)
    }

    pub(super) fn latest(&self, name: &[u8]) -> Option<Latest<'_, T>> {
        if self.ops.is_empty() {
            return None;
        }
        let pending = self.pending.get(name)?;
        let act = self.act(pending.latest)?;
        Some(if pending.batch == self.batch {
            Latest::Sure(act)
        } else if pending.plain {
            Latest::Plain
        } else {
            Latest::Unsure
        })
    }

    /// The latest message about `name`, however sure.
    pub(super) fn latest_act(&self, name: &[u8]) -> Option<&Act<T>> {
        self.act(self.pending.get(name)?.latest)
    }

    pub(super) fn latest_act_mut(&mut self, name: &[u8]) -> Option<&mut Act<T>> {
        let number = self.pending.get(name)?.latest;
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.ops.get_mut(at).map(|op| &mut op.act)
    }

    /// Whether any name but the unnamed one is in doubt.
    pub(super) const fn is_unsure(&self) -> bool {
        self.unsure > 0
    }

    fn act(&self, number: u64) -> Option<&Act<T>> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.ops.get(at).map(|op| &op.act)
    }
}
