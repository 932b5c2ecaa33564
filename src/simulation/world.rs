//! The whole of the simulated cluster at one instant, and everything that can happen next.
//!
//! A world is a value: it is cloned, compared by its hash, and moved on by a [`Choice`]. Every
//! nondeterminism there is goes through [`World::choices`].

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::rc::Rc;

mod choice;
mod life;

pub use choice::{Budget, Choice};
pub(super) use life::{Life, Process, epoch_of, life_of};

use super::fingerprint::hash_of;
use super::holds::HoldRequest;
use super::locking::Tokens;
use super::network::{Reply, Request};
use super::scheduler::{Ended, Node, Program, Programs};
use super::shard::Shard;
use crate::outcome::Outcome;
use crate::transfer::{AccountId, ShardIndex};
use crate::verbs::Register;

/// Something broke the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(pub String);

/// Whether a statement has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum State {
    Sent,
    Waits { blocker: u64, step: u8 },
}

/// A message that was sent and not answered, or the statement it has become.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    pub(super) id: u64,
    pub(super) request: Rc<Request>,
    pub(super) task: usize,
    /// The epoch in the name of its session.
    pub(super) epoch: usize,
    pub(super) is_awaited: bool,
    pub(super) state: State,
}

impl Hash for Statement {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        // The id names the request and the task.
        (self.id, self.epoch, self.is_awaited, self.state).hash(hasher);
    }
}

/// How far a task is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progressed {
    /// It begins when another task has ended or died.
    Follows {
        /// That task.
        other: usize,
        /// What it will do.
        program: Rc<Program>,
    },
    /// It waits for answers.
    Running(Node),
    /// Its caller has the answer.
    Answered(Outcome),
    /// The pass of recovery is over.
    Recovered {
        /// Whether it saw everything and left nothing.
        is_clean: bool,
    },
    /// It died with its process.
    Died,
}

impl Hash for Progressed {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        match self {
            Self::Running(node) => (0, node).hash(hasher),
            Self::Answered(outcome) => (1, format!("{outcome:?}")).hash(hasher),
            // What a pass saw has no bearing on what can happen next.
            Self::Recovered { .. } => 2.hash(hasher),
            Self::Died => 3.hash(hasher),
            Self::Follows { other, .. } => (4, other).hash(hasher),
        }
    }
}

#[derive(Debug, Clone, Hash)]
pub(super) struct Task {
    pub(super) process: usize,
    pub(super) progress: Progressed,
}

impl Task {
    pub(super) const fn is_under_way(&self) -> bool {
        matches!(self.progress, Progressed::Running(_) | Progressed::Follows { .. })
    }
}

/// A shard that many worlds share, hashed once.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) shard: Shard,
    hash: u64,
}

impl Kept {
    fn new(shard: Shard) -> Rc<Self> {
        let hash = hash_of(&shard);
        Rc::new(Self { shard, hash })
    }
}

impl Hash for Kept {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.hash.hash(hasher);
    }
}

/// The cluster at one instant.
#[derive(Debug, Clone, Hash)]
pub struct World {
    pub(super) shards: Vec<Rc<Kept>>,
    pub(super) lives: Vec<Life>,
    pub(super) processes: Vec<Process>,
    pub(super) tasks: Vec<Task>,
    pub(super) statements: Vec<Statement>,
    /// How often each lock was granted.
    pub(super) grants: BTreeMap<AccountId, i32>,
    pub(super) tokens: Tokens,
    pub(super) budget: Budget,
    /// Two orders share an id, so legs of one id need not be partners.
    pub(super) ids_are_reused: bool,
}

impl World {
    /// Shards at rest, and a lock service that numbers its grants by `tokens`.
    #[must_use]
    pub fn new(shards: Vec<Shard>, tokens: Tokens, budget: Budget) -> Self {
        let shards = shards.into_iter().map(Kept::new).collect();
        let (lives, processes, tasks, statements, grants) = Default::default();
        let ids_are_reused = false;
        Self { shards, lives, processes, tasks, statements, grants, tokens, budget, ids_are_reused }
    }

    /// The shards.
    pub fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.shards.iter().map(|kept| &kept.shard)
    }

    /// Changes a shard.
    pub(super) fn at<T>(&mut self, shard: ShardIndex, act: impl FnOnce(&mut Shard) -> T) -> T {
        let place = &mut self.shards[usize::from(shard.0)];
        let mut shard = place.shard.clone();
        let result = act(&mut shard);
        *place = Kept::new(shard);
        result
    }

    /// How the tasks are getting on, in the order in which they were started.
    pub fn progress(&self) -> impl Iterator<Item = &Progressed> {
        self.tasks.iter().map(|task| &task.progress)
    }

    /// Whether no task waits for anything any more.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        !self.tasks.iter().any(Task::is_under_way)
    }

    /// Starts a process under a fresh epoch and returns its number. Where it `may_end`, its
    /// epoch's lock can go before everything is over.
    pub fn start_process(&mut self, may_end: bool) -> usize {
        let process = self.processes.len();
        self.processes.push(Process { is_alive: true, life: 0, may_end });
        self.begin_life(process);
        process
    }

    fn begin_life(&mut self, process: usize) {
        self.lives.push(Life {
            process,
            is_locked: true,
            is_open: true,
            file: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            file_owner: process,
            is_poisoned: false,
        });
        self.processes[process].life = self.lives.len() - 1;
    }

    /// Starts a task in a process; where it is to follow `other`, when that one has ended.
    ///
    /// # Errors
    /// It broke a rule at once.
    pub fn start_task(
        &mut self,
        process: usize,
        program: &Program,
        other: Option<usize>,
        programs: &mut Programs,
    ) -> Result<(), Violation> {
        let task = self.tasks.len();
        if let Some(other) = other {
            let program = Rc::new(program.clone());
            self.tasks.push(Task { process, progress: Progressed::Follows { other, program } });
            return Ok(());
        }
        self.tasks.push(Task { process, progress: Progressed::Died });
        self.begin(task, program, programs)
    }

    fn begin(
        &mut self,
        task: usize,
        program: &Program,
        programs: &mut Programs,
    ) -> Result<(), Violation> {
        let node = programs.start(task, program);
        self.tasks[task].progress = Progressed::Running(node);
        let calls = programs.open(node);
        self.moved(task, node, calls.iter().map(|call| call.id).collect(), programs)
    }

    /// Starts what was to follow something that has ended.
    fn start_followers(&mut self, programs: &mut Programs) -> Result<(), Violation> {
        for task in 0..self.tasks.len() {
            if let Progressed::Follows { other, program } = &self.tasks[task].progress
                && !self.tasks[*other].is_under_way()
            {
                let program = Rc::clone(program);
                self.begin(task, &program, programs)?;
            }
        }
        Ok(())
    }

    /// Takes up what a task has called since it came to `node`.
    fn moved(
        &mut self,
        task: usize,
        node: Node,
        new: Vec<u64>,
        programs: &mut Programs,
    ) -> Result<(), Violation> {
        match programs.ended(node) {
            None => {}
            Some(Ended::Answered(outcome)) => {
                self.tasks[task].progress = Progressed::Answered(outcome.clone());
            }
            Some(Ended::Recovered(recovered)) => {
                if !recovered.damage.is_empty() {
                    return Err(Violation(format!("recovery saw damage: {:?}", recovered.damage)));
                }
                let is_clean = recovered.is_clean();
                self.tasks[task].progress = Progressed::Recovered { is_clean };
            }
            Some(Ended::Panicked) => return Err(Violation(format!("task {task} panicked"))),
        }
        let process = self.tasks[task].process;
        for call in programs.open(node).iter().filter(|call| new.contains(&call.id)) {
            match &*call.request {
                Request::Epoch => {
                    if !self.lives[self.processes[process].life].is_locked {
                        self.begin_life(process);
                    }
                    let epoch = epoch_of(self.processes[process].life);
                    self.answer(task, call.id, &Reply::Epoch(epoch), programs)?;
                }
                Request::Forget(key) => {
                    if key.register == Register::File {
                        self.lives[life_of(key.epoch)].forgotten.insert(key.transfer);
                    }
                    self.answer(task, call.id, &Reply::Done, programs)?;
                }
                Request::FinishLater(branches) => {
                    for (place, (shard, gid)) in branches.iter().enumerate() {
                        let order = crate::strategies::ending::Order::Commit;
                        let request = Rc::new(Request::Finish(*shard, gid.clone(), order));
                        let id = hash_of((call.id, place));
                        self.send(id, request, task, false);
                    }
                    self.answer(task, call.id, &Reply::Done, programs)?;
                }
                Request::ConfirmLater(branches) => {
                    for (place, branch) in branches.iter().enumerate() {
                        let request = Rc::new(Request::Hold(HoldRequest::Confirm(*branch)));
                        self.send(hash_of((call.id, place)), request, task, false);
                    }
                    self.answer(task, call.id, &Reply::Done, programs)?;
                }
                _ => self.send(call.id, Rc::clone(&call.request), task, true),
            }
        }
        Ok(())
    }

    fn send(&mut self, id: u64, request: Rc<Request>, task: usize, is_awaited: bool) {
        let epoch = self.processes[self.tasks[task].process].life;
        let statement = Statement { id, request, task, epoch, is_awaited, state: State::Sent };
        let place = self.statements.partition_point(|one| one.id < id);
        self.statements.insert(place, statement);
    }

    /// Hands a task the answer to one of its calls.
    pub(super) fn answer(
        &mut self,
        task: usize,
        call: u64,
        reply: &Reply,
        programs: &mut Programs,
    ) -> Result<(), Violation> {
        let Progressed::Running(node) = self.tasks[task].progress else { return Ok(()) };
        let before = programs.open(node);
        let next = programs.answer(node, call, reply);
        self.tasks[task].progress = Progressed::Running(next);
        let is_new = |id: &u64| before.iter().all(|call| call.id != *id);
        let new = programs.open(next).iter().map(|call| call.id).filter(is_new).collect();
        self.moved(task, next, new, programs)
    }

    pub(super) fn is_busy(&self, process: usize) -> bool {
        self.tasks.iter().any(|task| task.process == process && task.is_under_way())
    }

    /// Lets `choice` happen.
    ///
    /// # Errors
    /// It broke a rule.
    pub fn apply(&mut self, choice: Choice, programs: &mut Programs) -> Result<(), Violation> {
        self.happen(choice, programs)?;
        self.start_followers(programs)
    }

    fn happen(&mut self, choice: Choice, programs: &mut Programs) -> Result<(), Violation> {
        match choice {
            Choice::Run(id) => self.run(id, true, programs),
            Choice::RunUnheard(id) => {
                self.budget.faults -= 1;
                self.run(id, false, programs)
            }
            Choice::GiveUp(id) => {
                self.budget.faults -= 1;
                self.give_up(id, programs)
            }
            Choice::LockTimeout(id) => {
                let reply = self.statement(id).request.timed_out();
                self.end(id, &reply, programs)
            }
            Choice::TurnAway(id) => {
                self.budget.refusals -= 1;
                let reply = self.statement(id).request.turned_away();
                self.end(id, &reply.expect("it can be turned away"), programs)
            }
            Choice::Crash(process) => {
                self.budget.crashes -= 1;
                self.crash(process);
                Ok(())
            }
            Choice::LoseSession(process) => {
                let is_busy = self.is_busy(process);
                self.budget.sessions -= u8::from(is_busy);
                let process = &mut self.processes[process];
                process.is_alive &= is_busy;
                self.lives[process.life].is_locked = false;
                Ok(())
            }
            Choice::Close(account) => {
                self.close(account);
                Ok(())
            }
            Choice::Restart(shard) => self.restart(shard, programs),
        }
    }
}
