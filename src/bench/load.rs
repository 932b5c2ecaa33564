//! The load: when transfers start. A closed loop: a client starts its next transfer when the one
//! before has ended, so what is due is due at once.
//!
//! The loop is kept light, for it shares processors with what it measures: draw, carry out, note
//! down. What a client noted is handed over in batches.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::{AbortRegistration, Abortable};
use tokio::sync::mpsc::UnboundedSender;

use crate::bench::sample::{self, Ending, Sample};
use crate::bench::trace::Trace;
use crate::bench::workload::Orders;
use crate::outcome::{AbortReason, Outcome, ShardError};
use crate::strategies::{Report, Strategy};
use crate::transfer::Transfer;
use crate::verbs::StrategyVerbs;
use crate::verbs::observed::Observed;

/// Samples that are handed over together at most.
const BATCH: usize = 256;
/// Samples are not kept longer than this, so that progress is seen.
const BATCH_NS: u64 = 100_000_000;
/// How long a client waits after a transfer that failed: one that cannot reach its shard would
/// otherwise fail a million times a second and measure nothing but that.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(20);

/// When clients stop starting transfers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// At this instant.
    Instant(Instant),
    /// After so many of each client.
    Transfers(u64),
}

/// What all clients of a thread share in one stretch of a run.
#[derive(Debug, Clone)]
pub struct Stint {
    /// How transfers are carried out.
    pub strategy: Strategy,
    /// Tries before one is given up.
    pub max_tries: NonZeroU32,
    /// When the stretch began.
    pub origin: Instant,
    /// When no more transfers are started.
    pub until: Until,
    /// Raised when no more transfers are to be started, whatever `until` says.
    pub stop: Arc<AtomicBool>,
    /// Where samples go; nowhere while nothing is measured.
    pub samples: Option<UnboundedSender<Vec<Sample>>>,
}

/// One client.
pub struct Client {
    number: u32,
    orders: Orders,
    trace: Trace,
    batch: Vec<Sample>,
    hand_over_ns: u64,
    done: u64,
    in_flight: Option<(Transfer, u64)>,
}

impl Client {
    /// Client `number`, whose orders are `orders` and whose clock starts at `origin`.
    #[must_use]
    pub fn new(number: u32, orders: Orders, origin: Instant) -> Self {
        Self {
            number,
            orders,
            trace: Trace::new(origin),
            batch: Vec::new(),
            hand_over_ns: 0,
            done: 0,
            in_flight: None,
        }
    }

    /// Carries out transfers until the stint is over, or at once no more when it is aborted: what
    /// is then in flight is in doubt.
    pub async fn work<V: StrategyVerbs>(
        mut self,
        stint: &Stint,
        verbs: &V,
        abort: AbortRegistration,
    ) {
        let ended = Abortable::new(self.carry_out(stint, verbs), abort).await;
        if ended.is_err()
            && let Some((transfer, started_ns)) = self.in_flight.take()
        {
            let lost = ShardError {
                shard: verbs.routing().home(&transfer),
                sqlstate: None,
                message: "no answer before the run was given up".to_owned(),
            };
            let report = Report { outcome: Outcome::InDoubt(lost), tries: 1, one_phase: false };
            self.note(stint, transfer, started_ns, &report);
        }
        self.hand_over(stint);
    }

    async fn carry_out<V: StrategyVerbs>(&mut self, stint: &Stint, verbs: &V) {
        while self.goes_on(stint) {
            let transfer = self.orders.next_order().transfer();
            self.trace.begin();
            let started_ns = self.trace.nanoseconds(Instant::now());
            self.in_flight = Some((transfer, started_ns));
            let observed = Observed::new(verbs, &self.trace);
            let report = stint.strategy.transfer(&observed, &transfer, stint.max_tries).await;
            self.in_flight = None;
            self.note(stint, transfer, started_ns, &report);
            if matches!(report.outcome, Outcome::Failed(_) | Outcome::InDoubt(_)) {
                tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
            }
        }
    }

    fn goes_on(&self, stint: &Stint) -> bool {
        let more = match stint.until {
            Until::Instant(instant) => Instant::now() < instant,
            Until::Transfers(transfers) => self.done < transfers,
        };
        more && !stint.stop.load(Ordering::Relaxed)
    }

    fn note(&mut self, stint: &Stint, transfer: Transfer, started_ns: u64, report: &Report) {
        let number = self.done;
        self.done += 1;
        if stint.samples.is_none() {
            return;
        }
        let ended_ns = self.trace.nanoseconds(Instant::now());
        let steps = self.trace.end();
        self.batch.push(Sample {
            client: self.number,
            number,
            transfer,
            due_ns: started_ns,
            started_ns,
            ended_ns,
            tries: report.tries,
            ending: Ending::of(&report.outcome, steps.is_refunded),
            superseded: report.outcome == Outcome::Aborted(AbortReason::Superseded),
            expired: report.outcome == Outcome::Aborted(AbortReason::Expired),
            sqlstate: sample::sqlstate(&report.outcome),
            steps,
        });
        if self.batch.len() >= BATCH || ended_ns >= self.hand_over_ns {
            self.hand_over_ns = ended_ns + BATCH_NS;
            self.hand_over(stint);
        }
    }

    fn hand_over(&mut self, stint: &Stint) {
        if let Some(samples) = &stint.samples
            && !self.batch.is_empty()
        {
            let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
            // Nobody listens any more only where the run itself was dropped.
            let _ = samples.send(batch);
        }
    }
}
