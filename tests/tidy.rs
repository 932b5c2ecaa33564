//! The rules that the tree itself keeps: sizes, layers, and what stands in which place. A plain
//! test over the files, by text; where a rule has an exception, the exception stands here with
//! its reason.

#![cfg(test)]

use std::fs;
use std::path::{Path, PathBuf};

/// No file is longer: whoever reads it must be able to keep it in mind.
const MOST_LINES: usize = 400;

/// The layers, top to bottom. A module uses only lower rows, and nothing on its own row. The
/// last rows are the plain values that everything speaks in.
const ROWS: &[&[&str]] = &[
    &["main"],
    &["cli"],
    &["commands"],
    &["chaos"],
    &["report"],
    &["bench"],
    &["simulation"],
    &["seats"],
    &["strategies", "audit", "prune"],
    &["locks"],
    &["ledger"],
    &["coordination"],
    &["shards"],
    &["local"],
    &["config"],
    &["verbs"],
    &["outcome"],
    &["transfer", "fail_points"],
];

/// Uses of a higher row that are meant: `commands` is handed the arguments that `cli` parsed.
const ALLOWED_UPWARDS: &[(&str, &str)] = &[("commands", "cli")];

/// The modules in which SQL may stand.
const SQL_MODULES: &[&str] = &["ledger", "coordination", "shards"];

/// Lines that print outside `main` and `commands`, each with the reason.
const ALLOWED_PRINTING: &[(&str, &str)] = &[
    // A fail point announces itself from inside a protocol and never returns.
    ("src/ledger/postgres.rs", "let mut out = std::io::stdout();"),
];

struct Source {
    /// Relative to the root of the tree, with slashes.
    path: String,
    text: String,
}

impl Source {
    /// The module right below the crate, of a file in `src`.
    fn module(&self) -> &str {
        let inner = self.path.strip_prefix("src/").expect("a file in src");
        let first = inner.split('/').next().expect("a path has a first part");
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// Its lines without comments, numbered from 1.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
            .map(|(at, line)| (at + 1, line))
    }

    /// The same, down to the unit tests.
    fn code_without_tests(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code().take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `directory` that git would keep.
fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_symlink() || [".git", "target"].contains(&name.as_str()) {
            continue;
        }
        if !path.is_dir() {
            found.push(path);
        } else if !directory.ends_with("results") || name.starts_with("sample-") {
            walk(&path, found);
        }
    }
}

/// The text files of the tree whose names end in `suffix`.
fn sources(suffix: &str) -> Vec<Source> {
    let mut found = Vec::new();
    walk(root(), &mut found);
    found.sort();
    found
        .iter()
        .filter(|path| path.to_string_lossy().ends_with(suffix))
        .filter_map(|path| {
            let relative = path.strip_prefix(root()).expect("below the root").to_string_lossy();
            let text = fs::read_to_string(path).ok()?;
            Some(Source { path: relative.replace('\\', "/"), text })
        })
        .collect()
}

fn product() -> impl Iterator<Item = Source> {
    sources(".rs").into_iter().filter(|source| source.path.starts_with("src/"))
}

/// Fails with everything that breaks the rule at once.
fn assert_none(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

#[test]
fn no_file_is_too_long_to_be_kept_in_mind() {
    let mut lengths = Vec::new();
    let mut broken = Vec::new();
    for source in sources(".rs") {
        let lines = source.text.lines().count();
        lengths.push(lines);
        if lines > MOST_LINES {
            broken.push(format!("{}: {lines} lines", source.path));
        }
    }
    lengths.sort_unstable();
    println!("{} Rust files, median {} lines", lengths.len(), lengths[lengths.len() / 2]);
    assert_none("files longer than 400 lines", &broken);
}

/// The modules right below the crate that `text` names after `crate::`, in braces or not.
fn used_modules(text: &str) -> Vec<String> {
    let identifier = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let mut used = Vec::new();
    for (at, name) in text.match_indices("crate::") {
        // `$crate` stands in a macro and means the same; `mycrate::` would be somebody else's.
        if text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &text[at + name.len()..];
        if !rest.starts_with('{') {
            used.push(identifier(rest));
            continue;
        }
        let mut depth = 0;
        for (position, c) in rest.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
            if depth == 1 && (c == '{' || c == ',') {
                used.push(identifier(&rest[position + 1..]));
            }
        }
    }
    used.retain(|name| !name.is_empty());
    used
}

#[test]
fn paths_in_braces_and_out_of_them_are_found() {
    let text = "use crate::{a::{b, c}, d};\nlet x = crate::e::f(); use other_crate::g; crate::h!()";
    assert_eq!(used_modules(text), ["a", "d", "e", "h"]);
}

#[test]
fn every_module_uses_only_lower_layers() {
    let row_of = |module: &str| ROWS.iter().position(|row| row.contains(&module));
    let mut broken = Vec::new();
    for source in product().filter(|source| source.path != "src/lib.rs") {
        let module = source.module();
        let Some(row) = row_of(module) else {
            broken.push(format!("{}: module {module} is on no row of tests/tidy.rs", source.path));
            continue;
        };
        for (at, line) in source.code().filter(|(_, line)| line.contains("super::super::")) {
            broken.push(format!("{}:{at}: name it from crate:: {}", source.path, line.trim()));
        }
        let code: Vec<&str> = source.code().map(|(_, line)| line).collect();
        for used in used_modules(&code.join("\n").replace("shardbank::", "crate::")) {
            let Some(used_row) = row_of(&used) else { continue };
            let allowed = ALLOWED_UPWARDS.contains(&(module, used.as_str()));
            if used != module && used_row <= row && !allowed {
                broken.push(format!("{}: {module} must not use {used}", source.path));
            }
        }
    }
    assert_none("uses against the layers", &broken);
}

/// Whether a string literal's content reads like a statement.
fn is_sql(literal: &str) -> bool {
    let text = literal.trim_start().to_ascii_lowercase();
    let words: Vec<&str> = text.split_whitespace().take(3).collect();
    match words.as_slice() {
        ["select" | "truncate", _, ..] => true,
        ["insert", "into", ..] | ["delete", "from", ..] | ["update", _, "set", ..] => true,
        ["prepare" | "commit" | "rollback", "transaction" | "prepared", name] => {
            name.starts_with('\'')
        }
        ["set", "local" | "session", ..] => true,
        ["create" | "drop" | "alter", object, ..] => {
            ["table", "schema", "database", "function", "index", "role", "unique"].contains(object)
        }
        ["begin" | "rollback"] | ["begin;" | "commit;", ..] => true,
        _ => false,
    }
}

/// The string literals of `line` as far as they stand on it: every second piece between quotes.
fn literals(line: &str) -> impl Iterator<Item = &str> {
    line.split('"').skip(1).step_by(2)
}

#[test]
fn sql_stands_only_in_the_storage_layers() {
    assert!(is_sql("SELECT 1") && is_sql("begin") && is_sql("commit prepared '{gid}'"));
    assert!(!is_sql("create a cluster") && !is_sql("committed") && !is_sql("update it"));
    let mut broken = Vec::new();
    for source in product().filter(|source| !SQL_MODULES.contains(&source.module())) {
        for (at, line) in source.code_without_tests() {
            if literals(line).any(is_sql) {
                broken.push(format!("{}:{at}: {}", source.path, line.trim()));
            }
        }
    }
    assert_none("SQL outside ledger, coordination and shards", &broken);
}

#[test]
fn only_main_and_the_commands_print() {
    let printing = ["println!", "print!(", "dbg!", "stdout()", "stderr()"];
    let mut broken = Vec::new();
    let of_tests = ["/tests.rs", "/planted.rs"];
    let prints = |source: &Source| {
        ["main", "commands"].contains(&source.module())
            || of_tests.iter().any(|end| source.path.ends_with(end))
    };
    for source in product().filter(|source| !prints(source)) {
        for (at, line) in source.code_without_tests() {
            let allowed = ALLOWED_PRINTING.contains(&(source.path.as_str(), line.trim()));
            if !allowed && printing.iter().any(|token| line.contains(token)) {
                broken.push(format!("{}:{at}: {}", source.path, line.trim()));
            }
        }
    }
    assert_none("printing outside main and commands", &broken);
}

#[test]
fn no_type_of_the_command_line_parser_leaves_cli() {
    let mut broken = Vec::new();
    for source in product().filter(|source| !["main", "cli"].contains(&source.module())) {
        for (at, line) in source.code().filter(|(_, line)| line.contains("clap::")) {
            broken.push(format!("{}:{at}: {}", source.path, line.trim()));
        }
    }
    assert_none("clap outside cli", &broken);
}

#[test]
fn what_cannot_fail_says_why() {
    let mut broken = Vec::new();
    for source in product().filter(|source| !source.path.ends_with("/tests.rs")) {
        for (at, _) in source.code_without_tests().filter(|(_, line)| line.contains(".unwrap()")) {
            broken.push(format!("{}:{at}", source.path));
        }
    }
    assert_none("unwrap() outside tests; use expect(\"a sentence\")", &broken);
}

#[test]
fn every_sql_file_says_what_a_row_means() {
    let files = sources(".sql");
    let silent = files.iter().filter(|source| !source.text.starts_with("-- "));
    let broken: Vec<String> = silent.map(|source| source.path.clone()).collect();
    assert!(!files.is_empty(), "the SQL files are gone");
    assert_none("SQL files that do not begin with a comment", &broken);
}

#[test]
fn no_file_names_the_machine_it_was_written_on() {
    // In pieces, or this file would name them.
    let words = [
        concat!("/wo", "rk/"),
        concat!("/tmp/", "sb"),
        concat!("/ro", "ot/"),
        concat!("DEVELOPERS", ".md"),
        concat!("BRIEF", ".md"),
    ];
    let mut broken = Vec::new();
    for source in sources("") {
        for (at, line) in source.text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word)) {
                broken.push(format!("{}:{}: {}", source.path, at + 1, line.trim()));
            }
        }
    }
    assert_none("names of places and papers that no reader has", &broken);
}
