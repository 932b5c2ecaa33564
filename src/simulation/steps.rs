//! What each choice does to the world.

use super::locking::LockRequest;
use super::network::{Reply, Request, Target};
use super::scheduler::Programs;
use super::shard::Progress;
use super::world::{Budget, Progressed, State, Statement, Violation, World, epoch_of, life_of};
use crate::transfer::{AccountId, Epoch, ShardIndex};

impl World {
    pub(super) fn statement(&self, id: u64) -> &Statement {
        self.statements.iter().find(|one| one.id == id).expect("a choice names a statement")
    }

    fn take(&mut self, id: u64) -> Statement {
        let place = self.statements.iter().position(|one| one.id == id);
        self.statements.remove(place.expect("a choice names a statement"))
    }

    /// Carries out a statement as far as it goes.
    pub(super) fn run(
        &mut self,
        id: u64,
        is_heard: bool,
        programs: &mut Programs,
    ) -> Result<(), Violation> {
        let statement = self.statement(id);
        let (request, task) = (statement.request.clone(), statement.task);
        let step = match statement.state {
            State::Sent => 0,
            State::Waits { step, .. } => step,
        };
        let before = self.fences();
        let progress = match request.target() {
            Target::Shard(shard) => match &*request {
                Request::OpenEpochs
                | Request::CloseEpoch(_)
                | Request::Liveness(_)
                | Request::EndSessions(..) => {
                    Progress::Answered(self.administer(&request, task, programs)?)
                }
                _ => self.at(shard, |rows| rows.run(id, &request, step)),
            },
            Target::File(epoch) => Progress::Answered(self.write_file(epoch, &request, task)),
            Target::LockService => match &*request {
                Request::Locking(LockRequest::Lock(key)) => {
                    Progress::Answered(self.grant(key.account))
                }
                _ => unreachable!("{request} is not for the lock service"),
            },
            Target::Here => unreachable!("{request} never travels"),
        };
        match progress {
            Progress::Waits { blocker, step } => {
                let place = self.statements.iter().position(|one| one.id == id);
                let statement = &mut self.statements[place.expect("it is running")];
                statement.state = State::Waits { blocker, step };
                if is_heard { Ok(()) } else { self.give_up(id, programs) }
            }
            Progress::Answered(reply) => {
                self.check_fences(&before, &request)?;
                self.check_partner(&request, &reply)?;
                let statement = self.take(id);
                if !statement.is_awaited {
                    return Ok(());
                }
                if !is_heard {
                    self.poison(&request);
                }
                let reply = if is_heard { reply } else { Reply::Lost };
                self.answer(task, id, &reply, programs)
            }
        }
    }

    /// The caller hears nothing; the statement may still run.
    pub(super) fn give_up(&mut self, id: u64, programs: &mut Programs) -> Result<(), Violation> {
        let place = self.statements.iter().position(|one| one.id == id).expect("it was sent");
        let statement = &mut self.statements[place];
        statement.is_awaited = false;
        let (task, request) = (statement.task, statement.request.clone());
        let lives_on = matches!(request.target(), Target::Shard(_)) && request.has_effect();
        if !lives_on {
            self.statements.remove(place);
            self.poison(&request);
        }
        self.answer(task, id, &Reply::Lost, programs)
    }

    /// A decision whose write was not confirmed: the file is not written any more.
    fn poison(&mut self, request: &Request) {
        if let Target::File(epoch) = request.target() {
            self.lives[life_of(epoch)].is_poisoned = true;
        }
    }

    /// A statement ends without an effect.
    pub(super) fn end(
        &mut self,
        id: u64,
        reply: &Reply,
        programs: &mut Programs,
    ) -> Result<(), Violation> {
        let statement = self.take(id);
        if let (Target::Shard(shard), State::Waits { .. }) =
            (statement.request.target(), statement.state)
        {
            self.at(shard, |rows| rows.roll_back(id));
        }
        if statement.is_awaited {
            return self.answer(statement.task, id, reply, programs);
        }
        Ok(())
    }

    pub(super) fn crash(&mut self, process: usize) {
        self.processes[process].is_alive = false;
        let Self { tasks, statements, .. } = self;
        for task in tasks.iter_mut().filter(|task| task.process == process) {
            if task.is_under_way() {
                task.progress = Progressed::Died;
            }
        }
        statements.retain_mut(|statement| {
            if tasks[statement.task].process != process {
                return true;
            }
            statement.is_awaited = false;
            matches!(statement.request.target(), Target::Shard(_)) && statement.request.has_effect()
        });
    }

    /// Everybody exits, what nobody has begun is lost, what waits is rolled back, and nothing
    /// goes wrong any more.
    pub(super) fn stop_everything(&mut self) {
        for process in 0..self.processes.len() {
            self.crash(process);
        }
        for statement in std::mem::take(&mut self.statements) {
            if let (Target::Shard(shard), State::Waits { .. }) =
                (statement.request.target(), statement.state)
            {
                self.at(shard, |rows| rows.roll_back(statement.id));
            }
        }
        for life in &mut self.lives {
            life.is_locked = false;
        }
        self.budget = Budget::default();
    }

    /// Every session of a shard ends; what is prepared survives. With shard 0 go the locks of
    /// all epochs.
    pub(super) fn restart(&mut self, shard: u16, programs: &mut Programs) -> Result<(), Violation> {
        self.budget.restarts -= 1;
        if shard == 0 {
            for life in &mut self.lives {
                life.is_locked = false;
            }
        }
        let here = Target::Shard(ShardIndex(shard));
        self.at(ShardIndex(shard), |rows| rows.forget_lazy_commits());
        let all: Vec<u64> = self.statements.iter().map(|one| one.id).collect();
        for id in all {
            // Answering one may send others, which come after the restart.
            let still = self.statements.iter().find(|one| one.id == id);
            if still.is_some_and(|one| one.request.target() == here) {
                self.end(id, &Reply::Lost, programs)?;
            }
        }
        Ok(())
    }

    /// An account is closed, wherever it is.
    pub(super) fn close(&mut self, account: AccountId) {
        self.budget.closings -= 1;
        let count = u16::try_from(self.shards.len()).expect("few shards");
        for shard in (0..count).map(ShardIndex) {
            self.at(shard, |rows| rows.close(account));
        }
    }

    /// What shard 0, or the server itself, answers.
    fn administer(
        &mut self,
        request: &Request,
        task: usize,
        programs: &mut Programs,
    ) -> Result<Reply, Violation> {
        let own = self.processes[self.tasks[task].process].life;
        Ok(match request {
            Request::OpenEpochs => {
                let open = self.lives.iter().enumerate().filter(|(_, life)| life.is_open);
                Reply::Epochs(open.map(|(life, _)| epoch_of(life)).collect())
            }
            Request::CloseEpoch(epoch) => {
                self.lives[life_of(*epoch)].is_open = false;
                Reply::Done
            }
            Request::Liveness(epoch) if life_of(*epoch) == own => Reply::Own,
            Request::Liveness(epoch) if self.lives[life_of(*epoch)].is_locked => Reply::Live,
            Request::Liveness(_) => Reply::Dead,
            Request::EndSessions(shard, epoch) => {
                self.end_sessions(*shard, life_of(*epoch), programs)?;
                Reply::Done
            }
            _ => unreachable!("{request} is for a shard's rows"),
        })
    }

    fn end_sessions(
        &mut self,
        shard: ShardIndex,
        life: usize,
        programs: &mut Programs,
    ) -> Result<(), Violation> {
        let of_life = self
            .statements
            .iter()
            .filter(|one| one.epoch == life && one.request.target() == Target::Shard(shard));
        let ids: Vec<u64> = of_life.map(|one| one.id).collect();
        for id in ids {
            self.end(id, &Reply::Lost, programs)?;
        }
        Ok(())
    }

    /// A decision in the file of an epoch. A file is written by the process that holds it; when
    /// that one is dead, whoever comes first takes it over.
    fn write_file(&mut self, epoch: Epoch, request: &Request, task: usize) -> Reply {
        let process = self.tasks[task].process;
        let life = &mut self.lives[life_of(epoch)];
        if life.file_owner != process {
            if self.processes[life.file_owner].is_alive {
                return Reply::Lost;
            }
            life.file_owner = process;
            life.is_poisoned = false;
            life.forgotten.clear();
        }
        if life.is_poisoned {
            return Reply::Lost;
        }
        let Request::Decide(key, wanted) = request else {
            unreachable!("{request} is not for a file")
        };
        if life.forgotten.remove(&key.transfer) {
            life.file.remove(&key.transfer);
        }
        Reply::Decision(*life.file.entry(key.transfer).or_insert(*wanted))
    }

    /// Grants a lock, whoever holds it.
    fn grant(&mut self, account: AccountId) -> Reply {
        let granted = self.grants.entry(account).or_default();
        *granted += 1;
        let (epoch, token) = self.tokens.of(*granted);
        Reply::Granted(epoch, token)
    }
}
