//! One run: measured, recovered, audited.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::progress::Progress;
use super::site::Site;
use crate::audit::AuditReport;
use crate::bench::auditor::Auditor;
use crate::bench::connector::PostgresConnector;
use crate::bench::driver::{self, Run, Watch};
use crate::bench::recorder::Recorder;
use crate::bench::results::RunIntervals;
use crate::bench::sample::{Ending, Sample};
use crate::bench::summary::{Audited, Circumstances, Summary, Took};
use crate::bench::wal;
use crate::commands::{Exit, Stop};
use crate::report::csv::{self, TransfersOf};
use crate::report::histograms;
use crate::shards;
use crate::strategies::ending;
use crate::transfer::Routing;
use crate::verbs::observed::Phase;

/// How often recovery looks after the shards while transfers run.
const RECOVER_EVERY: Duration = Duration::from_secs(1);

/// One run, done.
pub struct Done {
    /// Its row.
    pub summary: Summary,
    /// Its intervals.
    pub intervals: RunIntervals,
    /// Its interval log.
    pub hlog: Vec<u8>,
    /// The distribution of its response times.
    pub hgrm: Vec<u8>,
    /// What must never be, in words.
    pub violations: Vec<String>,
    /// Why nothing can be run after it, where what it left could not be recovered or proved.
    pub stop: Option<Stop>,
}

/// What a run is done with.
pub struct Cell<'a> {
    /// What is run.
    pub run: Run,
    /// The row's id.
    pub run_id: String,
    /// Where.
    pub site: &'a Site,
    /// Whether to stop.
    pub stopped: watch::Receiver<bool>,
    /// What is seen of it.
    pub progress: &'a mut Progress,
    /// Where every transfer is written, if anywhere.
    pub transfers: Option<&'a mut File>,
    /// Whether somebody looks on.
    pub audited: bool,
}

impl Cell<'_> {
    /// Does it.
    ///
    /// # Errors
    /// Nothing could be measured, or what was could not be recovered or audited.
    pub async fn done(self) -> Result<Done, Stop> {
        let Self { run, run_id, site, stopped, progress, transfers, audited } = self;
        let label = run.strategy.to_string();
        let what = format!("{label}, run {}", run.block + 1);
        progress.begin(&what);
        let failed = |line: String| Stop::new(Exit::Failed, line);
        let mut warnings = Vec::new();

        let context = site.context.clone();
        let locks = site.locks_of(run.strategy.lock_service());
        let connector = PostgresConnector { context, settings: site.settings.clone(), locks };
        let ready = driver::warm_up(run.clone(), Arc::new(connector), stopped).await;
        let ready = ready.map_err(|error| failed(error.to_string()))?;

        let auditor = if audited { onlooker(site, &run, &mut warnings).await } else { None };
        let wal_before = shards::wal::read(&site.context.cluster).await;
        let syncs_before = site.context.logs.syncs();
        let began = jiff::Timestamp::now();
        let mut seen = Seen {
            what,
            progress,
            log: transfers.map(|file| Log { file, failed: None }),
            of: (run_id.clone(), label.clone(), run.block + 1, site.context.cluster.routing()),
        };
        let auditor = auditor.map(Auditor::work);
        let measured = {
            let looking_after = look_after(site);
            tokio::pin!(looking_after);
            let measuring = ready.measure(&mut seen);
            tokio::pin!(measuring);
            tokio::select! {
                measured = &mut measuring => measured,
                () = &mut looking_after => unreachable!("recovery goes on for ever"),
            }
        };
        let measured = measured.map_err(|error| failed(error.to_string()))?;
        let half_visible = match auditor {
            Some(auditor) => Some(auditor.end().await),
            None => None,
        };
        if let Some(Log { failed: Some(line), .. }) = seen.log {
            warnings.push(line);
        }
        let syncs = site.context.logs.syncs() - syncs_before;
        let wal = match (wal_before, shards::wal::read(&site.context.cluster).await) {
            (Ok(before), Ok(after)) => wal::between(&before, &after, syncs),
            (Err(error), _) | (_, Err(error)) => {
                warnings.push(format!("what the servers wrote is not known: {error}"));
                None
            }
        };
        let took = Took { elapsed: measured.elapsed, cpu: measured.cpu };
        warnings.extend(measured.complaints);

        seen.progress.between(&format!("{}: recovery and audit", seen.what));
        let mut recorder = measured.recorder;
        let aftermath = Aftermath::of(site, &mut recorder, &mut warnings).await;

        let workload = run.point.workload(&run.strategy);
        let around = Circumstances {
            run_id: run_id.clone(),
            started_at: began.to_string(),
            run: run.block + 1,
            durable: site.durable,
            wal,
            half_visible,
            audit: aftermath.report.as_ref().map(found),
            recovery: aftermath.recovery,
            interrupted: measured.interrupted,
            warnings,
        };
        let skew = workload.skew(run.block, &recorder.ordered);
        let summary = Summary::new(&run.strategy, &run.point, &recorder, took, skew, around);
        let hgrm = histograms::hgrm(&recorder.response[Ending::Committed as usize]);
        let whole = named_histograms(&recorder);
        let mut intervals = RunIntervals {
            run_id,
            began_us: began.as_microsecond(),
            strategy: label,
            run: run.block + 1,
            load_ns: run.point.length.load_ns(),
            intervals: Vec::new(),
        };
        intervals.intervals = recorder.into_intervals();
        let whole: Vec<_> = whole.iter().map(|(tag, d)| (tag.clone(), d)).collect();
        let hlog = histograms::hlog(&intervals, &whole);
        let Aftermath { report, stop, .. } = aftermath;
        let broken = report.map(|report| report.violations).unwrap_or_default();
        let violations = broken.iter().map(ToString::to_string).collect();
        Ok(Done { summary, intervals, hlog, hgrm, violations, stop })
    }
}

/// What came of a run once its load had ended.
#[derive(Default)]
struct Aftermath {
    recovery: Option<Duration>,
    report: Option<AuditReport>,
    stop: Option<Stop>,
}

impl Aftermath {
    /// Recovers, finds out what was in doubt, and audits. What was measured is kept whatever
    /// comes of it.
    async fn of(site: &Site, recorder: &mut Recorder, warnings: &mut Vec<String>) -> Self {
        let mut aftermath = Self::default();
        match site.recover().await {
            Ok(time) => aftermath.recovery = Some(time),
            Err(stop) => {
                warnings.push(format!("not recovered: {}", stop.lines.join("; ")));
                aftermath.stop = Some(stop);
            }
        }
        resolve(site, recorder, warnings).await;
        match site.audit().await {
            Ok(report) => aftermath.report = Some(report),
            Err(stop) => {
                warnings.push(format!("not audited: {}", stop.lines.join("; ")));
                aftermath.stop.get_or_insert(stop);
            }
        }
        aftermath
    }
}

/// Somebody who looks on during `run`, where there are shards to compare and all of them answer.
async fn onlooker(site: &Site, run: &Run, warnings: &mut Vec<String>) -> Option<Auditor> {
    let cluster = site.context.cluster.clone();
    if cluster.routing().shard_count() < 2 {
        return None;
    }
    match Auditor::open(cluster, run.point.seed ^ u64::from(run.block)).await {
        Ok(auditor) => Some(auditor),
        Err(error) => {
            warnings.push(format!("nobody looked on: {error}"));
            None
        }
    }
}

/// Recovers beside the load, for ever, as any deployment would.
async fn look_after(site: &Site) {
    loop {
        tokio::time::sleep(RECOVER_EVERY).await;
        site.recover_once().await;
    }
}

/// Finds out about the transfers that were in doubt when the load ended. Recovery has been here,
/// so the leg on the home shard says it, or a tombstone is placed there that says it for good.
async fn resolve(site: &Site, recorder: &mut Recorder, warnings: &mut Vec<String>) {
    let routing = site.context.cluster.routing();
    for sample in std::mem::take(&mut recorder.in_doubt) {
        let [_, home] = sample.transfer.branches(routing);
        let lost = crate::outcome::ShardError {
            shard: home.shard,
            sqlstate: None,
            message: "no answer".to_owned(),
        };
        let outcome = ending::ask_leg(site.verbs(), &home, lost).await;
        match Ending::from(&outcome) {
            Ending::InDoubt => warnings.push(format!("in doubt: {}", sample.transfer.id)),
            known => recorder.tally.resolve(known),
        }
    }
}

fn found(report: &AuditReport) -> Audited {
    Audited {
        conserved: report.is_conserved(),
        violations: report.violation_count,
        orphan_prepared: report.prepared.len() as u64,
        unfinished: report.half_visible,
        details: report.violations.iter().map(ToString::to_string).collect(),
    }
}

/// The histograms over a whole run that have something to tell, by the tags of the `.hlog`.
fn named_histograms(recorder: &Recorder) -> Vec<(String, crate::bench::durations::Durations)> {
    let mut named = vec![
        ("lock_hold".to_owned(), recorder.lock_hold.clone()),
        ("window".to_owned(), recorder.window.clone()),
    ];
    for ending in Ending::ALL {
        if ending != Ending::Committed {
            named.push((ending.name().to_owned(), recorder.response[ending as usize].clone()));
        }
        for (phase, durations) in Phase::ALL.into_iter().zip(&recorder.phases[ending as usize]) {
            named.push((format!("{}.{}", ending.name(), phase.name()), durations.clone()));
        }
    }
    named.retain(|(_, durations)| durations.count() > 0);
    named
}

struct Log<'a> {
    file: &'a mut File,
    failed: Option<String>,
}

/// What watches a run: progress, and the log of transfers.
struct Seen<'a> {
    what: String,
    progress: &'a mut Progress,
    log: Option<Log<'a>>,
    of: (String, String, u32, Routing),
}

impl Watch for Seen<'_> {
    fn samples(&mut self, samples: &[Sample]) {
        let Some(log) = &mut self.log else { return };
        if log.failed.is_none() {
            let (run_id, strategy, run, routing) = &self.of;
            let of = TransfersOf { run_id, strategy, run: *run, routing: *routing };
            let written = log.file.write_all(&csv::transfers(of, samples));
            log.failed = written.err().map(|error| format!("transfers.csv has holes: {error}"));
        }
    }

    fn tick(&mut self, elapsed: Duration, so_far: &Recorder) {
        self.progress.tick(&self.what, elapsed, so_far);
    }
}
