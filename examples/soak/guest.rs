//! One client of the soak: what it does, and what must come of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep};

use crate::wire::{
    Answer, Connection, Target, Trouble, bind, close, describe, execute, extended, message, parse,
    query, sync,
};

/// What a client may find wrong.
pub type Outcome<T = ()> = Result<T, String>;

impl From<Trouble> for String {
    fn from(trouble: Trouble) -> Self {
        trouble.to_string()
    }
}

/// What became of a row, as far as its client was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Confirmed,
    Undone,
    /// The client went away before it was told.
    Unknown,
}

/// What all clients share.
#[derive(Default)]
pub struct Shared {
    pub over: AtomicBool,
    pub done: AtomicU64,
    /// Turned down for want of connections that may be kept.
    pub turned_down: AtomicU64,
    pub blank: AtomicU64,
    /// Asked for `currval` in vain.
    pub forgotten: AtomicU64,
    pub kinds: Mutex<BTreeMap<&'static str, u64>>,
    pub waits: Mutex<Vec<Duration>>,
    /// Whether a client is known to hold the advisory lock.
    locks: [AtomicBool; 4],
}

pub struct Guest {
    id: u32,
    seq: u64,
    random: SmallRng,
    target: Target,
    connection: Connection,
    /// Prepared statements by name, and what each one adds to its parameter.
    statements: BTreeMap<String, String>,
    /// What the client set and did not reset; `None` is as after login.
    settings: [Option<String>; 3],
    pub fates: Vec<(u64, Fate)>,
    shared: Arc<Shared>,
}

/// Steps that leave a client with a connection of its own, were it to stay as it is.
const KEEPERS: [&str; 6] = [
    "sequence",
    "temporary",
    "listen",
    "advisory",
    "sql prepare",
    "hold cursor",
];

/// Of the settings that clients change; the first has no default.
const NAMES: [&str; 3] = ["soak.token", "work_mem", "application_name"];
const FRESH: [&str; 3] = ["", "4MB", "soak"];

const LOOK: &str = "select current_setting('soak.token', true), current_setting('work_mem'), \
     current_setting('application_name'), \
     (select string_agg(c, ',') from pg_listening_channels() c), \
     (select string_agg(relname, ',') from pg_class where relpersistence = 't' and pg_table_is_visible(oid)), \
     (select string_agg(name, ',' order by name collate \"C\") from pg_prepared_statements), \
     (select string_agg(name, ',') from pg_cursors where is_holdable)";

fn expect(what: &str, found: bool, answer: &Answer) -> Outcome {
    if found {
        return Ok(());
    }
    Err(format!("{what}: {answer:?}"))
}

/// Whether there is no connection left to keep, which is an answer too.
fn is_turned_down(answer: &Answer) -> bool {
    let refused = |(code, said): &(String, String)| {
        (code == "53300" || code == "26000") && said.contains("clients of this pool keep")
    };
    answer.errors.iter().any(refused)
}

impl Guest {
    pub async fn enter(id: u32, target: &Target, shared: &Arc<Shared>) -> Outcome<Self> {
        Ok(Self {
            id,
            seq: 0,
            random: SmallRng::seed_from_u64(u64::from(id)),
            target: target.clone(),
            connection: Self::connect(target).await?,
            statements: BTreeMap::new(),
            settings: Default::default(),
            fates: Vec::new(),
            shared: Arc::clone(shared),
        })
    }

    async fn connect(target: &Target) -> Outcome<Connection> {
        Ok(Connection::open_with(target, &[("application_name", "soak")]).await?)
    }

    /// Works until all is over, or something is wrong.
    pub async fn run(&mut self, think: u64) -> Outcome {
        while !self.shared.over.load(Ordering::Relaxed) {
            let began = Instant::now();
            let kind = self.step().await?;
            let took = began.elapsed();
            self.shared.done.fetch_add(1, Ordering::Relaxed);
            *self.shared.kinds.lock().entry(kind).or_default() += 1;
            if kind == "simple" {
                self.shared.waits.lock().push(took);
            }
            let pause = self.random.random_range(0..=think);
            sleep(Duration::from_millis(pause)).await;
        }
        self.look().await
    }

    async fn step(&mut self) -> Outcome<&'static str> {
        let kind = match self.random.random_range(0..1000) {
            0..180 => ("simple", self.simple().await),
            180..330 => ("extended", self.extended().await),
            330..480 => ("prepared", self.prepared().await),
            480..560 => ("pipeline", self.pipeline().await),
            560..640 => ("transaction", self.transaction().await),
            640..680 => ("rollback", self.rollback().await),
            680..710 => ("savepoint", self.savepoint().await),
            710..740 => ("copy in", self.copy_in().await),
            740..760 => ("copy out", self.copy_out().await),
            760..800 => ("error", self.error().await),
            800..850 => ("set", self.set().await),
            850..870 => ("set local", self.set_local().await),
            870..890 => ("portal", self.portal().await),
            890..893 => ("sequence", self.sequence().await),
            893..955 => ("look", self.look().await),
            955..958 => ("temporary", self.temporary().await),
            958..961 => ("listen", self.listen().await),
            961..964 => ("advisory", self.advisory().await),
            964..967 => ("sql prepare", self.sql_prepare().await),
            967..970 => ("hold cursor", self.hold_cursor().await),
            970..973 => ("cancel", self.cancel().await),
            973..980 => ("kill", self.kill().await),
            980..990 => ("reconnect", self.reconnect().await),
            _ => ("autocommit", self.autocommit().await),
        };
        let (name, mut outcome) = kind;
        if outcome.is_ok() && KEEPERS.contains(&name) {
            outcome = self.forget().await;
        }
        outcome.map_err(|error| format!("client {} {name}: {error}", self.id))?;
        Ok(name)
    }

    fn token(&mut self) -> String {
        self.seq += 1;
        format!("c{}s{}", self.id, self.seq)
    }

    fn insert(&self) -> String {
        format!("insert into ledger values ({}, {})", self.id, self.seq)
    }

    async fn ask(&mut self, sql: &str) -> Outcome<Answer> {
        Ok(self.connection.query(sql).await?)
    }

    /// Runs what must end in these command tags.
    async fn must(&mut self, sql: &str, tags: &[&str]) -> Outcome<Answer> {
        let answer = self.ask(sql).await?;
        expect(
            sql,
            answer.tags == tags && answer.errors.is_empty(),
            &answer,
        )?;
        Ok(answer)
    }

    /// Runs what leaves state; whether it was let.
    async fn keep(&mut self, sql: &str, tag: &str) -> Outcome<bool> {
        let answer = self.ask(sql).await?;
        if is_turned_down(&answer) {
            self.shared.turned_down.fetch_add(1, Ordering::Relaxed);
            return Ok(false);
        }
        expect(sql, answer.tags == [tag], &answer)?;
        Ok(true)
    }

    async fn must_be(&mut self, sql: &str, value: &str) -> Outcome {
        let answer = self.ask(sql).await?;
        let found = answer.one() == Some(value) && answer.errors.is_empty();
        expect(sql, found && answer.rows.len() == 1, &answer)
    }

    async fn simple(&mut self) -> Outcome {
        let token = self.token();
        let long = "x".repeat(self.random.random_range(0..2000));
        self.must_be(&format!("select '{token}' /* {long} */"), &token)
            .await
    }

    async fn extended(&mut self) -> Outcome {
        let token = self.token();
        let name = NAMES[self.random.random_range(1..3)];
        let sql = format!("select $1::text, current_setting('{name}')");
        let bytes = [extended(&sql, Some(&token)), sync()].concat();
        let answer = self.connection.ask(&bytes).await?;
        let at = NAMES.iter().position(|known| *known == name).unwrap_or(0);
        let set = self.settings[at].as_deref().unwrap_or(FRESH[at]);
        let right = answer.rows == [[Some(token), Some(set.to_owned())]];
        expect(&sql, right && answer.shape == "12TCZ", &answer)
    }

    /// The same few names for all clients, each with a text of its own.
    async fn prepared(&mut self) -> Outcome {
        let name = format!("s{}", self.random.random_range(0..6));
        let token = self.token();
        let known = self.statements.get(&name).cloned();
        let run = [bind("", &name, Some(&token)), execute("", 0), sync()].concat();
        let Some(suffix) = known else {
            if self.random.random_bool(0.1) {
                let answer = self.connection.ask(&run).await?;
                return expect("unknown statement", answer.code() == "26000", &answer);
            }
            let suffix = format!("/{token}");
            let sql = format!("select $1::text || '{suffix}'");
            let first = [parse(&name, &sql), describe(b'S', &name)].concat();
            let answer = self.connection.ask(&[first, run].concat()).await?;
            let found = answer.one() == Some(&format!("{token}{suffix}"));
            expect(&sql, found && answer.shape == "1tT2CZ", &answer)?;
            self.statements.insert(name, suffix);
            return Ok(());
        };
        match self.random.random_range(0..20) {
            0 => {
                self.statements.remove(&name);
                let bytes = [close(b'S', &name), sync()].concat();
                let answer = self.connection.ask(&bytes).await?;
                expect("close", answer.shape == "3Z", &answer)
            }
            1 => {
                let bytes = [parse(&name, "select 1"), sync()].concat();
                let answer = self.connection.ask(&bytes).await?;
                expect("name taken", answer.code() == "42P05", &answer)
            }
            2 => {
                self.statements.clear();
                self.must("deallocate all", &["DEALLOCATE ALL"])
                    .await
                    .map(|_| ())
            }
            _ => {
                let answer = self.connection.ask(&run).await?;
                let found = answer.one() == Some(&format!("{token}{suffix}"));
                expect(&name, found && answer.shape == "2CZ", &answer)
            }
        }
    }

    /// Several batches in one write; one of them may fail in its middle.
    async fn pipeline(&mut self) -> Outcome {
        let mut bytes = Vec::new();
        let mut due = Vec::new();
        for _ in 0..self.random.random_range(1..5) {
            let count = self.random.random_range(1..4);
            let fails = self.random.random_bool(0.15);
            let mut tokens = Vec::new();
            for _ in 0..count {
                let token = self.token();
                bytes.extend(extended("select $1::text", Some(&token)));
                tokens.push(vec![Some(token)]);
            }
            if fails {
                bytes.extend(extended("select 1 / length($1::text)", Some("")));
                bytes.extend(extended("select 'skipped', $1::text", Some("")));
            }
            bytes.extend(sync());
            due.push((tokens, fails));
        }
        self.connection.send(&bytes).await?;
        for (tokens, fails) in due {
            let answer = self.connection.answer().await?;
            let code = if fails { "22012" } else { "" };
            let right = answer.rows == tokens && answer.code() == code && answer.status == b'I';
            expect("pipeline", right, &answer)?;
        }
        Ok(())
    }

    async fn autocommit(&mut self) -> Outcome {
        self.token();
        let sql = self.insert();
        self.must(&sql, &["INSERT 0 1"]).await?;
        self.fates.push((self.seq, Fate::Confirmed));
        Ok(())
    }

    async fn transaction(&mut self) -> Outcome {
        let token = self.token();
        let insert = self.insert();
        if self.random.random_bool(0.3) {
            let all = format!("begin; {insert}; select '{token}'; commit");
            let tags = ["BEGIN", "INSERT 0 1", "SELECT 1", "COMMIT"];
            let answer = self.must(&all, &tags).await?;
            expect(&all, answer.one() == Some(&token), &answer)?;
        } else {
            self.must("begin", &["BEGIN"]).await?;
            let bytes = [extended(&insert, None), sync()].concat();
            let answer = self.connection.ask(&bytes).await?;
            expect(
                &insert,
                answer.tags == ["INSERT 0 1"] && answer.status == b'T',
                &answer,
            )?;
            let pause = self.random.random_range(0..3);
            sleep(Duration::from_millis(pause)).await;
            self.must_be(&format!("select '{token}'"), &token).await?;
            self.must("commit", &["COMMIT"]).await?;
        }
        self.fates.push((self.seq, Fate::Confirmed));
        Ok(())
    }

    async fn rollback(&mut self) -> Outcome {
        let token = self.token();
        let insert = self.insert();
        self.must("begin", &["BEGIN"]).await?;
        self.must(&insert, &["INSERT 0 1"]).await?;
        self.fates.push((self.seq, Fate::Undone));
        if self.random.random_bool(0.5) {
            let answer = self.ask(&format!("select '{token}'::int")).await?;
            let right = answer.code() == "22P02" && answer.errors[0].1.contains(&token);
            expect("a bad number", right && answer.status == b'E', &answer)?;
            let answer = self.ask("select 1").await?;
            expect("after an error", answer.code() == "25P02", &answer)?;
            return self.must("commit", &["ROLLBACK"]).await.map(|_| ());
        }
        self.must("rollback", &["ROLLBACK"]).await.map(|_| ())
    }

    async fn savepoint(&mut self) -> Outcome {
        self.token();
        let kept = self.insert();
        self.must(
            &format!("begin; {kept}; savepoint here"),
            &["BEGIN", "INSERT 0 1", "SAVEPOINT"],
        )
        .await?;
        let kept_seq = self.seq;
        let token = self.token();
        let undone = self.insert();
        self.must(&undone, &["INSERT 0 1"]).await?;
        self.fates.push((self.seq, Fate::Undone));
        let answer = self.ask(&format!("select \"{token}\"")).await?;
        let right = answer.code() == "42703" && answer.errors[0].1.contains(&token);
        expect("no such column", right, &answer)?;
        self.must("rollback to here; commit", &["ROLLBACK", "COMMIT"])
            .await?;
        self.fates.push((kept_seq, Fate::Confirmed));
        Ok(())
    }

    async fn copy_in(&mut self) -> Outcome {
        let answer = self.ask("copy ledger from stdin").await?;
        expect("copy in", answer.shape == "G", &answer)?;
        let count = self.random.random_range(1..30);
        let mut rows = Vec::new();
        for _ in 0..count {
            self.token();
            rows.push(self.seq);
            let line = format!("{}\t{}\n", self.id, self.seq);
            self.connection
                .send(&message(b'd', line.as_bytes()))
                .await?;
        }
        if self.random.random_bool(0.2) {
            self.fates
                .extend(rows.iter().map(|seq| (*seq, Fate::Undone)));
            let token = self.token();
            let fail = [token.as_bytes(), &[0]].concat();
            let answer = self.connection.ask(&message(b'f', &fail)).await?;
            let right = answer.code() == "57014" && answer.errors[0].1.contains(&token);
            return expect("copy failed", right, &answer);
        }
        let answer = self.connection.ask(&message(b'c', &[])).await?;
        expect(
            "copied in",
            answer.tags == [format!("COPY {count}")],
            &answer,
        )?;
        self.fates
            .extend(rows.iter().map(|seq| (*seq, Fate::Confirmed)));
        Ok(())
    }

    async fn copy_out(&mut self) -> Outcome {
        let token = self.token();
        let count = self.random.random_range(1..3000);
        let sql =
            format!("copy (select '{token}-' || g from generate_series(1, {count}) g) to stdout");
        let answer = self.must(&sql, &[&format!("COPY {count}")]).await?;
        let due: String = (1..=count).map(|g| format!("{token}-{g}\n")).collect();
        expect(&sql, answer.copied == due.as_bytes(), &answer)
    }

    async fn error(&mut self) -> Outcome {
        let token = self.token();
        let sql = format!("select * from {token}");
        let answer = if self.random.random_bool(0.5) {
            self.ask(&sql).await?
        } else {
            self.connection
                .ask(&[extended(&sql, None), sync()].concat())
                .await?
        };
        let said = format!("relation \"{token}\" does not exist");
        let right = answer.code() == "42P01" && answer.errors[0].1 == said;
        expect(&sql, right && answer.status == b'I', &answer)
    }

    async fn set(&mut self) -> Outcome {
        let token = self.token();
        let at = self.random.random_range(0..3);
        if self.random.random_bool(0.4) {
            self.settings[at] = (at == 0).then(String::new);
            return self
                .must(&format!("reset {}", NAMES[at]), &["RESET"])
                .await
                .map(|_| ());
        }
        let value = if at == 1 {
            // Odd: the server shows 2048kB as 2MB.
            format!("{}kB", 2001 + 2 * self.id)
        } else {
            token
        };
        self.must(&format!("set {} to '{value}'", NAMES[at]), &["SET"])
            .await?;
        self.settings[at] = Some(value.clone());
        self.must_be(&format!("show {}", NAMES[at]), &value).await
    }

    async fn set_local(&mut self) -> Outcome {
        let token = self.token();
        let sql = format!("begin; set local application_name to '{token}'; show application_name");
        let answer = self.must(&sql, &["BEGIN", "SET", "SHOW"]).await?;
        expect(&sql, answer.one() == Some(&token), &answer)?;
        self.must("commit", &["COMMIT"]).await?;
        let name = self.settings[2]
            .clone()
            .unwrap_or_else(|| FRESH[2].to_owned());
        self.must_be("show application_name", &name).await
    }

    async fn portal(&mut self) -> Outcome {
        let token = self.token();
        self.must("begin", &["BEGIN"]).await?;
        let sql = "select $1::text || g from generate_series(1, 5) g";
        let first = [
            parse("", sql),
            bind("p", "", Some(&token)),
            execute("p", 2),
            sync(),
        ]
        .concat();
        let answer = self.connection.ask(&first).await?;
        let due = |from: i32, to: i32| -> Vec<Vec<Option<String>>> {
            (from..=to)
                .map(|g| vec![Some(format!("{token}{g}"))])
                .collect()
        };
        expect(
            sql,
            answer.rows == due(1, 2) && answer.shape == "12sZ",
            &answer,
        )?;
        let answer = self
            .connection
            .ask(&[execute("p", 0), sync()].concat())
            .await?;
        expect(
            "the rest",
            answer.rows == due(3, 5) && answer.shape == "CZ",
            &answer,
        )?;
        self.must("commit", &["COMMIT"]).await.map(|_| ())
    }

    async fn sequence(&mut self) -> Outcome {
        let answer = self
            .must("select nextval('numbers')", &["SELECT 1"])
            .await?;
        let number = answer.one().unwrap_or_default().to_owned();
        let answer = self.ask("select currval('numbers')").await?;
        // What a sequence gave is remembered only while nobody else needs the connection.
        if answer.code() == "55000" {
            self.shared.forgotten.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        expect("currval", answer.one() == Some(&number), &answer)
    }

    /// Whether all that belongs to a session is this client's own.
    pub async fn look(&mut self) -> Outcome {
        let answer = self.must(LOOK, &["SELECT 1"]).await?;
        let found = answer.rows[0]
            .iter()
            .map(|value| value.clone().unwrap_or_default());
        let names: Vec<&str> = self.statements.keys().map(String::as_str).collect();
        let set = |at: usize| {
            self.settings[at]
                .clone()
                .unwrap_or_else(|| FRESH[at].to_owned())
        };
        let mut due = vec![set(0), set(1), set(2)];
        due.extend([String::new(), String::new(), names.join(","), String::new()]);
        if answer.rows[0][0].as_deref() == Some("") && self.settings[0].is_none() {
            self.shared.blank.fetch_add(1, Ordering::Relaxed);
        }
        expect(
            &format!("state, not {due:?}"),
            found.eq(due.iter().cloned()),
            &answer,
        )
    }

    async fn temporary(&mut self) -> Outcome {
        let token = self.token();
        if !self
            .keep(
                &format!("create temporary table mine as select '{token}' as a"),
                "SELECT 1",
            )
            .await?
        {
            return Ok(());
        }
        for _ in 0..3 {
            self.must_be("select a from mine", &token).await?;
        }
        self.must("drop table mine", &["DROP TABLE"])
            .await
            .map(|_| ())
    }

    async fn listen(&mut self) -> Outcome {
        let token = self.token();
        let channel = format!("ch{}", self.id);
        if !self.keep(&format!("listen {channel}"), "LISTEN").await? {
            return Ok(());
        }
        self.must_be("select * from pg_listening_channels()", &channel)
            .await?;
        let answer = self
            .must(&format!("notify {channel}, '{token}'"), &["NOTIFY"])
            .await?;
        expect("notified", answer.notified == [(channel, token)], &answer)?;
        self.must("unlisten *", &["UNLISTEN"]).await.map(|_| ())
    }

    /// No two clients have the lock, whatever connection they are on.
    async fn advisory(&mut self) -> Outcome {
        let key = self.random.random_range(0..self.shared.locks.len());
        let answer = self
            .ask(&format!("select pg_try_advisory_lock(77, {key})"))
            .await?;
        if is_turned_down(&answer) {
            self.shared.turned_down.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        if answer.one() == Some("f") {
            return Ok(());
        }
        expect("a lock", answer.one() == Some("t"), &answer)?;
        let twice = self.shared.locks[key].swap(true, Ordering::SeqCst);
        expect("another client has the lock", !twice, &answer)?;
        self.simple().await?;
        self.shared.locks[key].store(false, Ordering::SeqCst);
        self.must_be(&format!("select pg_advisory_unlock(77, {key})"), "t")
            .await
    }

    async fn sql_prepare(&mut self) -> Outcome {
        let token = self.token();
        if !self
            .keep(&format!("prepare mine as select '{token}'"), "PREPARE")
            .await?
        {
            return Ok(());
        }
        self.must_be("execute mine", &token).await?;
        self.must("deallocate mine", &["DEALLOCATE"])
            .await
            .map(|_| ())
    }

    async fn hold_cursor(&mut self) -> Outcome {
        let token = self.token();
        let sql = format!(
            "declare mine cursor with hold for select '{token}' || g from generate_series(1, 3) g"
        );
        if !self.keep(&sql, "DECLARE CURSOR").await? {
            return Ok(());
        }
        for row in 1..=3 {
            self.must_be("fetch mine", &format!("{token}{row}")).await?;
        }
        self.must("close mine", &["CLOSE CURSOR"]).await.map(|_| ())
    }

    /// Gives back what only this client has: the pool is to have connections for all.
    async fn forget(&mut self) -> Outcome {
        if self.random.random_bool(0.5) {
            return self.reconnect().await;
        }
        self.statements.clear();
        // A custom setting that was there once is there for good.
        let blank = self.settings[0].is_some().then(String::new);
        self.settings = [blank, None, None];
        self.must("discard all", &["DISCARD ALL"]).await.map(|_| ())
    }

    /// However long the statement waits for its turn, it is cancelled once it runs.
    async fn cancel(&mut self) -> Outcome {
        self.connection.send(&query("select pg_sleep(3)")).await?;
        let answer = loop {
            let cancelling = self.connection.cancelling();
            tokio::select! {
                answer = self.connection.answer() => break answer?,
                () = sleep(Duration::from_millis(150)) => {}
            }
            cancelling.await;
        };
        expect("cancelled", answer.code() == "57014", &answer)?;
        // The last request may come late, and then meets this one.
        self.ask("select 1").await.map(|_| ())
    }

    async fn kill(&mut self) -> Outcome {
        let token = self.token();
        let insert = self.insert();
        match self.random.random_range(0..6) {
            0 => {
                self.must(&format!("begin; {insert}"), &["BEGIN", "INSERT 0 1"])
                    .await?;
                self.fates.push((self.seq, Fate::Undone));
            }
            1 => {
                self.fates.push((self.seq, Fate::Unknown));
                self.connection.send(&query(&insert)).await?;
            }
            2 => {
                self.ask("copy ledger from stdin").await?;
                self.fates.push((self.seq, Fate::Undone));
                let line = format!("{}\t{}\n", self.id, self.seq);
                self.connection
                    .send(&message(b'd', line.as_bytes()))
                    .await?;
            }
            3 => {
                let bytes = query(&format!("select '{token}'"));
                self.connection.send(&bytes[..bytes.len() / 2]).await?;
            }
            4 => self.connection.send(&query("select pg_sleep(0.2)")).await?,
            _ => {
                let sql = format!(
                    "listen {token}; create temporary table mine as select 1; select pg_advisory_lock(78, {})",
                    self.id
                );
                self.ask(&sql).await?;
            }
        }
        self.connection.kill();
        self.afresh().await
    }

    async fn reconnect(&mut self) -> Outcome {
        self.connection.leave().await;
        self.afresh().await
    }

    async fn afresh(&mut self) -> Outcome {
        self.statements.clear();
        self.settings = Default::default();
        self.connection = Self::connect(&self.target).await?;
        Ok(())
    }

    pub async fn goodbye(mut self) -> (u32, Vec<(u64, Fate)>) {
        self.connection.leave().await;
        (self.id, self.fates)
    }
}
