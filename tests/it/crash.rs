//! Coordinators that die: the real executable, killed with `kill -9` at every named instant of
//! every strategy, and what `recover` makes of it from a new process.

mod recipes;

use std::process::Output;

use shardbank::fail_points::{FailPoint, Needs, Verdict};
use shardbank::transfer::{IdOrigin, Transfer};

use self::recipes::{Recipe, Repeated, STRATEGIES, recipe};
use crate::bank::{self, Bank, OPENING_BALANCE};
use crate::doomed::{Doomed, run, said};
use crate::support::lock_flags;

const AMOUNT: i64 = 5;

/// The transfer that dies, as the command line spells it.
pub struct Order {
    pub strategy: &'static str,
    pub transfer: Transfer,
}

impl Order {
    /// An order that comes past where `needs` must be met.
    pub fn meeting(bank: &Bank, strategy: &'static str, needs: Needs) -> Self {
        let source = bank.account(0, 0);
        let target = match needs {
            Needs::OneShard => bank.account(0, 1),
            Needs::Refusal => bank::missing_account(1),
            Needs::Success
            | Needs::OneByOne
            | Needs::Leftover
            | Needs::Intent
            | Needs::Saga
            | Needs::Hold
            | Needs::Event
            | Needs::Poverty
            | Needs::Naive
            | Needs::Finished => bank.account(1, 0),
        };
        let amount = if needs == Needs::Poverty { 1_000 * OPENING_BALANCE } else { AMOUNT };
        let transfer = bank::transfer(source, target, amount);
        Self { strategy, transfer }
    }

    pub fn arguments<'a>(&self, id: &'a str, more: &[&'a str]) -> Vec<String> {
        let Transfer { source, target, amount, .. } = self.transfer;
        let (from, to) = (source.to_string(), target.to_string());
        let amount = amount.get().to_string();
        let mut words =
            vec!["transfer", "--from", &from, "--to", &to, "--amount", &amount, "--strategy"];
        words.push(self.strategy);
        if !id.is_empty() {
            words.extend(["--id", id]);
        }
        if self.strategy.starts_with("lock-") {
            // What a dead coordinator held is waited for no longer than that.
            words.extend(["--lock-ttl", "1000"]);
        }
        words.extend(more);
        let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        words.extend(lock_flags(self.strategy));
        words
    }

    /// Starts it, to die at `point`. The id is given, or made by the tool and then read.
    pub async fn dies_at(&mut self, bank: &Bank, point: FailPoint) -> Doomed {
        let id = self.transfer.id.to_string();
        let given = if self.transfer.origin == IdOrigin::MayBeRepeated { id.as_str() } else { "" };
        let arguments = self.arguments(given, &["--fail-at", point.name()]);
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut doomed = Doomed::start(bank, &words);
        let line = doomed.hears("transfer ").await;
        let id = line.split(' ').nth(1).expect("its id");
        self.transfer.id = id.parse().expect("a UUID");
        doomed.reaches(point).await;
        doomed
    }

    /// The same call again, under the same id.
    pub async fn again(&self, bank: &Bank) -> Output {
        let id = self.transfer.id.to_string();
        let arguments = self.arguments(&id, &[]);
        run(bank, &arguments.iter().map(String::as_str).collect::<Vec<_>>()).await
    }
}

/// The books after recovery: quiet, whole, and as `committed` says.
async fn assert_settled(bank: &Bank, transfer: &Transfer, committed: bool, context: &str) {
    assert_eq!(bank.prepared_of(transfer).await, Vec::<String>::new(), "{context}");
    let both = vec![("credit".to_owned(), AMOUNT), ("debit".to_owned(), -AMOUNT)];
    let made_good = vec![("debit".to_owned(), -AMOUNT), ("refund".to_owned(), AMOUNT)];
    let expected = if committed { vec![both] } else { vec![vec![], made_good] };
    let legs = bank.legs_of(transfer).await;
    assert!(expected.contains(&legs), "{context}: {legs:?}");
    let audit = run(bank, &["audit", "--at-rest"]).await;
    assert_eq!(audit.status.code(), Some(0), "{context}: {}", said(&audit));
}

/// Recovers twice from new processes; each must end well and leave the same.
pub async fn recover_twice(bank: &Bank, transfer: &Transfer, committed: bool, context: &str) {
    for time in ["first", "second"] {
        let context = format!("{context}, {time} recovery");
        let recovery = run(bank, &["recover"]).await;
        assert_eq!(recovery.status.code(), Some(0), "{context}: {}", said(&recovery));
        assert_settled(bank, transfer, committed, &context).await;
    }
}

/// Kills a coordinator, or the recovery of one, at `point`, and looks at what becomes of it.
async fn die_at(bank: &Bank, point: FailPoint, strategy: &'static str, origin: IdOrigin) {
    let context = format!("{strategy} dies at {} ({origin:?})", point.name());
    let Recipe { dangling, repeated, .. } = recipe(point);
    let mut order = Order::meeting(bank, strategy, point.needs());
    order.transfer.origin = origin;
    let before = bank.balance(order.transfer.source).await;

    let doomed = if of_recovery(point) {
        let leaving = leaves_undecided(strategy);
        order.dies_at(bank, leaving).await.kill().await;
        let left = bank.prepared_of(&order.transfer).await.len();
        assert!(recipe(leaving).dangling.contains(&left), "{context}: {left} left");
        let mut recovery = Doomed::start(bank, &["recover", "--fail-at", point.name()]);
        recovery.reaches(point).await;
        recovery
    } else {
        order.dies_at(bank, point).await
    };
    let left = bank.prepared_of(&order.transfer).await.len();
    assert!(dangling.contains(&left), "{context}: {left} branches are prepared");
    doomed.kill().await;

    let committed = point.verdict() == Verdict::Committed;
    recover_twice(bank, &order.transfer, committed, &context).await;

    let answer = order.again(bank).await;
    let now_committed = match (repeated, answer.status.code()) {
        (Repeated::Committed | Repeated::Either, Some(0)) => true,
        (Repeated::Refused | Repeated::Either, Some(1)) => false,
        (_, code) => panic!("{context}: {repeated:?} expected, {code:?}: {}", said(&answer)),
    };
    if !now_committed {
        assert!(said(&answer).contains("final"), "{context}: {}", said(&answer));
    }
    assert_settled(bank, &order.transfer, now_committed, &context).await;
    let moved = if now_committed { AMOUNT } else { 0 };
    assert_eq!(bank.balance(order.transfer.source).await, before - moved, "{context}");
    assert_eq!(order.again(bank).await.status.code(), answer.status.code(), "{context}");
}

/// Where a coordinator must die for recovery to find something that nobody has decided.
fn leaves_undecided(strategy: &str) -> FailPoint {
    if strategy.starts_with("2pc-last-agent") {
        FailPoint::LastAgentPrepared
    } else if strategy.starts_with("lock-") {
        FailPoint::LocksDebited
    } else if strategy == "saga" {
        FailPoint::SagaDebited
    } else if strategy == "reservation" {
        FailPoint::ReservationAllHeld
    } else if strategy == "saga-choreographed" {
        FailPoint::EventsTaken
    } else {
        FailPoint::TwoPhaseAllPrepared
    }
}

fn of_recovery(point: FailPoint) -> bool {
    matches!(
        point.needs(),
        Needs::Leftover | Needs::Intent | Needs::Saga | Needs::Hold | Needs::Event
    )
}

/// Kills it everywhere, its ids now given by the caller, now made by the tool.
async fn die_everywhere(strategy: &'static str, is_recovery: bool) {
    let bank = Bank::open().await;
    let mut deaths = 0;
    for point in FailPoint::ALL {
        if of_recovery(*point) == is_recovery && recipe(*point).strategies.contains(&strategy) {
            let origin = if deaths % 2 == 0 { IdOrigin::Fresh } else { IdOrigin::MayBeRepeated };
            die_at(&bank, *point, strategy, origin).await;
            deaths += 1;
        }
    }
    assert!(deaths > 0, "{strategy} comes past some fail point");
}

#[test]
fn every_fail_point_has_somebody_who_dies_there() {
    let elsewhere = |point: &&FailPoint| matches!(point.needs(), Needs::Finished | Needs::Naive);
    for point in FailPoint::ALL.iter().filter(|point| !elsewhere(point)) {
        let strategies = recipe(*point).strategies;
        assert!(!strategies.is_empty(), "{}", point.name());
        for strategy in strategies {
            assert!(STRATEGIES.contains(strategy), "{strategy}");
            let owner = strategy.split(':').next().expect("a name");
            let owner = if owner.starts_with("lock-") { "lock" } else { owner };
            assert!(
                [owner, "recovery", "promise"].contains(&point.owner()),
                "{} {owner}",
                point.name()
            );
        }
    }
}

macro_rules! deaths {
    ($($test:ident: $strategy:literal, recovering: $recovering:literal;)+) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            die_everywhere($strategy, $recovering).await;
        })+

        #[test]
        fn every_strategy_dies_everywhere() {
            let tested = [$(($strategy, $recovering)),+];
            for strategy in STRATEGIES {
                assert!(tested.contains(&(strategy, false)), "{strategy}");
            }
            for point in FailPoint::ALL.iter().filter(|point| of_recovery(**point)) {
                for strategy in recipe(*point).strategies {
                    assert!(tested.contains(&(strategy, true)), "recovery of {strategy}");
                }
            }
        }
    };
}

deaths! {
    every_death_of_same_shard_is_recovered_to_its_verdict: "same-shard", recovering: false;
    every_death_of_2pc_is_recovered_to_its_verdict: "2pc", recovering: false;
    every_death_of_2pc_with_a_file_is_recovered_to_its_verdict: "2pc:log=file", recovering: false;
    every_death_of_2pc_one_by_one_is_recovered_to_its_verdict:
        "2pc:statements=one-by-one", recovering: false;
    every_death_of_2pc_one_by_one_with_a_file_is_recovered_to_its_verdict:
        "2pc:log=file,statements=one-by-one", recovering: false;
    every_death_of_2pc_that_answers_early_is_recovered_to_its_verdict:
        "2pc:ack=early", recovering: false;
    every_death_of_2pc_last_agent_is_recovered_to_its_verdict:
        "2pc-last-agent", recovering: false;
    every_death_of_2pc_last_agent_one_by_one_is_recovered_to_its_verdict:
        "2pc-last-agent:statements=one-by-one", recovering: false;
    every_death_of_2pc_last_agent_that_answers_early_is_recovered_to_its_verdict:
        "2pc-last-agent:ack=early", recovering: false;
    every_death_under_advisory_locks_is_recovered_to_its_verdict:
        "lock-advisory", recovering: false;
    every_death_under_leases_is_recovered_to_its_verdict: "lock-lease", recovering: false;
    every_death_under_locks_of_redis_is_recovered_to_its_verdict: "lock-redis", recovering: false;
    every_death_under_locks_of_etcd_is_recovered_to_its_verdict: "lock-etcd", recovering: false;
    every_death_under_locks_of_zookeeper_is_recovered_to_its_verdict:
        "lock-zookeeper", recovering: false;
    every_death_of_a_saga_is_recovered_to_its_verdict: "saga", recovering: false;
    every_death_of_a_reservation_is_recovered_to_its_verdict: "reservation", recovering: false;
    every_death_of_a_reservation_confirmed_lazily_is_recovered_to_its_verdict:
        "reservation:confirm=lazy", recovering: false;
    every_death_of_the_sweeper_is_recovered_from: "reservation", recovering: true;
    every_death_of_the_recovery_of_sagas_is_recovered_from: "saga", recovering: true;
    every_death_of_the_recovery_of_advisory_locks_is_recovered_from:
        "lock-advisory", recovering: true;
    every_death_of_the_recovery_of_leases_is_recovered_from: "lock-lease", recovering: true;
    every_death_of_a_saga_by_events_is_recovered_to_its_verdict:
        "saga-choreographed", recovering: false;
    every_death_of_the_recovery_of_events_is_recovered_from:
        "saga-choreographed", recovering: true;
    every_death_of_the_recovery_of_2pc_is_recovered_from: "2pc", recovering: true;
    every_death_of_the_recovery_of_2pc_with_a_file_is_recovered_from:
        "2pc:log=file", recovering: true;
    every_death_of_the_recovery_of_2pc_last_agent_is_recovered_from:
        "2pc-last-agent", recovering: true;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decided_transfer_is_committed_however_often_its_recovery_dies() {
    let bank = Bank::open().await;
    for (strategy, decided) in [
        ("2pc", FailPoint::TwoPhaseDecided),
        ("2pc:log=file", FailPoint::TwoPhaseDecided),
        ("2pc-last-agent", FailPoint::LastAgentDecided),
    ] {
        let mut order = Order::meeting(&bank, strategy, Needs::Success);
        order.dies_at(&bank, decided).await.kill().await;
        for point in [FailPoint::RecoveryListed, FailPoint::RecoveryDecided] {
            let mut recovery = Doomed::start(&bank, &["recover", "--fail-at", point.name()]);
            recovery.reaches(point).await;
            assert_ne!(bank.prepared_of(&order.transfer).await.len(), 0, "{strategy}");
            recovery.kill().await;
        }
        recover_twice(&bank, &order.transfer, true, strategy).await;
        assert_eq!(order.again(&bank).await.status.code(), Some(0), "{strategy}");
    }
    let moved = 3 * AMOUNT;
    assert_eq!(bank.balance(bank.account(0, 0)).await, OPENING_BALANCE - moved);
    assert_eq!(bank.balance(bank.account(1, 0)).await, OPENING_BALANCE + moved);
}
