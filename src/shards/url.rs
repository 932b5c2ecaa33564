//! `postgres://user:password@host:port/database?key=value`, as libpq reads it.
//!
//! Stricter in one point: an `@` or `/` after the host is refused, because it comes from a
//! password whose special characters were not encoded, and a part of that password would
//! otherwise be taken for a host or a database and be shown.

use super::conninfo::{Conninfo, SyntaxError};

/// What follows `postgres://` or `postgresql://`, where `text` is such a URL.
#[must_use]
pub fn after_scheme(text: &str) -> Option<&str> {
    text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"))
}

/// Reads what follows the scheme.
///
/// # Errors
/// What is wrong, without quoting it.
pub fn parse(rest: &str) -> Result<Conninfo, SyntaxError> {
    let mut conninfo = Conninfo::default();
    let (before_query, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = before_query.split_once('/').unwrap_or((before_query, ""));
    if database.contains(['@', '/']) || query.contains('@') || query.contains('?') {
        return Err(SyntaxError::Delimiter);
    }
    let address = match authority.rsplit_once('@') {
        None => authority,
        Some((credentials, address)) => {
            if credentials.contains('@') {
                return Err(SyntaxError::Delimiter);
            }
            let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
            conninfo.set("user", decode(user)?)?;
            conninfo.set("password", decode(password)?)?;
            address
        }
    };
    let (host, port) = split_address(address)?;
    conninfo.set("host", decode(host)?)?;
    conninfo.set("port", decode(port)?)?;
    conninfo.set("dbname", decode(database)?)?;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or(SyntaxError::MissingEquals)?;
        let (key, value) = (decode(key)?, decode(value)?);
        // The one alias that libpq knows, from JDBC.
        match (key.as_str(), value.as_str()) {
            ("ssl", "true") => conninfo.set("sslmode", "require".to_owned())?,
            _ => conninfo.set(&key, value)?,
        }
    }
    Ok(conninfo)
}

fn split_address(address: &str) -> Result<(&str, &str), SyntaxError> {
    let Some(bracketed) = address.strip_prefix('[') else {
        let (host, port) = address.split_once(':').unwrap_or((address, ""));
        return if port.contains(':') { Err(SyntaxError::Brackets) } else { Ok((host, port)) };
    };
    let (host, after) = bracketed.split_once(']').ok_or(SyntaxError::Brackets)?;
    match after.strip_prefix(':') {
        Some(port) => Ok((host, port)),
        None if after.is_empty() => Ok((host, "")),
        None => Err(SyntaxError::Brackets),
    }
}

fn decode(text: &str) -> Result<String, SyntaxError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || {
            let digit = rest.next().and_then(|byte| char::from(byte).to_digit(16));
            digit.and_then(|digit| u8::try_from(digit).ok()).ok_or(SyntaxError::Percent)
        };
        let high = digit()?;
        bytes.push(high * 16 + digit()?);
    }
    String::from_utf8(bytes).map_err(|_| SyntaxError::Percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_url_are_found() {
        // (url, user, password, host, port, database)
        let cases = [
            ("", "", "", "", "", ""),
            ("h", "", "", "h", "", ""),
            ("h:1/d", "", "", "h", "1", "d"),
            ("u@h", "u", "", "h", "", ""),
            ("u:p@h:2/d", "u", "p", "h", "2", "d"),
            ("u:p%40%3A%2Fx@h/d", "u", "p@:/x", "h", "", "d"),
            ("u:a:b@h/d", "u", "a:b", "h", "", "d"),
            ("[::1]:5433/d", "", "", "::1", "5433", "d"),
            ("[2001:db8::1]", "", "", "2001:db8::1", "", ""),
            ("%2Ftmp%2Fpg:5433/d", "", "", "/tmp/pg", "5433", "d"),
            ("/d?host=/tmp/pg&port=7&user=u&password=p", "u", "p", "/tmp/pg", "7", "d"),
            ("h/b%C3%A4nk", "", "", "h", "", "bänk"),
        ];
        for (url, user, password, host, port, database) in cases {
            let found = parse(url).unwrap();
            let or_empty = |value: &Option<String>| value.clone().unwrap_or_default();
            assert_eq!(or_empty(&found.user), user, "{url}");
            assert_eq!(found.password.map_or(String::new(), |p| p.reveal().to_owned()), password);
            assert_eq!(or_empty(&found.host), host, "{url}");
            assert_eq!(or_empty(&found.port), port, "{url}");
            assert_eq!(or_empty(&found.dbname), database, "{url}");
        }
    }

    #[test]
    fn a_password_that_was_not_encoded_is_refused_and_not_shown() {
        for (url, expected) in [
            ("bob:can@ary@h/d", SyntaxError::Delimiter),
            ("bob:12/canary@h/d", SyntaxError::Delimiter),
            ("bob:12?canary@h/d", SyntaxError::Delimiter),
            ("bob:canary%@h/d", SyntaxError::Percent),
            ("bob:canary%ff@h/d", SyntaxError::Percent),
            ("h/canary/d", SyntaxError::Delimiter),
            ("a:b:canary", SyntaxError::Brackets),
            ("[::1/canary", SyntaxError::Brackets),
            ("[::1]canary", SyntaxError::Brackets),
            ("h1,h2/d", SyntaxError::SeveralHosts),
            ("h/d?canary=1", SyntaxError::UnknownKey),
            ("h/d?canary", SyntaxError::MissingEquals),
            ("h%0a/d", SyntaxError::ControlCharacter),
        ] {
            let error = parse(url).unwrap_err();
            assert_eq!(error, expected, "{url}");
            assert!(!error.to_string().contains("canary"), "{error}");
        }
    }
}
