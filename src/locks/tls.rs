//! TLS towards lock servers, by rustls: whose certificate it is and whether it bears the host's
//! name is always looked at. There is deliberately no way around that.
//!
//! As towards shards, the cryptography provider is named and handed over.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, TrustAnchor};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::shards::tls::{self, Roots, TlsError};

/// What names the file of an authority.
const AUTHORITY: &str = "--lock-ca";
/// What names the file of our own certificate.
const CERTIFICATE: &str = "--lock-cert";
/// What names the file of its key.
const KEY: &str = "--lock-key";

/// Of whoever answered something else than TLS.
const NOT_TLS: &str = "what answers there does not speak TLS; name the port on which the server \
                       does, or an address without TLS";

/// How long a server may take for each thing that it is asked when something went wrong.
const PATIENCE: Duration = Duration::from_secs(1);

/// Files in PEM format: by which lock servers are recognised, and what they are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authorities that are trusted; where `None`, those that the platform trusts.
    pub authority: Option<PathBuf>,
    /// Our own certificate and its key, for servers that want to see one.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// What the files hold.
#[derive(Clone)]
pub struct Tls {
    authorities: Vec<CertificateDer<'static>>,
    identity: Option<Arc<Identity>>,
    config: Arc<ClientConfig>,
}

/// A certificate, with those between it and its authority, and its key.
struct Identity {
    certificate_pem: Vec<u8>,
    key_pem: Vec<u8>,
}

/// The files or what is in them cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsFilesError {
    /// The certificates.
    #[error(transparent)]
    Certificates(#[from] TlsError),
    /// The key. What is in the file is not repeated.
    #[error("--lock-key {} contains no key in PEM format that is not itself encrypted", .0.display())]
    NoKey(PathBuf),
    /// Certificate and key do not go together.
    #[error("--lock-cert and --lock-key cannot be used: {0}")]
    Identity(rustls::Error),
}

impl Tls {
    /// Reads `files`.
    ///
    /// # Errors
    /// One cannot be read, or holds something else.
    pub fn read(files: &TlsFiles) -> Result<Self, TlsFilesError> {
        let roots = files.authority.clone().map_or(Roots::Platform, Roots::File);
        let authorities = tls::authorities(&roots, AUTHORITY)?;
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::from)?
            .with_root_certificates(tls::store_of(&authorities));
        let Some((certificate, key)) = &files.identity else {
            let config = Arc::new(builder.with_no_client_auth());
            return Ok(Self { authorities, identity: None, config });
        };
        let chain = tls::certificates(certificate, CERTIFICATE)?;
        let certificate_pem = tls::read(certificate, CERTIFICATE)?;
        let key_pem = tls::read(key, KEY)?;
        let parsed = PrivateKeyDer::from_pem_slice(&key_pem);
        let parsed = parsed.map_err(|_| TlsFilesError::NoKey(key.clone()))?;
        let config = builder.with_client_auth_cert(chain, parsed);
        let config = Arc::new(config.map_err(TlsFilesError::Identity)?);
        let identity = Some(Arc::new(Identity { certificate_pem, key_pem }));
        Ok(Self { authorities, identity, config })
    }

    /// Whether servers are shown a certificate.
    #[must_use]
    pub fn shows_certificate(&self) -> bool {
        self.identity.is_some()
    }

    /// The authorities that are trusted.
    #[must_use]
    pub fn anchors(&self) -> Vec<TrustAnchor<'static>> {
        tls::store_of(&self.authorities).roots
    }

    /// The same, as certificates.
    #[must_use]
    pub fn authorities(&self) -> &[CertificateDer<'static>] {
        &self.authorities
    }

    /// Certificate and key, in PEM format.
    #[must_use]
    pub fn identity_pem(&self) -> Option<(&[u8], &[u8])> {
        let identity = self.identity.as_ref()?;
        Some((&identity.certificate_pem, &identity.key_pem))
    }
}

/// Neither key nor certificates.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("authorities", &self.authorities.len())
            .field("shows_certificate", &self.shows_certificate())
            .finish_non_exhaustive()
    }
}

/// In one line: what went wrong with a handshake, and what to do.
#[must_use]
pub fn explain(problem: &rustls::Error) -> String {
    match problem {
        rustls::Error::InvalidMessage(_) => format!("{NOT_TLS} ({problem})"),
        rustls::Error::AlertReceived(_) => format!(
            "the server refuses us: {problem}; if it wants to see a certificate, name one that it \
             trusts with {CERTIFICATE} and {KEY}"
        ),
        _ => {
            let (cause, remedy) = tls::explain(problem, AUTHORITY);
            format!("{cause}; {remedy}")
        }
    }
}

/// Where `error` comes from TLS, the line about that.
#[must_use]
pub fn explained(error: &(dyn Error + 'static)) -> Option<String> {
    tls::find::<rustls::Error>(error).map(explain)
}

impl Tls {
    /// A connection to `port` of `host`, which has proved that it is that host.
    ///
    /// # Errors
    /// A line that says why there is none, and what to do where that is known.
    pub async fn connect(
        &self,
        host: &str,
        port: u16,
        within: Duration,
    ) -> Result<TlsStream<TcpStream>, String> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("no certificate can bear the name {host}"))?;
        let stream = timeout(within, TcpStream::connect((host, port)))
            .await
            .map_err(|_| format!("no connection within {within:?}"))?
            .map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let connector = TlsConnector::from(self.config.clone());
        match timeout(within, connector.connect(name, stream)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(explained(&error).unwrap_or_else(|| broken_off(&error))),
            Err(_) => Err(format!("no TLS handshake within {within:?}: {NOT_TLS}")),
        }
    }

    /// What stands against TLS with one of `servers`, in a line: it has something against us,
    /// or we against it. For when something went wrong, since clients keep the cause to
    /// themselves, or lose it: TLS 1.3 complains of a certificate that was not shown only
    /// after the handshake, when they are about to be cut off while they speak.
    pub async fn objection(&self, servers: &[(&str, u16)]) -> Option<String> {
        for (host, port) in servers {
            let why = match self.connect(host, *port, PATIENCE).await {
                Err(why) => Some(why),
                Ok(mut stream) => match timeout(PATIENCE, stream.read(&mut [0])).await {
                    Ok(Err(error)) => explained(&error),
                    // It waits for us to speak, or has hung up without a word.
                    Ok(Ok(_)) | Err(_) => None,
                },
            };
            if let Some(why) = why {
                return Some(format!("{host}: {why}"));
            }
        }
        None
    }
}

/// Whoever speaks something else may just hang up.
fn broken_off(error: &io::Error) -> String {
    format!("the connection ended during the TLS handshake ({error}): perhaps {NOT_TLS}")
}
