//! Finding the programs of lock servers: what was named by flag, else by variable, else `PATH`
//! and the usual places of Debian, Fedora, Homebrew and the makers' own releases.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::{ServiceError, ServiceKind};
use crate::local::server_user::{Access, ServerUser};

/// What a lock server is started from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binary {
    /// The program; of ZooKeeper a Java.
    pub program: PathBuf,
    /// What that Java runs.
    pub jar: Option<PathBuf>,
}

/// Something to be looked for.
struct Wanted {
    kind: ServiceKind,
    what: &'static str,
    access: Access,
    flag: &'static str,
    variable: &'static str,
    /// A variable with a directory that has it in `bin`.
    home_variable: Option<&'static str>,
    /// File names to be looked for in `PATH`.
    names: &'static [&'static str],
    /// Paths in which `*` stands for any part of one name.
    usual_places: &'static [&'static str],
}

const REDIS: Wanted = Wanted {
    kind: ServiceKind::Redis,
    what: "redis-server or valkey-server",
    access: Access::Execute,
    flag: "--redis-server",
    variable: "REDIS_SERVER",
    home_variable: None,
    names: &["redis-server", "valkey-server"],
    usual_places: &[
        "/usr/bin/redis-server",
        "/usr/bin/valkey-server",
        "/usr/local/bin/redis-server",
        "/usr/local/bin/valkey-server",
        "/opt/homebrew/bin/redis-server",
        "/opt/homebrew/bin/valkey-server",
        "/home/linuxbrew/.linuxbrew/bin/redis-server",
        "/home/linuxbrew/.linuxbrew/bin/valkey-server",
    ],
};

const ETCD: Wanted = Wanted {
    kind: ServiceKind::Etcd,
    what: "etcd",
    access: Access::Execute,
    flag: "--etcd-binary",
    variable: "ETCD",
    home_variable: None,
    names: &["etcd"],
    usual_places: &[
        "/usr/bin/etcd",
        "/usr/local/bin/etcd",
        "/opt/homebrew/bin/etcd",
        "/home/linuxbrew/.linuxbrew/bin/etcd",
    ],
};

const JAR: Wanted = Wanted {
    kind: ServiceKind::ZooKeeper,
    what: "zookeeper.jar",
    access: Access::Read,
    flag: "--zookeeper-jar",
    variable: "ZOOKEEPER_JAR",
    home_variable: None,
    names: &[],
    usual_places: &[
        "/usr/share/java/zookeeper.jar",
        "/usr/share/zookeeper/zookeeper.jar",
        "/usr/share/zookeeper/zookeeper-3*.jar",
        "/usr/share/zookeeper/lib/zookeeper-3*.jar",
        "/opt/zookeeper/lib/zookeeper-3*.jar",
        "/opt/apache-zookeeper-*/lib/zookeeper-3*.jar",
        "/opt/homebrew/opt/zookeeper/libexec/lib/zookeeper-3*.jar",
        "/usr/local/opt/zookeeper/libexec/lib/zookeeper-3*.jar",
    ],
};

const JAVA: Wanted = Wanted {
    kind: ServiceKind::ZooKeeper,
    what: "java",
    access: Access::Execute,
    flag: "--java",
    variable: "JAVA",
    home_variable: Some("JAVA_HOME"),
    names: &["java"],
    usual_places: &[
        "/usr/bin/java",
        "/usr/lib/jvm/*/bin/java",
        "/opt/homebrew/opt/openjdk/bin/java",
        "/usr/local/opt/openjdk/bin/java",
    ],
};

/// What a server of this kind is started from; `user` is who will run it and must be able to.
pub(super) fn binary(
    kind: ServiceKind,
    explicit: Option<&Path>,
    java: Option<&Path>,
    user: &ServerUser,
) -> Result<Binary, ServiceError> {
    let program = |wanted| Ok(Binary { program: find(wanted, explicit, user)?, jar: None });
    match kind {
        ServiceKind::Redis => program(&REDIS),
        ServiceKind::Etcd => program(&ETCD),
        ServiceKind::ZooKeeper => {
            let jar = Some(find(&JAR, explicit, user)?);
            Ok(Binary { program: find(&JAVA, java, user)?, jar })
        }
    }
}

fn find(
    wanted: &Wanted,
    explicit: Option<&Path>,
    user: &ServerUser,
) -> Result<PathBuf, ServiceError> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let named = match explicit {
        Some(path) => Some((path.to_owned(), wanted.flag)),
        None => variable(wanted.variable).map(|path| (path.into(), wanted.variable)),
    };
    if let Some((path, named_by)) = named {
        return usable(&path, wanted, user).map_err(|reason| ServiceError::Unusable {
            path,
            what: wanted.what,
            reason,
            named_by,
        });
    }
    let mut rejected = Vec::new();
    let home = wanted.home_variable.and_then(variable);
    for candidate in candidates(wanted, home, variable("PATH")) {
        match usable(&candidate, wanted, user) {
            Ok(found) => return Ok(found),
            Err(reason) => rejected.push(format!("{}: {reason}", candidate.display())),
        }
    }
    let in_variables = wanted.home_variable.into_iter();
    let in_variables = in_variables.chain((!wanted.names.is_empty()).then_some("PATH"));
    let looked: Vec<&str> = in_variables.chain(wanted.usual_places.iter().copied()).collect();
    Err(ServiceError::Missing {
        kind: wanted.kind,
        what: wanted.what,
        looked: looked.join(", "),
        rejected: if rejected.is_empty() {
            String::new()
        } else {
            format!(" ({})", rejected.join("; "))
        },
        flag: wanted.flag,
        variable: wanted.variable,
    })
}

/// The file, from whatever directory, or what is wrong with it. Links are left as they are: of
/// Redis one file is several programs, by its name.
fn usable(path: &Path, wanted: &Wanted, user: &ServerUser) -> Result<PathBuf, String> {
    let path = std::path::absolute(path).map_err(|error| error.to_string())?;
    if !path.is_file() {
        return Err("there is no such file".to_owned());
    }
    if !user.may(wanted.access, &path) {
        return Err(format!("the user {} cannot {} it", user.name, wanted.access.verb()));
    }
    Ok(path)
}

/// Every file that might be it, best first.
fn candidates(wanted: &Wanted, home: Option<OsString>, path: Option<OsString>) -> Vec<PathBuf> {
    let home = home.map(|home| PathBuf::from(home).join("bin"));
    let directories: Vec<PathBuf> =
        home.into_iter().chain(std::env::split_paths(&path.unwrap_or_default())).collect();
    let mut found = Vec::new();
    for name in wanted.names {
        found.extend(directories.iter().map(|directory| directory.join(name)));
    }
    found.extend(wanted.usual_places.iter().flat_map(|place| expanded(place)));
    found.retain(|candidate| candidate.is_file());
    found
}

/// The paths that match `pattern`. Of several any will do; that with the last name comes first.
fn expanded(pattern: &str) -> Vec<PathBuf> {
    let mut paths = vec![PathBuf::from("/")];
    for part in pattern.split('/') {
        let Some((start, end)) = part.split_once('*') else {
            paths.iter_mut().for_each(|path| path.push(part));
            continue;
        };
        let matches = |name: &str| {
            name.len() >= part.len() - 1 && name.starts_with(start) && name.ends_with(end)
        };
        let entries = |path: &PathBuf| fs::read_dir(path).into_iter().flatten().flatten();
        paths = paths
            .iter()
            .flat_map(entries)
            .filter(|entry| entry.file_name().to_str().is_some_and(matches))
            .map(|entry| entry.path())
            .collect();
        paths.sort();
        paths.reverse();
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nobody_has(wanted: Wanted) -> Wanted {
        Wanted { home_variable: None, names: &["no-such-program"], usual_places: &[], ..wanted }
    }

    fn error(wanted: &Wanted, explicit: Option<&str>) -> ServiceError {
        let user = ServerUser::choose().expect("somebody can run servers");
        find(wanted, explicit.map(Path::new), &user).expect_err("it is not there")
    }

    #[test]
    fn what_is_missing_is_said_with_its_package_and_both_flags() {
        for (wanted, words) in [
            (REDIS, ["apt-get install redis-server`", "--redis-server or", "--redis URL"]),
            (ETCD, ["apt-get install etcd-server`", "--etcd-binary or", "--etcd URL"]),
            (
                JAR,
                ["libzookeeper-java default-jre-headless`", "ZOOKEEPER_JAR", "--zookeeper HOSTS"],
            ),
            (
                JAVA,
                ["libzookeeper-java default-jre-headless`", "--java or JAVA", "ZooKeeper cannot"],
            ),
        ] {
            let missing = error(&nobody_has(wanted), None);
            assert!(missing.is_missing());
            let said = missing.to_string();
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
        }
    }

    #[test]
    fn what_was_named_and_cannot_be_used_is_not_looked_for_elsewhere() {
        let unusable = error(&REDIS, Some("/no/such/redis-server"));
        assert!(!unusable.is_missing());
        let said = unusable.to_string();
        assert!(
            said.contains("/no/such/redis-server") && said.contains("--redis-server"),
            "{said}"
        );
        let said = error(&ETCD, Some("/etc/passwd")).to_string();
        assert!(said.contains("cannot execute it"), "{said}");
    }

    #[test]
    fn a_star_stands_for_any_part_of_one_name() {
        let root = std::env::temp_dir().join(format!("shardbank-jars-{}", std::process::id()));
        for name in ["zookeeper-3.8.0.jar", "zookeeper-3.9.1.jar", "zookeeper-jute-3.9.1.jar"] {
            fs::create_dir_all(root.join("release-1/lib")).unwrap();
            fs::write(root.join("release-1/lib").join(name), "").unwrap();
        }
        let found = expanded(&format!("{}/release-*/lib/zookeeper-3*.jar", root.display()));
        fs::remove_dir_all(&root).unwrap();
        let expected: Vec<_> = ["3.9.1", "3.8.0"]
            .iter()
            .map(|version| root.join(format!("release-1/lib/zookeeper-{version}.jar")))
            .collect();
        assert_eq!(found, expected);
    }
}
