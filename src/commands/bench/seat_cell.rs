//! One run of seats: measured, found out about, audited.

use std::time::Duration;

use tokio::sync::watch;

use super::progress::Progress;
use super::site::Site;
use crate::bench::seats::record::Record;
use crate::bench::seats::results::SeatSummary;
use crate::bench::seats::run::{self, Ground, SeatRun};
use crate::commands::{Exit, Stop};
use crate::report::histograms;
use crate::seats::Ending;
use crate::seats::books::{self, Told};

/// One run, done.
pub struct Done {
    /// Its row.
    pub summary: SeatSummary,
    /// Its distributions, by what they are of.
    pub histograms: Vec<(&'static str, Vec<u8>)>,
    /// What must never be, in words.
    pub violations: Vec<String>,
    /// Why nothing can be run after it, where what it left could not be proved.
    pub stop: Option<Stop>,
}

/// What a run is done with.
pub struct SeatCell<'a> {
    /// What is run.
    pub run: SeatRun,
    /// The row's id.
    pub run_id: String,
    /// Where.
    pub site: &'a Site,
    /// Whether to stop.
    pub stopped: watch::Receiver<bool>,
    /// What is seen of it.
    pub progress: &'a mut Progress,
}

impl SeatCell<'_> {
    /// Does it.
    ///
    /// # Errors
    /// Nothing could be measured.
    pub async fn done(self) -> Result<Done, Stop> {
        let Self { run, run_id, site, stopped, progress } = self;
        let what = format!("{}, run {}", run.way, run.block + 1);
        progress.begin(&what);
        let cluster = &site.context.cluster;
        books::empty(cluster).await.map_err(|error| Stop::new(Exit::Failed, error.to_string()))?;
        let ground = Ground {
            context: site.context.clone(),
            settings: site.settings.clone(),
            locks: site.locks_of(run.way.lock_service()),
        };
        let started_at = jiff::Timestamp::now().to_string();
        let measured = run::run(&run, &ground, stopped, tell(progress, &what)).await;
        let mut measured = measured.map_err(|line| Stop::new(Exit::Failed, line))?;

        progress.between(&format!("{what}: audit"));
        let record = &mut measured.record;
        let mut bought_before = record.sold_before;
        let mut still_in_doubt = 0;
        for (user, is_measured) in &measured.in_doubt {
            match (books::has_bought(cluster, *user).await, is_measured) {
                (Ok(true), true) => record.resolve_sold(),
                (Ok(true), false) => bought_before += 1,
                (Ok(false) | Err(_), _) => still_in_doubt += 1,
            }
        }
        let told =
            Told { sold: record.count(Ending::Sold) + bought_before, in_doubt: still_in_doubt };
        let proof = books::audit(cluster, told).await;

        let mut summary =
            SeatSummary::new(run.way, run.point, record, measured.window.as_secs_f64());
        summary.run_id = run_id;
        summary.started_at = started_at;
        summary.run = run.block + 1;
        summary.durable = site.durable;
        summary.batches = measured.batches;
        summary.interrupted = measured.interrupted;
        if measured.interrupted {
            summary.warnings.push("interrupted before its time".to_owned());
        }
        let histograms = [
            ("window", &record.window),
            ("checkout", &record.checkout),
            ("refusal", &record.refusal),
        ];
        let histograms = histograms.map(|(what, d)| (what, histograms::hgrm(d))).into();
        let (violations, stop) = match proof {
            Ok(proof) => {
                summary.double_sales = Some(proof.double_sales);
                summary.violations = Some(proof.violations.len() as u64);
                summary.stuck = Some(proof.stuck + measured.locks_left);
                (proof.violations, None)
            }
            Err(error) => {
                summary.warnings.push(format!("not audited: {error}"));
                (Vec::new(), Some(Stop::new(Exit::Failed, error.to_string())))
            }
        };
        Ok(Done { summary, histograms, violations, stop })
    }
}

/// Tells how far a run is, now and then.
fn tell<'a>(progress: &'a Progress, what: &'a str) -> impl FnMut(Duration, &Record) + Send + 'a {
    let (mut told_at, mut sold_before) = (Duration::ZERO, 0);
    move |elapsed, so_far| {
        if elapsed < told_at + progress.every() {
            return;
        }
        let sold = so_far.count(Ending::Sold);
        let rate = (sold - sold_before) as f64 / (elapsed - told_at).as_secs_f64();
        let away = so_far.count(Ending::NotFree) + so_far.count(Ending::LockTimeout);
        progress.tell(
            what,
            &format!("{:.1} s, {rate:.0} sold/s, {away} turned away", elapsed.as_secs_f64()),
        );
        (told_at, sold_before) = (elapsed, sold);
    }
}
