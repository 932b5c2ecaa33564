//! What was said about where a shard is: the keywords of libpq, each perhaps missing, from a
//! URL, a `key=value` string or the environment.
//!
//! Nothing is interpreted here beyond the grammar; `target` fills what is missing and decides.
//! No message quotes a value: a text that was mistyped may have its password anywhere.

use super::secret::Secret;
use super::url;

/// The keywords that a shard's address may contain.
pub const KEYS: [&str; 11] = [
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "passfile",
    "sslmode",
    "sslrootcert",
    "channel_binding",
    "connect_timeout",
];

/// Why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxError {
    /// Nothing there.
    #[error("is empty; give postgres://USER@HOST:PORT/DATABASE or 'host=HOST dbname=DATABASE'")]
    Empty,
    /// A URL of another kind.
    #[error("begins with another scheme than postgres:// or postgresql://")]
    Scheme,
    /// `%` not followed by two hexadecimal digits, or bytes that are not UTF-8.
    #[error("has a % that is not followed by two hexadecimal digits of UTF-8 text; write % as %25")]
    Percent,
    /// `@` or a second `/` after the host, as in a password that was not encoded.
    #[error(
        "has an @ or / where none may be; inside user, password and database write @ as %40, \
         : as %3A, / as %2F, ? as %3F"
    )]
    Delimiter,
    /// `[` without `]`, or something other than a port after it.
    #[error("has a broken IPv6 address; write it as [::1]:5432")]
    Brackets,
    /// A word without `=`.
    #[error(
        "is neither a postgres:// URL nor made of key=value pairs; quote values with spaces: 'a b'"
    )]
    MissingEquals,
    /// A quote that is never closed.
    #[error("has a quote ' that is not closed")]
    OpenQuote,
    /// A keyword that libpq knows and this tool sets itself or does not do.
    #[error("contains {0}, which shardbank {1}; leave it out")]
    Refused(&'static str, &'static str),
    /// A keyword that nobody knows.
    #[error("contains an unknown keyword; the known ones are {}", KEYS.join(", "))]
    UnknownKey,
    /// Two servers in one address.
    #[error("names several hosts or ports; one shard is one server, so give each its own --shard")]
    SeveralHosts,
    /// A byte that no value may contain.
    #[error("contains a zero byte or a line break")]
    ControlCharacter,
}

const SETS_ITSELF: &str = "sets itself";
const DOES_NOT_DO: &str = "does not support";

/// Keywords of libpq that are refused with a reason, rather than as unknown.
const REFUSED: [(&str, &str); 12] = [
    ("application_name", SETS_ITSELF),
    ("fallback_application_name", SETS_ITSELF),
    ("options", SETS_ITSELF),
    ("client_encoding", SETS_ITSELF),
    ("keepalives", SETS_ITSELF),
    ("tcp_user_timeout", SETS_ITSELF),
    ("target_session_attrs", SETS_ITSELF),
    ("service", DOES_NOT_DO),
    ("sslcert", DOES_NOT_DO),
    ("sslkey", DOES_NOT_DO),
    ("sslcrl", DOES_NOT_DO),
    ("gssencmode", DOES_NOT_DO),
];

/// What was said about one shard's address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conninfo {
    /// Host name, address, or directory of a Unix socket.
    pub host: Option<String>,
    /// Numeric address, which saves the lookup of `host`.
    pub hostaddr: Option<String>,
    /// Port.
    pub port: Option<String>,
    /// Database.
    pub dbname: Option<String>,
    /// Role.
    pub user: Option<String>,
    /// Password.
    pub password: Option<Secret>,
    /// File of passwords.
    pub passfile: Option<String>,
    /// How TLS is used.
    pub sslmode: Option<String>,
    /// File with the certificates that are trusted, or `system`.
    pub sslrootcert: Option<String>,
    /// Whether SCRAM is bound to the TLS channel.
    pub channel_binding: Option<String>,
    /// Seconds.
    pub connect_timeout: Option<String>,
}

impl Conninfo {
    /// Reads a URL or a `key=value` string.
    ///
    /// # Errors
    /// What is wrong with it, without quoting it.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(SyntaxError::Empty);
        }
        if text.contains(['\0', '\n', '\r']) {
            return Err(SyntaxError::ControlCharacter);
        }
        match url::after_scheme(text) {
            Some(rest) => url::parse(rest),
            None if text.split(['=', '\'']).next().is_some_and(|word| word.contains("://")) => {
                Err(SyntaxError::Scheme)
            }
            None => parse_pairs(text),
        }
    }

    /// Sets one keyword. An empty value is as good as none, as in libpq.
    ///
    /// # Errors
    /// The keyword is unknown or refused.
    pub fn set(&mut self, key: &str, value: String) -> Result<(), SyntaxError> {
        if value.contains(['\0', '\n', '\r']) {
            return Err(SyntaxError::ControlCharacter);
        }
        let value = Some(value).filter(|value| !value.is_empty());
        let field = match key {
            "host" => &mut self.host,
            "hostaddr" => &mut self.hostaddr,
            "port" => &mut self.port,
            "dbname" => &mut self.dbname,
            "user" => &mut self.user,
            "passfile" => &mut self.passfile,
            "sslmode" => &mut self.sslmode,
            "sslrootcert" => &mut self.sslrootcert,
            "channel_binding" => &mut self.channel_binding,
            "connect_timeout" => &mut self.connect_timeout,
            "password" => {
                self.password = value.map(Secret::new);
                return Ok(());
            }
            _ => {
                let refused = REFUSED.iter().find(|(name, _)| *name == key);
                return Err(refused.map_or(SyntaxError::UnknownKey, |(name, why)| {
                    SyntaxError::Refused(name, why)
                }));
            }
        };
        *field = value;
        let lists = [&self.host, &self.hostaddr, &self.port];
        if lists.iter().any(|field| field.as_deref().is_some_and(|value| value.contains(','))) {
            return Err(SyntaxError::SeveralHosts);
        }
        Ok(())
    }

    /// What was said here, and where nothing was said, what `other` says.
    #[must_use]
    pub fn or(self, other: &Self) -> Self {
        // An address that was said, whole or in part, is never mixed with another's.
        let (host, hostaddr) = match (self.host, self.hostaddr) {
            (None, None) => (other.host.clone(), other.hostaddr.clone()),
            said => said,
        };
        Self {
            host,
            hostaddr,
            port: self.port.or_else(|| other.port.clone()),
            dbname: self.dbname.or_else(|| other.dbname.clone()),
            user: self.user.or_else(|| other.user.clone()),
            password: self.password.or_else(|| other.password.clone()),
            passfile: self.passfile.or_else(|| other.passfile.clone()),
            sslmode: self.sslmode.or_else(|| other.sslmode.clone()),
            sslrootcert: self.sslrootcert.or_else(|| other.sslrootcert.clone()),
            channel_binding: self.channel_binding.or_else(|| other.channel_binding.clone()),
            connect_timeout: self.connect_timeout.or_else(|| other.connect_timeout.clone()),
        }
    }
}

/// `key = 'value'` pairs with libpq's quoting: `\'` and `\\` inside quotes or out.
fn parse_pairs(text: &str) -> Result<Conninfo, SyntaxError> {
    let mut conninfo = Conninfo::default();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').ok_or(SyntaxError::MissingEquals)?;
        let key = key.trim_end();
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Err(SyntaxError::MissingEquals);
        }
        let (value, after) = take_value(after.trim_start())?;
        conninfo.set(key, value)?;
        rest = after.trim_start();
    }
    Ok(conninfo)
}

fn take_value(text: &str) -> Result<(String, &str), SyntaxError> {
    let (quoted, text) = text.strip_prefix('\'').map_or((false, text), |inner| (true, inner));
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            '\'' if quoted => return Ok((value, &text[at + 1..])),
            _ if !quoted && character.is_whitespace() => return Ok((value, &text[at..])),
            _ => value.push(character),
        }
    }
    if quoted { Err(SyntaxError::OpenQuote) } else { Ok((value, "")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_with_libpq_quoting() {
        let conninfo =
            Conninfo::parse(r"host = /tmp  port=5433 user='o\'neil b' password=a\ b\\ dbname=''")
                .unwrap();
        assert_eq!(conninfo.host.as_deref(), Some("/tmp"));
        assert_eq!(conninfo.port.as_deref(), Some("5433"));
        assert_eq!(conninfo.user.as_deref(), Some("o'neil b"));
        assert_eq!(conninfo.password, Some(Secret::new(r"a b\".to_owned())));
        assert_eq!(conninfo.dbname, None);
    }

    #[test]
    fn what_is_not_an_address_is_refused_without_being_quoted() {
        let cases = [
            ("", SyntaxError::Empty),
            ("   ", SyntaxError::Empty),
            ("mysql://canary@h", SyntaxError::Scheme),
            ("localhost", SyntaxError::MissingEquals),
            ("password=my canary", SyntaxError::MissingEquals),
            ("password=my canary=x", SyntaxError::UnknownKey),
            ("host=a password='canary", SyntaxError::OpenQuote),
            ("host=a,b", SyntaxError::SeveralHosts),
            ("host=a\nport=1", SyntaxError::ControlCharacter),
            ("host=a service=b", SyntaxError::Refused("service", DOES_NOT_DO)),
            ("host=a application_name=b", SyntaxError::Refused("application_name", SETS_ITSELF)),
        ];
        for (text, expected) in cases {
            let error = Conninfo::parse(text).unwrap_err();
            assert_eq!(error, expected, "{text}");
            assert!(!error.to_string().contains("canary"), "{error}");
        }
    }

    #[test]
    fn an_address_is_not_mixed_with_the_environments() {
        let environment = Conninfo {
            host: Some("other".to_owned()),
            hostaddr: Some("192.0.2.1".to_owned()),
            user: Some("bob".to_owned()),
            ..Conninfo::default()
        };
        let merged = Conninfo::parse("host=here").unwrap().or(&environment);
        assert_eq!((merged.host.as_deref(), merged.hostaddr), (Some("here"), None));
        assert_eq!(merged.user.as_deref(), Some("bob"));
    }
}
