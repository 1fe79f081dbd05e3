//! What is known of a database beyond a single session: what its catalog proves, how often
//! its definitions have changed, which custom settings its code may make.

pub(crate) mod catalog;
mod custom_settings;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use crate::sql::{Dialect, Statement, statements};
use crate::state::tracker::Unclassified;

use catalog::{Catalog, CatalogVerdict};
use custom_settings::CustomSettings;

/// The catalog is asked again when an answer is this old, for the sake of
/// definitions that change elsewhere; at twice the age it proves nothing any more.
const FRESH: Duration = Duration::from_secs(30);

/// Where definitions change all the time, the catalog is asked no sooner again than
/// this, or so many times what the last answer took.
const PAUSE: (Duration, u32) = (Duration::from_millis(200), 10);

/// The epoch in which nothing was seen to change yet.
const FIRST: u32 = 1;

/// Chances to ask for a sequence's value that were not taken, until it is believed
/// that nobody of this database does.
const ENOUGH: u32 = 64;

/// Of one database of one upstream; shared by the sessions of its pools.
#[derive(Debug)]
pub(crate) struct DatabaseCatalog {
    /// No other of this process has it.
    pub(crate) number: u64,
    known: ArcSwap<CatalogSnapshot>,
    /// Definitions have changed this often, as far as was seen.
    epoch: AtomicU32,
    /// Somebody is asking the catalog.
    asking: AtomicBool,
    /// Some client has asked for what sequences gave its session.
    sequences: AtomicBool,
    /// How often one had time to, and did not.
    unasked: AtomicU32,
    began: Instant,
    /// Milliseconds since `began` at which the catalog answered last, and until
    /// which it is left in peace.
    asked: AtomicU64,
    peace: AtomicU64,
    /// Of custom settings that code may make.
    pub(crate) custom_settings: CustomSettings,
    /// As of this epoch there may be code that makes others.
    hidden: AtomicU32,
    /// As of this epoch definitions have changed of what leads to code which keeps
    /// state in the server's process.
    kept: AtomicU32,
    /// How often the catalog has answered.
    answers: AtomicU32,
}

/// One answer of the catalog.
#[derive(Debug)]
pub(crate) struct CatalogSnapshot {
    catalog: Option<Arc<Catalog>>,
    /// The last one before it that had code which keeps state in the server's process.
    former: Option<Arc<Catalog>>,
    /// Of definitions, when the question was asked.
    epoch: u32,
    /// Counts answers.
    pub(crate) edition: u32,
}

impl DatabaseCatalog {
    pub(crate) fn new() -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        Self {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            known: ArcSwap::from_pointee(CatalogSnapshot {
                catalog: None,
                former: None,
                epoch: 0,
                edition: 0,
            }),
            // Nothing is known: the first answer is of the next epoch.
            epoch: AtomicU32::new(FIRST),
            asking: AtomicBool::new(false),
            sequences: AtomicBool::new(false),
            unasked: AtomicU32::new(0),
            began: Instant::now(),
            asked: AtomicU64::new(0),
            peace: AtomicU64::new(0),
            custom_settings: CustomSettings::default(),
            hidden: AtomicU32::new(0),
            kept: AtomicU32::new(0),
            answers: AtomicU32::new(0),
        }
    }

    pub(crate) fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Whether clients of this database are known to use currval and lastval.
    pub(crate) fn sequences_matter(&self) -> bool {
        self.sequences.load(Ordering::Relaxed)
    }

    /// Whether enough clients have been given time to ask, and none did.
    pub(crate) fn sequences_are_unasked_for(&self) -> bool {
        self.unasked.load(Ordering::Relaxed) >= ENOUGH
    }

    pub(crate) fn sequence_left(&self) {
        self.unasked.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sequences_asked_for(&self) {
        self.sequences.store(true, Ordering::Relaxed);
    }

    /// A definition has changed, or is about to.
    pub(crate) fn changed(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// A definition has changed, or is about to, and what it defines makes custom
    /// settings of names that it does not show.
    pub(crate) fn hide(&self) {
        self.hidden.store(self.epoch(), Ordering::Release);
    }

    /// A definition has changed, or is about to, of what leads to code that keeps state
    /// in the server's process.
    pub(crate) fn keep(&self) {
        self.kept.fetch_max(self.epoch(), Ordering::AcqRel);
    }

    /// The epoch of the last answer, be it stale; 0 if there was none.
    pub(crate) fn judged(&self) -> u32 {
        let known = self.known.load();
        known.catalog.as_ref().map_or(0, |_| known.epoch)
    }

    /// Whether a definition is of what leads to code that keeps state, by the last
    /// answer, be it stale.
    pub(crate) fn touches_stateful_code(&self, text: Option<&[u8]>, dialect: Dialect) -> bool {
        let known = self.known.load();
        let Some(catalog) = known.catalog.as_ref().filter(|catalog| catalog.keeps()) else {
            return false;
        };
        text.is_none_or(|text| {
            statements(text, dialect).any(|one| catalog.concerns_process_state(&one))
        })
    }

    /// Whether what ran unjudged may have left what only the server's process has: by
    /// the last answer, and if definitions have changed meanwhile by the one before it.
    /// What led to such code, and is gone, was in definitions. What code has left that
    /// is gone itself shows to nobody.
    pub(crate) fn leaves_state(&self, unjudged: &Unclassified) -> bool {
        let known = self.known.load();
        let Some(catalog) = &known.catalog else {
            return false;
        };
        let began = unjudged.began();
        let blind = began == 0 && known.epoch > FIRST && catalog.keeps();
        let changed = began.max(FIRST) < known.epoch;
        let former = known.former.iter().filter(|_| changed);
        let mut catalogs = former.chain([catalog]).filter(|catalog| catalog.keeps());
        blind
            || began < self.kept.load(Ordering::Acquire)
            || catalogs
                .any(|catalog| unjudged.any(|one| catalog.judge(one) == CatalogVerdict::Library))
    }

    /// Whether code may have made custom settings of names that nobody knows, if it
    /// is any code.
    pub(crate) fn hides(&self) -> bool {
        let known = self.known.load();
        let catalog = known.catalog.as_ref();
        catalog.is_none_or(|catalog| catalog.hides())
            || known.epoch < self.hidden.load(Ordering::Acquire)
            || self.custom_settings.are_too_many()
    }

    /// The last answer, if nothing has happened since that could make it wrong.
    pub(crate) fn known(&self) -> Option<arc_swap::Guard<Arc<CatalogSnapshot>>> {
        let known = self.known.load();
        let holds = known.epoch == self.epoch() && self.age() <= 2 * FRESH;
        (holds && known.catalog.is_some()).then_some(known)
    }

    /// Whether the caller is to ask the catalog, and nobody else.
    pub(crate) fn claim_question(self: &Arc<Self>) -> Option<CatalogQuery> {
        let epoch = self.epoch();
        let known = self.known.load();
        let stale = known.epoch != epoch || self.age() > FRESH;
        let due = stale && self.now() >= self.peace.load(Ordering::Relaxed);
        (due && !self.asking.swap(true, Ordering::AcqRel)).then(|| self.question())
    }

    /// For who cannot go on without an answer.
    pub(crate) fn question(self: &Arc<Self>) -> CatalogQuery {
        CatalogQuery {
            of: Arc::clone(self),
            epoch: self.epoch(),
            at: Instant::now(),
        }
    }

    fn now(&self) -> u64 {
        millis(self.began.elapsed())
    }

    fn age(&self) -> Duration {
        let asked = Duration::from_millis(self.asked.load(Ordering::Relaxed));
        self.began.elapsed().saturating_sub(asked)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The right to ask the catalog; dropped, others have it.
#[derive(Debug)]
pub(crate) struct CatalogQuery {
    of: Arc<DatabaseCatalog>,
    epoch: u32,
    at: Instant,
}

impl CatalogQuery {
    /// Notes the answer; without one, nothing is proven until the next.
    pub(crate) fn answered(self, catalog: Option<Catalog>) {
        let of = &self.of;
        if let Some(catalog) = &catalog {
            of.custom_settings.add(catalog.custom());
        }
        // Two that are answered at once are two editions.
        let edition = of.answers.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let before = of.known.load();
        let last = before.catalog.iter().filter(|catalog| catalog.keeps());
        let former = last.chain(&before.former).next().cloned();
        of.known.store(Arc::new(CatalogSnapshot {
            catalog: catalog.map(Arc::new),
            former,
            epoch: self.epoch,
            edition,
        }));
        let (least, times) = PAUSE;
        let pause = least.max(self.at.elapsed() * times);
        let now = of.now();
        of.asked.store(now, Ordering::Relaxed);
        of.peace
            .store(now.saturating_add(millis(pause)), Ordering::Relaxed);
    }
}

impl Drop for CatalogQuery {
    fn drop(&mut self) {
        self.of.asking.store(false, Ordering::Release);
    }
}

impl CatalogSnapshot {
    pub(crate) fn judge(&self, statement: &Statement<'_>) -> CatalogVerdict {
        self.catalog
            .as_ref()
            .map_or(CatalogVerdict::Unproven, |catalog| catalog.judge(statement))
    }
}

#[cfg(test)]
mod tests {
    use super::catalog::CatalogReader;
    use super::*;
    use crate::sql::Backslash;
    use crate::state::tracker::SessionTracker;

    const PLAIN: Dialect = Dialect {
        backslash: Backslash::Plain,
        ascii_safe: true,
    };

    /// A catalog in which these names lead to code that keeps state.
    fn catalog_of(stateful: &[&str]) -> Catalog {
        let row = |columns: [&str; 3]| {
            let mut body = vec![0, 3];
            for column in columns {
                body.extend(u32::try_from(column.len()).unwrap().to_be_bytes());
                body.extend(column.as_bytes());
            }
            body
        };
        let mut reader = CatalogReader::default();
        for name in stateful {
            reader.row(&row(["library", "0", name]));
        }
        reader.row(&row(["end", "0", &stateful.len().to_string()]));
        reader.finish().unwrap()
    }

    fn answered(catalog: &Arc<DatabaseCatalog>, stateful: &[&str]) {
        catalog.question().answered(Some(catalog_of(stateful)));
    }

    /// Whether a client that ran this text, unjudged, may have left something.
    fn keeps(catalog: &DatabaseCatalog, began: u32, text: &str) -> bool {
        let mut tracker = SessionTracker::default();
        tracker.judge_later(Some(text.as_bytes()), PLAIN, began);
        catalog.leaves_state(tracker.unjudged().unwrap())
    }

    #[test]
    fn what_ran_unjudged_is_judged_by_the_next_answer() {
        let catalog = Arc::new(DatabaseCatalog::new());
        let began = catalog.judged();
        answered(&catalog, &["f"]);
        assert!(keeps(&catalog, began, "select f()"));
        assert!(!keeps(&catalog, began, "select g()"));
        answered(&catalog, &[]);
        assert!(!keeps(&catalog, began, "select f()"));
    }

    #[test]
    fn code_that_came_and_went_between_two_answers_is_not_missed() {
        let catalog = Arc::new(DatabaseCatalog::new());
        answered(&catalog, &["f"]);
        let began = catalog.judged();
        catalog.changed();
        assert!(!catalog.touches_stateful_code(Some(b"create table t (a int)"), PLAIN));
        answered(&catalog, &["f"]);
        assert!(!keeps(&catalog, began, "insert into t values (1)"));
        let began = catalog.judged();
        let trigger = "create trigger x before insert on t execute function f()";
        assert!(catalog.touches_stateful_code(Some(trigger.as_bytes()), PLAIN));
        catalog.changed();
        catalog.keep();
        catalog.changed();
        answered(&catalog, &["f"]);
        assert!(keeps(&catalog, began, "insert into t values (1)"));
        let began = catalog.judged();
        assert!(!keeps(&catalog, began, "insert into t values (1)"));
    }

    #[test]
    fn before_the_first_answer_definitions_count_where_there_is_such_code() {
        let catalog = Arc::new(DatabaseCatalog::new());
        let began = catalog.judged();
        catalog.changed();
        answered(&catalog, &[]);
        assert!(!keeps(&catalog, began, "select 1"));
        answered(&catalog, &["f"]);
        assert!(keeps(&catalog, began, "select 1"));
    }

    #[test]
    fn code_that_is_gone_is_known_by_the_answer_before() {
        let catalog = Arc::new(DatabaseCatalog::new());
        answered(&catalog, &["f"]);
        let began = catalog.judged();
        catalog.changed();
        answered(&catalog, &[]);
        assert!(keeps(&catalog, began, "select f()"));
        assert!(!keeps(&catalog, began, "select g()"));
        // Another of that name is not the same.
        assert!(!keeps(&catalog, catalog.judged(), "select f()"));
        catalog.changed();
        answered(&catalog, &["g"]);
        assert!(keeps(&catalog, began, "select f(), g()"));
    }

    #[test]
    fn code_that_is_added_is_no_matter_to_those_who_did_not_use_it() {
        let catalog = Arc::new(DatabaseCatalog::new());
        answered(&catalog, &[]);
        let began = catalog.judged();
        catalog.changed();
        answered(&catalog, &["f"]);
        assert!(!keeps(&catalog, began, "select g()"));
        assert!(keeps(&catalog, began, "select f()"));
    }
}
