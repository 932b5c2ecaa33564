//! What was asked for: flags over a file over the defaults.

use std::path::PathBuf;

use crate::cli::bench::BenchArguments;
use crate::commands::cluster::given_shards;
use crate::commands::{Exit, Stop};
use crate::config::{self, BenchConfig};
use crate::shards::ShardTarget;

/// What was asked for.
pub struct Wanted {
    /// The configuration in effect. Its shards are named without passwords.
    pub config: BenchConfig,
    /// The shards that were given; nothing where local servers are to be started.
    pub targets: Option<Vec<ShardTarget>>,
}

/// Lays the layers over one another.
///
/// # Errors
/// A file that cannot be read, or shards that cannot be understood.
pub fn gather(arguments: &BenchArguments) -> Result<Wanted, Stop> {
    let flags = arguments.layer();
    let mut file = match &arguments.config {
        Some(path) => read(path)?,
        None => BenchConfig::default(),
    };
    let path = arguments.config.clone().unwrap_or_default();
    let in_file = file.shard.take().map(|texts| (path, texts));
    let targets = if flags.shards.is_some() {
        None
    } else {
        // A file that asks for local servers is not overruled by a variable that is lying about.
        let local = file.shards.is_some() && arguments.shards.shards.is_empty();
        if local { None } else { given_shards(&arguments.shards, in_file)? }
    };
    let given = flags.over(file);
    let defaults = BenchConfig::defaults_of(given.measured());
    let mut config = given.over(defaults);
    config.shard = targets
        .as_ref()
        .map(|targets| targets.iter().map(|target| target.name().to_owned()).collect());
    if config.shard.is_some() {
        config.shards = None;
    }
    Ok(Wanted { config, targets })
}

fn read(path: &PathBuf) -> Result<BenchConfig, Stop> {
    let usage = |what: String| Stop::new(Exit::Usage, format!("{}: {what}", path.display()));
    let text =
        std::fs::read_to_string(path).map_err(|error| usage(format!("cannot be read: {error}")))?;
    let config = config::read(&text).map_err(|error| usage(error.to_string()))?;
    if config.shard.is_some() && config.shards.is_some() {
        return Err(usage(
            "shards starts local servers and shard names servers that run; give one of them"
                .to_owned(),
        ));
    }
    Ok(config)
}
