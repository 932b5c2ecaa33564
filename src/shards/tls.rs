//! TLS towards a shard, by rustls: encrypted and verified unless somebody says otherwise.
//!
//! The cryptography provider is named here and handed over, never set for the process.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
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
    /// The file of trusted certificates.
    #[error("sslrootcert {} cannot be read: {error}", .path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// No certificate in it.
    #[error("sslrootcert {} contains no certificate in PEM format", .0.display())]
    NoCertificate(PathBuf),
    /// A certificate in it is broken.
    #[error("sslrootcert {} contains a broken certificate: {error}", .path.display())]
    Broken {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        error: rustls::Error,
    },
    /// The platform trusts nobody.
    #[error(
        "this machine has no trusted certificates; install ca-certificates or name the \
         authority's file with sslrootcert"
    )]
    NoPlatformRoots,
    /// rustls refuses its own settings.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

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
    match roots {
        Roots::Platform => {
            let mut store = RootCertStore::empty();
            let (added, _) =
                store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if added == 0 { Err(TlsError::NoPlatformRoots) } else { Ok(store) }
        }
        Roots::File(path) => read_roots(path),
    }
}

fn read_roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let pem = std::fs::read(path)
        .map_err(|error| TlsError::Unreadable { path: path.to_owned(), error })?;
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|_| TlsError::NoCertificate(path.to_owned()))?;
        store
            .add(certificate)
            .map_err(|error| TlsError::Broken { path: path.to_owned(), error })?;
    }
    if store.is_empty() { Err(TlsError::NoCertificate(path.to_owned())) } else { Ok(store) }
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
