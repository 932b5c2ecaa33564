//! The objects on a shard: which files make them, what they are called, who may use them.
//!
//! `sql/` is the only place that says what a table is. The names are listed here once more, so
//! that removal drops these and nothing else; a test holds the two together.

/// Of the tables' meaning. A shard with another one is refused.
pub const SCHEMA_VERSION: i32 = 4;

/// The table of accounts, made first and filled before it has an index.
pub(super) const ACCOUNT: &str = include_str!("../../sql/ledger/account.sql");

/// All other files, in the order in which they run.
pub(super) const OTHERS: [&str; 17] = [
    include_str!("../../sql/ledger/leg.sql"),
    include_str!("../../sql/coordination/decision.sql"),
    include_str!("../../sql/coordination/coordinator.sql"),
    include_str!("../../sql/coordination/intent.sql"),
    include_str!("../../sql/coordination/lease.sql"),
    include_str!("../../sql/coordination/lock_epoch.sql"),
    include_str!("../../sql/coordination/outbox.sql"),
    include_str!("../../sql/coordination/saga.sql"),
    include_str!("../../sql/ledger/effect.sql"),
    include_str!("../../sql/ledger/fenced.sql"),
    include_str!("../../sql/ledger/saga_steps.sql"),
    include_str!("../../sql/ledger/hold.sql"),
    include_str!("../../sql/ledger/reservation.sql"),
    include_str!("../../sql/ledger/events.sql"),
    include_str!("../../sql/ledger/seat.sql"),
    include_str!("../../sql/ledger/sale.sql"),
    include_str!("../../sql/ledger/shard.sql"),
];

/// A table and what the role that runs does with its rows.
pub(super) struct Table {
    pub name: &'static str,
    pub rights: &'static [&'static str],
}

/// The tables of the schema.
pub(super) const TABLES: [Table; 13] = [
    Table { name: "account", rights: &["select", "update"] },
    Table { name: "leg", rights: &["select", "insert", "update", "delete", "truncate"] },
    Table { name: "decision", rights: &["select", "insert", "update", "delete", "truncate"] },
    Table { name: "coordinator", rights: &["select", "insert", "update"] },
    Table { name: "hold", rights: &["select", "insert", "update", "delete", "truncate"] },
    Table { name: "intent", rights: &["select", "insert", "update", "delete", "truncate"] },
    Table { name: "lease", rights: &["select", "insert", "update"] },
    Table { name: "lock_epoch", rights: &["select", "insert"] },
    Table { name: "outbox", rights: &["select", "insert", "update", "delete", "truncate"] },
    Table { name: "saga", rights: &["select", "insert", "update", "delete", "truncate"] },
    Table { name: "seat", rights: &["select", "insert", "update", "delete", "truncate"] },
    Table { name: "sale", rights: &["select", "insert", "update", "delete", "truncate"] },
    Table { name: "shard", rights: &["select"] },
];

/// The functions and procedures of the schema; no name has two.
pub(super) const ROUTINES: [&str; 32] = [
    "refuse",
    "change_balance",
    "debit",
    "debit_in_branch",
    "credit",
    "credit_in_branch",
    "claim_decision",
    "transfer_locally",
    "transfer_locally_once",
    "debit_and_decide",
    "credit_and_decide",
    "fenced_account",
    "claim",
    "debit_with_intent",
    "credit_under_fence",
    "credit_intended",
    "refund",
    "debit_with_saga",
    "credit_step",
    "refund_debit",
    "reserve",
    "confirm",
    "cancel",
    "refuse_closing",
    "event_id",
    "debit_with_event",
    "credit_by_event",
    "settle_by_event",
    "handle_events",
    "take_events",
    "mark_sent",
    "put_back_events",
];

/// What keeps an account open that has promised to take money.
const TRIGGER: &str = "no_closing_of_a_promise";

/// The sequence of advisory locks' tokens.
const LOCK_TOKEN: &str = "lock_token";

/// What `role` needs on a shard to do everything but `init` and `clean`, one statement a line.
#[must_use]
pub fn grants(role: &str) -> Vec<String> {
    let role = quoted(role);
    let mut statements = vec![format!("grant usage on schema shardbank to {role};")];
    statements.extend(TABLES.iter().map(|table| {
        format!("grant {} on shardbank.{} to {role};", table.rights.join(", "), table.name)
    }));
    statements.push(format!("grant usage on sequence shardbank.{LOCK_TOKEN} to {role};"));
    statements.push(format!("grant execute on all routines in schema shardbank to {role};"));
    statements
}

/// What removes the schema: each object by its name, never what somebody else has put there or
/// hung on it.
#[must_use]
pub(super) fn drops() -> Vec<String> {
    let routines = ROUTINES.iter().map(|name| format!("drop routine if exists shardbank.{name}"));
    let tables =
        TABLES.iter().map(|table| format!("drop table if exists shardbank.{}", table.name));
    let rest = [
        format!("drop sequence if exists shardbank.{LOCK_TOKEN}"),
        "drop schema shardbank restrict".to_owned(),
    ];
    // The one object that hangs on two others.
    let trigger = format!("drop trigger if exists {TRIGGER} on shardbank.account");
    std::iter::once(trigger).chain(routines).chain(tables).chain(rest).collect()
}

/// `name` as an SQL identifier.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created(what: &str) -> Vec<String> {
        let mut names: Vec<String> = std::iter::once(ACCOUNT)
            .chain(OTHERS)
            .flat_map(str::lines)
            .filter_map(|line| line.strip_prefix("create ")?.strip_prefix(what))
            .map(|rest| {
                let name = rest.trim_start().strip_prefix("shardbank.").unwrap();
                name.split(['(', ' ']).next().unwrap().to_owned()
            })
            .collect();
        names.sort();
        names
    }

    #[test]
    fn every_object_that_the_files_create_is_known_by_name() {
        let mut tables: Vec<_> = TABLES.iter().map(|table| table.name.to_owned()).collect();
        tables.sort();
        assert_eq!(created("table"), tables);
        let mut routines: Vec<_> = ROUTINES.iter().map(ToString::to_string).collect();
        routines.sort();
        let mut made = created("function");
        made.extend(created("procedure"));
        made.sort();
        assert_eq!(made, routines);
    }

    #[test]
    fn a_role_cannot_end_the_statement_it_is_named_in() {
        for statement in grants("r\"; drop table x; --") {
            assert!(statement.ends_with("to \"r\"\"; drop table x; --\";"), "{statement}");
        }
    }
}
