//! How a connection is protected: decided from the address alone.
//!
//! Verified, unless the server is on this machine or somebody says otherwise.

use std::path::PathBuf;

use tokio_postgres::config::ChannelBinding;

use super::conninfo::Conninfo;
use super::place::Place;
use super::target::TargetError;
use super::tls::{Roots, Verification};

/// How TLS is used, or that it is not.
///
/// # Errors
/// An unknown mode, or one that is not offered.
pub(super) fn security(
    conninfo: &Conninfo,
    place: &Place,
) -> Result<Option<(Verification, Roots)>, TargetError> {
    let file = conninfo.sslrootcert.as_deref().filter(|file| *file != "system");
    let default = match place {
        Place::Network { .. } if conninfo.sslrootcert.is_some() => "verify-full",
        _ if place.is_this_machine() => "disable",
        _ => "verify-full",
    };
    let verification = match conninfo.sslmode.as_deref().unwrap_or(default) {
        "disable" => None,
        // As in libpq: who names an authority wants it asked.
        "require" if conninfo.sslrootcert.is_some() => Some(Verification::Authority),
        "require" => Some(Verification::None),
        "verify-ca" => Some(Verification::Authority),
        "verify-full" => Some(Verification::Full),
        "prefer" => return Err(TargetError::OpportunisticTls("prefer")),
        "allow" => return Err(TargetError::OpportunisticTls("allow")),
        _ => return Err(TargetError::SslMode),
    };
    if matches!(place, Place::Socket { .. }) {
        // As in libpq: there is no TLS on a socket, which never leaves the machine.
        return Ok(None);
    }
    let roots = file.map_or(Roots::Platform, |file| Roots::File(PathBuf::from(file)));
    Ok(verification.map(|verification| (verification, roots)))
}

/// Whether SCRAM is bound to the TLS channel.
///
/// # Errors
/// An unknown word, or one that needs TLS.
pub(super) fn channel_binding(
    conninfo: &Conninfo,
    tls: bool,
) -> Result<ChannelBinding, TargetError> {
    match conninfo.channel_binding.as_deref().unwrap_or("prefer") {
        "disable" => Ok(ChannelBinding::Disable),
        "prefer" => Ok(ChannelBinding::Prefer),
        "require" if tls => Ok(ChannelBinding::Require),
        "require" => Err(TargetError::ChannelBindingWithoutTls),
        _ => Err(TargetError::ChannelBinding),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shards::environment::Environment;

    #[test]
    fn tls_is_verified_unless_the_host_is_this_machine() {
        let mode = |text: &str| {
            let conninfo = Conninfo::parse(text).unwrap();
            let place = Place::of(&conninfo, &Environment::default(), 5432).unwrap();
            security(&conninfo, &place).unwrap().map(|(verification, _)| verification)
        };
        for (text, expected) in [
            ("host=db.example", Some(Verification::Full)),
            ("host=192.0.2.1", Some(Verification::Full)),
            ("hostaddr=192.0.2.1", Some(Verification::Full)),
            ("host=localhost", None),
            ("host=127.0.0.9", None),
            ("host=::1", None),
            ("host=/tmp", None),
            // A name that only looks local.
            ("host=localhost.example", Some(Verification::Full)),
            ("host=localhost hostaddr=192.0.2.1", Some(Verification::Full)),
            ("host=localhost sslrootcert=ca.pem", Some(Verification::Full)),
            ("host=/tmp sslmode=verify-full", None),
            ("host=db.example sslmode=disable", None),
            ("host=db.example sslmode=require", Some(Verification::None)),
            ("host=db.example sslmode=require sslrootcert=ca.pem", Some(Verification::Authority)),
            ("host=localhost sslmode=verify-ca", Some(Verification::Authority)),
        ] {
            assert_eq!(mode(text), expected, "{text}");
        }
    }
}
