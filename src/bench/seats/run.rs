//! One run: users come to a box office, one after another for each client, and what is seen of
//! them is recorded.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use crate::bench::driver::raised;
use crate::bench::seats::plan::SeatPoint;
use crate::bench::seats::record::{Record, Visit};
use crate::bench::seats::users::Users;
use crate::bench::workload::{Drawer, Stretch};
use crate::ledger::pools::{PoolSettings, Pools};
use crate::ledger::postgres::CoordinatorContext;
use crate::locks::backend::Backend;
use crate::seats::hall::Hall;
use crate::seats::office::{BoxOffice, Seen, Terms};
use crate::seats::{Ending, Way, books, visit};
use crate::verbs::locking::LockTerms;

/// How often a watcher is told how far a run is.
const TICK: Duration = Duration::from_millis(100);
/// How long a client waits after a user who could not be served.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(20);
/// A checkout that is left behind keeps its connection until its time is over, so there are as
/// many again; who finds none waits.
const CONNECTIONS_A_CLIENT: u32 = 2;

/// One run.
#[derive(Clone)]
pub struct SeatRun {
    /// By which way.
    pub way: Way,
    /// Under what circumstances.
    pub point: SeatPoint,
    /// In which block.
    pub block: u32,
}

/// Where it runs.
pub struct Ground {
    /// The shards, and who works on them.
    pub context: CoordinatorContext,
    /// How it talks to them.
    pub settings: PoolSettings,
    /// Who grants locks and on which terms, where the way works under any.
    pub locks: Option<(Backend, LockTerms)>,
}

/// What was measured.
pub struct Measured {
    /// The record.
    pub record: Record,
    /// How long the window was open.
    pub window: Duration,
    /// Whether the run was stopped before its time.
    pub interrupted: bool,
    /// How many batches were put on sale, over all shards.
    pub batches: u64,
    /// Locks that were left, where the way works under any.
    pub locks_left: u64,
    /// Users who were told that nobody knows, and whether they came within the window.
    pub in_doubt: Vec<(Uuid, bool)>,
}

/// Connections to a shard that `clients` users at a time may take.
#[must_use]
pub const fn connections(clients: u32) -> u32 {
    // One more for the sweeper.
    clients * CONNECTIONS_A_CLIENT + 1
}

/// Makes `run` on tables that are empty; tells `watch` of it now and then. When `stopped` becomes
/// true nobody comes any more and who thinks is sent home.
///
/// # Errors
/// A line that says why nothing could be measured.
pub async fn run(
    run: &SeatRun,
    ground: &Ground,
    mut stopped: watch::Receiver<bool>,
    watch: impl FnMut(Duration, &Record) + Send,
) -> Result<Measured, String> {
    // It may have been raised before anybody looked.
    stopped.mark_changed();
    let (close, closing) = watch::channel(false);
    let (seen_sender, seen) = unbounded_channel();
    let office = open(run, ground, seen_sender, closing).await?;
    let sweeper = (run.way == Way::Reserve).then(|| {
        let office = Arc::clone(&office);
        tokio::spawn(async move { office.sweep().await })
    });
    let (visit_sender, visits) = unbounded_channel();
    let mut day = Day { run, office: &office, visit_sender, visits, seen, close, stopped, watch };

    // The record of the warm-up keeps nothing but what the proof needs to know.
    let mut warm_up = Record::new(Instant::now(), run.point.warm_up);
    let mut in_doubt = day.stretch(Stretch::WarmUp, &mut warm_up).await?;
    in_doubt.iter_mut().for_each(|(_, is_measured)| *is_measured = false);
    let began_at = Instant::now();
    let mut record = Record::new(began_at, run.point.length);
    record.sold_before = warm_up.count(Ending::Sold);
    record.complaints = warm_up.complaints;
    in_doubt.extend(day.stretch(Stretch::Measured, &mut record).await?);
    let elapsed = began_at.elapsed();
    let interrupted = office.is_closing();

    // Everybody has left. What they left behind is given up, and not in half an hour.
    day.close.send_replace(true);
    office.close().await;
    if let Some(sweeper) = sweeper {
        sweeper.await.map_err(|error| format!("the sweeper has died: {error}"))?;
    }
    day.rest(&mut record);
    let locks_left = match run.way.lock_service() {
        None => 0,
        Some(_) => {
            books::locks_left(&ground.context.cluster, &office).await.unwrap_or_else(|line| {
                record.complaint(format!("locks that are left were not counted: {line}"));
                0
            })
        }
    };
    Ok(Measured {
        window: elapsed.min(run.point.length),
        record,
        interrupted,
        batches: office.hall().opened(),
        locks_left,
        in_doubt,
    })
}

/// An office with its first batch on sale and its connections made.
async fn open(
    run: &SeatRun,
    ground: &Ground,
    seen: UnboundedSender<Seen>,
    closing: watch::Receiver<bool>,
) -> Result<Arc<BoxOffice>, String> {
    let SeatPoint { clients, seats, seats_on, hold, .. } = run.point;
    let CoordinatorContext { cluster, presence, .. } = &ground.context;
    let in_use = match run.way {
        Way::HoldRow => connections(clients),
        Way::Reserve | Way::UnderLock(_) => clients + 1,
    };
    let as_count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    let settings = PoolSettings { connections: as_count(in_use), ..ground.settings.clone() };
    let mut lock_wait = settings.lock_timeout;
    let pools = Pools::new(cluster.clone(), presence.clone(), settings);
    pools.epoch().await.map_err(|error| error.to_string())?;
    // A connection that is opened while something is measured would be measured.
    pools.fill().await.map_err(|error| error.to_string())?;
    let locks = match &ground.locks {
        None => None,
        Some((backend, terms)) => {
            lock_wait = terms.wait;
            let opened = backend.open(cluster, presence, as_count(clients), *terms).await;
            Some(opened.map_err(|error| format!("{}: {error}", backend.name()))?)
        }
    };
    let hall = Hall::new(seats, seats_on, cluster.routing());
    let terms = Terms { hold, lock_wait };
    let office = BoxOffice::new(pools, locks, hall, terms, seen, closing);
    office.open().await.map_err(|failure| failure.error.to_string())?;
    books::analyze(cluster).await.map_err(|error| error.to_string())?;
    Ok(Arc::new(office))
}

/// What goes on around the office while it is open.
struct Day<'a, W> {
    run: &'a SeatRun,
    office: &'a Arc<BoxOffice>,
    visit_sender: UnboundedSender<(Uuid, Visit)>,
    visits: UnboundedReceiver<(Uuid, Visit)>,
    seen: UnboundedReceiver<Seen>,
    close: watch::Sender<bool>,
    stopped: watch::Receiver<bool>,
    watch: W,
}

impl<W: FnMut(Duration, &Record) + Send> Day<'_, W> {
    /// Lets users come for as long as the stretch is, and waits until all have left. Who was told
    /// that nobody knows is returned.
    async fn stretch(
        &mut self,
        stretch: Stretch,
        record: &mut Record,
    ) -> Result<Vec<(Uuid, bool)>, String> {
        let SeatRun { way, point, block } = self.run;
        let origin = Instant::now();
        let until = origin
            + match stretch {
                Stretch::WarmUp => point.warm_up,
                Stretch::Measured => point.length,
            };
        let mut clients = JoinSet::new();
        for client in 0..point.clients {
            let users = Users::new(point, Drawer { block: *block, stretch, client });
            let (office, visits) = (Arc::clone(self.office), self.visit_sender.clone());
            clients.spawn(serve(office, *way, users, until, visits));
        }
        let mut in_doubt = Vec::new();
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                biased;
                Some((user, visit)) = self.visits.recv() => {
                    if visit.ending == Ending::InDoubt {
                        in_doubt.push((user, true));
                    }
                    record.visited(&visit);
                }
                Some(seen) = self.seen.recv() => take_in(record, seen),
                ended = clients.join_next() => match ended {
                    Some(ended) => ended.map_err(|error| format!("a client has died: {error}"))?,
                    None => break,
                },
                _ = tick.tick() => if stretch == Stretch::Measured {
                    (self.watch)(origin.elapsed(), record);
                },
                () = raised(&mut self.stopped) => {
                    self.close.send_replace(true);
                }
            }
        }
        self.rest(record);
        Ok(in_doubt)
    }

    /// Takes in what has been seen and not yet been looked at.
    fn rest(&mut self, record: &mut Record) {
        while let Ok(seen) = self.seen.try_recv() {
            take_in(record, seen);
        }
    }
}

fn take_in(record: &mut Record, seen: Seen) {
    match seen {
        Seen::Held { came_at, how_long } => record.held(came_at, how_long),
        Seen::Complaint(line) => record.complaint(line),
    }
}

/// Serves one user after another.
async fn serve(
    office: Arc<BoxOffice>,
    way: Way,
    mut users: Users,
    until: Instant,
    visits: UnboundedSender<(Uuid, Visit)>,
) {
    while Instant::now() < until && !office.is_closing() {
        let user = users.next_user();
        let ending = visit(&office, way, &user).await;
        let visit = Visit { came_at: user.came_at, left_at: Instant::now(), ending };
        // Whoever records may have gone.
        visits.send((user.id, visit)).ok();
        if matches!(ending, Ending::Failed | Ending::InDoubt) {
            tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
        }
    }
}
