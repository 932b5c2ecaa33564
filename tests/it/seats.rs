//! Seats on real shards: each is sold once in every way, what is abandoned comes back, who is too
//! late is refused, and the audit can fail.

use std::sync::Arc;
use std::time::Duration;

use shardbank::bench::seats::plan::SeatPoint;
use shardbank::bench::seats::record::Record;
use shardbank::bench::seats::run::{self, Ground, Measured, SeatRun};
use shardbank::bench::workload::Access;
use shardbank::config::SeatsOn;
use shardbank::ledger::pools::{PoolSettings, Pools};
use shardbank::ledger::seat::Seat;
use shardbank::locks::backend::Backend;
use shardbank::seats::books::{self, Proof, Told};
use shardbank::seats::hall::Hall;
use shardbank::seats::office::{BoxOffice, Seen, Terms};
use shardbank::seats::{Ending, User, Way, buy};
use shardbank::strategies::LockServiceName;
use shardbank::transfer::ShardIndex;
use shardbank::verbs::locking::LockTerms;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use crate::bank::{Bank, SHARDS};

/// Far longer than any test takes.
const LONG: Duration = Duration::from_secs(20);
const FOREVER: Duration = Duration::from_secs(3600);
/// A test that waits for longer has failed.
const AT_MOST: Duration = Duration::from_secs(30);
/// How long a row or a lock is waited for.
const WAIT: Duration = Duration::from_millis(150);
const LEASE: Way = Way::UnderLock(LockServiceName::Lease);
const ADVISORY: Way = Way::UnderLock(LockServiceName::Advisory);
const ALL: [Way; 4] = [Way::HoldRow, Way::Reserve, LEASE, ADVISORY];

fn backend(way: Way) -> Option<(Backend, LockTerms)> {
    let backend = match way.lock_service()? {
        LockServiceName::Lease => Backend::Lease,
        LockServiceName::Advisory => Backend::Advisory,
        other => panic!("{other:?} needs a server"),
    };
    Some((backend, LockTerms { ttl: Duration::from_secs(5), wait: WAIT }))
}

/// A point of few seats that many want.
fn point() -> SeatPoint {
    SeatPoint {
        shards: SHARDS,
        clients: 12,
        seats: 6,
        seats_on: SeatsOn::AllShards,
        access: Access::Hotspot { accounts: 2, percent: 90.0 },
        think: Duration::from_millis(5),
        hold: Duration::from_millis(200),
        abandon_percent: 10.0,
        length: FOREVER,
        warm_up: Duration::from_millis(100),
        seed: 3,
    }
}

/// Runs until `enough` has been seen, however long that takes here, and proves it.
async fn measure(
    bank: &Bank,
    way: Way,
    point: SeatPoint,
    enough: fn(&Record) -> bool,
) -> (Measured, Proof) {
    let (context, _verbs) = bank.coordinator().await;
    let settings = PoolSettings { connections: 1, lock_timeout: WAIT, patience: LONG };
    let ground = Ground { context, settings, locks: backend(way) };
    let (stopper, stopped) = watch::channel(false);
    books::empty(&bank.cluster).await.expect("emptied");
    let run = SeatRun { way, point, block: 0 };
    let running = run::run(&run, &ground, stopped, |_, record| {
        if enough(record) {
            stopper.send_replace(true);
        }
    });
    let measured = tokio::time::timeout(AT_MOST, running).await;
    let measured = measured.expect("enough is seen in the end").expect("measured");
    let record = &measured.record;
    let told = Told { sold: record.count(Ending::Sold) + record.sold_before, in_doubt: 0 };
    let proof = books::audit(&bank.cluster, told).await.expect("audited");
    (measured, proof)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_sells_every_seat_at_most_once_when_many_want_the_same_few() {
    for way in ALL {
        let bank = Bank::open().await;
        let (measured, proof) = measure(&bank, way, point(), |record| {
            let away = record.count(Ending::NotFree) + record.count(Ending::LockTimeout);
            record.count(Ending::Sold) > 20 && away > 0 && record.count(Ending::Abandoned) > 0
        })
        .await;
        assert_eq!((proof.double_sales, &proof.violations), (0, &Vec::new()), "{way}");
        let record = &measured.record;
        assert_eq!(record.count(Ending::Failed) + record.count(Ending::InDoubt), 0, "{way}");
        assert_eq!(proof.stuck + measured.locks_left, 0, "{way}");
        assert!(record.window.count() >= record.count(Ending::Sold), "{way}");
        assert!(measured.batches > u64::from(SHARDS), "{way}: {}", measured.batches);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_window_is_the_think_time_but_under_reserve() {
    let thinking = Duration::from_millis(120);
    let slow = SeatPoint { think: thinking, abandon_percent: 0.0, hold: LONG, ..point() };
    let mean = async |way| {
        let bank = Bank::open().await;
        let enough = |record: &Record| record.count(Ending::Sold) >= 20;
        let (measured, _) = measure(&bank, way, slow, enough).await;
        measured.record.window.mean_ns().expect("something was held") / 1e9
    };
    let reserve = mean(Way::Reserve).await;
    for way in [Way::HoldRow, LEASE] {
        // Thinking can only make a window longer, so this holds on a machine of any speed.
        let held = mean(way).await;
        assert!(held > 0.02 && held > reserve, "{way}: {held} s, reserve: {reserve} s");
    }
}

/// An office with one seat on sale, on shard 0.
struct Office {
    office: Arc<BoxOffice>,
    close: watch::Sender<bool>,
    _seen: UnboundedReceiver<Seen>,
}

const SEAT: Seat = Seat { id: 1, shard: ShardIndex(0) };

async fn office(bank: &Bank, way: Way, hold: Duration) -> Office {
    let (context, _verbs) = bank.coordinator().await;
    let settings = PoolSettings { connections: 8, lock_timeout: WAIT, patience: LONG };
    let pools = Pools::new(bank.cluster.clone(), context.presence.clone(), settings);
    let locks = match backend(way) {
        None => None,
        Some((backend, terms)) => {
            Some(backend.open(&bank.cluster, &context.presence, 4, terms).await.expect("opened"))
        }
    };
    let hall = Hall::new(1, SeatsOn::OneShard, bank.cluster.routing());
    let (close, closing) = watch::channel(false);
    let (sender, _seen) = unbounded_channel();
    let terms = Terms { hold, lock_wait: WAIT };
    let office = Arc::new(BoxOffice::new(pools, locks, hall, terms, sender, closing));
    assert!(office.open().await.is_ok());
    Office { office, close, _seen }
}

fn user(thinks: Duration, abandons: bool) -> User {
    User { id: Uuid::new_v4(), came_at: Instant::now(), prefers: 1, thinks, abandons }
}

fn buyer() -> User {
    user(Duration::ZERO, false)
}

/// Lets users come, one after another, until one has the seat.
async fn until_sold(office: &Office, way: Way) {
    let started = Instant::now();
    loop {
        match buy(&office.office, way, SEAT, &buyer()).await {
            Ending::Sold => return,
            // Late: where the hold time is short and this machine slow.
            Ending::NotFree | Ending::LockTimeout | Ending::Late => {}
            other => panic!("{way}: {other:?}"),
        }
        assert!(started.elapsed() < AT_MOST, "{way}: it never came back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn state(bank: &Bank) -> String {
    let client = bank.client(0).await;
    client
        .query_one("select state from shardbank.seat where id = 1", &[])
        .await
        .expect("there")
        .get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_abandoned_comes_back_after_the_hold_time_and_is_sold_to_another() {
    for way in ALL {
        let bank = Bank::open().await;
        let hold = Duration::from_millis(400);
        let office = office(&bank, way, hold).await;
        let (leaver, came_at) = (user(Duration::ZERO, true), Instant::now());
        assert_eq!(buy(&office.office, way, SEAT, &leaver).await, Ending::Abandoned);
        // No sweeper runs: the next user frees it.
        until_sold(&office, way).await;
        assert!(came_at.elapsed() >= hold, "{way}: it was not kept for so long");
        office.close.send_replace(true);
        office.office.close().await;
        let told = Told { sold: 1, in_doubt: 0 };
        let proof = books::audit(&bank.cluster, told).await.expect("audited");
        assert_eq!(proof, Proof { sales: 1, ..Proof::default() }, "{way}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_thinks_for_longer_than_the_hold_time_is_refused() {
    for way in ALL {
        let bank = Bank::open().await;
        let office = office(&bank, way, Duration::from_millis(50)).await;
        let slow = user(Duration::from_millis(200), false);
        assert_eq!(buy(&office.office, way, SEAT, &slow).await, Ending::Late, "{way}");
        until_sold(&office, way).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_whose_seat_is_reserved_for_another_by_now_is_refused() {
    let bank = Bank::open().await;
    let office = office(&bank, Way::Reserve, LONG).await;
    let slow = user(Duration::from_secs(2), false);
    let buying = {
        let office = Arc::clone(&office.office);
        tokio::spawn(async move { buy(&office, Way::Reserve, SEAT, &slow).await })
    };
    let client = bank.client(0).await;
    // Its time is over, and another has taken it, before the first has paid.
    let steal = "update shardbank.seat set reserved_by = gen_random_uuid() \
         where state = 'reserved' and reserved_by = $1";
    let started = Instant::now();
    while client.execute(steal, &[&slow.id]).await.expect("asked") == 0 {
        assert!(started.elapsed() < AT_MOST, "nothing was ever reserved");
    }
    assert_eq!(buying.await.expect("no panic"), Ending::Late);
    assert_eq!(state(&bank).await, "reserved");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_whose_seat_was_claimed_by_a_later_grant_is_fenced_out() {
    let bank = Bank::open().await;
    let office = office(&bank, LEASE, LONG).await;
    let slow = user(Duration::from_secs(2), false);
    let buying = {
        let office = Arc::clone(&office.office);
        tokio::spawn(async move { buy(&office, LEASE, SEAT, &slow).await })
    };
    let client = bank.client(0).await;
    let claim = "update shardbank.seat set fence = fence + 1, fence_holder = gen_random_uuid() \
         where fence_holder is not null";
    let started = Instant::now();
    while client.execute(claim, &[]).await.expect("asked") == 0 {
        assert!(started.elapsed() < AT_MOST, "nobody ever claimed the seat");
    }
    assert_eq!(buying.await.expect("no panic"), Ending::Late);
    assert_eq!(state(&bank).await, "available");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sweepers_free_every_expired_seat_once_and_no_other() {
    let bank = Bank::open().await;
    let one = office(&bank, Way::Reserve, LONG).await;
    let other = office(&bank, Way::Reserve, LONG).await;
    let client = bank.client(0).await;
    client
        .batch_execute(
            "insert into shardbank.seat (id, state, reserved_by, reserved_until) \
             select n, 'reserved', gen_random_uuid(), clock_timestamp() + \
             case when n % 2 = 0 then interval '-1 second' else interval '1 hour' end \
             from generate_series(2, 2001) n; \
             create table public.freed (id bigint); \
             create function public.note() returns trigger language plpgsql as \
             $$ begin insert into public.freed values (new.id); return new; end $$; \
             create trigger note after update on shardbank.seat for each row \
             execute function public.note()",
        )
        .await
        .expect("planted");
    let sweepers = [&one, &other].map(|office| {
        let office = Arc::clone(&office.office);
        tokio::spawn(async move { office.sweep().await })
    });
    let count =
        async |sql: &str| -> i64 { client.query_one(sql, &[]).await.expect("counted").get(0) };
    let expired = "select count(*) from shardbank.seat where reserved_until <= clock_timestamp()";
    let started = Instant::now();
    while count(expired).await > 0 {
        assert!(started.elapsed() < AT_MOST, "it was never swept");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    one.close.send_replace(true);
    other.close.send_replace(true);
    for sweeper in sweepers {
        sweeper.await.expect("no panic");
    }
    assert_eq!(count("select count(*) from public.freed").await, 1000);
    assert_eq!(count("select count(distinct id) from public.freed").await, 1000);
    assert_eq!(count("select count(*) from shardbank.seat where state = 'reserved'").await, 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_stopped_sends_everybody_home_and_leaves_nothing_held() {
    for way in ALL {
        let bank = Bank::open().await;
        let point = SeatPoint {
            think: FOREVER,
            hold: FOREVER,
            warm_up: Duration::ZERO,
            seats: 600,
            abandon_percent: 50.0,
            access: Access::Uniform,
            ..point()
        };
        let enough = |record: &Record| record.count(Ending::Abandoned) > 0;
        let (measured, proof) = measure(&bank, way, point, enough).await;
        assert!(measured.interrupted, "{way}");
        assert!(measured.record.count(Ending::Dismissed) > 0, "{way}: {:?}", measured.record);
        assert_eq!((proof.stuck, measured.locks_left), (0, 0), "{way}");
        assert_eq!(proof.violations, Vec::<String>::new(), "{way}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_finds_what_was_sold_twice_what_nobody_bought_and_what_is_stuck() {
    let bank = Bank::open().await;
    let office = office(&bank, Way::Reserve, LONG).await;
    until_sold(&office, Way::Reserve).await;
    let audit = async |sold| {
        books::audit(&bank.cluster, Told { sold, in_doubt: 0 }).await.expect("audited")
    };
    assert_eq!(audit(1).await, Proof { sales: 1, ..Proof::default() });
    assert_eq!(audit(2).await.violations.len(), 1, "a sale that a user was told of is gone");

    let client = bank.client(0).await;
    let plant =
        "insert into shardbank.sale (seat_id, buyer, way) values (1, gen_random_uuid(), 'x')";
    client.batch_execute(plant).await.expect("planted");
    let proof = audit(2).await;
    assert_eq!(proof.double_sales, 1);
    // Sold twice, and one of the two to somebody whose seat it is not.
    assert_eq!(proof.violations.len(), 2, "{:?}", proof.violations);

    client
        .batch_execute(
            "delete from shardbank.sale where way = 'x'; \
             insert into shardbank.seat (id, state, sold_to) values (7, 'sold', gen_random_uuid()); \
             insert into shardbank.seat (id, state, reserved_by, reserved_until) \
             values (8, 'reserved', gen_random_uuid(), clock_timestamp() - interval '1 hour'), \
             (9, 'reserved', gen_random_uuid(), clock_timestamp() + interval '1 hour')",
        )
        .await
        .expect("planted");
    let proof = audit(1).await;
    assert_eq!((proof.double_sales, proof.stuck), (0, 1));
    assert!(proof.violations[0].contains("seat 7"), "{:?}", proof.violations);

    let holder = bank.client(0).await;
    holder
        .batch_execute("begin; select from shardbank.seat where id = 1 for update")
        .await
        .unwrap();
    assert_eq!(audit(1).await.stuck, 2, "a row that somebody still holds is stuck");
}
