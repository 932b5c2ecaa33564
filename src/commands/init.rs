//! `shardbank init`: makes a cluster on the shards.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::cluster::{PATIENCE, required_shards, runtime, warn};
use super::output::print;
use super::{Exit, Stop};
use crate::cli::cluster::InitArguments;
use crate::shards::creation::{self, Created, CreationError, Plan};
use crate::shards::preflight::{self, Need, SchemaNeed};
use crate::shards::{ShardTarget, schema};

/// The role in the printed grants where none was named.
const EXAMPLE_ROLE: &str = "teller";

/// Makes the cluster.
///
/// # Errors
/// A plan that cannot be carried out, shards that are not fit, or one that failed.
pub fn run(arguments: &InitArguments) -> Result<(), Stop> {
    let plan = Plan::new(arguments.accounts, arguments.opening_balance)
        .map_err(|error| Stop::new(Exit::Usage, error.to_string()))?;
    let targets = required_shards(&arguments.shards)?;
    runtime()?.block_on(init(&targets, plan, arguments))
}

async fn init(targets: &[ShardTarget], plan: Plan, arguments: &InitArguments) -> Result<(), Stop> {
    let need = Need { schema: SchemaNeed::Absent, prepared_transactions: 0, connections: 1 };
    let checked = preflight::check(targets, &need, PATIENCE).await?;
    warn(&checked);
    let bar = progress_bar(plan.accounts(), arguments.quiet);
    let begun = Instant::now();
    let told = bar.clone();
    let created = creation::create(targets, plan, PATIENCE, move |_, rows| told.inc(rows)).await;
    bar.finish_and_clear();
    let created = created?;
    print(&report(&created, targets, begun.elapsed()))?;
    if let Some(role) = &arguments.run_role {
        creation::grant(targets, role, PATIENCE).await?;
        return print(&format!("role {role} may run; whoever runs must always be the same role"));
    }
    print(&format!(
        "another role needs these to run, on every shard; whoever runs must always be the same \
         role:\n  {}",
        schema::grants(EXAMPLE_ROLE).join("\n  ")
    ))
}

fn progress_bar(rows: u64, quiet: bool) -> ProgressBar {
    // Elsewhere than on a terminal it hides itself.
    let hidden = quiet || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let target = if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let style = ProgressStyle::with_template(
        "loading {wide_bar} {human_pos}/{human_len} accounts {per_sec} {eta}",
    )
    .expect("the template is well-formed");
    ProgressBar::with_draw_target(Some(rows), target).with_style(style)
}

fn report(created: &Created, targets: &[ShardTarget], elapsed: Duration) -> String {
    let rate = |rows: u64, time: Duration| rows as f64 / time.as_secs_f64().max(1e-6);
    let mut lines = vec![format!("cluster {} of {} shards", created.cluster, targets.len())];
    for (index, (load, target)) in created.loads.iter().zip(targets).enumerate() {
        lines.push(format!(
            "  shard {index} ({}): {} accounts in {:.2} s, {:.0} rows/s (COPY alone {:.0} rows/s)",
            target.name(),
            load.rows,
            load.total.as_secs_f64(),
            rate(load.rows, load.total),
            rate(load.rows, load.copy),
        ));
    }
    let rows = created.loads.iter().map(|load| load.rows).sum();
    lines.push(format!(
        "  all: {rows} accounts in {:.2} s, {:.0} rows/s",
        elapsed.as_secs_f64(),
        rate(rows, elapsed)
    ));
    lines.join("\n")
}

impl From<CreationError> for Stop {
    fn from(error: CreationError) -> Self {
        let exit = if matches!(error, CreationError::Plan(_)) { Exit::Usage } else { Exit::Failed };
        Self::new(exit, error.to_string())
    }
}
