//! Takes every choice that there is.
//!
//! Depth first over worlds, each looked at once: two schedules that lead to the same world have
//! the same future. What is the same world is told by a 64-bit hash; among ten million worlds a
//! collision, which would hide one of them, has a chance of three in a million.

use std::fmt;

use super::check::Inspector;
use super::fingerprint::{Table, hash_of};
use super::scene::Scene;
use super::scheduler::Programs;
use super::world::{Choice, Violation, World};
use crate::strategies::Strategy;

/// What was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Explored {
    /// Different worlds.
    pub worlds: usize,
    /// Choices taken.
    pub steps: u64,
    /// Different schedules, counted over the graph of worlds; it exceeds what an integer holds.
    pub schedules: f64,
    /// Different ends, each recovered, audited and asked for again.
    pub ends: usize,
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { worlds, steps, schedules, ends } = self;
        write!(f, "{worlds} worlds, {steps} steps, {schedules:.2e} schedules, {ends} ends")
    }
}

/// A schedule that broke a rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The rule.
    pub violation: Violation,
    /// The schedule, a line for each step.
    pub trace: Vec<String>,
    /// What had been looked at by then.
    pub explored: Explored,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, line) in self.trace.iter().enumerate() {
            writeln!(f, "{:>4}  {line}", number + 1)?;
        }
        write!(f, "broken: {} (after {})", self.violation.0, self.explored)
    }
}

struct Frame {
    world: World,
    choices: Vec<Choice>,
    next: usize,
    key: u64,
    schedules: f64,
}

/// Looks at every schedule of `scene`; at the end of each, every transfer is asked for again by
/// each of `repeats`.
///
/// # Errors
/// A schedule broke a rule.
pub fn every_schedule(scene: &Scene, repeats: &[Strategy]) -> Result<Explored, Box<Failure>> {
    let mut programs = Programs::new(scene.routing, scene.plant, scene.leavings(repeats));
    let mut inspector = Inspector::new(scene, repeats);
    let mut explored = Explored::default();
    let mut known: Table<u64, f64> = Table::default();
    let mut path: Vec<Frame> = Vec::new();
    let fail = |violation, path: &[Frame], explored| {
        let taken = |frame: &Frame| frame.world.describe(frame.choices[frame.next - 1]);
        let trace = path.iter().map(taken).collect();
        Err(Box::new(Failure { violation, trace, explored }))
    };
    let mut arrived = match scene.open(&mut programs) {
        Ok(world) => Some(world),
        Err(violation) => return fail(violation, &path, explored),
    };
    loop {
        if let Some(world) = arrived.take() {
            let key = hash_of(&world);
            if let Some(schedules) = known.get(&key) {
                if let Some(above) = path.last_mut() {
                    above.schedules += schedules;
                }
            } else {
                explored.worlds += 1;
                let mut schedules = 0.0;
                if world.is_quiet() {
                    schedules = 1.0;
                    if let Err(violation) = inspector.inspect(&world, &mut programs) {
                        return fail(violation, &path, explored);
                    }
                    explored.ends = inspector.ends();
                }
                let choices = world.choices();
                path.push(Frame { world, choices, next: 0, key, schedules });
            }
        }
        let Some(frame) = path.last_mut() else { break };
        if let Some(choice) = frame.choices.get(frame.next) {
            frame.next += 1;
            let mut world = frame.world.clone();
            explored.steps += 1;
            if let Err(violation) = world.apply(*choice, &mut programs) {
                return fail(violation, &path, explored);
            }
            arrived = Some(world);
        } else {
            let (key, schedules) = (frame.key, frame.schedules);
            known.insert(key, schedules);
            path.pop();
            match path.last_mut() {
                Some(above) => above.schedules += schedules,
                None => explored.schedules = schedules,
            }
        }
    }
    Ok(explored)
}
