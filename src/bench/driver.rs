//! Driving one run: threads, their gates, and what comes out.
//!
//! A run has two parts with a gate between them. [`warm_up`] opens connections, warms up, lets
//! every transfer end and stops at the gate; there the caller reads whatever gauges it has.
//! [`Ready::measure`] opens the gate. So nothing of the warm-up can leak into what is measured.

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;

use crate::bench::job::{Event, Gate, Job};
use crate::bench::plan::{Length, Point};
use crate::bench::recorder::Recorder;
use crate::bench::sample::Sample;
use crate::strategies::Strategy;
use crate::verbs::StrategyVerbs;

/// How long transfers may take to end once no more are started, as a rule.
pub const DRAIN: Duration = Duration::from_secs(30);
/// How often a watcher is told how far a run is.
const TICK: Duration = Duration::from_millis(100);

/// Opens verbs for a thread.
pub trait Connector: Send + Sync + 'static {
    /// What it opens.
    type Verbs: StrategyVerbs + 'static;

    /// Verbs for a thread that carries `clients` transfers at a time, connected. Called inside
    /// the runtime that will use them.
    ///
    /// # Errors
    /// A line that says what is missing.
    fn open(&self, clients: u32) -> impl Future<Output = Result<Self::Verbs, String>> + Send;

    /// Waits until nothing that the verbs began is still running, and makes the servers' counters
    /// count it.
    ///
    /// # Errors
    /// A line that says what is missing.
    fn settle(&self, verbs: &Self::Verbs) -> impl Future<Output = Result<(), String>> + Send;
}

/// Somebody who watches a run.
pub trait Watch {
    /// Transfers have ended.
    fn samples(&mut self, samples: &[Sample]);

    /// So much of the measured window is over; told a few times a second.
    fn tick(&mut self, elapsed: Duration, so_far: &Recorder);
}

/// One run.
#[derive(Debug, Clone)]
pub struct Run {
    /// By what.
    pub strategy: Strategy,
    /// Under what circumstances.
    pub point: Point,
    /// In which block.
    pub block: u32,
    /// How long transfers may take to end once no more are started; what has not ended then is in
    /// doubt.
    pub drain: Duration,
}

/// A run could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DriveError {
    /// A thread could not be started, or could not connect.
    #[error("{0}")]
    Open(String),
}

/// What was measured.
#[derive(Debug)]
pub struct Measured {
    /// The record.
    pub recorder: Recorder,
    /// From the gate's opening until the last transfer had ended.
    pub elapsed: Duration,
    /// Processor time of this process in that span.
    pub cpu: Duration,
    /// Whether the load was stopped before its time.
    pub interrupted: bool,
    /// What the threads could not do at the end, one line each.
    pub complaints: Vec<String>,
}

/// A run at its gate: warmed up, connected, nothing in flight.
pub struct Ready {
    run: Run,
    jobs: usize,
    gate: watch::Sender<Gate>,
    events: UnboundedReceiver<Event>,
    samples: UnboundedReceiver<Vec<Sample>>,
    stop: Arc<AtomicBool>,
    stopped: watch::Receiver<bool>,
}

/// Starts the threads of `run`, connects and warms up. When `stopped` becomes true, now or later,
/// no more transfers are started.
///
/// # Errors
/// A thread could not be started or could not connect; all have ended.
pub async fn warm_up<C: Connector>(
    run: Run,
    connector: Arc<C>,
    mut stopped: watch::Receiver<bool>,
) -> Result<Ready, DriveError> {
    // It may have been raised before anybody looked.
    stopped.mark_changed();
    let (gate, gate_seen) = watch::channel(Gate::Closed);
    let (event_sender, mut events) = unbounded_channel();
    let (sample_sender, samples) = unbounded_channel();
    let stop = Arc::new(AtomicBool::new(false));
    let shares = shares(run.point.clients, run.point.jobs);
    for clients in &shares {
        let job = Job {
            run: run.clone(),
            clients: clients.clone(),
            connector: Arc::clone(&connector),
            gate: gate_seen.clone(),
            events: event_sender.clone(),
            samples: sample_sender.clone(),
            stop: Arc::clone(&stop),
        };
        let name = format!("clients {}", clients.start);
        thread::Builder::new()
            .name(name)
            .spawn(move || job.run())
            .map_err(|error| DriveError::Open(format!("cannot start a thread: {error}")))?;
    }
    drop((event_sender, sample_sender));
    let mut ready = 0;
    while ready < shares.len() {
        tokio::select! {
            event = events.recv() => match event {
                Some(Event::Ready) => ready += 1,
                Some(Event::Failed(line)) => {
                    stop.store(true, Ordering::Relaxed);
                    return Err(DriveError::Open(line));
                }
                Some(Event::Drained | Event::Closed(_)) => {}
                None => return Err(DriveError::Open("a client thread has died".to_owned())),
            },
            () = raised(&mut stopped) => stop.store(true, Ordering::Relaxed),
        }
    }
    Ok(Ready { run, jobs: shares.len(), gate, events, samples, stop, stopped })
}

impl Ready {
    /// Opens the gate and measures until every client is done.
    ///
    /// # Errors
    /// A thread has died.
    pub async fn measure(mut self, watch: &mut impl Watch) -> Result<Measured, DriveError> {
        let origin = Instant::now();
        let cpu_before = processor_time();
        let drain = self.run.drain;
        // All threads watch the gate: there is somebody to see it open.
        self.gate.send_replace(Gate::Open(origin));
        let mut give_up_at = match self.run.point.length {
            Length::Time(time) => Some(origin + time + drain),
            Length::Transfers(_) => None,
        };
        let mut interrupted = self.stop.load(Ordering::Relaxed);
        if interrupted {
            give_up_at = Some(origin + drain);
        }
        let mut recorder = Recorder::default();
        let (mut draining, mut given_up) = (self.jobs, false);
        let mut tick = tokio::time::interval(TICK);
        while draining > 0 {
            let give_up = async {
                match give_up_at {
                    Some(at) if !given_up => tokio::time::sleep_until(at.into()).await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(samples) = self.samples.recv() => record(&mut recorder, watch, &samples),
                event = self.events.recv() => match event {
                    Some(Event::Drained) => draining -= 1,
                    Some(_) => {}
                    None => return Err(DriveError::Open("a client thread has died".to_owned())),
                },
                _ = tick.tick() => watch.tick(origin.elapsed(), &recorder),
                () = raised(&mut self.stopped) => {
                    self.stop.store(true, Ordering::Relaxed);
                    interrupted |= match self.run.point.length {
                        Length::Time(time) => origin.elapsed() < time,
                        Length::Transfers(_) => true,
                    };
                    let soon = Instant::now() + drain;
                    give_up_at = Some(give_up_at.map_or(soon, |at| at.min(soon)));
                }
                () = give_up => {
                    given_up = true;
                    self.gate.send_replace(Gate::GivenUp);
                }
            }
        }
        let elapsed = origin.elapsed();
        let cpu = processor_time().saturating_sub(cpu_before);
        // The threads hand over all they have before they say that they are done.
        while let Ok(samples) = self.samples.try_recv() {
            record(&mut recorder, watch, &samples);
        }
        let mut complaints = Vec::new();
        while let Some(event) = self.events.recv().await {
            if let Event::Closed(Err(line)) = event {
                complaints.push(line);
            }
        }
        Ok(Measured { recorder, elapsed, cpu, interrupted, complaints })
    }
}

fn record(recorder: &mut Recorder, watch: &mut impl Watch, samples: &[Sample]) {
    samples.iter().for_each(|sample| recorder.record(sample));
    watch.samples(samples);
}

/// Processor time that this process has used, all threads together.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Returns when the flag is raised; never where it can no longer be.
pub(in crate::bench) async fn raised(flag: &mut watch::Receiver<bool>) {
    while flag.changed().await.is_ok() {
        if *flag.borrow_and_update() {
            return;
        }
    }
    std::future::pending().await
}

/// Deals `clients` to `jobs` threads, as evenly as may be.
fn shares(clients: u32, jobs: u32) -> Vec<Range<u32>> {
    let jobs = jobs.min(clients).max(1);
    let first = |job: u32| clients / jobs * job + (clients % jobs).min(job);
    (0..jobs).map(|job| first(job)..first(job + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::fake::{Fake, point};
    use crate::bench::sample::Ending;
    use crate::bench::workload::{Drawer, Stretch};
    use crate::transfer::AccountId;

    #[derive(Default)]
    struct Seen {
        pairs: Vec<(u32, u64, AccountId, AccountId)>,
        measured: u64,
    }

    impl Watch for Seen {
        fn samples(&mut self, samples: &[Sample]) {
            self.measured += samples.len() as u64;
            self.pairs.extend(
                samples.iter().map(|s| (s.client, s.number, s.transfer.source, s.transfer.target)),
            );
        }

        fn tick(&mut self, _: Duration, so_far: &Recorder) {
            assert!(so_far.tally.adds_up());
        }
    }

    async fn run(fake: Fake, point: Point, stop: bool) -> (Measured, Seen) {
        run_by("same-shard", fake, point, stop).await
    }

    async fn run_by(strategy: &str, fake: Fake, point: Point, stop: bool) -> (Measured, Seen) {
        let strategy = strategy.parse().expect("a strategy");
        let run = Run { strategy, point, block: 3, drain: Duration::from_millis(50) };
        let (stopper, stopped) = watch::channel(stop);
        let ready = warm_up(run, Arc::new(fake), stopped).await.expect("opens");
        let mut seen = Seen::default();
        let measured = ready.measure(&mut seen).await.expect("measures");
        drop(stopper);
        (measured, seen)
    }

    #[test]
    fn clients_are_dealt_to_threads_without_rest() {
        assert_eq!(shares(5, 2), [0..3, 3..5]);
        assert_eq!(shares(2, 8), [0..1, 1..2]);
        assert_eq!(shares(9, 3), [0..3, 3..6, 6..9]);
    }

    #[tokio::test]
    async fn each_client_does_its_count_and_nothing_of_the_warm_up_is_counted() {
        let point = Point {
            length: Length::Transfers(50),
            warm_up: Duration::from_millis(30),
            ..point(5, 2)
        };
        let (measured, mut seen) = run(Fake::obliging(), point, false).await;
        let recorder = measured.recorder;
        assert_eq!(recorder.tally.attempted, 250);
        assert_eq!(recorder.tally.committed, 250);
        assert_eq!(recorder.ordered, [50; 5]);
        assert_eq!(seen.measured, 250);
        assert_eq!(recorder.round_trips, 250);
        seen.pairs.sort_by_key(|(client, number, ..)| (*client, *number));
        let workload = point.workload(&"same-shard".parse().expect("a strategy"));
        let drawer = Drawer { block: 3, stretch: Stretch::Measured, client: 0 };
        let mut orders = workload.orders(drawer);
        for (_, _, source, target) in &seen.pairs[..50] {
            let order = orders.next_order();
            assert_eq!((order.source, order.target), (*source, *target));
        }
    }

    #[tokio::test]
    async fn a_timed_run_ends_and_its_sums_hold() {
        let point = Point { length: Length::Time(Duration::from_millis(100)), ..point(4, 2) };
        let (measured, _) = run(Fake::obliging(), point, false).await;
        assert!(measured.recorder.tally.committed > 0 && !measured.interrupted);
        assert!(measured.recorder.tally.adds_up());
        assert!(measured.elapsed >= Duration::from_millis(100));
    }

    #[tokio::test]
    async fn a_run_that_is_stopped_starts_nothing_more() {
        let point = Point { length: Length::Transfers(u64::MAX), ..point(2, 1) };
        let (measured, _) = run(Fake::obliging(), point, true).await;
        assert!(measured.interrupted);
        assert!(measured.recorder.tally.attempted <= 2);
    }

    #[tokio::test]
    async fn what_never_answers_is_in_doubt_and_named() {
        let point = Point { length: Length::Time(Duration::from_millis(10)), ..point(3, 1) };
        let (measured, _) = run(Fake::silent(), point, false).await;
        let recorder = measured.recorder;
        assert_eq!(recorder.tally.count(Ending::InDoubt), 3);
        assert!(recorder.tally.adds_up());
        assert_eq!(recorder.in_doubt.len(), 3);
    }

    #[tokio::test]
    async fn a_hold_that_expired_is_counted_within_the_aborted() {
        let point = Point { length: Length::Transfers(5), ..point(2, 1) };
        let (measured, _) = run_by("reservation", Fake::too_slow(), point, false).await;
        let tally = measured.recorder.tally;
        assert_eq!((tally.attempted, tally.aborted, tally.expired), (10, 10, 10));
        assert!(tally.adds_up());
    }

    #[tokio::test]
    async fn a_thread_that_cannot_connect_stops_the_run_with_its_reason() {
        let run = Run {
            strategy: "same-shard".parse().expect("a strategy"),
            point: point(2, 2),
            block: 0,
            drain: Duration::from_millis(50),
        };
        let (_stopper, stopped) = watch::channel(false);
        let failed = warm_up(run, Arc::new(Fake::unreachable()), stopped).await;
        assert_eq!(failed.err(), Some(DriveError::Open("shard 0 is away".to_owned())));
    }
}
