//! The steps of sagas: `sql/ledger/saga_steps.sql`.

use tokio_postgres::types::ToSql;

use crate::ledger::effect;
use crate::outcome::Attempt;
use crate::shards::session::Session;
use crate::transfer::Branch;
use crate::verbs::saga::{LEASE, Owner};

const DEBIT: &str = "select shardbank.debit_with_saga($1, $2, $3, $4, $5, $6, $7, \
    $8::float8 * interval '1 ms')";
const CREDIT: &str = "select shardbank.credit_step($1, $2, $3, $4, $5)";
const REFUND: &str = "select shardbank.refund_debit($1, $2, $3, $4, $5)";

/// The debit with its saga's log row.
pub async fn debit_with_saga(
    session: &Session,
    debit: &Branch,
    owner: Owner,
    strategy: &str,
) -> Attempt {
    let (name, lease) = (owner.to_string(), LEASE.as_secs_f64() * 1000.0);
    let more: [&(dyn ToSql + Sync); 3] = [&owner.epoch.0, &name, &lease];
    effect::one_statement(session, DEBIT, debit, strategy, &more).await
}

/// The credit.
pub async fn credit(session: &Session, credit: &Branch, strategy: &str) -> Attempt {
    effect::one_statement(session, CREDIT, credit, strategy, &[]).await
}

/// The refund, which also ends the saga.
pub async fn refund_debit(session: &Session, debit: &Branch, strategy: &str) -> Attempt {
    effect::one_statement(session, REFUND, debit, strategy, &[]).await
}
