//! Schedules of several transfers at once, chosen by a seed.
//!
//! Swarm: the seed first picks the *shape* (shards, accounts, strategies and their options, who
//! repeats whose call or uses its id for something else, where and when recovery runs, what may go wrong and how often) and then
//! the schedule, so that rare combinations are not drowned in the average one. Everything comes
//! from the one seed, so a failure is played again, step by step, from its number.

use super::check::Inspector;
use super::explore::{Explored, Failure};
use super::locking::Tokens;
use super::scene::{Scene, account, transfer};
use super::scheduler::Programs;
use super::shard::Account;
use super::world::{Budget, Choice, Violation, World};
use crate::strategies::Strategy;
use crate::transfer::IdOrigin;

/// A stream of numbers from a seed (`SplitMix64`; Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
struct Dice(u64);

impl Dice {
    const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).expect("a small bound");
        usize::try_from(self.roll() % bound).expect("below a small bound")
    }

    fn up_to(&mut self, most: u8) -> u8 {
        u8::try_from(self.below(usize::from(most) + 1)).expect("at most a u8")
    }

    fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

const CALLS: [&str; 16] = [
    "2pc",
    "2pc:log=file",
    "2pc-last-agent",
    "2pc:visit=parallel",
    "2pc:ack=early",
    "2pc:statements=one-by-one",
    "2pc:log=file,ack=early",
    "2pc:log=file,visit=parallel",
    "2pc-last-agent:ack=early",
    "lock-lease",
    "lock-advisory",
    "lock-etcd:one-shard=local",
    "saga",
    "reservation",
    "reservation:confirm=lazy",
    "saga-choreographed",
];

const TRANSFERS: u128 = 3;

/// Longer than any schedule within the budgets.
const MAX_STEPS: usize = 5_000;

/// What the seed has picked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// What the schedule begins with.
    pub scene: Scene,
    /// How each transfer is asked for once more at the end.
    pub repeat: Strategy,
    /// Of a hundred steps, how many are spent on something that goes wrong.
    pub wrong_percent: usize,
    /// Of a hundred steps, how many stay with the task of the step before.
    pub sticky_percent: usize,
}

fn parsed(call: &str) -> Strategy {
    call.parse().expect("a strategy of the list")
}

fn shape(dice: &mut Dice) -> Shape {
    let shards = 2 + u16::from(dice.up_to(1));
    let accounts = i64::from(shards) * 2;
    let budget = Budget {
        crashes: dice.up_to(3),
        faults: dice.up_to(4),
        sessions: dice.up_to(1),
        restarts: u8::from(dice.percent(25)),
        refusals: dice.up_to(2),
        closings: u8::from(dice.percent(15)),
    };
    let mut scene = Scene::new(shards, accounts, 100, budget);
    scene.recoverers_may_end = dice.percent(50);
    scene.tokens = dice.pick(&Tokens::ALL);
    if dice.percent(20) {
        // As full as an account can be: there is no more money than a balance can hold.
        let full = i64::MAX - 100 * (accounts - 1);
        let balance = dice.pick(&[0, 100, full]);
        let mut odd = Account::with(balance);
        odd.closed = dice.percent(50);
        let place = dice.below(scene.accounts.len());
        scene.accounts[place].1 = odd;
    }
    let few: Vec<&str> = (0..3).map(|_| dice.pick(&CALLS)).collect();
    for id in 1..=TRANSFERS {
        scene = with_transfer(scene, id, accounts, &few, dice);
    }
    let mut processes = 2;
    for _ in 0..1 + dice.below(3) {
        // Recovery also runs inside coordinators.
        let process = if dice.percent(25) { dice.below(2) } else { processes };
        processes = processes.max(process + 1);
        scene = scene.recovering(process);
        if dice.percent(40) {
            let earlier = dice.below(scene.roles.len() - 1);
            scene = scene.after(earlier);
        }
    }
    for _ in 0..dice.below(3) {
        let of = |dice: &mut Dice| u16::try_from(dice.below(usize::from(shards))).expect("few");
        let both = [of(dice), of(dice)];
        scene = scene.relaying(processes, both);
        processes += 1;
    }
    Shape {
        scene,
        repeat: parsed(dice.pick(&CALLS)),
        wrong_percent: dice.pick(&[2, 8, 25]),
        sticky_percent: dice.pick(&[0, 50, 85]),
    }
}

fn with_transfer(
    mut scene: Scene,
    id: u128,
    accounts: i64,
    calls: &[&str],
    dice: &mut Dice,
) -> Scene {
    let any = |dice: &mut Dice| scene.accounts[dice.below(scene.accounts.len())].0.get();
    let from = any(dice);
    let to = match any(dice) {
        // An account that nobody has.
        _ if dice.percent(12) => from + accounts + 1,
        same if same == from => from % accounts + 1,
        other => other,
    };
    let amount = dice.pick(&[10, 30, 60, 90, 120]);
    let (is_repeated, is_beside, is_reused) = (dice.percent(55), dice.percent(60), dice.percent(4));
    let origin = if (is_repeated && is_beside) || is_reused || dice.percent(30) {
        IdOrigin::MayBeRepeated
    } else {
        IdOrigin::Fresh
    };
    let one = transfer(id, from, to, amount, origin);
    let process = dice.below(2);
    scene = scene.calling(process, &parsed(dice.pick(calls)), one);
    if is_repeated {
        let first = scene.roles.len() - 1;
        let again = transfer(id, from, to, amount, IdOrigin::MayBeRepeated);
        scene = scene.calling(1 - process, &parsed(dice.pick(calls)), again);
        if !is_beside {
            scene = scene.after(first);
        }
    }
    if is_reused {
        // Another order under the same id.
        let (from, to) = (from % accounts + 1, (from + 1) % accounts + 1);
        let other = transfer(id, from, to, dice.pick(&[10, 30]), IdOrigin::MayBeRepeated);
        scene = scene.calling(dice.below(2), &parsed(dice.pick(calls)), other);
    }
    debug_assert!(one.source != one.target && account(from) == one.source);
    scene
}

/// Plays the schedule of `seed` to its end.
///
/// # Errors
/// It broke a rule.
pub fn play(seed: u64) -> Result<Played, Box<Failure>> {
    let mut trace = Vec::new();
    match play_into(seed, None) {
        Ok(played) => Ok(played),
        Err(_) => match play_into(seed, Some(&mut trace)) {
            Ok(_) => unreachable!("a seed is played the same way each time"),
            Err((violation, steps)) => {
                let explored = Explored { steps, ..Explored::default() };
                Err(Box::new(Failure { violation, trace, explored }))
            }
        },
    }
}

/// What one schedule came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Played {
    /// How many steps it had.
    pub steps: u64,
}

/// The steps of the schedule of `seed`, a line each, and how it ended.
#[must_use]
pub fn trace(seed: u64) -> Vec<String> {
    let mut lines = Vec::new();
    let ended = play_into(seed, Some(&mut lines));
    lines.push(match ended {
        Ok(played) => format!("no rule was broken in {} steps", played.steps),
        Err((violation, _)) => format!("broken: {}", violation.0),
    });
    lines
}

fn play_into(seed: u64, mut lines: Option<&mut Vec<String>>) -> Result<Played, (Violation, u64)> {
    let mut dice = Dice(seed);
    let Shape { scene, repeat, wrong_percent, sticky_percent } = shape(&mut dice);
    let leavings = scene.leavings(std::slice::from_ref(&repeat));
    let mut programs = Programs::new(scene.routing, scene.plant, leavings);
    let mut world = scene.open(&mut programs).map_err(|violation| (violation, 0))?;
    if let Some(lines) = &mut lines {
        lines.extend(scene.roles.iter().map(|role| format!("given: {role}")));
    }
    let mut last = None;
    for steps in 0..MAX_STEPS {
        let count = u64::try_from(steps).expect("few steps");
        let choices = world.choices();
        // What nobody waits for may still run, or be lost.
        if choices.is_empty() || (world.is_quiet() && dice.percent(20)) {
            let mut inspector = Inspector::new(&scene, &[repeat]);
            inspector.inspect(&world, &mut programs).map_err(|violation| (violation, count))?;
            return Ok(Played { steps: count });
        }
        let is_sticky = dice.percent(sticky_percent);
        let choice = choose(&world, &choices, wrong_percent, last.filter(|_| is_sticky), &mut dice);
        if let Some(lines) = &mut lines {
            lines.push(world.describe(choice));
        }
        last = world.task_of(choice).or(last);
        world.apply(choice, &mut programs).map_err(|violation| (violation, count))?;
    }
    Err((Violation("a schedule comes to no end".to_owned()), 0))
}

const fn goes_right(choice: &Choice) -> bool {
    matches!(choice, Choice::Run(_))
}

/// A step: mostly of `task`, where there is one to stay with, mostly one that goes right.
fn choose(
    world: &World,
    choices: &[Choice],
    wrong_percent: usize,
    task: Option<usize>,
    dice: &mut Dice,
) -> Choice {
    let is_wrong = dice.percent(wrong_percent);
    let of_kind: Vec<Choice> =
        choices.iter().copied().filter(|choice| goes_right(choice) != is_wrong).collect();
    let of_task: Vec<Choice> = of_kind
        .iter()
        .copied()
        .filter(|choice| task.is_some() && world.task_of(*choice) == task)
        .collect();
    let from = [of_task.as_slice(), of_kind.as_slice(), choices];
    let first = from.into_iter().find(|choices| !choices.is_empty());
    dice.pick(first.expect("there is a choice"))
}
