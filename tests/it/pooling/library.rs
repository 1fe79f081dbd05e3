//! What C code and languages of others keep in the server's process: nobody but the
//! client that made it sees it, though no question to the server shows it.

use super::isolation::Kept::Pinned;
use super::isolation::{alone, differs, superuser, untouched, when_it_leaves, while_it_stays};
use super::*;

/// State of a process: what it takes, what makes it, and a question that shows it.
pub(crate) struct Case {
    pub(crate) needs: &'static str,
    pub(crate) objects: &'static str,
    pub(crate) leaves: &'static str,
    pub(crate) question: &'static str,
}

/// Of libraries that the server comes with; `tests/languages` has more.
const CASES: &[Case] = &[
    // C code that somebody declared by hand.
    Case {
        needs: "isn",
        objects: "create function weaken(boolean) returns boolean language c as '$libdir/isn', 'accept_weak_input';
                  create function is_weak() returns boolean language c as '$libdir/isn', 'weak_input_status';
                  create view weakness as select is_weak()",
        leaves: "select weaken(true)",
        question: "select * from weakness",
    },
    // A plan is kept by the trigger's name, whatever its arguments are by then; newer
    // minor versions keep none.
    Case {
        needs: "refint",
        objects: "create function check_key() returns trigger language c as '$libdir/refint', 'check_primary_key';
                  create table one (k int primary key); create table two (k int primary key);
                  insert into one values (1), (2); create table far (k int);
                  create trigger c before insert on far for each row execute function check_key('k', 'one', 'k')",
        leaves: "insert into far values (1)",
        question: "drop trigger c on far;
                   create trigger c before insert on far for each row execute function check_key('k', 'two', 'k');
                   insert into far values (2); select 1 / 0",
    },
    Case {
        needs: "isn",
        objects: "create extension isn",
        leaves: "select isn_weak(true)",
        question: "select isn_weak()",
    },
    Case {
        needs: "isn",
        objects: "create extension isn; create function weakens() returns boolean language plpgsql as
                  $$ begin execute 'select isn_weak(true)'; return true; end $$;
                  create table writes (a int); create function weaken() returns trigger language plpgsql as
                  $$ begin perform weakens(); return new; end $$;
                  create trigger t before insert on writes for each row execute function weaken()",
        leaves: "insert into writes values (1)",
        question: "select isn_weak()",
    },
    Case {
        needs: "isn",
        objects: "create extension isn",
        leaves: "do $$ begin perform isn_weak(true); end $$",
        question: "select isn_weak()",
    },
];

impl Case {
    fn whole(&self) -> (&'static str, &'static str, isolation::Kept) {
        (self.leaves, self.question, Pinned)
    }

    /// Makes what it takes in the stage's database. `false`: this server keeps nothing.
    async fn prepare(&self, stage: &Stage<'_>) -> bool {
        stage.postgres.has_extensions(&[self.needs]).await;
        let client = stage.postgres.superuser(&stage.database).await;
        client.batch_execute(self.objects).await.unwrap();
        // It shows indeed.
        let mut fresh = stage.postgres.raw_tls().await;
        let account = &stage.postgres.superuser;
        fresh
            .login(account.user, &account.password, &stage.database)
            .await;
        let done = fresh.query(self.leaves).await;
        assert!(!tags(&done).contains('E'), "{}: {done:?}", self.leaves);
        let own = fresh.query(self.question).await;
        let other = untouched(stage, self.question).await;
        let shows = differs(self.leaves, &own, &other).is_some();
        assert!(
            shows || self.needs == "refint",
            "{} leaves nothing",
            self.leaves
        );
        shows
    }
}

#[tokio::test]
async fn what_code_keeps_in_the_process_is_not_seen_by_the_next_and_found_again() {
    is_not_seen_and_found_again(CASES).await;
}

pub(crate) async fn is_not_seen_and_found_again(cases: &[Case]) {
    for case in cases {
        // Nothing is known of the database at first, and then it is.
        let stage = alone(Auth::Held, "1500ms").await;
        if !case.prepare(&stage).await {
            continue;
        }
        for _ in 0..2 {
            assert_eq!(while_it_stays(&stage, case.whole()).await, None);
            assert_eq!(when_it_leaves(&stage, case.whole()).await, None);
        }
    }
}

#[tokio::test]
async fn what_code_keeps_in_the_process_goes_with_its_client_in_passthrough_too() {
    goes_with_its_client(CASES).await;
}

pub(crate) async fn goes_with_its_client(cases: &[Case]) {
    for case in cases {
        let stage = Stage::with(
            Auth::Passthrough,
            "default_pool_size = 2\nmax_pinned = 2\nscrub = 'always'",
        )
        .await;
        if !case.prepare(&stage).await {
            continue;
        }
        let mut first = superuser(&stage).await;
        let mut second = superuser(&stage).await;
        first.query(case.leaves).await;
        let own = first.query(case.question).await;
        for _ in 0..3 {
            let answer = second.query(case.question).await;
            let fresh = untouched(&stage, case.question).await;
            assert_eq!(differs(case.leaves, &answer, &fresh), None);
        }
        let again = first.query(case.question).await;
        assert_eq!(differs(case.leaves, &again, &own), None);
        drop(first);
        let mut third = superuser(&stage).await;
        for client in [&mut second, &mut third] {
            let answer = client.query(case.question).await;
            let fresh = untouched(&stage, case.question).await;
            assert_eq!(differs(case.leaves, &answer, &fresh), None);
        }
    }
}

#[tokio::test]
async fn a_pool_in_session_mode_does_not_give_on_a_connection_on_which_such_code_ran() {
    is_not_given_on_in_session_mode(CASES).await;
}

pub(crate) async fn is_not_given_on_in_session_mode(cases: &[Case]) {
    for case in cases {
        let postgres = Postgres::shared().await;
        let database = postgres.create_database().await;
        let pool = format!(
            "[[pools]]\nname = '{database}'\nmode = 'session'\nsize = 1\ndatabase = '{database}'"
        );
        let mut stage = Stage::on(postgres, pooling(postgres, Auth::Held, "").toml(&pool)).await;
        stage.database = database;
        if !case.prepare(&stage).await {
            continue;
        }
        assert_eq!(when_it_leaves(&stage, case.whole()).await, None);
        assert_eq!(when_it_leaves(&stage, case.whole()).await, None);
    }
}

/// Goal: what keeps nothing pins nobody, though the database has code that keeps.
#[tokio::test]
async fn statements_that_do_not_reach_such_code_pin_nobody() {
    let stage = alone(Auth::Held, "5s").await;
    let client = stage.postgres.superuser(&stage.database).await;
    let objects = "create extension isn; create extension citext; create extension pg_trgm; create extension hstore;
         create function check_key() returns trigger language c as '$libdir/refint', 'check_primary_key';
         create table notes (id serial, a citext, b isbn13, c hstore); create index on notes using gin ((a::text) gin_trgm_ops);
         create function adds() returns int language plpgsql as
         $$ begin execute format('insert into %I (a) values (''x'')', 'notes'); return 1; end $$";
    let needed = ["isn", "citext", "pg_trgm", "hstore", "refint"];
    stage.postgres.has_extensions(&needed).await;
    client.batch_execute(objects).await.unwrap();
    let mut first = superuser(&stage).await;
    let mut second = superuser(&stage).await;
    let statements = [
        "insert into notes (a, b, c) values ('x', '978-0-393-04002-9', 'a=>1')",
        "select a from notes where a = 'X' and a::text % 'x' and c -> 'a' = '1' order by b",
        "select adds()",
        "do $$ begin perform adds(); end $$",
        "select similarity('a', 'b')",
        "analyze notes",
    ];
    for _ in 0..2 {
        for statement in statements {
            for client in [&mut first, &mut second] {
                let answer = client.query(statement).await;
                assert!(!tags(&answer).contains('E'), "{statement}: {answer:?}");
            }
        }
    }
    let reason = "pgsluice_pins_total{reason=\"library\"}";
    assert_eq!(stage.metrics.get(reason).await, 0.0);
}

/// Goal: definitions of extensions, of those that keep nothing and of those that do
/// nothing, keep only who makes them; those of others only who used them.
#[tokio::test]
async fn definitions_of_extensions_pin_no_bystander() {
    let of_c =
        "create function keeps() returns boolean language c as '$libdir/isn', 'weak_input_status'";
    for definitions in [
        &["create extension if not exists hstore"][..],
        &["create extension if not exists plpgsql"],
        &["drop extension if exists nosuch"],
        &["create extension hstore", "drop extension hstore"],
        &["create extension isn", "drop extension isn"],
        &["create extension isn; drop extension isn"],
        &[of_c],
    ] {
        let stage = alone(Auth::Held, "5s").await;
        let mut clients = [superuser(&stage).await, superuser(&stage).await];
        // Of one connection, and what they run is not judged by its text.
        let busy = async |clients: &mut [Pooled; 2]| {
            for (who, client) in clients.iter_mut().enumerate() {
                let set = format!("set work_mem = '{}MB'", who + 5);
                assert_eq!(ask(client, &set).await, "");
                let shown = ask(
                    client,
                    "select current_setting('work_mem'), version() is null",
                )
                .await;
                assert_eq!(shown, format!("{}MB f", who + 5), "{definitions:?}");
            }
        };
        busy(&mut clients).await;
        for definition in definitions {
            let mut author = superuser(&stage).await;
            author.query(definition).await;
            author.send(frontend::terminate()).await;
            drop(author);
            for _ in 0..3 {
                busy(&mut clients).await;
            }
        }
        let reason = "pgsluice_pins_total{reason=\"library\"}";
        let authors = f64::from(u32::try_from(definitions.len()).unwrap());
        assert!(
            stage.metrics.get(reason).await <= authors,
            "{definitions:?}"
        );
    }
}
