//! Compares the rows of all tables: parts of tables are handed to workers on both sides,
//! which work at the same time, each with a session of its own in its side's snapshot.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::buckets::{Bucket, Buckets, Part, parts};
use super::side::{Side, TextRow, reason, rows, value};
use super::tables::Pair;
use crate::toolkit::connect::Session;

/// Bytes that a worker reads in one statement.
const PART_BYTES: u64 = 256 << 20;
/// The block size that all servers but a few self-made ones have; only the parts' sizes
/// depend on it.
const BLOCK_BYTES: u64 = 8192;

/// Both sides, the old one first.
pub(crate) type Sides = [Arc<Side>; 2];

/// How much of the servers is used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// Sessions a side.
    pub(crate) jobs: usize,
    /// Bytes a second that are read of each side.
    pub(crate) max_rate: Option<u64>,
}

/// What one side of a table came to.
#[derive(Debug, Default, Clone)]
pub(crate) struct Sum {
    pub(crate) buckets: Buckets,
    pub(crate) time: Duration,
    pub(crate) error: Option<String>,
    left: usize,
}

/// Keeps readers to a rate, by making each wait for what was read before.
#[derive(Debug)]
struct Pace {
    rate: Option<u64>,
    free_at: Mutex<Instant>,
}

impl Pace {
    async fn wait_for(&self, bytes: u64) {
        let Some(rate) = self.rate else { return };
        let at = {
            let mut free_at = self.free_at.lock();
            let at = (*free_at).max(Instant::now());
            let millis = bytes.saturating_mul(1000) / rate.max(1);
            *free_at = at + Duration::from_millis(millis);
            at
        };
        sleep_until(at).await;
    }
}

/// A part of one table on one side.
#[derive(Debug, Clone, Copy)]
struct Job {
    pair: usize,
    part: Part,
    bytes: u64,
}

struct Work {
    side: Arc<Side>,
    number: usize,
    pairs: Arc<Vec<Pair>>,
    jobs: Mutex<VecDeque<Job>>,
    pace: Pace,
}

/// What a job came to.
struct Done {
    pair: usize,
    side: usize,
    time: Duration,
    sums: Result<Vec<(i32, Bucket)>, String>,
}

/// Sums up every table on both sides. `seen` is told of each as it is finished.
pub(crate) async fn sum_up(
    sides: &Sides,
    pairs: &Arc<Vec<Pair>>,
    effort: Effort,
    mut seen: impl FnMut(usize, &[Sum; 2]),
) -> Vec<[Sum; 2]> {
    let mut sums = vec![[Sum::default(), Sum::default()]; pairs.len()];
    let (done, mut results) = mpsc::unbounded_channel();
    let mut workers = JoinSet::new();
    for (number, side) in sides.iter().enumerate() {
        let jobs = jobs(pairs, number, effort.max_rate);
        for job in &jobs {
            sums[job.pair][number].left += 1;
        }
        let work = Arc::new(Work {
            side: Arc::clone(side),
            number,
            pairs: Arc::clone(pairs),
            jobs: Mutex::new(jobs),
            pace: Pace {
                rate: effort.max_rate,
                free_at: Mutex::new(Instant::now()),
            },
        });
        for _ in 0..effort.jobs.max(1) {
            workers.spawn(worker(Arc::clone(&work), done.clone()));
        }
    }
    drop(done);
    while let Some(done) = results.recv().await {
        let both = &mut sums[done.pair];
        let sum = &mut both[done.side];
        sum.left -= 1;
        sum.time += done.time;
        match done.sums {
            Ok(buckets) => {
                for (number, bucket) in buckets {
                    sum.buckets.add(number, bucket);
                }
            }
            Err(error) => sum.error = Some(error),
        }
        if both.iter().all(|sum| sum.left == 0) {
            seen(done.pair, both);
        }
    }
    // Whatever a worker did not come to is not summed up.
    for sum in sums.iter_mut().flatten().filter(|sum| sum.left > 0) {
        let cause = || "no session was left to read it with".to_owned();
        sum.error.get_or_insert_with(cause);
    }
    sums
}

fn jobs(pairs: &[Pair], side: usize, max_rate: Option<u64>) -> VecDeque<Job> {
    let bytes_a_part = max_rate.map_or(PART_BYTES, |rate| rate.clamp(1 << 20, PART_BYTES));
    let jobs = pairs.iter().enumerate().flat_map(|(pair, both)| {
        let table = if side == 0 { &both.from } else { &both.to };
        // What is stored out of line is read with its row.
        let weight = (table.bytes / table.blocks.max(1)).max(BLOCK_BYTES);
        let parts = parts(table.blocks, bytes_a_part / weight);
        let bytes = table.bytes / (parts.len() as u64).max(1);
        parts.into_iter().map(move |part| Job { pair, part, bytes })
    });
    jobs.collect()
}

async fn worker(work: Arc<Work>, done: mpsc::UnboundedSender<Done>) {
    let mut session = None;
    loop {
        let next = work.jobs.lock().pop_front();
        let Some(job) = next else { return };
        work.pace.wait_for(job.bytes).await;
        let began = Instant::now();
        let sums = sum(&work, job, &mut session).await;
        let done = done.send(Done {
            pair: job.pair,
            side: work.number,
            time: began.elapsed(),
            sums,
        });
        if done.is_err() {
            return;
        }
    }
}

/// Sums up one part, with the session if there still is one.
async fn sum(
    work: &Work,
    job: Job,
    session: &mut Option<Session>,
) -> Result<Vec<(i32, Bucket)>, String> {
    if session.as_ref().is_none_or(|session| session.is_closed()) {
        let opened = work.side.session().await;
        *session = Some(opened.map_err(|error| error.to_string())?);
    }
    let Some(session) = session else {
        return Err("no session".to_owned());
    };
    let pair = &work.pairs[job.pair];
    let table = if work.number == 0 {
        &pair.from
    } else {
        &pair.to
    };
    let sql = table.sums(job.part, pair.hashing);
    let read = in_snapshot(&work.side, session, &sql).await;
    let read = read.map_err(|error| format!("on {}: {error}", work.side.about.upstream))?;
    let buckets = read.iter().map(bucket).collect::<Option<Vec<_>>>();
    buckets.ok_or_else(|| format!("on {}: a sum cannot be read", work.side.about.upstream))
}

/// Runs one query in a transaction of its own in the side's snapshot.
pub(crate) async fn in_snapshot(
    side: &Side,
    session: &Session,
    sql: &str,
) -> Result<Vec<TextRow>, String> {
    let read = async {
        side.begin(session).await?;
        rows(session, sql).await
    };
    let read = read.await.map_err(|error| reason(&error));
    // Where it fails, the next statement on this session says so.
    let _ = session.batch_execute("rollback").await;
    read
}

fn bucket(row: &TextRow) -> Option<(i32, Bucket)> {
    Some((
        value(row, "bucket")?.parse().ok()?,
        Bucket {
            rows: value(row, "rows")?.parse().ok()?,
            sum: value(row, "sum")?.parse().ok()?,
        },
    ))
}
