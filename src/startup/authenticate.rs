//! Held mode: the client proves itself to the proxy.
//!
//! A name nobody knows takes the same path as a known one with a wrong password,
//! message for message, so that names cannot be found out by trying.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Admission, Admitted, HeldUser, Identity, StartupFailure, Users};
use crate::config::values::{ClientAuth, User};
use crate::net::Peer;
use crate::net::framed::{Framed, MAX_LOGIN_FRAME};
use crate::secret::Secret;
use crate::tls::MaybeTls;
use crate::wire::scram::{ServerScram, Verifier};
use crate::wire::startup::Version;
use crate::wire::{backend, frontend, password};

/// Postgres's limit for messages of a SCRAM exchange.
const MAX_SCRAM_FRAME: usize = 1024;

impl Users {
    pub(super) fn held(users: &BTreeMap<String, Arc<User>>) -> Self {
        let users = users
            .iter()
            .map(|(name, user)| {
                let verifier = match (&user.auth, &user.password) {
                    (ClientAuth::ScramSha256, Some(secret)) => Some(Verifier::from_secret(secret)),
                    _ => None,
                };
                (name.clone(), HeldUser { user: Arc::clone(user), verifier })
            })
            .collect();
        Self::Held { users, mock_key: rand::random() }
    }
}

impl Admission {
    pub(super) async fn authenticate(&self, client: &mut Admitted) -> Result<(), StartupFailure> {
        let Users::Held { users, mock_key } = &self.users else { return Ok(()) };
        negotiate_version(client).await?;
        let name = client.startup.user();
        let Some(held) = users.get(&name) else {
            let mock = Verifier::mock(&name, mock_key);
            scram(&mut client.stream, &mock).await?;
            return Err(StartupFailure::WrongPassword(name));
        };
        let user = &held.user;
        let proven = match (&user.auth, &user.password) {
            (ClientAuth::Trust, _) => true,
            (ClientAuth::Peer { os_user }, _) => is_peer(client.peer, os_user),
            (ClientAuth::Cert { common_name }, _) => {
                client.stream.stream().peer_common_name().as_ref() == Some(common_name)
            }
            (ClientAuth::Password, Some(secret)) => cleartext(&mut client.stream, secret).await?,
            (ClientAuth::Md5, Some(secret)) => md5(&mut client.stream, &name, secret).await?,
            (ClientAuth::ScramSha256, _) => match &held.verifier {
                Some(verifier) => scram(&mut client.stream, verifier).await?,
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

fn is_peer(peer: Peer, os_user: &str) -> bool {
    let Peer::Unix { uid } = peer else { return false };
    os_user.parse() == Ok(uid)
        || nix::unistd::User::from_uid(uid.into())
            .is_ok_and(|found| found.is_some_and(|user| user.name == os_user))
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
    secret: &Secret,
) -> Result<bool, StartupFailure> {
    stream.send(&backend::authentication(3, &[])).await?;
    Ok(password::matches_cleartext(&password_text(stream).await?, secret))
}

async fn md5(
    stream: &mut Framed<MaybeTls>,
    user: &str,
    secret: &Secret,
) -> Result<bool, StartupFailure> {
    let salt: [u8; 4] = rand::random();
    stream.send(&backend::authentication(5, &salt)).await?;
    Ok(password::matches_md5(&password_text(stream).await?, user, secret, salt))
}

async fn scram(
    stream: &mut Framed<MaybeTls>,
    verifier: &Verifier,
) -> Result<bool, StartupFailure> {
    stream.send(&backend::authentication_sasl(&[b"SCRAM-SHA-256"])).await?;
    let initial = response(stream, MAX_SCRAM_FRAME).await?;
    let Some((b"SCRAM-SHA-256", first)) = frontend::parse_sasl_initial_response(&initial) else {
        return Err(StartupFailure::Protocol("client selected an invalid SASL authentication mechanism"));
    };
    let malformed = |_| StartupFailure::Protocol("malformed SCRAM message");
    let (server_first, expect_final) =
        ServerScram::new(verifier).first(first).map_err(malformed)?;
    stream.send(&backend::authentication(11, &server_first)).await?;
    let last = response(stream, MAX_SCRAM_FRAME).await?;
    match expect_final.finish(&last) {
        Ok(server_final) => {
            stream.send(&backend::authentication(12, &server_final)).await?;
            Ok(true)
        }
        Err(fault) if fault.is_wrong_password() => Ok(false),
        Err(fault) => Err(malformed(fault)),
    }
}
