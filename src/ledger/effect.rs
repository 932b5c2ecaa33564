//! Effects with their legs, and with their decision where they need one: `sql/ledger/effect.sql`.
//!
//! How a branch's statements travel to the shard is decided here and nowhere else. Whichever
//! way, a yes is a yes only when *every* statement of the branch said so: `PREPARE TRANSACTION`
//! in a failed transaction, or outside one, answers `ROLLBACK` without an error.

use futures_util::join;
use tokio_postgres::Error;
use tokio_postgres::types::ToSql;

use crate::coordination::decision::column;
use crate::outcome::Attempt;
use crate::shards::failure::attempt_of;
use crate::shards::prepared;
use crate::shards::session::Session;
use crate::transfer::{Branch, LegKind, Participants, ShardIndex, Transfer};
use crate::verbs::{Gid, Preparation, Statements};

/// The functions' DDL.
pub const DDL: &str = include_str!("../../sql/ledger/effect.sql");

const TRANSFER: &str = "select shardbank.transfer_locally($1, $2, $3, $4, $5)";
const TRANSFER_ONCE: &str = "select shardbank.transfer_locally_once($1, $2, $3, $4, $5, $6, $7)";
const DEBIT: &str = "select shardbank.debit_in_branch($1, $2, $3, $4, $5)";
const CREDIT: &str = "select shardbank.credit_in_branch($1, $2, $3, $4, $5)";
const DEBIT_AND_DECIDE: &str = "select shardbank.debit_and_decide($1, $2, $3, $4, $5, $6, $7)";
const CREDIT_AND_DECIDE: &str = "select shardbank.credit_and_decide($1, $2, $3, $4, $5, $6, $7)";
/// What begins a pipelined branch: the effect behind it runs only where this has been said.
const BEGIN_PIPELINED: &str = "begin; set local shardbank.branch = on";
const INSERT_LEG: &str = "insert into shardbank.leg (transfer_id, kind, account_id, amount, \
    outcome, counter_account_id, requested_amount, strategy) \
    values ($1, $2, $3, $4, 'applied', $5, $6, $7)";
const CHANGE_BALANCE: &str = "select shardbank.change_balance($1, $2)";
const CLAIM: &str = "select shardbank.claim_decision($1, $2, $3)";

/// Two-phase commit rolls back what it does not commit.
const NO_REFUND: &str = "a refund is a local transaction under locks or of a saga, never a branch";

fn done(shard: ShardIndex, result: Result<u64, Error>) -> Attempt {
    result.map_or_else(|error| attempt_of(shard, &error), |_| Attempt::Done)
}

/// A claim that a branch lays to the decision table.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The effects that it is about.
    pub participants: Participants,
    /// Who decides.
    pub by: &'a str,
}

/// One leg's effect as a function makes it, in one statement that commits by itself. The function
/// takes the transfer, account, counter account, amount and strategy, and then `more`.
pub(super) async fn one_statement(
    session: &Session,
    statement: &str,
    branch: &Branch,
    strategy: &str,
    more: &[&(dyn ToSql + Sync)],
) -> Attempt {
    let (account, counter) = (branch.account().get(), branch.counter_account().get());
    let amount = branch.transfer.amount.get();
    let mut parameters: Vec<&(dyn ToSql + Sync)> =
        vec![&branch.transfer.id.0, &account, &counter, &amount, &strategy];
    parameters.extend_from_slice(more);
    let run = async {
        let statement = session.prepare_cached(statement).await?;
        session.execute(&statement, &parameters).await
    };
    done(branch.shard, run.await)
}

/// Both legs on one shard, in one statement that commits by itself.
pub async fn transfer_locally(
    session: &Session,
    shard: ShardIndex,
    transfer: &Transfer,
    strategy: &str,
) -> Attempt {
    let (source, target) = (transfer.source.get(), transfer.target.get());
    let amount = transfer.amount.get();
    let parameters: [&(dyn ToSql + Sync); 5] =
        [&transfer.id.0, &source, &target, &amount, &strategy];
    let run = async {
        let statement = session.prepare_cached(TRANSFER).await?;
        session.execute(&statement, &parameters).await
    };
    done(shard, run.await)
}

/// The same for an id that may have been tried before: honours a standing decision.
pub async fn transfer_locally_once(
    session: &Session,
    shard: ShardIndex,
    transfer: &Transfer,
    strategy: &str,
    by: &str,
) -> Attempt {
    let (source, target) = (transfer.source.get(), transfer.target.get());
    let amount = transfer.amount.get();
    let shards = column(&Participants { debit: shard, credit: shard });
    let parameters: [&(dyn ToSql + Sync); 7] =
        [&transfer.id.0, &source, &target, &amount, &strategy, &shards, &by];
    let run = async {
        let statement = session.prepare_cached(TRANSFER_ONCE).await?;
        session.execute(&statement, &parameters).await
    };
    done(shard, run.await)
}

/// The branch's effect and the decision of the whole transfer, in one statement that commits by
/// itself.
pub async fn apply_and_decide(
    session: &Session,
    branch: &Branch,
    participants: Participants,
    strategy: &str,
    by: &str,
) -> Attempt {
    let text = match branch.kind {
        LegKind::Debit => DEBIT_AND_DECIDE,
        LegKind::Credit => CREDIT_AND_DECIDE,
        LegKind::Refund => unreachable!("{NO_REFUND}"),
    };
    let (account, counter) = (branch.account().get(), branch.counter_account().get());
    let amount = branch.transfer.amount.get();
    let shards = column(&participants);
    let parameters: [&(dyn ToSql + Sync); 7] =
        [&branch.transfer.id.0, &account, &counter, &amount, &strategy, &shards, &by];
    let run = async {
        let statement = session.prepare_cached(text).await?;
        session.execute(&statement, &parameters).await
    };
    done(branch.shard, run.await)
}

/// The branch's leg and effect, prepared as `gid`. Where it answers with anything but
/// [`Attempt::Done`] or [`Attempt::Unknown`], no transaction is open on the session any more.
pub async fn prepare(
    session: &Session,
    branch: &Branch,
    gid: &Gid,
    how: Preparation,
    claim: Option<&Claim<'_>>,
) -> Attempt {
    let prepared = match how.statements {
        Statements::Pipelined => pipelined(session, branch, gid, how, claim).await,
        Statements::OneMessage => one_message(session, branch, gid, how, claim).await,
        Statements::OneByOne => one_by_one(session, branch, gid, how, claim).await,
    };
    match prepared {
        Ok(()) => Attempt::Done,
        Err(error) => attempt_of(branch.shard, &error),
    }
}

const fn effect_of(kind: LegKind) -> &'static str {
    match kind {
        LegKind::Debit => DEBIT,
        LegKind::Credit => CREDIT,
        LegKind::Refund => panic!("{}", NO_REFUND),
    }
}

/// All messages at once; their answers are looked at one by one.
async fn pipelined(
    session: &Session,
    branch: &Branch,
    gid: &Gid,
    how: Preparation,
    claim: Option<&Claim<'_>>,
) -> Result<(), Error> {
    // Statements are prepared before the first message: one that is not costs a round trip, and
    // PREPARE TRANSACTION would overtake it.
    let effect = session.prepare_cached(effect_of(branch.kind)).await?;
    let claiming = match claim {
        Some(claim) => {
            Some((session.prepare_cached(CLAIM).await?, column(&claim.participants), claim.by))
        }
        None => None,
    };
    let (account, counter) = (branch.account().get(), branch.counter_account().get());
    let amount = branch.transfer.amount.get();
    let parameters: [&(dyn ToSql + Sync); 5] =
        [&branch.transfer.id.0, &account, &counter, &amount, &how.strategy];
    let text = prepared::prepare(gid);
    let (begun, effected, decided, prepared) = join!(
        session.batch_execute(BEGIN_PIPELINED),
        session.execute(&effect, &parameters),
        async {
            match &claiming {
                Some((statement, shards, by)) => {
                    let claimed: [&(dyn ToSql + Sync); 3] = [&branch.transfer.id.0, shards, by];
                    session.execute(statement, &claimed).await
                }
                None => Ok(1),
            }
        },
        session.batch_execute(&text),
    );
    begun?;
    effected?;
    decided?;
    prepared
}

/// One simple-query message. The server stops at the first statement that fails; the transaction
/// that it leaves open is ended here.
async fn one_message(
    session: &Session,
    branch: &Branch,
    gid: &Gid,
    how: Preparation,
    claim: Option<&Claim<'_>>,
) -> Result<(), Error> {
    // Only numbers, ids and names of our own alphabets enter the text.
    let claimed = claim.map_or_else(
        || "null, null".to_owned(),
        |Claim { participants: Participants { debit, credit }, by }| {
            format!("'{by}', '{{{debit},{credit}}}'")
        },
    );
    let text = format!(
        "begin; call shardbank.{}('{}', {}, {}, {}, '{}', {claimed}); {}",
        branch.kind.name(),
        branch.transfer.id,
        branch.account(),
        branch.counter_account(),
        branch.transfer.amount,
        how.strategy,
        prepared::prepare(gid),
    );
    end_on_error(session, session.batch_execute(&text).await).await
}

/// A message for each statement, each answer awaited: the version most applications have.
async fn one_by_one(
    session: &Session,
    branch: &Branch,
    gid: &Gid,
    how: Preparation,
    claim: Option<&Claim<'_>>,
) -> Result<(), Error> {
    let insert = session.prepare_cached(INSERT_LEG).await?;
    let change = session.prepare_cached(CHANGE_BALANCE).await?;
    let claiming = session.prepare_cached(CLAIM).await?;
    let (account, counter) = (branch.account().get(), branch.counter_account().get());
    let requested = branch.transfer.amount.get();
    let amount = match branch.kind {
        LegKind::Debit => -requested,
        LegKind::Credit => requested,
        LegKind::Refund => unreachable!("{NO_REFUND}"),
    };
    let statements = async {
        session.batch_execute("begin").await?;
        let leg: [&(dyn ToSql + Sync); 7] = [
            &branch.transfer.id.0,
            &branch.kind.name(),
            &account,
            &amount,
            &counter,
            &requested,
            &how.strategy,
        ];
        session.execute(&insert, &leg).await?;
        let balance: [&(dyn ToSql + Sync); 2] = [&account, &amount];
        session.execute(&change, &balance).await?;
        if let Some(Claim { participants, by }) = claim {
            let shards = column(participants);
            let claimed: [&(dyn ToSql + Sync); 3] = [&branch.transfer.id.0, &shards, by];
            session.execute(&claiming, &claimed).await?;
        }
        session.batch_execute(&prepared::prepare(gid)).await
    };
    end_on_error(session, statements.await).await
}

/// Ends the transaction that a failed statement left open, so that "rolled back" is true when it
/// is said.
async fn end_on_error(session: &Session, result: Result<(), Error>) -> Result<(), Error> {
    if let Err(error) = result {
        session.batch_execute("rollback").await?;
        return Err(error);
    }
    Ok(())
}
