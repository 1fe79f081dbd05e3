//! Figures: waits by priority, and logins a second.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::Places;
use crate::guest::{Outcome, Shared};
use crate::run::{percentile, watch};
use crate::wire::{Connection, Target};

/// The users of `tests/endurance/priorities.toml`, each with a priority and a
/// database of its own, and how many clients each has.
const POOLS: [(&str, usize); 3] = [("high", 20), ("medium", 40), ("low", 40)];

/// Transactions of 10 ms, one after the other, from three pools that share a cap.
/// Nobody is to wait without end, and the higher are to wait less.
pub async fn priorities(places: &Places, seconds: u64) -> Outcome {
    let mut server = Connection::open(&places.superuser).await?;
    for (pool, _) in POOLS {
        server.query(&format!("create database {pool}")).await?;
    }
    for (think, apart) in [(100, true), (0, true), (100, false), (0, false)] {
        let what = if apart { "three pools" } else { "one pool" };
        println!("\n{what}, pauses of {think} ms between transactions:\n");
        contest(places, seconds, (think, apart)).await?;
    }
    Ok(())
}

struct Share {
    waits: Vec<Duration>,
    /// Transactions of the client that had the fewest.
    fewest: usize,
}

async fn contest(places: &Places, seconds: u64, (think, apart): (u64, bool)) -> Outcome {
    let shared = Arc::new(Shared::default());
    let watching = watch(places, &shared);
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut working = JoinSet::new();
    for (at, (pool, clients)) in POOLS.iter().enumerate() {
        for _ in 0..*clients {
            let database = if apart {
                pool
            } else {
                &places.proxy.database[..]
            };
            let target = places.proxy.is(pool, database);
            working.spawn(async move { (at, take_turns(&target, until, think).await) });
        }
    }
    let mut shares = POOLS.map(|_| Share {
        waits: Vec::new(),
        fewest: usize::MAX,
    });
    while let Some(ended) = working.join_next().await {
        let (at, waits) = ended.map_err(|error| error.to_string())?;
        let waits = waits.map_err(|error| format!("{}: {error}", POOLS[at].0))?;
        shares[at].fewest = shares[at].fewest.min(waits.len());
        shares[at].waits.extend(waits);
    }
    shared.over.store(true, Ordering::Relaxed);
    let seen = watching.await.map_err(|error| error.to_string())??;
    println!(
        "| priority | clients | transactions/s | fewest of a client | p50 ms | p95 ms | max ms |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (at, share) in shares.iter_mut().enumerate() {
        share.waits.sort_unstable();
        println!(
            "| {} | {} | {:.0} | {} | {:.1} | {:.1} | {:.1} |",
            POOLS[at].0,
            POOLS[at].1,
            share.waits.len() as f64 / seconds as f64,
            share.fewest,
            percentile(&share.waits, 50),
            percentile(&share.waits, 95),
            percentile(&share.waits, 100),
        );
    }
    println!("backends: at most {}", seen.most_backends);
    if shares.iter().any(|share| share.fewest == 0) {
        return Err("somebody starved".to_owned());
    }
    if seen.most_backends > 8 {
        return Err("more backends than the cap".to_owned());
    }
    Ok(())
}

async fn take_turns(target: &Target, until: Instant, think: u64) -> Outcome<Vec<Duration>> {
    let mut connection = Connection::open(target).await?;
    let mut waits = Vec::new();
    while Instant::now() < until {
        let began = Instant::now();
        let answer = connection.query("select pg_sleep(0.01)").await?;
        if !answer.errors.is_empty() {
            return Err(format!("{answer:?}"));
        }
        waits.push(began.elapsed().saturating_sub(Duration::from_millis(10)));
        sleep(Duration::from_millis(think)).await;
    }
    connection.leave().await;
    Ok(waits)
}

/// Ways in, by the user of `tests/endurance/storm.toml` and the method it is asked for.
const METHODS: [&str; 4] = ["trust", "md5", "password", "scram-sha-256"];

/// Connect, ask, leave, on eight at once: through the proxy and directly.
pub async fn storm(places: &Places, seconds: u64) -> Outcome {
    println!("| client | logins/s | p50 ms | p95 ms | max ms |");
    println!("|---|---|---|---|---|");
    let database = &places.proxy.database;
    for method in METHODS {
        let target = places.proxy.is(method, database);
        rush(&format!("proxy, held, {method}"), &target, seconds).await?;
    }
    rush("direct, TLS, scram-sha-256", &places.direct, seconds).await
}

async fn rush(name: &str, target: &Target, seconds: u64) -> Outcome {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let began = Instant::now();
    let until = began + Duration::from_secs(seconds);
    let mut working = JoinSet::new();
    for _ in 0..8 {
        let (target, taken) = (target.clone(), Arc::clone(&taken));
        working.spawn(async move {
            while Instant::now() < until {
                let began = Instant::now();
                let mut connection = Connection::open(&target).await?;
                let answer = connection.query("select 1").await?;
                if answer.one() != Some("1") {
                    return Err(format!("{answer:?}"));
                }
                connection.leave().await;
                taken.lock().push(began.elapsed());
            }
            Ok(())
        });
    }
    while let Some(ended) = working.join_next().await {
        let outcome = ended.map_err(|error| error.to_string())?;
        outcome.map_err(|error| format!("{name}: {error}"))?;
    }
    let mut taken = taken.lock().clone();
    taken.sort_unstable();
    println!(
        "| {name} | {:.0} | {:.1} | {:.1} | {:.1} |",
        taken.len() as f64 / began.elapsed().as_secs_f64(),
        percentile(&taken, 50),
        percentile(&taken, 95),
        percentile(&taken, 100),
    );
    Ok(())
}
