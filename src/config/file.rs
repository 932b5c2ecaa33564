//! The configuration as TOML text.

use super::BenchConfig;

/// A configuration file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// It is no TOML, or a key has a value of another kind.
    #[error("{0}")]
    Syntax(String),
    /// It has keys that do not exist.
    #[error("{}", .0.join("\n"))]
    UnknownKeys(Vec<String>),
}

/// Every key, in the order of the struct.
const KEYS: [&str; 35] = [
    "workload",
    "name",
    "description",
    "strategies",
    "reference",
    "runs",
    "seed",
    "time",
    "transfers",
    "warmup",
    "clients",
    "jobs",
    "accounts",
    "opening_balance",
    "amount_max",
    "distribution",
    "zipf_theta",
    "hot_accounts",
    "hot_percent",
    "hot_on",
    "cross_shard_percent",
    "reject_percent",
    "max_tries",
    "seats",
    "seats_on",
    "think_time",
    "hold_time",
    "abandon_percent",
    "shards",
    "shard",
    "progress",
    "auditor",
    "log",
    "output",
    "tags",
];

/// Below this likeness (Jaro-Winkler, 0 to 1) a key is no misspelling of another.
const LIKENESS_MIN: f64 = 0.75;

/// Reads one layer from TOML text.
///
/// # Errors
/// Text that is no TOML, keys that do not exist (each with the one that may have been meant), or
/// values of the wrong kind.
pub fn read(text: &str) -> Result<BenchConfig, ConfigError> {
    let table: toml::Table = toml::from_str(text).map_err(|error| syntax(&error))?;
    let unknown: Vec<String> = table
        .keys()
        .filter(|key| !KEYS.contains(&key.as_str()))
        .map(|key| match likeliest(key) {
            Some(meant) => format!("unknown key {key:?}; did you mean {meant:?}?"),
            None => format!("unknown key {key:?}; there are: {}", KEYS.join(", ")),
        })
        .collect();
    if !unknown.is_empty() {
        return Err(ConfigError::UnknownKeys(unknown));
    }
    toml::from_str(text).map_err(|error| syntax(&error))
}

/// The layer as TOML text, to be read again.
///
/// # Panics
/// Never: every value has a TOML spelling.
#[must_use]
pub fn to_toml(config: &BenchConfig) -> String {
    toml::to_string(config).expect("every value of a configuration has a TOML spelling")
}

fn syntax(error: &toml::de::Error) -> ConfigError {
    ConfigError::Syntax(error.to_string().trim_end().to_owned())
}

/// The key that `written` was probably meant to be. Files are written with flags in mind, so
/// dashes count as underscores.
fn likeliest(written: &str) -> Option<&'static str> {
    let written = written.replace('-', "_");
    KEYS.into_iter()
        .map(|key| (strsim::jaro_winkler(key, &written), key))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .map(|(_, key)| key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Distribution, HotOn, SeatsOn, Values, WorkloadName};

    fn full() -> BenchConfig {
        BenchConfig {
            workload: Some(WorkloadName::Seats),
            seats: Some(Values::one(1)),
            seats_on: Some(SeatsOn::OneShard),
            think_time: Some(Values::one(1)),
            hold_time: Some(Values::one(1)),
            abandon_percent: Some(Values::one(1.0)),
            description: Some("why".to_owned()),
            reference: Some("2pc".to_owned()),
            seed: Some(Values::one(1)),
            transfers: Some(Values::one(1)),
            jobs: Some(Values::one(1)),
            zipf_theta: Some(Values::one(1.0)),
            hot_accounts: Some(Values::one(1)),
            hot_percent: Some(Values::one(1.0)),
            hot_on: Some(HotOn::Source),
            cross_shard_percent: Values::several(vec![0.0, 50.0]),
            reject_percent: Some(Values::one(20.0)),
            shards: Some(Values::one(2)),
            shard: Some(vec!["postgres://a".to_owned()]),
            progress: Some(1.0),
            tags: [("k".to_owned(), "v".to_owned())].into(),
            ..BenchConfig::defaults()
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let text = to_toml(&full());
        assert_eq!(read(&text), Ok(full()));
        let table: toml::Table = toml::from_str(&text).expect("valid");
        let mut keys: Vec<&str> = table.keys().map(String::as_str).collect();
        let mut known = KEYS.to_vec();
        keys.sort_unstable();
        known.sort_unstable();
        assert_eq!(keys, known, "the list of keys is not the struct's");
    }

    #[test]
    fn a_number_may_be_a_list_and_an_integer_may_be_a_fraction() {
        let config = read("clients = [1, 8]\ntime = 2\ndistribution = \"hotspot\"").expect("valid");
        assert_eq!(config.clients, Values::several(vec![1, 8]));
        assert_eq!(config.time, Some(Values::one(2.0)));
        assert_eq!(config.distribution, Some(Values::one(Distribution::Hotspot)));
    }

    #[test]
    fn a_misspelt_key_is_answered_with_the_one_that_was_meant() {
        let error = read("clints = 3\nzipf-theta = 1\nxyzzy = 1").expect_err("unknown").to_string();
        assert!(error.contains("did you mean \"clients\"?"), "{error}");
        assert!(error.contains("did you mean \"zipf_theta\"?"), "{error}");
        assert!(error.contains("\"xyzzy\"; there are:"), "{error}");
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_named_with_its_place() {
        let error = read("clients = \"many\"").expect_err("no number").to_string();
        assert!(error.contains("line 1") && error.contains("invalid type"), "{error}");
        let error = read("distribution = \"bell\"").expect_err("no such").to_string();
        assert!(error.contains("uniform"), "{error}");
    }
}
