//! ZooKeeper, a single server: a Java program of which only the jar is needed.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::ServiceError;
use super::launch::{Launch, answers};
use crate::local::server_user::ServerUser;

/// Distributions other than Debian's come with Logback, which without this would write several
/// lines for every request.
const LOGGING: &str = r#"<configuration>
  <appender name="log" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d %p %m%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="log"/></root>
</configuration>
"#;

pub(super) fn write_configuration(launch: &Launch, user: &ServerUser) -> Result<(), ServiceError> {
    user.write_file(&logging(launch), LOGGING)?;
    Ok(user.write_file(&configuration(launch), &configuration_text(launch))?)
}

fn configuration(launch: &Launch) -> PathBuf {
    launch.directory.join("zoo.cfg")
}

fn logging(launch: &Launch) -> PathBuf {
    launch.directory.join("logback.xml")
}

fn configuration_text(launch: &Launch) -> String {
    [
        // Sessions expire by the tick, and the shortest lasts two: with the usual 2000 ms, four
        // seconds.
        "tickTime=500".to_owned(),
        format!("dataDir={}", escaped(&launch.data())),
        format!("clientPort={}", launch.port),
        "clientPortAddress=127.0.0.1".to_owned(),
        // It would listen on 8080.
        "admin.enableServer=false".to_owned(),
        "4lw.commands.whitelist=srvr,conf".to_owned(),
        // No limit; 60 from one address by default, and we are one address.
        "maxClientCnxns=0".to_owned(),
        "minSessionTimeout=1000".to_owned(),
        "maxSessionTimeout=60000".to_owned(),
        String::new(),
    ]
    .join("\n")
}

/// As in a file of Java's properties, which is read as Latin-1.
fn escaped(path: &Path) -> String {
    path.to_string_lossy()
        .encode_utf16()
        .map(|unit| match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() => char::from(byte).to_string(),
            _ => format!("\\u{unit:04x}"),
        })
        .collect()
}

pub(super) fn add_arguments(command: &mut Command, launch: &Launch) {
    let mut logging_option = OsString::from("-Dlogback.configurationFile=");
    logging_option.push(logging(launch));
    // Java takes the letters of file names from the locale.
    command.env("LC_ALL", "C.UTF-8");
    command.args(["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
    // Else a killed Java leaves a file in /tmp, wherever TMPDIR is.
    command.arg("-XX:-UsePerfData").arg(logging_option);
    command.arg("-cp").arg(class_path(launch.binary.jar.as_deref().unwrap_or(Path::new(""))));
    command.arg("org.apache.zookeeper.server.ZooKeeperServerMain").arg(configuration(launch));
}

/// A Debian jar names what it needs; that of Apache's own release has it beside it, in `lib`.
fn class_path(jar: &Path) -> OsString {
    match jar.parent() {
        Some(parent) if parent.ends_with("lib") => parent.join("*").into(),
        _ => jar.into(),
    }
}

/// `ruok` would be answered before it serves.
pub(super) fn serves(launch: &Launch) -> bool {
    let ours = format!("dataDir={}", launch.data().display());
    answers(launch.port, "srvr", &["\nMode:"]) && answers(launch.port, "conf", &[&ours])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_outside_of_ascii_are_escaped_for_java() {
        assert_eq!(escaped(Path::new("/tmp/a b/é€")), "/tmp/a b/\\u00e9\\u20ac");
    }

    #[test]
    fn the_jars_beside_an_apache_release_are_on_the_class_path() {
        assert_eq!(class_path(Path::new("/usr/share/java/zookeeper.jar")), {
            "/usr/share/java/zookeeper.jar"
        });
        assert_eq!(class_path(Path::new("/opt/zk/lib/zookeeper-3.9.3.jar")), "/opt/zk/lib/*");
    }
}
