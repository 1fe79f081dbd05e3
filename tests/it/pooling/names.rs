//! Names of roles and databases are bytes: two that differ only where they are no text
//! in anybody's encoding are two, in every register.

use super::*;

/// Of the roles and the databases, in LATIN1.
const LAST: [&[u8]; 2] = [b"\xe8", b"\xe9"];

/// A server on which roles `m?` and databases `d?` end in each of the two bytes.
async fn postgres() -> Postgres {
    let postgres = Postgres::builder()
        .hba("hostssl all all 127.0.0.1/32 trust")
        .start()
        .await;
    let options = "encoding 'LATIN1' lc_collate 'C' lc_ctype 'C' template template0";
    postgres
        .execute(&format!("create database latin {options}"))
        .await;
    // What arrives there as `è` is kept as one byte.
    let latin = postgres.superuser("latin").await;
    for letter in ["è", "é"] {
        let role = format!("create role \"m{letter}\" login");
        let database = format!("create database \"d{letter}\" {options}");
        latin.execute(&role, &[]).await.unwrap();
        latin.execute(&database, &[]).await.unwrap();
    }
    postgres
}

async fn log_in(proxy: &Proxy, names: [&[u8]; 2]) -> Result<Pooled, u8> {
    let mut client = proxy.raw().await;
    let [role, database] = names;
    let body = [
        b"\0\x03\0\0user\0m",
        role,
        b"\0database\0d",
        database,
        b"\0\0",
    ];
    let body = body.concat();
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    client.send([&length[..], &body].concat()).await;
    loop {
        match client.read_message().await.0 {
            b'Z' => return Ok(client),
            b'E' => return Err(b'E'),
            _ => {}
        }
    }
}

/// Goal: whoever logs in is served as nobody else, where nobody else has.
/// Method: one connection a pool, so that names taken for one would share it.
#[tokio::test]
async fn names_that_differ_in_one_byte_are_never_taken_for_each_other() {
    let postgres = postgres().await;
    let limits = "[limits]\nmax_user_client_connections = 2\nmax_db_client_connections = 2\n\
        query_wait_timeout = '10s'";
    let builder = pooling(&postgres, Auth::Passthrough, "default_pool_size = 1").toml(limits);
    let proxy = builder.start().await;
    let mut clients = Vec::new();
    for role in LAST {
        for database in LAST {
            let client = log_in(&proxy, [role, database]).await.unwrap();
            clients.push(([role, database], client));
        }
    }
    for _ in 0..3 {
        for ([role, database], client) in &mut clients {
            let sql = "select current_user, session_user, current_database()";
            let answer = client.query(sql).await;
            let (_, row) = answer.iter().find(|(tag, _)| *tag == b'D').unwrap();
            let ours = [
                b"m",
                *role,
                b"\0\0\0\x02m",
                *role,
                b"\0\0\0\x02d",
                *database,
            ]
            .concat();
            assert!(row.ends_with(&ours), "{}", row.escape_ascii());
        }
    }
    // Each name is at its limit, and none beyond it.
    let refused = log_in(&proxy, LAST).await;
    assert_eq!(refused.err(), Some(b'E'));
    let pools: Vec<_> = Metrics::of(&proxy).read().await.into_keys().collect();
    for pool in [r"d\\xe8/m\\xe8", r"d\\xe8/m\\xe9", r"d\\xe9/m\\xe8"] {
        let label = format!("pool=\"{pool}\"");
        assert!(pools.iter().any(|name| name.contains(&label)), "{pools:?}");
    }
    let line = proxy.wait_for_log(|line| line["user"] == r"m\xe9");
    assert_eq!(line.await["database"], r"d\xe8");
    postgres.close().await;
}
