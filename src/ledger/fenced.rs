//! Effects under locks, each checking its fence as it writes: `sql/ledger/fenced.sql`. And the two
//! statements of an application that trusts its lock instead.

use tokio_postgres::types::ToSql;

use crate::ledger::effect;
use crate::outcome::{Attempt, Rejection};
use crate::shards::failure::attempt_of;
use crate::shards::session::Session;
use crate::transfer::{Branch, Epoch, LegKind};
use crate::verbs::locking::{Claimed, Fence, Left};

const CLAIM: &str = "select shardbank.claim($1, $2, $3, $4)";
const DEBIT: &str = "select shardbank.debit_with_intent($1, $2, $3, $4, $5, $6, $7, $8, $9)";
const CREDIT: &str = "select shardbank.credit_under_fence($1, $2, $3, $4, $5, $6, $7, $8)";
const CREDIT_INTENDED: &str = "select shardbank.credit_intended($1, $2, $3, $4, $5)";
const REFUND: &str = "select shardbank.refund($1, $2, $3, $4, $5)";
const READ_BALANCE: &str = "select balance, closed from shardbank.account where id = $1";
const WRITE_BALANCE: &str = "with leg as (insert into shardbank.leg \
    (transfer_id, kind, account_id, amount, outcome, counter_account_id, requested_amount, strategy) \
    values ($1, $2, $3, $4, 'applied', $5, $6, $7)) \
    update shardbank.account set balance = $8 where id = $3";

type Parameter<'a> = &'a (dyn ToSql + Sync);

/// Raises the fence of the branch's account.
pub async fn claim(session: &Session, branch: &Branch, fence: Fence) -> Claimed {
    let account = branch.account().get();
    let parameters: [Parameter<'_>; 4] = [&account, &fence.epoch, &fence.token, &fence.holder.0];
    let run = async {
        let statement = session.prepare_cached(CLAIM).await?;
        session.query_one(&statement, &parameters).await
    };
    match run.await {
        Ok(row) if row.get(0) => Claimed::Left(Left::OnAnyShard),
        Ok(_) => Claimed::Done,
        Err(error) => Claimed::Not(attempt_of(branch.shard, &error)),
    }
}

/// Claims the source, debits it and writes the intent.
pub async fn debit_with_intent(
    session: &Session,
    debit: &Branch,
    fence: Fence,
    strategy: &str,
    epoch: Epoch,
) -> Claimed {
    let (account, counter) = (debit.account().get(), debit.counter_account().get());
    let amount = debit.transfer.amount.get();
    let parameters: [Parameter<'_>; 9] = [
        &debit.transfer.id.0,
        &account,
        &counter,
        &amount,
        &strategy,
        &fence.epoch,
        &fence.token,
        &fence.holder.0,
        &epoch.0,
    ];
    let run = async {
        let statement = session.prepare_cached(DEBIT).await?;
        session.query_one(&statement, &parameters).await
    };
    match run.await {
        Ok(row) => match row.get(0) {
            "done" => Claimed::Done,
            "own_shard" => Claimed::Left(Left::OnOwnShard),
            _ => Claimed::Left(Left::OnAnyShard),
        },
        Err(error) => Claimed::Not(attempt_of(debit.shard, &error)),
    }
}

/// Credits a target that was claimed.
pub async fn credit_under_fence(
    session: &Session,
    credit: &Branch,
    fence: Fence,
    strategy: &str,
) -> Attempt {
    let more: [Parameter<'_>; 3] = [&fence.epoch, &fence.token, &fence.holder.0];
    effect::one_statement(session, CREDIT, credit, strategy, &more).await
}

/// Credits what an intent promises.
pub async fn credit_intended(session: &Session, credit: &Branch, strategy: &str) -> Attempt {
    effect::one_statement(session, CREDIT_INTENDED, credit, strategy, &[]).await
}

/// Refunds the debit and closes the intent.
pub async fn refund(session: &Session, debit: &Branch, strategy: &str) -> Attempt {
    effect::one_statement(session, REFUND, debit, strategy, &[]).await
}

/// The balance of an account that is not closed, read and nothing else.
///
/// # Errors
/// It could not be read, or the account is closed, or there is none.
pub async fn read_balance(session: &Session, branch: &Branch) -> Result<i64, Attempt> {
    let account = branch.account().get();
    let run = async {
        let statement = session.prepare_cached(READ_BALANCE).await?;
        session.query_opt(&statement, &[&account as Parameter<'_>]).await
    };
    match run.await {
        Ok(Some(row)) if row.get("closed") => Err(Attempt::Rejected(Rejection::ClosedAccount)),
        Ok(Some(row)) => Ok(row.get("balance")),
        Ok(None) => Err(Attempt::Rejected(Rejection::UnknownAccount)),
        Err(error) => Err(attempt_of(branch.shard, &error)),
    }
}

/// Writes a balance computed before, with the leg that says what was meant.
pub async fn write_balance(
    session: &Session,
    branch: &Branch,
    balance: i64,
    strategy: &str,
) -> Attempt {
    let (account, counter) = (branch.account().get(), branch.counter_account().get());
    let requested = branch.transfer.amount.get();
    let change = match branch.kind {
        LegKind::Debit => -requested,
        LegKind::Credit | LegKind::Refund => requested,
    };
    let parameters: [Parameter<'_>; 8] = [
        &branch.transfer.id.0,
        &branch.kind.name(),
        &account,
        &change,
        &counter,
        &requested,
        &strategy,
        &balance,
    ];
    let run = async {
        let statement = session.prepare_cached(WRITE_BALANCE).await?;
        session.execute(&statement, &parameters).await
    };
    run.await.map_or_else(|error| attempt_of(branch.shard, &error), |_| Attempt::Done)
}
