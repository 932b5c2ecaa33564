//! TLS to ZooKeeper, by its client.
//!
//! That verifies certificates and names as it should. But it takes the process's cryptography
//! provider, wants authorities as text, and keeps to itself why a handshake failed: it is told the
//! first two, and the third is found out.

#[cfg(not(feature = "lock-zookeeper-tls"))]
pub(super) use absent::Encrypted;
#[cfg(feature = "lock-zookeeper-tls")]
pub(super) use present::Encrypted;

#[cfg(feature = "lock-zookeeper-tls")]
mod present {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use rustls::crypto::ring;
    use rustls::pki_types::ServerName;
    use zookeeper_client::{Client, Connector, Error, TlsOptions};

    use crate::locks::tls::{Tls, TlsFiles};

    /// What is needed to speak TLS.
    pub(in super::super) struct Encrypted {
        tls: Tls,
        options: TlsOptions,
    }

    impl Encrypted {
        /// # Errors
        /// A line: `files` cannot be used, or one of `servers` could never be verified.
        pub(in super::super) fn new(
            servers: &[(&str, u16)],
            files: &TlsFiles,
        ) -> Result<Self, String> {
            // The client does not expect such a name, and dies of it.
            let nameless = servers.iter().find(|(host, _)| ServerName::try_from(*host).is_err());
            if let Some((host, _)) = nameless {
                return Err(format!(
                    "no certificate can bear the name {host:?}; TLS needs another"
                ));
            }
            let tls = Tls::read(files).map_err(|error| error.to_string())?;
            let options = options(&tls).map_err(|error| error.to_string())?;
            Ok(Self { tls, options })
        }

        pub(in super::super) fn shows_certificate(&self) -> bool {
            self.tls.shows_certificate()
        }

        pub(in super::super) async fn connect(
            &self,
            connector: Connector,
            hosts: &str,
        ) -> Result<Client, Error> {
            // Two are compiled in, and it wants to be told which. An error means that the process
            // has one already.
            let _ = ring::default_provider().install_default();
            connector.with_tls(self.options.clone()).secure_connect(hosts).await
        }

        /// What stands against TLS with one of `servers`, if anything does.
        pub(in super::super) async fn objection(&self, servers: &[(&str, u16)]) -> Option<String> {
            self.tls.objection(servers).await
        }
    }

    fn options(tls: &Tls) -> Result<TlsOptions, Error> {
        let authorities: String = tls.authorities().iter().map(|der| pem(der)).collect();
        let options = TlsOptions::new().with_pem_ca(&authorities)?;
        match tls.identity_pem() {
            Some((certificate, key)) => options.with_pem_identity(
                &String::from_utf8_lossy(certificate),
                &String::from_utf8_lossy(key),
            ),
            None => Ok(options),
        }
    }

    fn pem(der: &[u8]) -> String {
        let text = BASE64_STANDARD.encode(der);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    }
}

#[cfg(not(feature = "lock-zookeeper-tls"))]
mod absent {
    use zookeeper_client::{Client, Connector, Error};

    use crate::locks::tls::TlsFiles;

    /// There is none.
    pub(in super::super) enum Encrypted {}

    impl Encrypted {
        pub(in super::super) fn new(_: &[(&str, u16)], _: &TlsFiles) -> Result<Self, String> {
            Err("this shardbank was built without TLS to ZooKeeper; build it with its default \
                 features"
                .to_owned())
        }

        pub(in super::super) fn shows_certificate(&self) -> bool {
            match *self {}
        }

        pub(in super::super) async fn connect(
            &self,
            _: Connector,
            _: &str,
        ) -> Result<Client, Error> {
            match *self {}
        }

        pub(in super::super) async fn objection(&self, _: &[(&str, u16)]) -> Option<String> {
            match *self {}
        }
    }
}
