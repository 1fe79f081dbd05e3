//! Each message of the protocol, well-formed and not, in each state of a pooled
//! session: the answers are those of the server itself, and the next client of the
//! connection notices nothing.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::support::raw_client::{RawClient, data_row, error_fields, first_error, tags};
use crate::support::{Postgres, frontend};

use super::{Auth, BOTH, Stage, ask, pooling, said};

/// Where a session is when the message comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Without a connection.
    Idle,
    /// After an error in a batch: the server discards what comes.
    Discarding,
    /// The same without a connection, which could not be had.
    Refused,
    InTransaction,
    FailedTransaction,
    CopyIn,
    CopyInBatch,
    CopyOut,
    Batch,
}

/// More than a server takes of a message that is not for data.
const TOO_LONG: usize = 10_001;

fn messages() -> Vec<Vec<u8>> {
    use frontend::message;
    let long = vec![b'x'; TOO_LONG];
    let mut messages = vec![
        frontend::query("select 1"),
        frontend::query(""),
        frontend::query("select 1/0"),
        message(b'Q', b""),
        message(b'Q', b"select 1"),
        message(b'Q', b"select 1\0x"),
        frontend::parse("", "select 1"),
        frontend::parse("", "nonsense"),
        message(b'P', b""),
        message(b'P', b"\0select 1\0"),
        frontend::bind("", "", &[]),
        frontend::bind("", "nobody's", &[]),
        message(b'B', b"\0\0"),
        frontend::describe_statement(""),
        frontend::describe_portal(""),
        message(b'D', b""),
        message(b'D', b"x\0"),
        frontend::execute("", 0),
        message(b'E', b"\0"),
        frontend::close_statement(""),
        frontend::close_portal(""),
        message(b'C', b""),
        message(b'C', b"x\0"),
        // lower(text)
        frontend::function_call(870, &[b"A"]),
        message(b'F', b"\0\0"),
        frontend::flush(),
        message(b'H', b"x"),
        frontend::sync(),
        message(b'S', b"x"),
        frontend::copy_data(b"1\n"),
        frontend::copy_data(b""),
        frontend::copy_data(&vec![b'1'; 100_000]),
        frontend::copy_done(),
        frontend::copy_fail("enough"),
        message(b'c', b"x"),
        message(b'f', b"no end"),
        frontend::terminate(),
        message(b'X', b"x"),
        frontend::password("secret"),
    ];
    messages.extend([b'S', b'H', b'C', b'D', b'E'].map(|tag| message(tag, &long)));
    messages.extend([b'z', b'R', b'Z', 0, 0xff].map(|tag| message(tag, b"what is this")));
    messages
}

impl State {
    async fn reach<S: AsyncRead + AsyncWrite + Unpin>(self, client: &mut RawClient<S>) {
        let (sent, until) = match self {
            Self::Idle => return,
            Self::Discarding | Self::Refused => (frontend::parse("", "nonsense"), b'E'),
            Self::InTransaction => (frontend::query("begin"), b'Z'),
            Self::FailedTransaction => {
                client.query("begin").await;
                (frontend::query("select 1/0"), b'Z')
            }
            Self::CopyIn => (frontend::query("copy t from stdin"), b'G'),
            Self::CopyInBatch => {
                let messages = [
                    frontend::parse("", "copy t from stdin"),
                    frontend::bind("", "", &[]),
                    frontend::execute("", 0),
                    frontend::flush(),
                ];
                (messages.concat(), b'G')
            }
            Self::CopyOut => {
                let rows = "select repeat('x', 1000) from generate_series(1, 1000)";
                (frontend::query(&format!("copy ({rows}) to stdout")), b'H')
            }
            Self::Batch => {
                let messages = [
                    frontend::parse("", "select 1"),
                    frontend::bind("", "", &[]),
                    frontend::execute("", 0),
                    frontend::flush(),
                ];
                (messages.concat(), b'C')
            }
        };
        client.send(sent).await;
        while client.read_message().await.0 != until {}
    }

    /// What brings the session back from here, whatever the message did, and says so.
    fn way_back(self) -> Vec<u8> {
        let end = match self {
            Self::CopyIn | Self::CopyInBatch => frontend::copy_fail("enough"),
            _ => Vec::new(),
        };
        [
            end,
            frontend::sync(),
            frontend::query("rollback"),
            frontend::query("select 'back'"),
        ]
        .concat()
    }
}

/// What a client saw.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    answers: Vec<String>,
    ended: bool,
}

/// Up to the answer that says that the session is back, or to its end.
async fn outcome<S: AsyncRead + AsyncWrite + Unpin>(client: &mut RawClient<S>) -> Outcome {
    let mut answers = Vec::new();
    let mut is_back = false;
    loop {
        let Some((tag, body)) = client.next_message().await else {
            break;
        };
        is_back |= tag == b'D' && data_row(&body) == [Some("back".to_owned())];
        let text = match tag {
            b'N' | b'S' => continue,
            b'E' => {
                let fields = error_fields(&body);
                format!("{} {} {}", fields[&'S'], fields[&'C'], fields[&'M'])
            }
            // The pieces of a COPY may be cut anywhere.
            b'd' => "d".to_owned(),
            _ => format!("{} {}", char::from(tag), body.escape_ascii()),
        };
        if answers.last() != Some(&text) || text != "d" {
            answers.push(text);
        }
        if is_back && tag == b'Z' {
            return Outcome {
                answers,
                ended: false,
            };
        }
    }
    // A server may close without a word, and then the proxy has one of its own.
    answers.retain(|answer| !answer.contains(" pgsluice: "));
    Outcome {
        answers,
        ended: true,
    }
}

/// A pool of one connection, for which nobody waits longer than this.
async fn impatient(query_wait_timeout: &str) -> Stage<'static> {
    let postgres = Postgres::shared().await;
    let builder = pooling(postgres, Auth::Held, "default_pool_size = 1");
    let key = format!("limits.query_wait_timeout = '{query_wait_timeout}'");
    Stage::on(postgres, builder.toml(&key)).await
}

/// Whether the client keeps its connection afterwards: its text cannot be read.
fn pins(message: &[u8]) -> bool {
    message[0] == b'Q' && message.ends_with(b"\0x")
}

/// Plays all messages in `state` to a server and to a pool of one connection, which a
/// second client wants at the same time.
async fn assert_same_as_a_server(state: State) {
    let stage = Stage::of(Auth::Held, 1).await;
    let app = &stage.postgres.app;
    let mut second = stage.client().await;
    second.rows("create table t (n int)").await;
    let login = async || {
        let mut server = stage.postgres.raw_unix().await;
        server.login(app.user, &app.password, &stage.database).await;
        (server, stage.client().await)
    };
    let (mut server, mut client) = login().await;
    for message in messages() {
        let what = format!(
            "{state:?}: {}",
            message[..message.len().min(30)].escape_ascii()
        );
        state.reach(&mut server).await;
        server.send(&message).await;
        server.send_what_is_taken(&state.way_back()).await;
        let expected = outcome(&mut server).await;

        state.reach(&mut client).await;
        client.send(&message).await;
        second.send(frontend::query("select 2")).await;
        // A server that closes with something unread takes its last words along.
        if !expected.ended {
            client.send(state.way_back()).await;
        }
        let found = outcome(&mut client).await;
        // Who takes leave is told nothing, wherever that is.
        if message[0] != b'X' {
            assert_eq!(found, expected, "{what}");
        }
        let leaves = found.ended || pins(&message);
        if leaves {
            drop(client);
            assert_eq!(said(&second.read_until_ready().await), "2", "{what}");
            (server, client) = login().await;
        } else {
            assert_eq!(said(&second.read_until_ready().await), "2", "{what}");
        }
    }
}

#[tokio::test]
async fn each_message_to_an_idle_session_is_answered_as_by_a_server() {
    assert_same_as_a_server(State::Idle).await;
}

#[tokio::test]
async fn each_message_after_an_error_in_a_batch_is_answered_as_by_a_server() {
    assert_same_as_a_server(State::Discarding).await;
}

#[tokio::test]
async fn each_message_in_a_transaction_is_answered_as_by_a_server() {
    assert_same_as_a_server(State::InTransaction).await;
}

#[tokio::test]
async fn each_message_in_a_failed_transaction_is_answered_as_by_a_server() {
    assert_same_as_a_server(State::FailedTransaction).await;
}

#[tokio::test]
async fn each_message_in_copy_in_is_answered_as_by_a_server() {
    assert_same_as_a_server(State::CopyIn).await;
}

#[tokio::test]
async fn each_message_in_copy_in_of_a_batch_is_answered_as_by_a_server() {
    assert_same_as_a_server(State::CopyInBatch).await;
}

#[tokio::test]
async fn each_message_in_copy_out_is_answered_as_by_a_server() {
    assert_same_as_a_server(State::CopyOut).await;
}

#[tokio::test]
async fn each_message_in_a_batch_is_answered_as_by_a_server() {
    assert_same_as_a_server(State::Batch).await;
}

/// The client has no connection, and an error for want of one.
#[tokio::test]
async fn each_message_after_a_refused_batch_is_answered_as_by_a_server() {
    const STATE: State = State::Refused;
    let stage = impatient("2s").await;
    let app = &stage.postgres.app;
    let mut second = stage.client().await;
    let login = async || {
        let mut server = stage.postgres.raw_unix().await;
        server.login(app.user, &app.password, &stage.database).await;
        (server, stage.client().await)
    };
    let (mut server, mut client) = login().await;
    // Each takes the time of a refusal.
    for message in [
        frontend::query("select 1"),
        frontend::message(b'H', b"x"),
        frontend::sync(),
        frontend::copy_data(&vec![b'1'; 100_000]),
        frontend::copy_done(),
        frontend::message(b'z', b"what is this"),
    ] {
        let what = format!("{}", message[..message.len().min(30)].escape_ascii());
        STATE.reach(&mut server).await;
        server.send(&message).await;
        server.send_what_is_taken(&STATE.way_back()).await;
        let expected = outcome(&mut server).await;

        second.query("begin").await;
        STATE.reach(&mut client).await;
        second.query("commit").await;
        client.send(&message).await;
        if !expected.ended {
            client.send(STATE.way_back()).await;
        }
        assert_eq!(outcome(&mut client).await, expected, "{what}");
        if expected.ended {
            (server, client) = login().await;
        }
    }
}

/// The server raises an error, and discards what comes up to the next Sync.
#[tokio::test]
async fn a_flush_with_a_body_is_the_trouble_of_its_client_alone() {
    for auth in BOTH {
        let stage = Stage::of(auth, 1).await;
        let (mut client, mut other) = (stage.client().await, stage.client().await);
        client.send(frontend::message(b'H', b"x")).await;
        let (_, body) = client.read_message().await;
        assert_eq!(error_fields(&body)[&'C'], "08P01");
        other.send(frontend::query("select 2")).await;
        client.send(frontend::sync()).await;
        assert_eq!(client.read_message().await.0, b'Z');
        assert_eq!(said(&other.read_until_ready().await), "2");
        assert_eq!(ask(&mut client, "select 1").await, "1");
    }
}

#[tokio::test]
async fn clients_that_leave_behind_a_bad_flush_take_no_connection_along() {
    for auth in BOTH {
        let stage = Stage::of(auth, 3).await;
        let mut stays = stage.client().await;
        for mut client in stage.clients(3).await {
            let call = frontend::function_call(870, &[b"A"]);
            client
                .send([frontend::message(b'H', b"x"), call].concat())
                .await;
        }
        let mut clients = stage.clients(3).await;
        clients.push(stays);
        for client in &mut clients {
            client.send(frontend::query("select 2")).await;
        }
        for client in &mut clients {
            assert_eq!(said(&client.read_until_ready().await), "2");
        }
        stays = clients.remove(0);
        assert_eq!(ask(&mut stays, "select 1").await, "1");
    }
}

#[tokio::test]
async fn a_message_that_no_server_knows_ends_the_session_of_its_client_alone() {
    let stage = Stage::of(Auth::Held, 1).await;
    let mut other = stage.client().await;
    for round in 0..12 {
        let mut client = stage.client().await;
        if round % 2 == 0 {
            client.rows("begin").await;
        }
        let bad = match round % 4 {
            0 | 1 => frontend::message(b'z', b"what is this"),
            _ => frontend::password("secret"),
        };
        client.send(&bad).await;
        other.send(frontend::query("select 2")).await;
        let told = first_error(&client.read_until_closed().await);
        assert_eq!(told[&'S'], "FATAL");
        assert_eq!(told[&'C'], "08P01");
        assert_eq!(
            told[&'M'],
            format!("invalid frontend message type {}", bad[0])
        );
        assert_eq!(said(&other.read_until_ready().await), "2", "{round}");
    }
}

/// Its header is enough for a server.
#[tokio::test]
async fn a_message_that_no_server_knows_is_not_waited_for() {
    let stage = Stage::of(Auth::Held, 1).await;
    let (mut idle, mut busy) = (stage.client().await, stage.client().await);
    busy.rows("begin").await;
    for client in [&mut idle, &mut busy] {
        client.send(b"GET / HTTP/1.1\r\n").await;
        let told = first_error(&client.read_until_closed().await);
        assert_eq!(told[&'M'], "invalid frontend message type 71");
    }
}

/// libpq goes on sending when a COPY has failed.
#[tokio::test]
async fn what_is_left_of_a_failed_copy_is_dropped_while_others_have_the_connection() {
    let stage = impatient("2s").await;
    let (mut client, mut other) = (stage.client().await, stage.client().await);
    client.rows("create table t (n int)").await;
    client.send(frontend::query("copy t from stdin")).await;
    while client.read_message().await.0 != b'G' {}
    client.send(frontend::copy_data(b"no number\n")).await;
    assert_eq!(tags(&client.read_until_ready().await), "EZ");
    other.rows("begin").await;
    let rest = [
        frontend::copy_data(b"1\n").repeat(20_000),
        frontend::copy_data(&vec![b'1'; 100_000]),
        frontend::copy_done(),
    ];
    client.send(rest.concat()).await;
    other.rows("select pg_sleep(3)").await;
    other.rows("commit").await;
    let answers = client.query("select 1").await;
    assert_eq!((&*tags(&answers), &*said(&answers)), ("TDCZ", "1"));
}

/// The server answers the Sync that came along with the COPY, for that fails before it
/// reads on; it would not, had the data been wrong.
#[tokio::test]
async fn a_copy_that_fails_answers_its_syncs_to_its_client_alone() {
    let stage = Stage::of(Auth::Held, 1).await;
    let (mut client, mut other) = (stage.client().await, stage.client().await);
    client
        .rows("create table t (n int); create view v as select 1 as n")
        .await;
    for (target, syncs) in [("v", 2), ("t", 1)] {
        let copy = [
            frontend::parse("", &format!("copy {target} from stdin")),
            frontend::bind("", "", &[]),
            frontend::execute("", 0),
            frontend::sync(),
        ];
        for _ in 0..10 {
            client.send(copy.concat()).await;
            while client.read_message().await.0 != b'G' {}
            let data = [frontend::copy_data(b"no number\n"), frontend::copy_done()];
            client
                .send([data.concat(), frontend::sync()].concat())
                .await;
            other.send(frontend::query("select 2")).await;
            for _ in 0..syncs {
                client.read_until_ready().await;
            }
            assert_eq!(said(&other.read_until_ready().await), "2", "{target}");
            assert_eq!(ask(&mut client, "select 1").await, "1", "{target}");
        }
    }
    let backends = "select count(*) from pg_stat_activity where datname = current_database()";
    assert_eq!(ask(&mut other, backends).await, "1");
}
