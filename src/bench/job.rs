//! One thread with its clients.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use futures_util::future::{AbortHandle, join_all};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

use crate::bench::driver::{Connector, Run};
use crate::bench::load::{Client, Stint, Until};
use crate::bench::plan::Length;
use crate::bench::sample::Sample;
use crate::bench::workload::{Drawer, Stretch, Workload};

/// What stands between warming up and being measured.
#[derive(Debug, Clone, Copy)]
pub enum Gate {
    /// Wait.
    Closed,
    /// Go; the measured window began then.
    Open(Instant),
    /// End at once, whatever is in flight.
    GivenUp,
}

/// How far a thread is.
#[derive(Debug)]
pub enum Event {
    /// It is warmed up and at the gate.
    Ready,
    /// Its clients are done, and all their samples handed over.
    Drained,
    /// It has ended.
    Closed(Result<(), String>),
    /// It could not do its work.
    Failed(String),
}

/// One thread with its clients.
pub struct Job<C> {
    /// What is run.
    pub run: Run,
    /// Which of its clients are this thread's.
    pub clients: Range<u32>,
    /// Opens its verbs.
    pub connector: Arc<C>,
    /// What it waits at between warming up and being measured.
    pub gate: watch::Receiver<Gate>,
    /// Where it tells how far it is.
    pub events: UnboundedSender<Event>,
    /// Where its samples go.
    pub samples: UnboundedSender<Vec<Sample>>,
    /// Raised when no more transfers are to be started.
    pub stop: Arc<AtomicBool>,
}

impl<C: Connector> Job<C> {
    /// Connects, warms up, waits at the gate, measures, settles; tells of each.
    pub fn run(self) {
        let events = self.events.clone();
        let outcome =
            match tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build() {
                Ok(runtime) => runtime.block_on(self.work()),
                Err(error) => Err(format!("cannot start a client thread: {error}")),
            };
        if let Err(line) = outcome {
            // Whoever started the run may have gone.
            let _ = events.send(Event::Failed(line));
        }
    }

    async fn work(mut self) -> Result<(), String> {
        let clients = self.clients.end - self.clients.start;
        let verbs = Arc::new(self.connector.open(clients).await?);
        let workload = self.run.point.workload(&self.run.strategy);
        let warm_up = self.run.point.warm_up;
        if !warm_up.is_zero() {
            let origin = Instant::now();
            let stint = self.stint(origin, Until::Instant(origin + warm_up), None);
            self.clients_work(&workload, Stretch::WarmUp, stint, &verbs).await;
        }
        self.connector.settle(&verbs).await?;
        let _ = self.events.send(Event::Ready);

        let Some(origin) = self.opened().await else { return Ok(()) };
        let until = match self.run.point.length {
            Length::Time(time) => Until::Instant(origin + time),
            Length::Transfers(transfers) => Until::Transfers(transfers),
        };
        let stint = self.stint(origin, until, Some(self.samples.clone()));
        self.clients_work(&workload, Stretch::Measured, stint, &verbs).await;
        let _ = self.events.send(Event::Drained);
        let settled = self.connector.settle(&verbs).await;
        let _ = self.events.send(Event::Closed(settled));
        Ok(())
    }

    /// When the gate was opened; nothing where it never will be.
    async fn opened(&mut self) -> Option<Instant> {
        let gate = self.gate.wait_for(|gate| !matches!(gate, Gate::Closed)).await.ok()?;
        match *gate {
            Gate::Open(origin) => Some(origin),
            Gate::Closed | Gate::GivenUp => None,
        }
    }

    fn stint(
        &self,
        origin: Instant,
        until: Until,
        samples: Option<UnboundedSender<Vec<Sample>>>,
    ) -> Stint {
        Stint {
            strategy: self.run.strategy.clone(),
            max_tries: self.run.point.max_tries,
            origin,
            until,
            stop: Arc::clone(&self.stop),
            samples,
        }
    }

    /// Lets all clients of this thread work, until they are done or the run is given up.
    async fn clients_work(
        &mut self,
        workload: &Workload,
        stretch: Stretch,
        stint: Stint,
        verbs: &Arc<C::Verbs>,
    ) {
        let stint = Arc::new(stint);
        let mut aborts = Vec::new();
        let mut tasks = Vec::new();
        for number in self.clients.clone() {
            let drawer = Drawer { block: self.run.block, stretch, client: number };
            let client = Client::new(number, workload.orders(drawer), stint.origin);
            let (abort, registration) = AbortHandle::new_pair();
            aborts.push(abort);
            let (stint, verbs) = (Arc::clone(&stint), Arc::clone(verbs));
            tasks.push(tokio::spawn(async move {
                client.work(&stint, verbs.as_ref(), registration).await;
            }));
        }
        let mut done = join_all(tasks);
        let given_up = self.gate.wait_for(|gate| matches!(gate, Gate::GivenUp));
        tokio::select! {
            _ = &mut done => return,
            _ = given_up => {}
        }
        aborts.iter().for_each(AbortHandle::abort);
        done.await;
    }
}
