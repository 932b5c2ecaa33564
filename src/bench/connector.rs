//! Verbs on Postgres, thread by thread.

use crate::bench::driver::Connector;
use crate::ledger::pools::PoolSettings;
use crate::ledger::postgres::{CoordinatorContext, PostgresVerbs};
use crate::locks::backend::Backend;
use crate::verbs::locking::LockTerms;

/// Opens every thread connections of its own under one epoch.
#[derive(Clone)]
pub struct PostgresConnector {
    /// What the threads share.
    pub context: CoordinatorContext,
    /// How they talk to their shards; the number of connections is each thread's clients.
    pub settings: PoolSettings,
    /// Who grants them locks, and on which terms, where their strategy works under any.
    pub locks: Option<(Backend, LockTerms)>,
}

impl Connector for PostgresConnector {
    type Verbs = PostgresVerbs;

    async fn open(&self, clients: u32) -> Result<PostgresVerbs, String> {
        let connections = usize::try_from(clients).unwrap_or(usize::MAX);
        let settings = PoolSettings { connections, ..self.settings.clone() };
        let verbs = PostgresVerbs::new(self.context.clone(), settings);
        // A connection that is opened while something is measured would be measured.
        verbs.pools().fill().await.map_err(|error| error.to_string())?;
        let Some((backend, terms)) = &self.locks else { return Ok(verbs) };
        let CoordinatorContext { cluster, presence, .. } = &self.context;
        let service = backend
            .open(cluster, presence, connections, *terms)
            .await
            .map_err(|error| format!("{}: {error}", backend.name()))?;
        Ok(verbs.with_locks(service, *terms))
    }

    async fn settle(&self, verbs: &PostgresVerbs) -> Result<(), String> {
        verbs.drain().await;
        verbs.pools().flush_statistics().await.map_err(|error| error.to_string())
    }
}
