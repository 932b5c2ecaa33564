//! Transfers under locks: what a lock keeps, what a fence keeps, what neither keeps.
//!
//! Holders are stopped for longer than their leases run, by a real SIGSTOP at a named instant, and
//! go on when others have been there. With fence and journal nothing is lost; `lock-naive` loses
//! money, and the audit says so: a check that cannot fail proves nothing.

use std::time::Duration;

use futures_util::future::join_all;
use shardbank::fail_points::{FailPoint, Needs};
use shardbank::locks::backend::Backend;
use shardbank::outcome::{AbortReason, Attempt, Outcome};
use shardbank::transfer::{Branch, Transfer};
use shardbank::verbs::Verbs;
use shardbank::verbs::locking::{Claimed, Fence, HolderId, Left, LockTerms, LockVerbs};

use crate::bank::{self, Bank, OPENING_BALANCE, strategy, tries};
use crate::crash::Order;
use crate::doomed::{Doomed, run, said};

/// What a lease is granted for in these tests, and how long others wait for it.
const TERMS: [&str; 4] = ["--lock-ttl", "1000", "--lock-wait", "20000"];
const STRATEGIES: [&str; 5] =
    ["lock-lease", "lock-advisory", "lock-redis", "lock-etcd", "lock-zookeeper"];

fn words(order: &Order, more: &[&str]) -> Vec<String> {
    let id = order.transfer.id.to_string();
    let mut words = order.arguments(&id, &[]);
    // Those of the crash tests are others.
    words.retain(|word| word != "--lock-ttl" && word != "1000");
    words.extend(TERMS.iter().chain(more).map(|word| (*word).to_owned()));
    words
}

/// A coordinator that carries `order` and is stopped at `point`.
async fn stopped_at(bank: &Bank, order: &Order, point: FailPoint) -> Doomed {
    let words = words(order, &["--pause-at", point.name()]);
    let mut doomed = Doomed::start(bank, &words.iter().map(String::as_str).collect::<Vec<_>>());
    doomed.reaches(point).await;
    doomed
}

/// Carries `order` from a new process, which waits for the locks for as long as it must.
async fn carried(bank: &Bank, order: &Order) {
    let words = words(order, &[]);
    let output = run(bank, &words.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(output.status.code(), Some(0), "{}: {}", order.strategy, said(&output));
}

async fn audit(bank: &Bank) -> (Option<i32>, String) {
    let audit = run(bank, &["audit"]).await;
    (audit.status.code(), said(&audit))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_stopped_between_its_two_commits_is_finished_by_the_next_and_loses_nothing() {
    let bank = Bank::open().await;
    for (n, strategy) in (0..).zip(STRATEGIES) {
        let ([one, other], context) = (orders(&bank, strategy, n), strategy);
        let doomed = stopped_at(&bank, &one, FailPoint::LocksDebited).await;
        carried(&bank, &other).await;
        let legs = bank.legs_of(&one.transfer).await;
        assert_eq!(legs.len(), 2, "{context}: the next holder has made the credit: {legs:?}");
        let (code, heard) = doomed.goes_on().await;
        assert_eq!(code, Some(0), "{context}: it learns that it is committed:\n{heard}");
        moved(&bank, &one.transfer, 2 * one.transfer.amount.get(), context).await;
    }
    assert_eq!(audit(&bank).await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_stopped_before_its_debit_moves_nothing_under_the_old_grant() {
    let bank = Bank::open().await;
    for (n, strategy) in (0..).zip(STRATEGIES) {
        let [one, other] = orders(&bank, strategy, n);
        let doomed = stopped_at(&bank, &one, FailPoint::LocksClaimed).await;
        carried(&bank, &other).await;
        let (code, heard) = doomed.goes_on().await;
        // It takes new locks and goes through under those.
        assert_eq!(code, Some(0), "{strategy}:\n{heard}");
        assert!(heard.contains("2 tries"), "{strategy}: its first grant was stale:\n{heard}");
        moved(&bank, &one.transfer, 2 * one.transfer.amount.get(), strategy).await;
    }
    assert_eq!(audit(&bank).await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_naive_holder_that_was_stopped_writes_over_what_others_did() {
    let bank = Bank::open().await;
    let [one, other] = orders(&bank, "lock-naive", 0);
    let doomed = stopped_at(&bank, &one, FailPoint::NaiveRead).await;
    carried(&bank, &other).await;
    assert_eq!(audit(&bank).await.0, Some(0), "until now all is well");
    doomed.goes_on().await;
    let (code, said) = audit(&bank).await;
    assert_eq!(code, Some(3), "an update was lost: {said}");
    assert!(said.contains("do not add up"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_naive_holder_that_dies_between_its_writes_has_lost_the_money() {
    let bank = Bank::open().await;
    let mut order = Order::meeting(&bank, "lock-naive", Needs::Naive);
    order.dies_at(&bank, FailPoint::NaiveDebited).await.kill().await;
    let recovery = run(&bank, &["recover"]).await;
    assert_eq!(recovery.status.code(), Some(0), "{}", said(&recovery));
    let (code, said) = audit(&bank).await;
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("half applied"), "{said}");
}

/// Two orders of the `n`-th accounts of two shards, in the same direction.
fn orders(bank: &Bank, strategy: &'static str, n: i64) -> [Order; 2] {
    [(), ()].map(|()| Order {
        strategy,
        transfer: bank::transfer(bank.account(0, n), bank.account(1, n), 3),
    })
}

async fn moved(bank: &Bank, transfer: &Transfer, amount: i64, context: &str) {
    assert_eq!(bank.balance(transfer.source).await, OPENING_BALANCE - amount, "{context}");
    assert_eq!(bank.balance(transfer.target).await, OPENING_BALANCE + amount, "{context}");
}

fn branches(bank: &Bank, amount: i64) -> [Branch; 2] {
    let transfer = bank::transfer(bank.account(0, 0), bank.account(1, 0), amount);
    let routing = bank.cluster.routing();
    [transfer.debit(routing), transfer.credit(routing)]
}

fn fence(token: i64) -> Fence {
    Fence { epoch: 1, token, holder: HolderId::fresh() }
}

const FENCED_OUT: Attempt = Attempt::Retry(AbortReason::FencedOut);

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_grant_writes_nothing_whatever_it_tries() {
    let bank = Bank::open().await;
    let teller = bank.teller().await;
    let [debit, credit] = branches(&bank, 5);
    let (old, new) = (fence(7), fence(8));
    assert_eq!(teller.claim(&credit, old).await, Claimed::Done);
    assert_eq!(teller.claim(&credit, new).await, Claimed::Left(Left::OnAnyShard));
    assert_eq!(teller.claim(&credit, old).await, Claimed::Not(FENCED_OUT));
    assert_eq!(teller.credit_under_fence(&credit, old, "test").await, FENCED_OUT);
    assert_eq!(teller.claim(&debit, new).await, Claimed::Done);
    let debited = teller.debit_with_intent(&debit, old, "test").await;
    assert_eq!(debited, Claimed::Not(FENCED_OUT));
    assert_eq!(bank.legs_of(&debit.transfer).await, vec![]);
    moved(&bank, &debit.transfer, 0, "nothing").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_holders_with_one_token_the_first_is_let_in() {
    let bank = Bank::open().await;
    let teller = bank.teller().await;
    let [debit, credit] = branches(&bank, 5);
    let (first, second) = (fence(4), fence(4));
    assert_eq!(teller.claim(&credit, first).await, Claimed::Done);
    assert_eq!(teller.claim(&credit, second).await, Claimed::Not(FENCED_OUT));
    assert_eq!(teller.claim(&credit, first).await, Claimed::Done, "it may claim again");
    assert_eq!(teller.debit_with_intent(&debit, first, "test").await, Claimed::Done);
    assert_eq!(teller.credit_under_fence(&credit, first, "test").await, Attempt::Done);
    // The first has written and gone; the second's token is as stale as it was.
    assert_eq!(teller.claim(&credit, second).await, Claimed::Not(FENCED_OUT));
    let other = branches(&bank, 6)[0];
    let debited = teller.debit_with_intent(&other, second, "test").await;
    assert_eq!(debited, Claimed::Not(FENCED_OUT));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_epoch_is_let_in_with_a_smaller_token() {
    let bank = Bank::open().await;
    let teller = bank.teller().await;
    let [_, credit] = branches(&bank, 5);
    assert_eq!(teller.claim(&credit, fence(200_000)).await, Claimed::Done);
    let after_a_change = Fence { epoch: 2, ..fence(1) };
    assert!(!matches!(teller.claim(&credit, after_a_change).await, Claimed::Not(_)));
    assert_eq!(teller.claim(&credit, fence(200_001)).await, Claimed::Not(FENCED_OUT));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credit_that_the_target_refuses_is_refunded_once_and_answered_alike_for_ever() {
    let bank = Bank::open().await;
    let teller = bank.teller().await;
    let (transfer, routing) = (branches(&bank, 5)[0].transfer, bank.cluster.routing());
    let (debit, credit) = (transfer.debit(routing), transfer.credit(routing));
    let grant = fence(1);
    assert_eq!(teller.claim(&credit, grant).await, Claimed::Done);
    assert_eq!(teller.debit_with_intent(&debit, grant, "lock-lease").await, Claimed::Done);
    // Closed between the claim and the credit.
    let closed = "update shardbank.account set closed = true where id = $1";
    let client = bank.client(credit.shard.0).await;
    client.execute(closed, &[&transfer.target.get()]).await.expect("closed");
    for pass in ["first", "second"] {
        let recovered = bank.recover().await;
        assert!(recovered.is_clean(), "{pass}: {recovered:?}");
        moved(&bank, &transfer, 0, pass).await;
    }
    let kinds: Vec<String> =
        bank.legs_of(&transfer).await.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["debit", "refund"]);
    let (_context, verbs) = bank.coordinator().await;
    let verbs = under_locks(&bank, verbs, &Backend::Lease).await;
    let again = bank::again(&transfer);
    for name in ["lock-lease", "2pc", "lock-lease"] {
        let report = strategy(name).transfer(&verbs, &again, tries(3)).await;
        assert!(matches!(report.outcome, Outcome::Rejected(_)), "{name}: {report:?}");
    }
    assert_eq!(audit(&bank).await.0, Some(0));
}

/// `verbs` with locks granted by `backend`.
pub async fn under_locks(
    bank: &Bank,
    verbs: shardbank::ledger::postgres::PostgresVerbs,
    backend: &Backend,
) -> shardbank::ledger::postgres::PostgresVerbs {
    let terms = LockTerms { ttl: Duration::from_secs(5), wait: Duration::from_secs(20) };
    let presence = verbs.pools().presence().clone();
    let service = backend.open(&bank.cluster, &presence, 16, terms).await.expect("opened");
    verbs.with_locks(service, terms)
}

#[tokio::test(flavor = "multi_thread")]
async fn opposite_transfers_never_wait_for_each_other_in_a_circle() {
    let bank = Bank::open().await;
    for backend in [Backend::Advisory, Backend::Lease] {
        let name = format!("lock-{}", backend.name());
        let (_context, verbs) = bank.patient_coordinator().await;
        let verbs = under_locks(&bank, verbs, &backend).await;
        let [a, b, c] = [bank.account(0, 5), bank.account(1, 5), bank.account(2, 5)];
        let pairs = [(a, b), (b, a), (b, c), (c, b), (a, c), (c, a)];
        let all = pairs.map(async |(from, to)| {
            for _ in 0..10 {
                let transfer = bank::transfer(from, to, 1);
                let report = strategy(&name).transfer(&verbs, &transfer, tries(1)).await;
                assert_eq!(report.outcome, Outcome::Committed, "{name}");
            }
        });
        join_all(all).await;
        for shard in verbs.routing().shards() {
            let open = verbs.open_intents(shard, shardbank::verbs::locking::Concerning::Anybody);
            assert_eq!(open.await.expect("listed"), vec![], "{name}");
        }
    }
    assert_eq!(audit(&bank).await.0, Some(0));
    for shard in 0..bank::SHARDS {
        let client = bank.client(shard).await;
        let leases = "select count(*) from shardbank.lease where expires_at > clock_timestamp()";
        let held: i64 = client.query_one(leases, &[]).await.expect("counted").get(0);
        assert_eq!(held, 0, "leases are left on shard {shard}");
        let locks = "select count(*) from pg_locks where locktype = 'advisory' and objsubid = 1 \
                     and database = (select oid from pg_database where datname = current_database())";
        let held: i64 = client.query_one(locks, &[]).await.expect("counted").get(0);
        assert_eq!(held, 0, "advisory locks are left on shard {shard}");
    }
}
