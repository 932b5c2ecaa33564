//! What preflight makes of what it found. Pure, but for the question about privileges.

use tokio_postgres::{Client, Error};

use super::facts::ShardFacts;
use super::marker::{Marker, SchemaState};
use super::preflight::{Examined, Need, SchemaNeed, Twin};
use super::schema::{self, SCHEMA_VERSION};

/// A round number of slots that is enough for most.
const PREPARED_TRANSACTIONS_USUAL: u32 = 64;
/// Connections that preflight itself has open to every shard while it counts.
const OWN_CONNECTIONS: i64 = 2;

/// What this role may not do and must.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Privileges {
    role: String,
    database: String,
    /// Rights on tables and functions, as `GRANT` spells them.
    missing: Vec<String>,
    may_create: bool,
}

/// Asks what the role of this session may do.
pub(super) async fn privileges(client: &Client, state: SchemaState) -> Result<Privileges, Error> {
    let who = "select current_user::text, current_database()::text, \
         has_database_privilege(current_database(), 'create')";
    let row = client.query_one(who, &[]).await?;
    let mut privileges = Privileges {
        role: row.get(0),
        database: row.get(1),
        may_create: row.get(2),
        missing: Vec::new(),
    };
    if let SchemaState::Ours(_) = state {
        let wanted = schema::TABLES.iter().flat_map(|table| {
            table.rights.iter().map(|right| ((*right).to_owned(), table.name.to_owned()))
        });
        let (rights, tables): (Vec<String>, Vec<String>) = wanted.unzip();
        let missing = "select w.right || ' on ' || w.table \
             from unnest($1::text[], $2::text[]) as w(\"right\", \"table\") \
             left join pg_class c on c.relname = w.table \
             and c.relnamespace = 'shardbank'::regnamespace \
             where c.oid is null or not has_table_privilege(c.oid, w.right) \
             union all select 'execute on ' || p.proname from pg_proc p \
             where p.pronamespace = 'shardbank'::regnamespace \
             and not has_function_privilege(p.oid, 'execute')";
        let rows = client.query(missing, &[&rights, &tables]).await?;
        privileges.missing = rows.iter().map(|row| row.get(0)).collect();
    }
    Ok(privileges)
}

/// The problems that each shard has by itself or by sharing a server; warnings are added to the
/// facts.
pub(super) fn on_each(examined: &mut [(usize, Examined)], need: &Need) -> Vec<String> {
    let mut problems = Vec::new();
    for (index, one) in examined {
        let called = format!("shard {index} ({})", one.facts.name);
        let (same, warning) = on_twins(*index, &one.twins);
        one.facts.warnings.extend(warning);
        let sharing = 1 + one.twins.len();
        let found = std::mem::take(&mut one.problems)
            .into_iter()
            .chain(same)
            .chain(on_capacity(&one.facts, need, sharing))
            .chain(on_privileges(&one.privileges, one.schema, need.schema));
        problems.extend(found.map(|problem| format!("{called}: {problem}")));
    }
    problems
}

/// The problem of a database given twice, told once; the warning about a shared server.
fn on_twins(index: usize, twins: &[Twin]) -> (Option<String>, Option<String>) {
    let earlier =
        |same: bool| twins.iter().find(|twin| twin.shard < index && twin.same_database == same);
    let problem = earlier(true).map(|twin| {
        format!("it is the same database as shard {}; give every shard once", twin.shard)
    });
    let warning = earlier(false).map(|twin| {
        format!(
            "it is on the same server as shard {}: they share its log, its limits and its crashes",
            twin.shard
        )
    });
    (problem, warning)
}

/// Whether the server's limits suffice where `sharing` shards are on it.
fn on_capacity(facts: &ShardFacts, need: &Need, sharing: usize) -> Vec<String> {
    let capacity = &facts.capacity;
    let sharing = i64::try_from(sharing).unwrap_or(i64::MAX);
    let mut problems = Vec::new();
    let slots = i64::from(need.prepared_transactions) * sharing;
    let (slots_max, slots_used) =
        (capacity.prepared_transactions_max, capacity.prepared_transactions_used);
    let enough = (slots + slots_used).max(PREPARED_TRANSACTIONS_USUAL.into());
    if slots > 0 && slots_max == 0 {
        problems.push(format!(
            "max_prepared_transactions = 0, so it cannot prepare; run ALTER SYSTEM SET \
             max_prepared_transactions = {enough}; and restart the server"
        ));
    } else if slots_max - slots_used < slots {
        problems.push(format!(
            "max_prepared_transactions = {slots_max} and {slots_used} are taken, but {slots} may \
             be needed; use fewer clients, or run ALTER SYSTEM SET max_prepared_transactions = \
             {enough}; and restart the server"
        ));
    }
    let connections = i64::from(need.connections) * sharing;
    let used = (capacity.connections_used - OWN_CONNECTIONS * sharing).max(0);
    if capacity.connections_max - used < connections {
        problems.push(format!(
            "of {} connections {used} are taken, but {connections} are needed; use fewer clients, \
             or run ALTER SYSTEM SET max_connections = {}; and restart the server",
            capacity.connections_max,
            connections + used + 10
        ));
    }
    problems
}

fn on_privileges(found: &Privileges, state: SchemaState, need: SchemaNeed) -> Option<String> {
    let role = &found.role;
    match state {
        SchemaState::NotPermitted => Some(format!(
            "role {role} may not look into the schema shardbank; as the role that ran init: {}",
            schema::grants(role).join(" ")
        )),
        SchemaState::Ours(_) if !found.missing.is_empty() => Some(format!(
            "role {role} lacks {}; as the role that ran init: {}",
            found.missing.join(", "),
            schema::grants(role).join(" ")
        )),
        SchemaState::Absent if need != SchemaNeed::Ours && !found.may_create => Some(format!(
            "role {role} may not create a schema; as the database's owner: GRANT CREATE ON \
             DATABASE {} TO {};",
            schema::quoted(&found.database),
            schema::quoted(role)
        )),
        _ => None,
    }
}

/// Whether the shards together are what is needed.
pub(super) fn on_schemas(states: &[SchemaState], names: &[&str], need: SchemaNeed) -> Vec<String> {
    let some_are_ours = states.iter().any(|state| matches!(state, SchemaState::Ours(_)));
    let first = states.iter().find_map(|state| match state {
        SchemaState::Ours(marker) => Some(*marker),
        _ => None,
    });
    let problem = |index: usize, state: &SchemaState| match (state, need) {
        (SchemaState::NotPermitted, _) => None,
        (SchemaState::Foreign, _) => Some(
            "it has a schema shardbank that init has not made; nothing is touched; use another \
             database, or rename that schema"
                .to_owned(),
        ),
        (SchemaState::Unfinished(cluster), _) => Some(format!(
            "an init of cluster {cluster} was not finished; remove what it left with `shardbank \
             clean --cluster-id {cluster}` and the same --shard flags, then run init again"
        )),
        (SchemaState::Ours(marker), SchemaNeed::Absent) => Some(format!(
            "it is shard {} of cluster {} already; use that, or remove it with `shardbank clean`",
            marker.index, marker.cluster
        )),
        (SchemaState::Ours(marker), _) => {
            on_marker(marker, index, states.len(), first.unwrap_or(*marker))
        }
        (SchemaState::Absent, SchemaNeed::Ours) if some_are_ours => Some(
            "it has no schema shardbank, other shards have; check the --shard flags".to_owned(),
        ),
        (SchemaState::Absent, SchemaNeed::Ours) => Some(
            "it has no schema shardbank; run `shardbank init` with the same --shard flags"
                .to_owned(),
        ),
        (SchemaState::Absent, SchemaNeed::OursOrAbsent) if some_are_ours => Some(
            "it has no schema shardbank, other shards have; check the --shard flags".to_owned(),
        ),
        (SchemaState::Absent, _) => None,
    };
    let lines = states.iter().enumerate().filter_map(|(index, state)| {
        problem(index, state).map(|problem| format!("shard {index} ({}): {problem}", names[index]))
    });
    lines.collect()
}

fn on_marker(marker: &Marker, index: usize, count: usize, first: Marker) -> Option<String> {
    let Marker { cluster, schema_version, .. } = marker;
    if *schema_version != SCHEMA_VERSION {
        return Some(format!(
            "its tables have version {schema_version}, this shardbank works with {SCHEMA_VERSION}; \
             use the shardbank that made them"
        ));
    }
    if *cluster != first.cluster {
        return Some(format!(
            "it is of cluster {cluster}, another shard is of cluster {}; check the --shard flags",
            first.cluster
        ));
    }
    if usize::try_from(marker.count) != Ok(count) {
        return Some(format!(
            "it is one of {} shards, but {count} are given; give all of them, as init was",
            marker.count
        ));
    }
    (usize::try_from(marker.index) != Ok(index)).then(|| {
        format!(
            "it is shard {} of the cluster; give the --shard flags in the order that init was given",
            marker.index
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shards::facts::tests::facts;
    use crate::transfer::ClusterId;
    use uuid::Uuid;

    fn marker(cluster: u128, index: i32, count: i32) -> SchemaState {
        let cluster = ClusterId(Uuid::from_u128(cluster));
        SchemaState::Ours(Marker { cluster, index, count, schema_version: SCHEMA_VERSION })
    }

    fn told(states: &[SchemaState], need: SchemaNeed) -> Vec<String> {
        on_schemas(states, &vec!["h"; states.len()], need)
    }

    #[test]
    fn one_whole_cluster_in_its_order_is_accepted_and_nothing_else() {
        let whole = [marker(1, 0, 2), marker(1, 1, 2)];
        assert!(told(&whole, SchemaNeed::Ours).is_empty());
        assert!(told(&whole, SchemaNeed::OursOrAbsent).is_empty());
        for (states, words) in [
            ([marker(1, 1, 2), marker(1, 0, 2)], "in the order"),
            ([marker(1, 0, 2), marker(2, 1, 2)], "another shard is of cluster"),
            ([marker(1, 0, 3), marker(1, 1, 3)], "one of 3 shards"),
            ([marker(1, 0, 2), SchemaState::Absent], "other shards have"),
            ([SchemaState::Foreign, marker(1, 1, 2)], "init has not made"),
            ([SchemaState::Absent; 2], "run `shardbank init`"),
        ] {
            let lines = told(&states, SchemaNeed::Ours);
            assert!(lines.iter().any(|line| line.contains(words)), "{words}: {lines:?}");
        }
        let cluster = ClusterId(Uuid::from_u128(1));
        let old = Marker { cluster, index: 0, count: 1, schema_version: SCHEMA_VERSION + 1 };
        assert!(told(&[SchemaState::Ours(old)], SchemaNeed::Ours)[0].contains("version"));
    }

    #[test]
    fn init_wants_nothing_to_be_there() {
        assert!(told(&[SchemaState::Absent; 2], SchemaNeed::Absent).is_empty());
        assert!(told(&[SchemaState::Absent; 2], SchemaNeed::OursOrAbsent).is_empty());
        let cluster = ClusterId(Uuid::from_u128(7));
        let lines = told(
            &[marker(1, 0, 3), SchemaState::Foreign, SchemaState::Unfinished(cluster)],
            SchemaNeed::Absent,
        );
        assert_eq!(lines.len(), 3);
        assert!(lines[2].contains(&format!("clean --cluster-id {cluster}")), "{lines:?}");
    }

    #[test]
    fn limits_count_for_all_shards_of_a_server() {
        let need = |prepared_transactions, connections| Need {
            schema: SchemaNeed::Ours,
            prepared_transactions,
            connections,
        };
        let mut found = facts();
        assert!(on_capacity(&found, &need(64, 97), 1).is_empty());
        assert!(on_capacity(&found, &need(65, 97), 1)[0].contains("= 64 and 0 are taken"));
        assert!(on_capacity(&found, &need(33, 1), 2)[0].contains("66 may be needed"));
        assert!(on_capacity(&found, &need(0, 98), 1)[0].contains("max_connections"));
        assert!(on_capacity(&found, &need(0, 49), 2)[0].contains("98 are needed"));
        found.capacity.prepared_transactions_max = 0;
        let line = &on_capacity(&found, &need(4, 4), 1)[0];
        assert!(line.contains("SET max_prepared_transactions = 64; and restart"), "{line}");
        assert!(on_capacity(&found, &need(0, 4), 1).is_empty());
    }

    #[test]
    fn a_database_given_twice_is_told_once() {
        let twin = |shard, same_database| Twin { shard, same_database };
        assert_eq!(on_twins(0, &[twin(1, true)]), (None, None));
        let (problem, warning) = on_twins(1, &[twin(0, true)]);
        assert!(problem.unwrap().contains("same database as shard 0") && warning.is_none());
        let (problem, warning) = on_twins(2, &[twin(1, false)]);
        assert!(problem.is_none() && warning.unwrap().contains("same server as shard 1"));
    }
}
