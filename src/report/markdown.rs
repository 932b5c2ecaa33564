//! `report.md`: the table and what has to be known to believe it.

use crate::bench::results::{ClusterFacts, Host, Results, Tool};
use crate::bench::standing::Standing;
use crate::report::table::{columns, heading, left_out, notes, phase_time, phases_of};

/// `report.md`.
#[must_use]
pub fn report(results: &Results) -> Vec<u8> {
    let question = results.config.description.as_deref();
    let made = (results.summaries.len(), results.runs_planned);
    let mut text = opening(&results.id, question, &results.tool, &results.started_at, made);
    for point in &results.points {
        let here: Vec<&Standing> =
            results.standings.iter().filter(|standing| standing.point == *point).collect();
        if !here.is_empty() {
            text.push_str(&format!("## {}\n\n{}\n", heading(point), table(&here)));
            text.push_str(&format!("{}\n", phases(&here)));
            for note in notes(&here).into_iter().chain(left_out(&results.skipped)) {
                text.push_str(&format!("- {}\n", escaped(&note)));
            }
            text.push('\n');
        }
    }
    text.push_str(&surroundings(&results.host, &results.clusters, &results.warnings));
    text.into_bytes()
}

/// The head of a report: its name, its question, what made it and how many of how many runs.
pub(super) fn opening(
    id: &str,
    question: Option<&str>,
    tool: &Tool,
    started_at: &str,
    (made, planned): (usize, usize),
) -> String {
    let mut text = format!("# {}\n\n", escaped(id));
    if let Some(question) = question {
        text.push_str(&format!("{}\n\n", escaped(question)));
    }
    text.push_str(&format!(
        "Made by shardbank {} ({}, {} build) from {started_at}; {made} of {planned} runs.\n\n",
        tool.version, tool.commit, tool.profile
    ));
    text
}

/// A row of a table.
pub(super) fn row(cells: Vec<String>) -> String {
    format!("| {} |\n", cells.join(" | "))
}

/// The line under a table's headings: the first column to the left, the others to the right.
pub(super) fn rule(columns: usize) -> String {
    format!("| --- |{}\n", " ---: |".repeat(columns - 1))
}

fn phases(standings: &[&Standing]) -> String {
    let phases = phases_of(standings);
    let mut cells = vec!["time by phase".to_owned()];
    cells.extend(phases.iter().map(|phase| format!("{} p50 · p99", escaped(phase.name()))));
    let mut text = row(cells) + &rule(phases.len() + 1);
    for standing in standings {
        let mut cells = vec![escaped(&standing.strategy)];
        cells.extend(phases.iter().map(|phase| phase_time(standing, *phase)));
        text.push_str(&row(cells));
    }
    text
}

fn table(standings: &[&Standing]) -> String {
    let columns = columns();
    let mut text = row(columns.iter().map(|(name, _)| (*name).to_owned()).collect());
    text.push_str(&rule(columns.len()));
    for standing in standings {
        text.push_str(&row(columns.iter().map(|(_, figure)| escaped(&figure(standing))).collect()));
    }
    text
}

/// What has to be known to believe the figures.
pub(super) fn surroundings(host: &Host, clusters: &[ClusterFacts], warnings: &[String]) -> String {
    let mut text = String::from("## Surroundings\n\n");
    let memory = host.memory_bytes.map_or_else(String::new, |bytes| {
        format!(", {:.1} GiB of memory", bytes as f64 / f64::from(1 << 30))
    });
    text.push_str(&format!("- load from {}, {} processors{memory}\n", host.platform, host.cores));
    for cluster in clusters {
        let whose = if cluster.local { "started by the tool" } else { "given" };
        for (i, shard) in cluster.shards.iter().enumerate() {
            let settings: Vec<String> =
                shard.settings.iter().map(|(name, value)| format!("{name} = {value}")).collect();
            text.push_str(&format!(
                "- shard {i} ({whose}): {}, Postgres {}, round trip {} µs; {}\n",
                escaped(&shard.name),
                escaped(&shard.server_version),
                shard.round_trip_us,
                escaped(&settings.join(", "))
            ));
        }
    }
    for server in clusters.iter().flat_map(|cluster| &cluster.lock_servers) {
        text.push_str(&format!("- lock server: {}\n", escaped(server)));
    }
    for warning in warnings {
        text.push_str(&format!("- warning: {}\n", escaped(warning)));
    }
    text
}

/// Text that neither ends a cell nor starts a link, a tag or an emphasis.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        match character {
            '|' | '[' | ']' | '<' | '>' | '*' | '_' | '`' | '\\' => {
                escaped.push('\\');
                escaped.push(character);
            }
            '\n' | '\r' => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::tests::results;

    #[test]
    fn the_report_has_a_row_for_each_strategy_and_says_what_made_it() {
        let text = String::from_utf8(report(&results())).expect("text");
        assert!(text.contains("| same-shard |"), "{text}");
        assert!(text.contains("| 2pc:log=file |"), "{text}");
        assert!(text.contains("10 of 10 runs"), "{text}");
    }

    #[test]
    fn words_of_the_users_own_stay_words() {
        let mut results = results();
        results.config.description = Some("a | b <script>".to_owned());
        let text = String::from_utf8(report(&results)).expect("text");
        assert!(text.contains("a \\| b \\<script\\>"), "{text}");
    }
}
