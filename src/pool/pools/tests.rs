//! Pools over real sockets, with a server that knows just enough to be logged in to.

use std::future::poll_fn;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::task::Poll;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::values::{self, ChannelBinding, Keepalive, Priority};
use crate::config::values::{RequireAuth, ServerMethod, UpstreamAddress, UpstreamTls};
use crate::metrics::Metrics;
use crate::pool::connection::Stale;
use crate::pool::{Caps, CheckoutRequest, Lease, OpenerPlan, maintain};
use crate::wire::startup::{self, First};

mod cancels;
mod introductions;
mod keeping;
mod losses;
mod places;

const LONG: Duration = Duration::from_secs(20);

/// What the stand-in does, and what it has seen.
#[derive(Debug, Default)]
struct Server {
    live: AtomicUsize,
    most: AtomicUsize,
    logins: AtomicUsize,
    /// Nobody is logged in while a test has it.
    door: tokio::sync::Mutex<()>,
    /// Answers logins with this ErrorResponse.
    refusal: Mutex<Option<Bytes>>,
    /// Said to every connection that is open, once it changes.
    news: watch::Sender<News>,
}

#[derive(Debug, Clone, Default)]
enum News {
    #[default]
    Nothing,
    Say(Bytes),
    Farewell(Bytes),
    Close,
}

fn frame(tag: u8, body: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(tag);
    out.put_u32(u32::try_from(body.len() + 4).unwrap());
    out.extend_from_slice(body);
    out.freeze()
}

fn error(code: &str) -> Bytes {
    frame(b'E', format!("SFATAL\0VFATAL\0C{code}\0Mno\0\0").as_bytes())
}

impl Server {
    async fn serve(self: Arc<Self>, listener: UnixListener) {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let server = Arc::clone(&self);
            tokio::spawn(async move {
                let live = server.live.fetch_add(1, Ordering::SeqCst) + 1;
                server.most.fetch_max(live, Ordering::SeqCst);
                let stream = server.talk(stream).await;
                // A backend is gone before its socket is.
                server.live.fetch_sub(1, Ordering::SeqCst);
                drop(stream);
            });
        }
    }

    async fn talk(&self, mut stream: UnixStream) -> UnixStream {
        let mut news = self.news.subscribe();
        let mut head = [0; 4];
        if stream.read_exact(&mut head).await.is_err() {
            return stream;
        }
        let mut rest = vec![0; u32::from_be_bytes(head) as usize - 4];
        stream.read_exact(&mut rest).await.unwrap();
        let refusal = self.refusal.lock().clone();
        if let Some(refusal) = refusal {
            let _ = stream.write_all(&refusal).await;
            return stream;
        }
        drop(self.door.lock().await);
        let login = self.logins.fetch_add(1, Ordering::SeqCst) + 1;
        let mut hello = BytesMut::new();
        hello.extend_from_slice(&frame(b'R', &[0; 4]));
        hello.extend_from_slice(&frame(b'S', b"TimeZone\0UTC\0"));
        let mut key = u32::try_from(login).unwrap().to_be_bytes().to_vec();
        key.extend_from_slice(&[7; 4]);
        hello.extend_from_slice(&frame(b'K', &key));
        hello.extend_from_slice(&frame(b'Z', b"I"));
        let _ = stream.write_all(&hello).await;
        let mut piece = [0; 64];
        loop {
            tokio::select! {
                read = stream.read(&mut piece) => match read {
                    Ok(read @ 1..) if piece[read - 5] != b'X' => {
                        let _ = stream.write_all(&frame(b'Z', b"I")).await;
                    }
                    _ => return stream,
                },
                Ok(()) = news.changed() => {
                    let said = news.borrow_and_update().clone();
                    match said {
                        News::Nothing => {}
                        News::Say(bytes) => drop(stream.write_all(&bytes).await),
                        News::Farewell(bytes) => {
                            let _ = stream.write_all(&bytes).await;
                            return stream;
                        }
                        News::Close => return stream,
                    }
                }
            }
        }
    }
}

/// A server behind a socket, without TLS.
fn upstream_at(path: PathBuf) -> Arc<Upstream> {
    let second = Duration::from_secs(1);
    let config = values::Upstream {
        name: "test".to_owned(),
        address: UpstreamAddress::Unix(path),
        tls: UpstreamTls::Disable,
        user: None,
        password: None,
        dbname: None,
        channel_binding: ChannelBinding::Prefer,
        require_auth: RequireAuth::of(&[ServerMethod::None]),
        connect_timeout: LONG,
        keepalive: Keepalive {
            idle: second,
            interval: second,
            count: 3,
            user_timeout: LONG,
        },
    };
    Arc::new(Upstream::new(Arc::new(config), &Metrics::detached()).unwrap())
}

struct Stand {
    pools: Pools,
    server: Arc<Server>,
    path: PathBuf,
    _directory: TempDir,
    _tasks: Vec<AbortOnDrop>,
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Stand {
    /// A server that is up, and a cap of `total`.
    fn new(total: u32) -> Self {
        let mut stand = Self::down(total);
        stand.start();
        stand
    }

    fn down(total: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let upstream = upstream_at(path.clone());
        let caps = Caps {
            total,
            per_user: None,
            per_database: None,
        };
        let pools = Pools::new(upstream, caps, Some(4), Handle::current());
        let keeper = tokio::spawn(maintain(pools.clone(), CancellationToken::new()));
        Self {
            pools,
            server: Arc::default(),
            path,
            _directory: directory,
            _tasks: vec![AbortOnDrop(keeper)],
        }
    }

    fn start(&mut self) {
        let listener = UnixListener::bind(&self.path).unwrap();
        let serving = Arc::clone(&self.server).serve(listener);
        self._tasks.push(AbortOnDrop(tokio::spawn(serving)));
    }

    fn pool(&self, database: &str, size: u32) -> PoolHandle {
        let plan = PoolPlan {
            max_prepared_statements: 200,
            size,
            min_size: 0,
            reserve_size: 0,
            reserve_timeout: LONG,
            server_lifetime: 100 * LONG,
            server_idle_timeout: 100 * LONG,
            login_retry: Duration::from_secs(1),
            priority: Priority::Medium,
        };
        self.pools
            .pool(id(database), Arc::new(plan), Some(opener(database)))
    }

    /// A pool of one connection, which a client has to bring.
    fn passthrough(&self, database: &str) -> PoolHandle {
        let plan = Arc::clone(&self.pool(database, 1).plan);
        self.pools.pool(id(database), plan, None)
    }

    /// A client logs in by itself.
    async fn adopt(&self, pool: &Arc<Pool>, client: u64) -> Option<Lease> {
        let upstream = &self.pools.inner.upstream;
        let terms = (Priority::Medium, true);
        let permit = (self.pools).admit(pool.key(), terms, Instant::now() + LONG);
        let connection = upstream.metrics().connection();
        let place = crate::pool::CapPlace::new(permit.await.unwrap(), connection);
        let closing = Closing::new(place, Arc::clone(upstream));
        let who = crate::upstream::Credentials {
            user: "u",
            password: None,
            channel_binding: ChannelBinding::Prefer,
            require_auth: RequireAuth::of(&[ServerMethod::None]),
        };
        let startup = &opener(pool.id.database.text().unwrap()).startup;
        let opened = crate::upstream::open(upstream, startup, &who);
        pool.adopt(client, opened.await.unwrap(), closing)
    }

    fn logins(&self) -> usize {
        self.server.logins.load(Ordering::SeqCst)
    }
}

fn id(database: &str) -> PoolId {
    PoolId {
        user: "u".into(),
        database: database.into(),
        startup: Bytes::new(),
        generation: 0,
    }
}

fn opener(database: &str) -> Arc<OpenerPlan> {
    let mut packet = BytesMut::new();
    let body = format!("user\0u\0database\0{database}\0\0");
    packet.put_u32(u32::try_from(body.len() + 8).unwrap());
    packet.put_u32(0x0003_0000);
    packet.extend_from_slice(body.as_bytes());
    let First::Startup(startup) = startup::decode(packet.freeze()).unwrap() else {
        panic!("not a startup message");
    };
    Arc::new(OpenerPlan {
        startup,
        user: "u".to_owned(),
        password: None,
        password_key: "`upstream_password`".to_owned(),
        channel_binding: ChannelBinding::Prefer,
    })
}

async fn lease(pool: &Arc<Pool>, client: u64) -> Result<Lease, LeaseError> {
    pool.lease(CheckoutRequest::new(client), Instant::now() + LONG)
        .await
}

/// One exchange: the connection works, from here.
async fn use_it(lease: &mut Lease) {
    lease.stream.write_all(&frame(b'Q', b"x\0")).await.unwrap();
    let mut answer = [0; 6];
    lease.stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, frame(b'Z', b"I")[..]);
}

/// Until it is so; the test's own time limit is the runner's.
async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::task::yield_now().await;
    }
}

fn waiting(pool: &Pool) -> u32 {
    pool.pools
        .inner
        .state
        .lock()
        .allocator
        .tally(pool.number)
        .waiting
}

#[tokio::test]
async fn a_connection_is_opened_once_and_used_by_one_after_the_other() {
    let stand = Stand::new(5);
    let pool = stand.pool("d", 2);
    let mut first = lease(&pool, 1).await.unwrap();
    assert_eq!(first.reported.get(b"TimeZone"), Some(&b"UTC"[..]));
    assert_eq!(first.key.key().map(|key| key.pid()), Some(1));
    use_it(&mut first).await;
    let connection = first.id();
    first.check_in();
    let mut second = lease(&pool, 2).await.unwrap();
    assert_eq!(second.id(), connection);
    use_it(&mut second).await;
    assert_eq!(stand.logins(), 1);
    second.close(UpstreamState::AtRest);
    until(|| stand.server.live.load(Ordering::SeqCst) == 0).await;
    let again = stand.pools.pool(id("d"), Arc::clone(&pool.plan), None);
    assert!(!Arc::ptr_eq(&*pool, &*again), "it cannot log in");
}

#[test]
fn clients_on_several_threads_share_few_connections() {
    let main = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let stand = {
        let _entered = main.enter();
        Stand::new(3)
    };
    let pools = [stand.pool("d", 3), stand.pool("e", 2)];
    // As in the proxy, none ends while others go on: what is closing has its place.
    let done = tokio::sync::Barrier::new(3);
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (pools, done) = (&pools, &done);
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    let clients = (0..8).map(|client| async move {
                        for round in 0..30 {
                            let pool = &pools[(client + round) % 2];
                            let mut lease =
                                lease(pool, (10 * thread + client) as u64).await.unwrap();
                            use_it(&mut lease).await;
                            match (client, round) {
                                (0, 10) => drop(lease),
                                (1, 20) => lease.close(UpstreamState::AtRest),
                                _ => lease.check_in(),
                            }
                        }
                    });
                    futures_util::future::join_all(clients).await;
                    done.wait().await;
                });
            });
        }
    });
    assert!(stand.server.most.load(Ordering::SeqCst) <= 3, "the cap");
    stand.pools.close_all();
    main.block_on(async {
        timeout(LONG, stand.pools.all_closed()).await.unwrap();
        let refused = lease(&pools[0], 1).await.unwrap_err();
        assert!(matches!(refused, LeaseError::Closed));
    });
    assert_eq!(stand.server.live.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_waiter_that_is_gone_swallows_nothing() {
    let stand = Stand::new(1);
    let pool = stand.pool("d", 1);
    let first = lease(&pool, 1).await.unwrap();
    let mut second = Box::pin(lease(&pool, 2));
    assert!(futures_util::poll!(&mut second).is_pending());
    let third = tokio::spawn({
        let pool = Arc::clone(&*pool);
        async move { lease(&pool, 3).await.map(Lease::check_in) }
    });
    until(|| waiting(&pool) == 2).await;
    // Delivered to the second, which never looks.
    first.check_in();
    drop(second);
    third.await.unwrap().unwrap();
    assert_eq!(stand.logins(), 1);
}

#[tokio::test]
async fn what_the_server_said_meanwhile_is_heard() {
    let stand = Stand::new(5);
    let pool = stand.pool("d", 1);
    lease(&pool, 1).await.unwrap().check_in();
    let status = frame(b'S', b"TimeZone\0GMT\0");
    stand.server.news.send_replace(News::Say(status));
    let heard = async {
        loop {
            let lease = lease(&pool, 2).await.unwrap();
            if lease.reported.get(b"TimeZone") == Some(&b"GMT"[..]) {
                return lease;
            }
            lease.check_in();
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, heard).await.unwrap().check_in();
    assert_eq!(stand.logins(), 1);
    stand.server.news.send_replace(News::Say(error("57P01")));
    let replaced = async {
        while stand.logins() == 1 {
            lease(&pool, 2).await.unwrap().check_in();
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, replaced).await.unwrap();
}

#[tokio::test]
async fn a_refused_login_is_told_in_the_servers_words() {
    let stand = Stand::new(2);
    let pool = stand.pool("d", 2);
    *stand.server.refusal.lock() = Some(error("55000"));
    let refused = lease(&pool, 1).await.unwrap_err();
    let LeaseError::Refused { response, text } = refused else {
        panic!("{refused:?}");
    };
    assert_eq!((response, &text[..]), (error("55000"), "no"));
    *stand.server.refusal.lock() = None;
    lease(&pool, 1).await.unwrap().check_in();
}

#[tokio::test]
async fn clients_wait_for_a_server_that_is_away() {
    let mut stand = Stand::down(2);
    let pool = stand.pool("d", 2);
    let patience = Instant::now() + Duration::from_millis(10);
    let failed = pool
        .lease(CheckoutRequest::new(1), patience)
        .await
        .unwrap_err();
    assert!(matches!(failed, LeaseError::Failed(_)), "{failed:?}");
    *stand.server.refusal.lock() = Some(error("57P03"));
    let (leased, ()) = tokio::join!(lease(&pool, 1), async {
        until(|| pool.last_error.lock().is_some()).await;
        stand.start();
        let starting_up = || matches!(*pool.last_error.lock(), Some(LeaseError::Refused { .. }));
        until(starting_up).await;
        *stand.server.refusal.lock() = None;
    });
    leased.unwrap().check_in();
    assert!(pool.last_error.lock().is_none());
}

#[tokio::test]
async fn idle_connections_give_way_at_the_cap_when_the_server_has_let_go() {
    let stand = Stand::new(2);
    let (one, other) = (stand.pool("d", 2), stand.pool("e", 2));
    let both = (lease(&one, 1).await.unwrap(), lease(&one, 2).await.unwrap());
    both.0.check_in();
    both.1.check_in();
    let leased = lease(&other, 3).await.unwrap();
    let deadline = Instant::now() + LONG;
    let key = Key::new("u", "f");
    let terms = (Priority::Medium, true);
    let own = stand.pools.admit(key.clone(), terms, deadline);
    let _own = own.await.unwrap();
    let third = stand.pools.admit(key, terms, deadline);
    let (third, ()) = tokio::join!(third, async {
        until(|| stand.pools.is_contended()).await;
        leased.check_in();
    });
    drop(third.unwrap());
    assert!(stand.server.most.load(Ordering::SeqCst) <= 2);
}

#[tokio::test]
async fn a_clients_own_login_joins_and_a_pool_without_any_says_so() {
    let stand = Stand::new(3);
    let pool = stand.passthrough("d");
    let none = lease(&pool, 1).await.unwrap_err();
    assert!(matches!(none, LeaseError::NoWay));
    let first = stand.adopt(&pool, 1).await.unwrap();
    assert!(stand.adopt(&pool, 2).await.is_none(), "the pool is full");
    first.check_in();
    stand.adopt(&pool, 2).await.unwrap().check_in();
    lease(&pool, 2).await.unwrap().check_in();
    until(|| stand.server.live.load(Ordering::SeqCst) == 1).await;
    assert_ne!(pool.number, PoolNumber(0));
}

#[tokio::test]
async fn what_the_last_client_of_a_pool_leaves_is_no_obstacle_where_nobody_can_use_it() {
    let stand = Stand::new(1);
    let plan = Arc::clone(&stand.pool("d", 1).plan);
    let pool = stand.pools.pool(id("d"), plan, None);
    stand.adopt(&pool, 1).await.unwrap().check_in();
    let other = stand.passthrough("d");
    let terms = (Priority::Medium, true);
    let next = (stand.pools).admit(pool.key(), terms, Instant::now() + LONG);
    let ((), next) = tokio::join!(
        async {
            until(|| stand.pools.is_contended()).await;
            drop(other);
            assert_eq!(
                stand.server.live.load(Ordering::SeqCst),
                1,
                "another is there"
            );
            drop(pool);
            assert!(
                stand.pools.inner.state.lock().by_number.is_empty(),
                "at once"
            );
            until(|| stand.server.live.load(Ordering::SeqCst) == 0).await;
        },
        next
    );
    drop(next.unwrap());
}

#[tokio::test]
async fn a_database_is_vacated_and_pools_of_the_past_are_closed() {
    let stand = Stand::new(3);
    let pool = stand.pool("d", 2);
    lease(&pool, 1).await.unwrap().check_in();
    let vacancy = stand.pools.evict_database("d".into()).await;
    assert_eq!(stand.server.live.load(Ordering::SeqCst), 0);
    drop(vacancy);
    lease(&pool, 1).await.unwrap().check_in();
    stand.pools.bump_generation();
    stand.pools.tick();
    assert_eq!(
        stand.server.live.load(Ordering::SeqCst),
        1,
        "it has a client"
    );
    drop(pool);
    until(|| {
        stand.pools.tick();
        stand.server.live.load(Ordering::SeqCst) == 0
    })
    .await;
    assert!(stand.pools.inner.state.lock().by_number.is_empty());
}
