//! TLS towards a shard, by rustls: encrypted and verified unless somebody says otherwise.
//!
//! The cryptography provider is named here and handed over, never set for the process.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How the server's certificate is looked at. The absence of `prefer` and `allow` is meant: they
/// fall back to plain text when anybody on the way asks them to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// Not at all: encrypted, but whoever answers is believed.
    None,
    /// Signed by a trusted authority, for whatever name.
    Authority,
    /// Signed by a trusted authority for the host's name.
    Full,
}

/// Which authorities are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Roots {
    /// Those that the platform trusts.
    Platform,
    /// Those in a PEM file.
    File(PathBuf),
}

/// Why TLS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file of certificates or of a key.
    #[error("{setting} {} cannot be read: {error}", .path.display())]
    Unreadable {
        /// What named it.
        setting: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// No certificate in it.
    #[error("{setting} {} contains no certificate in PEM format", .path.display())]
    NoCertificate {
        /// What named it.
        setting: &'static str,
        /// Which file.
        path: PathBuf,
    },
    /// A certificate in it is broken.
    #[error("{setting} {} contains a broken certificate: {error}", .path.display())]
    Broken {
        /// What named it.
        setting: &'static str,
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        error: rustls::Error,
    },
    /// The platform trusts nobody.
    #[error(
        "this machine has no trusted certificates; install ca-certificates or name the \
         authority's file with {0}"
    )]
    NoPlatformRoots(&'static str),
    /// rustls refuses its own settings.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// What names an authority's file in a shard's address.
const SETTING: &str = "sslrootcert";

/// A connector that looks at certificates as `verification` says.
///
/// # Errors
/// The trusted certificates cannot be read.
pub fn connector(verification: Verification, roots: &Roots) -> Result<MakeRustlsConnect, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let config = match verification {
        Verification::Full => builder.with_root_certificates(trusted(roots)?).with_no_client_auth(),
        Verification::Authority => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyName {
                authorities: Some(trusted(roots)?),
                provider,
            }))
            .with_no_client_auth(),
        Verification::None => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyName { authorities: None, provider }))
            .with_no_client_auth(),
    };
    Ok(MakeRustlsConnect::new(config))
}

fn trusted(roots: &Roots) -> Result<RootCertStore, TlsError> {
    Ok(store_of(&authorities(roots, SETTING)?))
}

/// The certificates of `roots`, one at least, and none that is broken; `setting` is what names
/// their file.
///
/// # Errors
/// There are none, or the file cannot be read.
pub fn authorities(
    roots: &Roots,
    setting: &'static str,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let Roots::File(path) = roots else {
        let mut found = rustls_native_certs::load_native_certs().certs;
        found.retain(|certificate| RootCertStore::empty().add(certificate.clone()).is_ok());
        let none = found.is_empty();
        return if none { Err(TlsError::NoPlatformRoots(setting)) } else { Ok(found) };
    };
    let found = certificates(path, setting)?;
    for certificate in &found {
        RootCertStore::empty().add(certificate.clone()).map_err(|error| TlsError::Broken {
            setting,
            path: path.clone(),
            error,
        })?;
    }
    Ok(found)
}

/// The certificates in a PEM file, one at least; `setting` is what names it.
///
/// # Errors
/// There are none, or it cannot be read.
pub fn certificates(
    path: &Path,
    setting: &'static str,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(path, setting)?;
    match CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>() {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(TlsError::NoCertificate { setting, path: path.to_owned() }),
    }
}

/// The file at `path`; `setting` is what names it.
///
/// # Errors
/// It cannot be read.
pub fn read(path: &Path, setting: &'static str) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::Unreadable {
        setting,
        path: path.to_owned(),
        error,
    })
}

/// To trust `authorities` by.
#[must_use]
pub fn store_of(authorities: &[CertificateDer<'static>]) -> RootCertStore {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(authorities.iter().cloned());
    store
}

/// Cause and remedy of a handshake that failed; `setting` is what names an authority's file.
#[must_use]
pub fn explain(problem: &rustls::Error, setting: &str) -> (String, String) {
    let cause = format!("the server's TLS is not accepted: {problem}");
    let remedy = match problem {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::UnknownIssuer => {
                format!("name the file of the authority that signed it with {setting}")
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "connect by a name in its subjectAltName".to_owned()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "renew the server's certificate".to_owned()
            }
            _ => format!(
                "the server needs a certificate of its own (not an authority's, X.509 version 3, \
                 with a subjectAltName), signed by an authority that {setting} names"
            ),
        },
        _ => "check the server's TLS settings and log".to_owned(),
    };
    (cause, remedy)
}

/// The first error of type `E` in a chain of causes.
pub fn find<'a, E: Error + 'static>(first: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(first);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        // What an io::Error wraps is not its source but its inner error.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = inner.and_then(|inner| inner.downcast_ref::<E>()) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// Accepts whatever name a certificate bears: `verify-ca`, and without authorities `require`.
/// That the server owns the certificate's key is checked all the same.
#[derive(Debug)]
struct AnyName {
    authorities: Option<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(authorities) = &self.authorities {
            verify_server_cert_signed_by_trust_anchor(
                &ParsedCertificate::try_from(end_entity)?,
                authorities,
                intermediates,
                now,
                self.provider.signature_verification_algorithms.all,
            )?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
