//! Runs the real protocol code, one poll at a time.
//!
//! A task is a deterministic function of the answers that it has received. So the state of a
//! task is a *node*: the set of answers so far, what it now waits for, and how it ended. Nodes
//! are remembered: a task is polled only where nobody has been before, and a world that is
//! looked at a million times costs a million table look-ups.
//!
//! Answers to calls that run side by side are taken as a *set*: whichever came first, the task
//! is in the same node. Strategies join futures that share nothing and combine their results by
//! position, so this holds; wherever two orders meet, [`Programs`] checks that both wait for the
//! same.

use std::future::Future;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::cluster::{Mailbox, Plant, SimulatedVerbs};
use super::fingerprint::{Table, hash_of};
use super::leavings::Leavings;
use super::network::{Reply, Request};
use crate::outcome::Outcome;
use crate::strategies::Strategy;
use crate::strategies::recovery::{Recovered, recover};
use crate::strategies::relay::round;
use crate::strategies::saga_choreographed::BATCH;
use crate::transfer::{Routing, ShardIndex, Transfer};

/// What a task does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// One transfer.
    Transfer {
        /// How.
        strategy: Strategy,
        /// What.
        transfer: Transfer,
        /// In how many tries.
        max_tries: NonZeroU32,
    },
    /// One pass of recovery, without any grace.
    Recovery,
    /// One round of a relay on each of these shards, in this order.
    Relay {
        /// The shards.
        shards: [ShardIndex; 2],
    },
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The transfer was answered.
    Answered(Outcome),
    /// The pass is over, or a relay has made its rounds.
    Recovered(Recovered),
    /// The protocol code came to what it calls impossible.
    Panicked,
}

/// A call that has not been answered, under a name that does not depend on the order in which
/// other calls were.
#[derive(Debug, Clone)]
pub struct Call {
    /// Unique among all calls of all tasks.
    pub id: u64,
    /// What was called.
    pub request: Rc<Request>,
}

/// Where a task is.
pub type Node = usize;

struct Live {
    future: Pin<Box<dyn Future<Output = Ended>>>,
    mailbox: Mailbox,
    numbers: Table<u64, usize>,
}

struct Place {
    task: usize,
    program: Rc<Program>,
    /// One order of the answers that leads here.
    history: Vec<(u64, Reply)>,
    /// The answers that lead here, in no order.
    answers: u64,
    open: Rc<[Call]>,
    ended: Option<Ended>,
    /// The future itself, unless it has gone on to another node.
    live: Option<Live>,
}

/// All tasks, wherever they can be.
pub struct Programs {
    routing: Routing,
    plant: Option<Plant>,
    leavings: Leavings,
    places: Vec<Place>,
    roots: Vec<(usize, Rc<Program>, Node)>,
    edges: Table<(Node, u64, Reply), Node>,
    known: Table<(Node, u64), Node>,
}

impl Programs {
    /// No task yet.
    #[must_use]
    pub fn new(routing: Routing, plant: Option<Plant>, leavings: Leavings) -> Self {
        Self {
            routing,
            plant,
            leavings,
            places: Vec::new(),
            roots: Vec::new(),
            edges: Table::default(),
            known: Table::default(),
        }
    }

    /// How many states of tasks were met.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.places.len()
    }

    /// Task `task` before its first answer.
    pub fn start(&mut self, task: usize, program: &Program) -> Node {
        let known =
            self.roots.iter().find(|(index, known, _)| *index == task && **known == *program);
        if let Some((_, _, node)) = known {
            return *node;
        }
        let program = Rc::new(program.clone());
        let mut live = self.spawn(task, &program);
        let (open, ended) = poll(&mut live, Vec::new(), hash_of((task, "start")));
        let place = Place {
            task,
            program: Rc::clone(&program),
            history: Vec::new(),
            answers: 0,
            open,
            ended,
            live: Some(live),
        };
        self.places.push(place);
        let node = self.places.len() - 1;
        self.roots.push((task, program, node));
        node
    }

    fn spawn(&self, task: usize, program: &Program) -> Live {
        let mailbox = Mailbox::default();
        let number = u64::try_from(task).expect("few tasks");
        let verbs =
            SimulatedVerbs::new(mailbox.clone(), self.routing, number, self.plant, self.leavings);
        let program = program.clone();
        let future = Box::pin(async move {
            match program {
                Program::Transfer { strategy, transfer, max_tries } => {
                    let report = strategy.transfer(&verbs, &transfer, max_tries).await;
                    Ended::Answered(report.outcome)
                }
                Program::Recovery => Ended::Recovered(recover(&verbs, Duration::ZERO).await),
                Program::Relay { shards } => {
                    for shard in shards {
                        round(&verbs, shard, BATCH).await;
                    }
                    // What it saw has no bearing on what can happen next.
                    Ended::Recovered(Recovered::default())
                }
            }
        });
        Live { future, mailbox, numbers: Table::default() }
    }

    /// What the task waits for.
    #[must_use]
    pub fn open(&self, node: Node) -> Rc<[Call]> {
        Rc::clone(&self.places[node].open)
    }

    /// How the task has ended, if it has.
    #[must_use]
    pub fn ended(&self, node: Node) -> Option<&Ended> {
        self.places[node].ended.as_ref()
    }

    /// The node that the task comes to when `call` is answered.
    pub fn answer(&mut self, node: Node, call: u64, reply: &Reply) -> Node {
        let edge = (node, call, reply.clone());
        if let Some(next) = self.edges.get(&edge) {
            return *next;
        }
        let from = &mut self.places[node];
        let answers = from.answers.wrapping_add(hash_of((call, reply)));
        let (task, program) = (from.task, Rc::clone(&from.program));
        let history = from.history.clone();
        let mut live = match from.live.take() {
            Some(live) => live,
            None => {
                let mut live = self.spawn(task, &program);
                let (mut open, _) = poll(&mut live, Vec::new(), hash_of((task, "start")));
                for (call, reply) in &history {
                    (open, _) = deliver(&mut live, &open, *call, reply);
                }
                live
            }
        };
        let (open, ended) = deliver(&mut live, &self.places[node].open, call, reply);
        let root = self.root_of(task, &program);
        let next = match self.known.get(&(root, answers)) {
            Some(known) => {
                let place = &self.places[*known];
                let contents = |open: &[Call]| {
                    let mut all: Vec<_> =
                        open.iter().map(|call| Rc::clone(&call.request)).collect();
                    all.sort_by_key(|request| hash_of(request));
                    all
                };
                assert!(
                    contents(&place.open) == contents(&open) && place.ended == ended,
                    "the order of answers matters to a task, so they may not be taken as a set"
                );
                *known
            }
            None => {
                let history = history.into_iter().chain([(call, reply.clone())]).collect();
                let live = Some(live);
                self.places.push(Place { task, program, history, answers, open, ended, live });
                self.known.insert((root, answers), self.places.len() - 1);
                self.places.len() - 1
            }
        };
        self.edges.insert(edge, next);
        next
    }

    fn root_of(&self, task: usize, program: &Rc<Program>) -> Node {
        let root = self
            .roots
            .iter()
            .find(|(index, known, _)| *index == task && Rc::ptr_eq(known, program));
        root.expect("a task has started before it is answered").2
    }
}

fn deliver(
    live: &mut Live,
    open: &[Call],
    call: u64,
    reply: &Reply,
) -> (Rc<[Call]>, Option<Ended>) {
    let number = live.numbers.remove(&call).expect("only an open call is answered");
    live.mailbox.answer(number, reply.clone());
    let rest = open.iter().filter(|one| one.id != call).cloned().collect();
    poll(live, rest, call)
}

/// Polls the task, after the call named `cause` was answered.
fn poll(live: &mut Live, mut open: Vec<Call>, cause: u64) -> (Rc<[Call]>, Option<Ended>) {
    let mut context = Context::from_waker(Waker::noop());
    let polled = catch_unwind(AssertUnwindSafe(|| live.future.as_mut().poll(&mut context)));
    for (place, (number, request)) in live.mailbox.collect().into_iter().enumerate() {
        let id = hash_of((cause, place, &request));
        live.numbers.insert(id, number);
        open.push(Call { id, request: Rc::new(request) });
    }
    let ended = match polled {
        Ok(Poll::Pending) => None,
        Ok(Poll::Ready(ended)) => Some(ended),
        Err(_) => Some(Ended::Panicked),
    };
    (open.into(), ended)
}
