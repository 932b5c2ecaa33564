//! The legs of young transfers, read again and again by somebody who looks on.

use std::time::Duration;

use tokio_postgres::{Client, Error, Statement};

use crate::transfer::TransferId;

/// The primary key leads there, however much else the ledger holds.
const LEGS: &str = "select transfer_id, kind, counter_account_id from shardbank.leg \
    where transfer_id >= $1 and transfer_id < $2 and outcome = 'applied' \
    and counter_account_id is not null";

/// An applied leg, as far as somebody who looks on cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct YoungLeg {
    /// Whose.
    pub transfer: TransferId,
    /// Whether it makes a debit good.
    pub is_refund: bool,
    /// The account at the transfer's other end.
    pub counter_account: i64,
}

/// One connection of somebody who looks on.
pub struct YoungLegs {
    client: Client,
    statement: Statement,
}

impl YoungLegs {
    /// Readies `client`, whose statements the server ends after `patience`.
    ///
    /// # Errors
    /// A statement failed.
    pub async fn open(client: Client, patience: Duration) -> Result<Self, Error> {
        // A plan that was made while the ledger was empty would read all of it for ever.
        let settings = format!(
            "set enable_seqscan = off; set default_transaction_read_only = on; \
             set search_path = pg_catalog; set statement_timeout = {}",
            patience.as_millis()
        );
        client.batch_execute(&settings).await?;
        let statement = client.prepare(LEGS).await?;
        Ok(Self { client, statement })
    }

    /// The applied legs here of transfers whose ids lie from `from` up to and without `until`.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn read(&self, from: TransferId, until: TransferId) -> Result<Vec<YoungLeg>, Error> {
        let rows = self.client.query(&self.statement, &[&from.0, &until.0]).await?;
        Ok(rows
            .iter()
            .map(|row| YoungLeg {
                transfer: TransferId(row.get(0)),
                is_refund: row.get::<_, &str>(1) == "refund",
                counter_account: row.get(2),
            })
            .collect())
    }
}
