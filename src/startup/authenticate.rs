//! Held mode: the client proves itself to the proxy.
//!
//! A name nobody knows takes the same path as a known one with a wrong password,
//! message for message, so that names cannot be found out by trying.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::{Admission, Admitted, HeldUser, Identity, StartupFailure, Stranger, Users};
use crate::config::values::{ClientAuth, User};
use crate::name::Name;
use crate::net::Peer;
use crate::net::framed::{Framed, MAX_LOGIN_FRAME};
use crate::tls::MaybeTls;
use crate::wire::password::{Stored, StoredFault};
use crate::wire::scram::{MESSAGE_LIMIT, SCRAM_SHA_256, SaltKey, ScramFault, ServerScram};
use crate::wire::startup::Version;
use crate::wire::{backend, frontend};

impl Users {
    /// Derives what each login is checked against.
    ///
    /// # Errors
    /// The name of a user whose password cannot be used, and why.
    pub(super) fn held(users: &BTreeMap<String, Arc<User>>) -> Result<Self, (String, StoredFault)> {
        let salts = SaltKey::new(rand::random());
        let mut held = BTreeMap::new();
        for (name, user) in users {
            let stored = match &user.password {
                None => None,
                Some(secret) => Some(Stored::parse(secret).map_err(|fault| (name.clone(), fault))?),
            };
            let verifier = match (&user.auth, &stored) {
                (ClientAuth::ScramSha256, Some(stored)) => {
                    stored.verifier(&salts.salt(name.as_bytes()))
                }
                _ => None,
            };
            held.insert(
                name.clone(),
                HeldUser {
                    user: Arc::clone(user),
                    stored,
                    verifier,
                },
            );
        }
        let stranger = Stranger::like_most(&held);
        Ok(Self::Held {
            users: held,
            salts,
            stranger,
        })
    }
}

impl Stranger {
    /// Of as many, the method that tells least. Who is let in without a question is no
    /// example: a stranger is not.
    fn like_most(users: &BTreeMap<String, HeldUser>) -> Self {
        let mut examples: [(usize, Option<&HeldUser>); 5] = [(0, None); 5];
        for user in users.values() {
            let rank = match user.user.auth {
                ClientAuth::Trust => continue,
                ClientAuth::ScramSha256 => 0,
                ClientAuth::Md5 => 1,
                ClientAuth::Password => 2,
                ClientAuth::Cert { .. } => 3,
                ClientAuth::Peer { .. } => 4,
            };
            let (count, example) = &mut examples[rank];
            *count += 1;
            example.get_or_insert(user);
        }
        let most = examples.iter().map(|(count, _)| *count).max();
        let example = examples.iter().find(|(count, _)| Some(*count) == most);
        let Some((_, Some(example))) = example else {
            return Self::Scram;
        };
        match (&example.user.auth, &example.stored) {
            (ClientAuth::Md5, Some(stored)) => Self::Md5(stored.clone()),
            (ClientAuth::Password, Some(stored)) => Self::Password(stored.clone()),
            (ClientAuth::Peer { .. }, _) => Self::Peer,
            (ClientAuth::Cert { .. }, _) => Self::Cert,
            _ => Self::Scram,
        }
    }

    /// Asks, takes the time that it takes with somebody, and is never satisfied.
    async fn ask(
        &self,
        stream: &mut Framed<MaybeTls>,
        name: Name,
        salts: &SaltKey,
    ) -> Result<StartupFailure, StartupFailure> {
        // Whoever it is, it is not whose password is looked at.
        let text = name.text().unwrap_or_default();
        let heard = match self {
            Self::Password(stored) => {
                Box::pin(cleartext(stream, text, stored)).await?;
                StartupFailure::WrongPassword
            }
            Self::Md5(stored) => {
                Box::pin(md5(stream, text, stored)).await?;
                StartupFailure::WrongPassword
            }
            Self::Scram => {
                let mock = ServerScram::mock(name.as_bytes(), salts, rand::random());
                Box::pin(scram(stream, mock)).await?;
                StartupFailure::WrongPassword
            }
            Self::Peer => StartupFailure::WrongPeer,
            Self::Cert => StartupFailure::WrongCertificate,
        };
        Ok(StartupFailure::UnknownUser(name, heard))
    }
}

impl Admission {
    /// Boxed is what a client that is trusted needs none of.
    pub(super) async fn authenticate(&self, client: &mut Admitted) -> Result<(), StartupFailure> {
        let Users::Held {
            users,
            salts,
            stranger,
        } = &self.users
        else {
            return Ok(());
        };
        negotiate_version(client).await?;
        let name = Name::from(client.startup.user());
        let known = name.text().and_then(|text| users.get_key_value(text));
        let Some((text, held)) = known else {
            return Err(stranger.ask(&mut client.stream, name, salts).await?);
        };
        let user = &held.user;
        let stream = &mut client.stream;
        let proven = match (&user.auth, &held.stored) {
            (ClientAuth::Trust, _) => true,
            (ClientAuth::Peer { os_user }, _) => is_peer(client.peer, os_user).await,
            (ClientAuth::Cert { common_name }, _) => {
                stream.stream().peer_common_name().as_ref() == Some(common_name)
            }
            (ClientAuth::Password, Some(stored)) => {
                Box::pin(cleartext(stream, text, stored)).await?
            }
            (ClientAuth::Md5, Some(stored)) => Box::pin(md5(stream, text, stored)).await?,
            (ClientAuth::ScramSha256, _) => match &held.verifier {
                Some(verifier) => {
                    let exchange = ServerScram::new(Arc::clone(verifier), rand::random());
                    Box::pin(scram(stream, exchange)).await?
                }
                None => false,
            },
            (ClientAuth::Password | ClientAuth::Md5, None) => false,
        };
        match (proven, &user.auth) {
            (true, _) => {
                client.identity = Identity::Held(Arc::clone(user));
                Ok(())
            }
            (false, ClientAuth::Peer { .. }) => Err(StartupFailure::WrongPeer(name)),
            (false, ClientAuth::Cert { .. }) => Err(StartupFailure::WrongCertificate(name)),
            (false, _) => Err(StartupFailure::WrongPassword(name)),
        }
    }
}

/// In held mode the client's leg is negotiated with the proxy alone.
async fn negotiate_version(client: &mut Admitted) -> Result<(), StartupFailure> {
    let clamped = client.startup.clamp_version();
    let unknown = client.startup.protocol_options();
    if clamped || !unknown.is_empty() {
        let version = client.startup.version().min(Version::NEWEST);
        let reply = backend::negotiate_protocol_version(version, &unknown);
        client.stream.send(&reply).await?;
        client.startup.remove_protocol_options();
    }
    Ok(())
}

async fn is_peer(peer: Peer, os_user: &str) -> bool {
    let Peer::Unix { uid } = peer else {
        return false;
    };
    os_user.parse() == Ok(uid) || os_user_name(uid).await.is_some_and(|name| name == os_user)
}

/// The system may have to ask a directory over the network, and blocks meanwhile.
async fn os_user_name(uid: u32) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "on a thread that may block")]
    let look_up = move || nix::unistd::User::from_uid(uid.into());
    let found = spawn_blocking(look_up).await;
    Some(found.ok()?.ok()??.name)
}

/// The body of the next message, which must be a password message.
async fn response(stream: &mut Framed<MaybeTls>, max: usize) -> Result<Vec<u8>, StartupFailure> {
    let frame = stream.read(max).await?;
    if frame.tag() == frontend::PASSWORD {
        Ok(frame.body().to_vec())
    } else {
        Err(StartupFailure::Protocol("expected a password message"))
    }
}

/// A zero-terminated password.
async fn password_text(stream: &mut Framed<MaybeTls>) -> Result<Vec<u8>, StartupFailure> {
    let mut text = response(stream, MAX_LOGIN_FRAME).await?;
    match text.pop() {
        Some(0) if !text.contains(&0) => Ok(text),
        _ => Err(StartupFailure::Protocol("invalid password packet")),
    }
}

async fn cleartext(
    stream: &mut Framed<MaybeTls>,
    user: &str,
    stored: &Stored,
) -> Result<bool, StartupFailure> {
    stream.send(&backend::authentication(3, &[])).await?;
    Ok(stored.accepts_cleartext(user, &password_text(stream).await?))
}

async fn md5(
    stream: &mut Framed<MaybeTls>,
    user: &str,
    stored: &Stored,
) -> Result<bool, StartupFailure> {
    let salt: [u8; 4] = rand::random();
    stream.send(&backend::authentication(5, &salt)).await?;
    Ok(stored.accepts_md5(user, salt, &password_text(stream).await?))
}

async fn scram(stream: &mut Framed<MaybeTls>, server: ServerScram) -> Result<bool, StartupFailure> {
    stream
        .send(&backend::authentication_sasl(&[SCRAM_SHA_256.as_bytes()]))
        .await?;
    let initial = response(stream, MESSAGE_LIMIT).await?;
    let first = match frontend::parse_sasl_initial_response(&initial) {
        Some((mechanism, first)) if mechanism == SCRAM_SHA_256.as_bytes() => first,
        _ => {
            return Err(StartupFailure::Protocol(
                "client selected an invalid SASL authentication mechanism",
            ));
        }
    };
    let malformed = |_| StartupFailure::Protocol("malformed SCRAM message");
    let (server_first, expect_final) = server.first(first).map_err(malformed)?;
    stream
        .send(&backend::authentication(11, &server_first))
        .await?;
    let last = response(stream, MESSAGE_LIMIT).await?;
    match expect_final.finish(&last) {
        Ok(server_final) => {
            stream
                .send(&backend::authentication(12, &server_final))
                .await?;
            Ok(true)
        }
        Err(ScramFault::WrongPassword) => Ok(false),
        Err(fault) => Err(malformed(fault)),
    }
}
