//! A server that asks each role for another kind of proof, over TLS as without.

use std::path::Path;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose};
use tokio::sync::OnceCell;

use super::Postgres;
use super::postgres::{Authority, server_certificate};

/// Password of every role that has one.
pub(crate) const PASSWORD: &str = "pass word 7";

const HOST_NAME: &str = "methods.internal";

/// Roles are named for what is asked of them.
pub(crate) const MD5: &str = "by_md5";
pub(crate) const CLEARTEXT: &str = "by_password";
pub(crate) const SCRAM: &str = "by_scram";
pub(crate) const TRUST: &str = "by_trust";
pub(crate) const CERT: &str = "by_cert";

/// The server, and who vouches for [`CERT`].
pub(crate) struct Methods {
    pub(crate) postgres: Postgres,
    authority: Authority,
}

static METHODS: OnceCell<Methods> = OnceCell::const_new();

impl Methods {
    /// One server for all tests of a run; they only log in.
    pub(crate) async fn shared() -> &'static Self {
        METHODS.get_or_init(Self::start).await
    }

    async fn start() -> Self {
        let authority = Authority::generate("methods CA").unwrap();
        let params = server_certificate(HOST_NAME).unwrap();
        let mut builder = Postgres::builder()
            .host_name(HOST_NAME)
            .identity(authority.issue(params).unwrap())
            .setting("ssl_ca_file", "../ca.crt")
            .setting("max_connections", "100");
        for (role, method) in [
            (MD5, "md5"),
            (CLEARTEXT, "password"),
            (TRUST, "trust"),
            (CERT, "cert"),
        ] {
            builder = builder.hba(&format!("hostssl all {role} 127.0.0.1/32 {method}"));
        }
        let postgres = builder.start().await;
        let roles = format!(
            "create role {CLEARTEXT} login password '{PASSWORD}'; \
             create role {SCRAM} login password '{PASSWORD}'; \
             create role {TRUST} login; create role {CERT} login; \
             set password_encryption = 'md5'; \
             create role {MD5} login password '{PASSWORD}'"
        );
        postgres.execute(&roles).await;
        Self {
            postgres,
            authority,
        }
    }

    /// Writes `client.crt` and `client.key` that prove to be `common_name`.
    pub(crate) fn write_client_certificate(&self, dir: &Path, common_name: &str) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let identity = self.authority.issue(params).unwrap();
        std::fs::write(dir.join("client.crt"), identity.certificate).unwrap();
        std::fs::write(dir.join("client.key"), identity.key).unwrap();
    }
}
