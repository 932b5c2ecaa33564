//! `~/.pgpass`: one `host:port:database:user:password` a line, as libpq reads it.
//!
//! A file that others can read is not used, as in libpq.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::secret::Secret;

/// Why a file of passwords is not used.
#[derive(Debug, thiserror::Error)]
pub enum PassfileError {
    /// Others may read it.
    #[error(
        "{} has group or world access, so it is not used; run: chmod 0600 {}",
        .0.display(),
        .0.display()
    )]
    ReadableByOthers(PathBuf),
    /// A directory, a pipe, a device.
    #[error("{} is not a plain file, so it is not used", .0.display())]
    NotAFile(PathBuf),
    /// It cannot be read.
    #[error("{} cannot be read: {error}", .path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        error: io::Error,
    },
}

/// Which password is looked for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Host name, address or socket directory; `localhost` for the default socket directory.
    pub host: &'a str,
    /// Port.
    pub port: u16,
    /// Database.
    pub database: &'a str,
    /// Role.
    pub user: &'a str,
}

/// The first password in the file at `path` that fits, if one does.
///
/// # Errors
/// The file may not or cannot be used.
pub fn look_up(path: &Path, wanted: Wanted<'_>) -> Result<Option<Secret>, PassfileError> {
    refuse_unless_private(path)?;
    let text = fs::read(path)
        .map_err(|error| PassfileError::Unreadable { path: path.to_owned(), error })?;
    Ok(find(&String::from_utf8_lossy(&text), wanted))
}

/// Refuses a file with a secret that anybody but its owner may read.
///
/// # Errors
/// It is readable by others, no plain file, or not there.
pub fn refuse_unless_private(path: &Path) -> Result<(), PassfileError> {
    let metadata = fs::metadata(path)
        .map_err(|error| PassfileError::Unreadable { path: path.to_owned(), error })?;
    if !metadata.is_file() {
        return Err(PassfileError::NotAFile(path.to_owned()));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(PassfileError::ReadableByOthers(path.to_owned()));
    }
    Ok(())
}

fn find(text: &str, wanted: Wanted<'_>) -> Option<Secret> {
    let port = wanted.port.to_string();
    let fields = [wanted.host, &port, wanted.database, wanted.user];
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut rest = line;
        for field in fields {
            rest = match_field(rest, field)?;
        }
        let password = unescape(rest);
        (!password.is_empty()).then(|| Secret::new(password))
    })
}

/// What follows the first field of `line` and its colon, where that field is `wanted` or `*`.
fn match_field<'a>(line: &'a str, wanted: &str) -> Option<&'a str> {
    if let Some(rest) = line.strip_prefix("*:") {
        return Some(rest);
    }
    let mut escaped = false;
    let end = line.find(|character| {
        let ends = character == ':' && !escaped;
        escaped = character == '\\' && !escaped;
        ends
    })?;
    (unescape(&line[..end]) == wanted).then(|| &line[end + 1..])
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        plain.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<String> {
        let wanted = Wanted { host: "h", port: 5432, database: "d:b", user: "u" };
        find(text, wanted).map(|secret| secret.reveal().to_owned())
    }

    #[test]
    fn the_first_line_that_fits_is_taken() {
        let cases = [
            ("", None),
            (r"h:5432:d\:b:u:p", Some("p")),
            ("*:*:*:*:p", Some("p")),
            (
                r"h:5433:*:*:no
other:*:*:*:no
*:*:*:u:yes
*:*:*:*:late",
                Some("yes"),
            ),
            ("#*:*:*:*:comment", None),
            ("*:*:*:u", None),
            ("*:*:*:*:", None),
            (r"*:*:*:*:p\:a\\b", Some(r"p:a\b")),
            ("*:*:*:*:with:colons", Some("with:colons")),
            ("*:*:*:*:p\r\n", Some("p")),
            ("*x:*:*:*:p", None),
            ("h:５４３２:*:*:p", None),
        ];
        for (text, expected) in cases {
            assert_eq!(found(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_the_remedy() {
        let path = std::env::temp_dir().join(format!("shardbank-pgpass-{}", std::process::id()));
        fs::write(&path, "*:*:*:*:canary").unwrap();
        let wanted = Wanted { host: "h", port: 5432, database: "d", user: "u" };
        for (mode, accepted) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            match look_up(&path, wanted) {
                Ok(secret) => assert!(accepted && secret.is_some()),
                Err(error) => {
                    let message = error.to_string();
                    assert!(!accepted && message.contains("chmod 0600"), "{message}");
                    assert!(!message.contains("canary"));
                }
            }
        }
        fs::remove_file(&path).unwrap();
        assert!(look_up(&path, wanted).is_err());
    }
}
