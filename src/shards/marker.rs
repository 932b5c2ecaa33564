//! Whose schema is on a shard: ours, somebody else's, or nobody's.
//!
//! Two marks. The schema's comment is written with its first object and says that it is ours to
//! remove; the row of `shardbank.shard` is written last and says that it can be worked with.

use tokio_postgres::{Client, Error};
use uuid::Uuid;

use crate::transfer::{ClusterId, ShardIndex};

const COMMENT: &str = "made by shardbank init for cluster ";

/// A shard's marker row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    /// Which cluster the shard is a part of.
    pub cluster: ClusterId,
    /// Which of its shards this one is, from 0.
    pub index: i32,
    /// How many shards it has.
    pub count: i32,
    /// Of the tables.
    pub schema_version: i32,
}

/// What is on a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaState {
    /// No schema called `shardbank`.
    Absent,
    /// Such a schema, made by somebody else: not to be touched.
    Foreign,
    /// One that `init` of this cluster has begun and not finished.
    Unfinished(ClusterId),
    /// A shard.
    Ours(Marker),
    /// One that this role may not look into.
    NotPermitted,
}

impl SchemaState {
    /// The cluster whose schema it is, finished or not.
    #[must_use]
    pub const fn cluster(self) -> Option<ClusterId> {
        match self {
            Self::Unfinished(cluster) | Self::Ours(Marker { cluster, .. }) => Some(cluster),
            Self::Absent | Self::Foreign | Self::NotPermitted => None,
        }
    }
}

/// The statement that marks the schema as begun for `cluster`.
pub(super) fn comment(cluster: ClusterId) -> String {
    format!("comment on schema shardbank is '{COMMENT}{cluster}'")
}

/// Writes the marker row of shard `index` of `count`, with the sum of what its accounts opened
/// with: the audit holds the money to it for ever.
///
/// # Errors
/// The shard refused it, or did not answer.
pub(super) async fn write(
    client: &Client,
    cluster: ClusterId,
    index: ShardIndex,
    count: u16,
) -> Result<(), Error> {
    let statement = "insert into shardbank.shard \
         (cluster_id, shard_index, shard_count, schema_version, opening_total) \
         select $1, $2, $3, $4, coalesce(sum(opening_balance), 0) from shardbank.account";
    let (index, count) = (i32::from(index.0), i32::from(count));
    client
        .execute(statement, &[&cluster.0, &index, &count, &super::schema::SCHEMA_VERSION])
        .await
        .map(drop)
}

/// Looks at the schema without touching it.
///
/// # Errors
/// The shard did not answer.
pub async fn read(client: &Client) -> Result<SchemaState, Error> {
    let schema = "select pg_catalog.obj_description(n.oid, 'pg_namespace'), \
         pg_catalog.has_schema_privilege(n.oid, 'usage'), \
         exists (select from pg_catalog.pg_class c where c.relnamespace = n.oid \
             and c.relname = 'shard' and c.relkind = 'r'), \
         coalesce((select pg_catalog.has_table_privilege(c.oid, 'select') \
             from pg_catalog.pg_class c where c.relnamespace = n.oid \
             and c.relname = 'shard' and c.relkind = 'r'), true) \
         from pg_catalog.pg_namespace n where n.nspname = 'shardbank'";
    let Some(row) = client.query_opt(schema, &[]).await? else { return Ok(SchemaState::Absent) };
    let Some(cluster) = named_in(row.get(0)) else { return Ok(SchemaState::Foreign) };
    let (usage, marked, select): (bool, bool, bool) = (row.get(1), row.get(2), row.get(3));
    if !usage || !select {
        return Ok(SchemaState::NotPermitted);
    }
    if !marked {
        return Ok(SchemaState::Unfinished(cluster));
    }
    let marker = "select cluster_id, shard_index, shard_count, schema_version from shardbank.shard";
    let row = client.query_opt(marker, &[]).await?;
    Ok(row.map_or(SchemaState::Unfinished(cluster), |row| {
        SchemaState::Ours(Marker {
            cluster: ClusterId(row.get(0)),
            index: row.get(1),
            count: row.get(2),
            schema_version: row.get(3),
        })
    }))
}

fn named_in(comment: Option<&str>) -> Option<ClusterId> {
    let id = comment?.strip_prefix(COMMENT)?;
    Uuid::parse_str(id).ok().map(ClusterId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_comment_makes_a_schema_ours() {
        let cluster = ClusterId(Uuid::from_u128(7));
        let statement = comment(cluster);
        let text = statement.split('\'').nth(1);
        assert_eq!(named_in(text), Some(cluster));
        for other in
            [None, Some(""), Some("my schema"), Some("made by shardbank init for cluster x")]
        {
            assert_eq!(named_in(other), None);
        }
    }
}
