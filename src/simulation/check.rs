//! What must hold at the end of every schedule.
//!
//! Nothing may be left prepared, and no intent or event open, once recovery has run to its fixed
//! point; each transfer has both its effects or none, refunds netted; balances are what the legs say;
//! every answer that was given is true, and asking again under the same id gives it again.

use super::fingerprint::{Table, hash_of};
use super::network::short;
use super::scene::{MAX_TRIES, Scene, is_same_order};
use super::scheduler::{Program, Programs};
use super::shard::IntentState;
use super::world::{Choice, Progressed, Violation, World};
use crate::outcome::{LegOutcome, Outcome};
use crate::strategies::Strategy;
use crate::transfer::{Branch, IdOrigin, LegKind, ShardIndex, Transfer};

/// More passes than recovery ever needs once nothing goes wrong any more.
const MAX_PASSES: usize = 6;

/// More steps than a task ever takes when it is alone.
const MAX_STEPS: usize = 500;

/// Ends every schedule: faults stop, all processes end, recovery runs to its fixed point.
#[derive(Debug)]
pub struct Inspector {
    scene: Scene,
    transfers: Vec<Transfer>,
    repeats: Vec<Strategy>,
    /// The ends that have been looked at.
    known: Table<u64, Result<(), Violation>>,
}

fn violation<T>(text: impl Into<String>) -> Result<T, Violation> {
    Err(Violation(text.into()))
}

impl Inspector {
    /// For schedules of `scene`; at the end every transfer is asked for again by each of
    /// `repeats`.
    #[must_use]
    pub fn new(scene: &Scene, repeats: &[Strategy]) -> Self {
        Self {
            scene: scene.clone(),
            transfers: scene.transfers(),
            repeats: repeats.to_vec(),
            known: Table::default(),
        }
    }

    /// How many different ends were looked at.
    #[must_use]
    pub fn ends(&self) -> usize {
        self.known.len()
    }

    /// Looks at the end that `world`, in which nobody waits any more, comes to.
    ///
    /// # Errors
    /// A rule is broken.
    pub fn inspect(&mut self, world: &World, programs: &mut Programs) -> Result<(), Violation> {
        let mut end = world.clone();
        end.stop_everything();
        let key = hash_of(&end);
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let seen = self.look(end, programs);
        self.known.insert(key, seen.clone());
        seen
    }

    fn look(&self, mut end: World, programs: &mut Programs) -> Result<(), Violation> {
        let answers: Vec<Progressed> = end.progress().cloned().collect();
        let settled = recover_fully(&mut end, programs)?;
        self.ledger_holds(&settled)?;
        for transfer in &self.transfers {
            let calls = self.scene.roles.iter().zip(&answers).filter(|(role, _)| {
                matches!(&role.program, Program::Transfer { transfer: asked, .. }
                    if is_same_order(asked, transfer))
            });
            let said: Vec<&Outcome> = calls
                .clone()
                .filter_map(|(_, answer)| match answer {
                    Progressed::Answered(outcome) => Some(outcome),
                    _ => None,
                })
                .collect();
            let is_only_call = calls.count() == 1;
            let happened = self.has_happened(&settled, transfer)?;
            for outcome in &said {
                self.answer_is_true(transfer, outcome, happened, is_only_call)?;
            }
            let first = said.iter().copied().find(|outcome| is_final(outcome));
            for other in said.iter().copied().filter(|outcome| is_final(outcome)) {
                agree(transfer, "two calls", first.expect("it is one of them"), other)?;
            }
            for strategy in &self.repeats {
                let mut world = settled.clone();
                let outcome = repeat(&mut world, strategy, transfer, programs)?;
                let what = format!("the first answer, and that to a repeat by {}", strategy.name());
                if let Some(first) = first {
                    agree(transfer, &what, first, &outcome)?;
                } else if happened {
                    agree(transfer, &what, &Outcome::Committed, &outcome)?;
                } else if !is_final(&outcome) {
                    return violation(format!("{what}, of {}: {outcome:?}", short(transfer.id)));
                }
                self.ledger_holds(&recover_fully(&mut world, programs)?)?;
                let happens = self.has_happened(&world, transfer)?;
                self.answer_is_true(transfer, &outcome, happens, true)?;
            }
        }
        Ok(())
    }

    /// Both effects, or none, or a debit that was made good.
    fn has_happened(&self, world: &World, transfer: &Transfer) -> Result<bool, Violation> {
        let applied = [LegKind::Debit, LegKind::Credit, LegKind::Refund].map(|kind| {
            let branch = Branch { transfer: *transfer, kind, shard: ShardIndex(0) };
            let own = Some((branch.account(), branch.counter_account(), transfer.amount));
            let legs = world.shards().filter_map(|shard| shard.leg(transfer.id, kind));
            legs.filter(|leg| leg.outcome == LegOutcome::Applied && leg.arguments == own).count()
        });
        match applied {
            [0, 0, 0] | [1, 0, 1] => Ok(false),
            [1, 1, 0] => Ok(true),
            [debits, credits, refunds] => violation(format!(
                "half a transfer: {} has {debits} debits, {credits} credits and {refunds} refunds",
                short(transfer.id)
            )),
        }
    }

    /// Nothing prepared and nothing owed; balances are opening balances and legs.
    fn ledger_holds(&self, world: &World) -> Result<(), Violation> {
        for shard in world.shards() {
            if let Some(gid) = shard.prepared().next() {
                return violation(format!("left prepared after recovery: {gid}"));
            }
            let mut intents = shard.intents();
            if let Some((id, _)) = intents.find(|(_, state)| *state == IntentState::Open) {
                return violation(format!("the intent of {} is open after recovery", short(id)));
            }
            if let Some(id) = shard.open_sagas().next() {
                return violation(format!("the saga of {} is open after recovery", short(id)));
            }
            if let Some((id, kind, _)) = shard.open_holds().next() {
                let (id, kind) = (short(id), kind.name());
                return violation(format!("the {kind} of {id} is held after recovery"));
            }
            if let Some((id, account)) = shard.accounts().find(|(_, account)| account.held != 0) {
                return violation(format!("account {id} holds {} for nobody", account.held));
            }
            if let Some(event) = shard.open_events().next() {
                let (id, kind) = (short(event.transfer.id), event.kind().name());
                return violation(format!("{kind} of {id} is not settled after recovery"));
            }
            for (id, account) in shard.accounts() {
                let opening = self.scene.accounts.iter().find(|(known, _)| *known == id);
                let opening = opening.map_or(0, |(_, account)| account.balance);
                let legs = shard.legs().filter(|(_, _, leg)| {
                    leg.arguments.is_some_and(|(account, _, _)| account == id)
                });
                let expected = opening + legs.map(|(_, _, leg)| leg.change).sum::<i64>();
                if account.balance != expected {
                    let found = account.balance;
                    return violation(format!("account {id} has {found}, its legs say {expected}"));
                }
            }
        }
        for transfer in &self.transfers {
            self.has_happened(world, transfer)?;
        }
        Ok(())
    }

    fn answer_is_true(
        &self,
        transfer: &Transfer,
        outcome: &Outcome,
        happened: bool,
        is_only_call: bool,
    ) -> Result<(), Violation> {
        let is_true = match outcome {
            Outcome::Committed => happened,
            Outcome::Rejected(_) | Outcome::Aborted(_) => !happened,
            // This call changed nothing; another with the same id may have.
            Outcome::Failed(_) => !happened || !is_only_call,
            Outcome::InDoubt(_) => true,
            Outcome::IdReused => self.scene.reuses_ids() && !happened,
        };
        if is_true {
            return Ok(());
        }
        let stands = if happened { "it happened" } else { "it did not happen" };
        violation(format!("the answer for {} was {outcome:?}, but {stands}", short(transfer.id)))
    }
}

fn is_final(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Committed | Outcome::Rejected(_) | Outcome::Aborted(_) | Outcome::IdReused
    )
}

/// Final answers to one order are the same one. Why a transfer was given up may be told in other
/// words; that its id is another order's is one of the reasons.
fn agree(
    transfer: &Transfer,
    what: &str,
    first: &Outcome,
    other: &Outcome,
) -> Result<(), Violation> {
    let same = match (first, other) {
        (Outcome::Aborted(_), Outcome::Aborted(_) | Outcome::IdReused)
        | (Outcome::IdReused, Outcome::Aborted(_) | Outcome::Rejected(_))
        | (Outcome::Rejected(_), Outcome::IdReused) => true,
        _ => first == other,
    };
    if same {
        return Ok(());
    }
    violation(format!("{what}, of {} differ: {first:?}, {other:?}", short(transfer.id)))
}

/// Runs passes of recovery until one changes nothing, each by a process of its own.
fn recover_fully(world: &mut World, programs: &mut Programs) -> Result<World, Violation> {
    let mut is_done = false;
    for pass in 0..MAX_PASSES {
        let before: Vec<u64> = world.shards().map(hash_of).collect();
        let Progressed::Recovered { is_clean } = alone(world, &Program::Recovery, programs)? else {
            return violation("recovery did not end");
        };
        let changed = before != world.shards().map(hash_of).collect::<Vec<_>>();
        // One order may have been in the way of another under its id.
        if pass > 0 && changed && (is_done || !world.ids_are_reused) {
            return violation(format!("pass {} of recovery still changed something", pass + 1));
        }
        if !changed && is_clean {
            return Ok(world.clone());
        }
        is_done = is_clean;
    }
    violation("recovery comes to no end")
}

fn repeat(
    world: &mut World,
    strategy: &Strategy,
    transfer: &Transfer,
    programs: &mut Programs,
) -> Result<Outcome, Violation> {
    let transfer = Transfer { origin: IdOrigin::MayBeRepeated, ..*transfer };
    let program = Program::Transfer { strategy: strategy.clone(), transfer, max_tries: MAX_TRIES };
    let mut answered = alone(world, &program, programs)?;
    if matches!(strategy, Strategy::SagaChoreographed(_))
        && matches!(answered, Progressed::Answered(Outcome::InDoubt(_)))
    {
        // It waits for relays, and there are none.
        recover_fully(world, programs)?;
        answered = alone(world, &program, programs)?;
    }
    match answered {
        Progressed::Answered(outcome) => Ok(outcome),
        _ => violation("a repeated call did not answer"),
    }
}

/// Runs one task in a new process while nothing else happens, and ends that process.
fn alone(
    world: &mut World,
    program: &Program,
    programs: &mut Programs,
) -> Result<Progressed, Violation> {
    let process = world.start_process(true);
    world.start_task(process, program, None, programs)?;
    for _ in 0..MAX_STEPS {
        if world.is_quiet() {
            world.stop_everything();
            let last = world.progress().last().cloned();
            return last.map_or_else(|| violation("a task vanished"), Ok);
        }
        let choices = world.choices();
        let mut steps = choices.iter();
        let run = steps.find(|choice| matches!(choice, Choice::Run(_)));
        let mut steps = choices.iter();
        let timeout = steps.find(|choice| matches!(choice, Choice::LockTimeout(_)));
        let Some(step) = run.or(timeout) else {
            return violation("a task waits for nothing that can happen");
        };
        world.apply(*step, programs)?;
    }
    violation("a task that is alone comes to no end")
}
