//! `pgsluice demo`: the proxy for the demo's throwaway server.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Exit;
use super::run::complain;
use crate::app::App;
use crate::config::{self, Config, Sources};
use crate::demo::{self, DemoOptions, DemoProxy, TlsFacts};

type Failure = Box<dyn Error + Send + Sync>;

/// Runs the demo until Ctrl-C, or until the proof with `--once`.
pub(super) fn demo(options: DemoOptions) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&error.to_string());
            return Exit::Usage.into();
        }
    };
    let ran = runtime.block_on(async {
        demo::run(
            options,
            RunningProxy::start,
            interrupted(),
            &mut io::stdout(),
        )
        .await
    });
    match ran {
        Ok(()) => Exit::Done.into(),
        Err(error) => {
            complain(&format!("pgsluice: {error}"));
            error.exit_code().into()
        }
    }
}

/// A terminal that is closed counts too, and so does what would end the proxy alone.
async fn interrupted() {
    let signals = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
        signal(SignalKind::hangup()),
        signal(SignalKind::quit()),
    );
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup), Ok(mut quit)) = signals else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
        _ = quit.recv() => {}
    }
}

/// The proxy, run inside the demo's process.
struct RunningProxy {
    config: Config,
    address: SocketAddr,
    stop: CancellationToken,
    running: JoinHandle<io::Result<()>>,
}

impl RunningProxy {
    /// Only what the text says counts: no environment, no file of the user's.
    async fn start(text: String) -> Result<Self, Failure> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("proxy.toml");
        tokio::fs::write(&file, text).await?;
        let sources = Sources {
            file: Some(file),
            ..Sources::default()
        };
        let config = config::load(&sources)
            .map_err(|problems| {
                problems
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join("; ")
            })?
            .config;
        let app = App::build(&config)?;
        let address = *app.tcp_addresses().first().ok_or("it listens nowhere")?;
        let stop = CancellationToken::new();
        let running = tokio::spawn(app.run(stop.clone()));
        Ok(Self {
            config,
            address,
            stop,
            running,
        })
    }
}

impl DemoProxy for RunningProxy {
    fn address(&self) -> SocketAddr {
        self.address
    }

    async fn secure_upstream(&self, server_name: &str) -> Result<TlsFacts, Failure> {
        let facts = App::secure_upstream(&self.config, server_name).await?;
        Ok(TlsFacts {
            version: facts.version.to_owned(),
            cipher: facts.cipher,
            peer_name: server_name.to_owned(),
        })
    }

    async fn stop(self) {
        self.stop.cancel();
        if let Ok(Err(error)) = self.running.await {
            complain(&format!("pgsluice: {error}"));
        }
    }
}
