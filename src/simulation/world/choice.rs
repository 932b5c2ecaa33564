//! What can happen next in a world, and in words what it would be.

use std::fmt;

use super::{State, Statement, World};
use crate::simulation::network::Target;
use crate::transfer::AccountId;

/// How much may still go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Budget {
    /// Processes that may be killed.
    pub crashes: u8,
    /// Answers that may be lost: with their request, after it, or before it is carried out.
    pub faults: u8,
    /// Sessions on shard 0 that live processes may lose.
    pub sessions: u8,
    /// Shards that may be restarted.
    pub restarts: u8,
    /// Statements that a server may turn away (deadlock, no slot, busy).
    pub refusals: u8,
    /// Accounts that may be closed.
    pub closings: u8,
}

impl Budget {
    /// Nothing goes wrong.
    pub const NONE: Self =
        Self { crashes: 0, faults: 0, sessions: 0, restarts: 0, refusals: 0, closings: 0 };
}

/// What can happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Choice {
    /// A statement is carried out as far as it goes, and its answer arrives.
    Run(u64),
    /// A statement is carried out and its answer is lost.
    RunUnheard(u64),
    /// The caller gives up; the statement can still be carried out at any later time, or never.
    GiveUp(u64),
    /// A waiting statement has waited longer than `lock_timeout`.
    LockTimeout(u64),
    /// The server turns a statement away.
    TurnAway(u64),
    /// A process is killed. What it has sent goes on.
    Crash(usize),
    /// The lock of a process' epoch is gone: its session has ended, the process perhaps not.
    LoseSession(usize),
    /// A shard restarts.
    Restart(u16),
    /// An account is closed.
    Close(AccountId),
}

impl World {
    /// Everything that can happen next, in an order that depends on this world alone.
    #[must_use]
    pub fn choices(&self) -> Vec<Choice> {
        let mut choices = Vec::new();
        for statement in &self.statements {
            let id = statement.id;
            let can_run = match statement.state {
                State::Sent => true,
                State::Waits { blocker, .. } => !self.is_open(statement, blocker),
            };
            let waits = statement.state != State::Sent;
            choices.push(if can_run { Choice::Run(id) } else { Choice::LockTimeout(id) });
            if statement.is_awaited && self.budget.faults > 0 {
                choices.push(Choice::GiveUp(id));
                if can_run && !waits && statement.request.has_effect() {
                    choices.push(Choice::RunUnheard(id));
                }
            }
            if self.budget.refusals > 0 && can_run && statement.request.turned_away().is_some() {
                choices.push(Choice::TurnAway(id));
            }
        }
        for (number, process) in self.processes.iter().enumerate() {
            let is_busy = self.is_busy(number);
            let is_locked = self.lives[process.life].is_locked;
            if process.is_alive && is_busy && self.budget.crashes > 0 {
                choices.push(Choice::Crash(number));
            }
            // A process that has nothing left to do may exit; a dead one's session ends.
            if is_locked && process.may_end && (!is_busy || self.budget.sessions > 0) {
                choices.push(Choice::LoseSession(number));
            }
        }
        if self.budget.restarts > 0 {
            let count = u16::try_from(self.shards.len()).expect("few shards");
            choices.extend((0..count).map(Choice::Restart));
        }
        if self.budget.closings > 0 {
            let open = self.shards().flat_map(|shard| {
                let ids = shard.accounts().map(|(id, _)| id);
                ids.filter(|id| shard.can_be_closed(*id))
            });
            choices.extend(open.map(Choice::Close));
        }
        choices
    }

    fn is_open(&self, statement: &Statement, blocker: u64) -> bool {
        match statement.request.target() {
            Target::Shard(shard) => self.shards[usize::from(shard.0)].shard.is_open(blocker),
            Target::File(_) | Target::LockService | Target::Here => false,
        }
    }

    fn named_by(&self, choice: Choice) -> Option<&Statement> {
        match choice {
            Choice::Run(id)
            | Choice::RunUnheard(id)
            | Choice::GiveUp(id)
            | Choice::LockTimeout(id)
            | Choice::TurnAway(id) => self.statements.iter().find(|one| one.id == id),
            Choice::Crash(_) | Choice::LoseSession(_) | Choice::Restart(_) | Choice::Close(_) => {
                None
            }
        }
    }

    /// Whose statement a choice is about.
    #[must_use]
    pub fn task_of(&self, choice: Choice) -> Option<usize> {
        self.named_by(choice).map(|statement| statement.task)
    }

    /// What a choice means here, for a trace.
    #[must_use]
    pub fn describe(&self, choice: Choice) -> String {
        let Some(statement) = self.named_by(choice) else {
            return format!("{choice}");
        };
        let Statement { task, request, state, is_awaited, .. } = statement;
        let process = self.tasks[*task].process;
        let waited = if matches!(state, State::Waits { .. }) { " (it had waited)" } else { "" };
        let left = if *is_awaited { "" } else { " (nobody waits for it)" };
        format!("{choice}: process {process} task {task}: {request}{waited}{left}")
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(_) => write!(f, "run"),
            Self::RunUnheard(_) => write!(f, "run, answer lost"),
            Self::GiveUp(_) => write!(f, "caller gives up"),
            Self::LockTimeout(_) => write!(f, "lock timeout"),
            Self::TurnAway(_) => write!(f, "turned away"),
            Self::Crash(process) => write!(f, "process {process} is killed"),
            Self::LoseSession(process) => write!(f, "process {process} loses its epoch's lock"),
            Self::Restart(shard) => write!(f, "shard {shard} restarts"),
            Self::Close(account) => write!(f, "account {account} is closed"),
        }
    }
}
