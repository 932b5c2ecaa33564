//! Where the shards' addresses come from: the command line, else the environment, else the
//! configuration file; and what may stand in which.
//!
//! Everybody on a machine can read a command line, so no password may stand there.

use std::fmt;
use std::path::PathBuf;

use super::conninfo::Conninfo;
use super::environment::Environment;
use super::passfile;
use super::target::ShardTarget;

/// The variable with the addresses of all shards, separated by white space.
pub const VARIABLE: &str = "SHARDBANK_SHARDS";

/// More than anybody has, and few enough to open connections to.
const SHARDS_MAX: usize = 1024;

/// Who named the shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// `--shard`.
    CommandLine,
    /// [`VARIABLE`].
    Environment,
    /// The configuration file at this path.
    ConfigFile(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str("--shard"),
            Self::Environment => f.write_str(VARIABLE),
            Self::ConfigFile(path) => write!(f, "{}", path.display()),
        }
    }
}

/// The addresses as they were given, and by whom. Not shown: they may hold passwords.
#[derive(Clone, PartialEq, Eq)]
pub struct Given {
    texts: Vec<String>,
    origin: Origin,
}

/// The addresses to use, if any were given: those of `flags`, else those of `variable`, else
/// those of `file`. The sources are never mixed: the order of the shards is the cluster's.
#[must_use]
pub fn choose(
    flags: &[String],
    variable: Option<&str>,
    file: Option<(PathBuf, Vec<String>)>,
) -> Option<Given> {
    let words = variable.unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    let candidates = [
        Some((flags.to_vec(), Origin::CommandLine)),
        Some((words, Origin::Environment)),
        file.map(|(path, texts)| (texts, Origin::ConfigFile(path))),
    ];
    let (texts, origin) = candidates.into_iter().flatten().find(|(texts, _)| !texts.is_empty())?;
    Some(Given { texts, origin })
}

/// Reads the addresses and completes them from `environment`.
///
/// # Errors
/// Everything that is wrong with any of them, one line each, without a value of theirs.
pub fn targets(given: &Given, environment: &Environment) -> Result<Vec<ShardTarget>, Vec<String>> {
    let Given { texts, origin } = given;
    if texts.len() > SHARDS_MAX {
        return Err(vec![format!("{origin}: {} shards; at most {SHARDS_MAX}", texts.len())]);
    }
    let (mut targets, mut problems) = (Vec::new(), Vec::new());
    for (index, text) in texts.iter().enumerate() {
        match target(text, origin, environment) {
            Ok(target) => targets.push(target),
            Err(problem) => problems.push(format!("shard {index} of {origin}: {problem}")),
        }
    }
    if problems.is_empty() { Ok(targets) } else { Err(problems) }
}

fn target(text: &str, origin: &Origin, environment: &Environment) -> Result<ShardTarget, String> {
    let conninfo = Conninfo::parse(text).map_err(|error| format!("the address {error}"))?;
    if conninfo.password.is_some() {
        match origin {
            Origin::CommandLine => {
                return Err(format!(
                    "a password on the command line can be read by everybody on this machine; \
                     put it into PGPASSWORD, ~/.pgpass, a file named with passfile=, {VARIABLE}, \
                     or a configuration file that only you can read"
                ));
            }
            Origin::Environment => {}
            Origin::ConfigFile(path) => passfile::refuse_unless_private(path)
                .map_err(|error| format!("it has a password, but {error}"))?,
        }
    }
    ShardTarget::complete(conninfo, environment).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        Environment { operating_system_user: Some("me".to_owned()), ..Environment::default() }
    }

    #[test]
    fn the_first_source_that_names_any_is_taken_alone() {
        let flags = ["host=a".to_owned()];
        let file = || Some((PathBuf::from("f.toml"), vec!["host=c".to_owned()]));
        let origin = |given: Option<Given>| given.map(|given| given.origin);
        assert_eq!(origin(choose(&flags, Some("x"), file())), Some(Origin::CommandLine));
        assert_eq!(origin(choose(&[], Some(" x\ny "), file())), Some(Origin::Environment));
        assert_eq!(
            origin(choose(&[], Some("  "), file())),
            Some(Origin::ConfigFile("f.toml".into()))
        );
        assert!(choose(&[], None, None).is_none());
    }

    #[test]
    fn a_password_is_refused_where_others_can_read_it() {
        let url = "postgres://u:canary@localhost/d".to_owned();
        let environment = environment();
        let on = |given: Option<Given>| targets(&given.unwrap(), &environment);
        let lines = on(choose(std::slice::from_ref(&url), None, None)).unwrap_err().join("\n");
        assert!(lines.contains("PGPASSWORD") && lines.contains("shard 0 of --shard"), "{lines}");
        assert!(!lines.contains("canary"));
        let found = on(choose(&[], Some(&url), None)).unwrap();
        assert_eq!(found[0].name(), "localhost:5432/d");
        assert!(!format!("{found:?}").contains("canary"));
        assert!(!format!("{:?}", found[0].manager()).contains("canary"));
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let flags = ["host=a port=0", "host=b sslmode=prefer", "mysql://c", "host=localhost"];
        let flags = flags.map(str::to_owned);
        let lines = targets(&choose(&flags, None, None).unwrap(), &environment()).unwrap_err();
        assert_eq!(lines.len(), 3, "{lines:?}");
    }
}
