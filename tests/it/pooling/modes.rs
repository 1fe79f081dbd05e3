//! Which pool a client gets, and what its mode means.

use super::*;

/// A client that asks for `database`, which may be a pool's name.
async fn asking(proxy: &Proxy, database: &str) -> Pooled {
    proxy.raw_session(database).await
}

/// Two clients of the pool `name` have transactions in turn, on one connection to
/// `database`.
async fn share(proxy: &Proxy, name: &str, database: &str) {
    let mut clients = [asking(proxy, name).await, asking(proxy, name).await];
    for _ in 0..3 {
        for client in &mut clients {
            let sql = "begin; select current_database(); commit";
            assert_eq!(ask(client, sql).await, database);
        }
    }
    let postgres = Postgres::shared().await;
    wait::until(PATIENCE, "one connection", async || {
        postgres.sessions(database).await == 1
    })
    .await;
}

#[tokio::test]
async fn a_pool_is_asked_for_by_its_name() {
    let postgres = Postgres::shared().await;
    for auth in BOTH {
        let database = postgres.create_database().await;
        let proxy = pooling(postgres, auth, "")
            .toml(&format!(
                "[[pools]]\nname = 'sep-primary-pool'\nmode = 'transaction'\nsize = 1\n\
                 database = '{database}'"
            ))
            .start()
            .await;
        share(&proxy, "sep-primary-pool", &database).await;
        share(&proxy, &database, &database).await;
    }
}

#[tokio::test]
async fn a_pools_file_makes_pools() {
    let postgres = Postgres::shared().await;
    let database = postgres.create_database().await;
    let builder = Proxy::new(postgres).toml("pools_file = 'pools.json'");
    let json = format!(
        "{{\"connection_pools\": [{{\"name\": \"planned\", \"mode\": \"transaction\", \
         \"size\": 1, \"database\": \"{database}\", \"user\": \"{}\"}}]}}",
        postgres.app.user
    );
    std::fs::write(builder.dir().join("pools.json"), json).unwrap();
    share(&builder.start().await, "planned", &database).await;
}

#[tokio::test]
async fn variables_of_the_application_make_a_pool() {
    let postgres = Postgres::shared().await;
    let database = postgres.create_database().await;
    let proxy = Proxy::new(postgres)
        .env("DB_NAME", &database)
        .env("DB_POOL_NAME", "of-the-plan")
        .env("DB_POOL_MODE", "transaction")
        .env("DB_POOL_SIZE", "1")
        .start()
        .await;
    share(&proxy, "of-the-plan", &database).await;
}

#[tokio::test]
async fn in_statement_mode_whoever_opens_a_transaction_is_sent_away_and_it_is_rolled_back() {
    for auth in BOTH {
        let keys = "default_pool_size = 1\npool_mode = 'statement'";
        let postgres = Postgres::shared().await;
        let builder = pooling(postgres, auth, "").toml(&format!("[pooling]\n{keys}"));
        let stage = Stage::on(postgres, builder).await;
        let mut other = stage.client().await;
        assert_eq!(ask(&mut other, "create table t (a int)").await, "");
        for open in [
            frontend::query("begin; insert into t values (1)"),
            frontend::extended_query("begin", &[]),
            [
                frontend::query("begin"),
                frontend::query("insert into t values (1)"),
            ]
            .concat(),
        ] {
            let mut client = stage.client().await;
            client.send(open).await;
            let answer = client.read_until_closed().await;
            assert!(tags(&answer).ends_with('E'), "{}", tags(&answer));
            let error = first_error(&answer);
            assert_eq!((&*error[&'C'], &*error[&'S']), ("0A000", "FATAL"));
            assert!(error[&'M'].contains("statement pooling mode"), "{error:?}");
            assert_eq!(ask(&mut other, "select count(*) from t").await, "0");
        }
        // One that is over when its message is, is none.
        let sql = "begin; insert into t values (1); commit";
        assert_eq!(ask(&mut other, sql).await, "");
        let insert = frontend::extended_query("insert into t values ($1)", &[Some("2")]);
        assert_eq!(said(&exchange(&mut other, &[insert]).await), "");
        assert_eq!(ask(&mut other, "select count(*) from t").await, "2");
        assert_eq!(stage.backends().await, 1);
    }
}

#[tokio::test]
async fn in_session_mode_a_client_keeps_its_connection_and_the_next_one_finds_it_clean() {
    let postgres = Postgres::shared().await;
    for auth in BOTH {
        let database = postgres.create_database().await;
        let proxy = pooling(postgres, auth, "")
            .toml(&format!(
                "[[pools]]\nname = 'sessions'\nmode = 'session'\nsize = 1\ndatabase = '{database}'"
            ))
            .start()
            .await;
        let mut first = asking(&proxy, "sessions").await;
        let mut second = asking(&proxy, "sessions").await;
        let pid = ask(&mut first, "select pg_backend_pid()").await;
        let leaves = "set work_mem = '3MB'; listen news; prepare p as select 1";
        assert_eq!(ask(&mut first, leaves).await, "");
        second
            .send(frontend::query(
                "select pg_backend_pid(), current_setting('work_mem') = '3MB'",
            ))
            .await;
        assert_eq!(ask(&mut first, "show work_mem").await, "3MB");
        first.send(frontend::terminate()).await;
        let answer = said(&second.read_until_ready().await);
        assert_eq!(answer, format!("{pid} f"));
        assert_eq!(
            ask(&mut second, "select name from pg_prepared_statements").await,
            ""
        );
    }
}
