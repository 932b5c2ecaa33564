//! Verbs on Postgres, thread by thread.

use crate::bench::driver::Connector;
use crate::ledger::pools::PoolSettings;
use crate::ledger::postgres::{CoordinatorContext, PostgresVerbs};

/// Opens every thread connections of its own under one epoch.
#[derive(Clone)]
pub struct PostgresConnector {
    /// What the threads share.
    pub context: CoordinatorContext,
    /// How they talk to their shards; the number of connections is each thread's clients.
    pub settings: PoolSettings,
}

impl Connector for PostgresConnector {
    type Verbs = PostgresVerbs;

    async fn open(&self, clients: u32) -> Result<PostgresVerbs, String> {
        let connections = usize::try_from(clients).unwrap_or(usize::MAX);
        let settings = PoolSettings { connections, ..self.settings.clone() };
        let verbs = PostgresVerbs::new(self.context.clone(), settings);
        // A connection that is opened while something is measured would be measured.
        verbs.pools().fill().await.map_err(|error| error.to_string())?;
        Ok(verbs)
    }

    async fn settle(&self, verbs: &PostgresVerbs) -> Result<(), String> {
        verbs.drain().await;
        verbs.pools().flush_statistics().await.map_err(|error| error.to_string())
    }
}
