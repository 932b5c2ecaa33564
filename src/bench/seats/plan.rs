//! What is to be run: the points of the sweep, and at each the ways in blocks.

use std::time::Duration;

use serde::Serialize;

use crate::bench::plan::{self, AROUND_A_RUN, Cell, Length, Surroundings, list};
use crate::bench::workload::{Access, Workload};
use crate::config::{BenchConfig, HotOn, SeatsOn, problems};
use crate::seats::Way;
use crate::seats::way::UnknownWay;
use crate::transfer::Routing;

/// One combination of everything that may be swept.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SeatPoint {
    /// How many shards.
    pub shards: u16,
    /// Users at a time.
    pub clients: u32,
    /// Seats of a batch.
    pub seats: u64,
    /// Where they live.
    pub seats_on: SeatsOn,
    /// How users pick the seat that they would like best.
    pub access: Access,
    /// How long they think before paying, on average.
    pub think: Duration,
    /// How long a seat is kept for one who does not pay.
    pub hold: Duration,
    /// The share of users who walk away without a word, in percent.
    pub abandon_percent: f64,
    /// How long a run is measured.
    pub length: Duration,
    /// Load before it that is not measured.
    pub warm_up: Duration,
    /// Where all chance comes from.
    pub seed: u64,
}

impl SeatPoint {
    /// Where preferences are drawn from: the sources of transfers between so many accounts.
    #[must_use]
    pub fn preferences(&self) -> Workload {
        Workload {
            seed: self.seed,
            accounts: self.seats,
            routing: Routing::new(1),
            access: self.access,
            hot_on: HotOn::Source,
            cross_shard_percent: 0.0,
            amount_max: 1,
            reject_percent: 0.0,
        }
    }
}

/// Everything that is to be run.
#[derive(Debug, Clone, PartialEq)]
pub struct SeatPlan {
    /// Its short name.
    pub name: String,
    /// The ways.
    pub ways: Vec<Way>,
    /// The one that the others are compared with.
    pub reference: usize,
    /// How many blocks there are at each point.
    pub runs: u32,
    /// The points, in an order that changes the shards least often.
    pub points: Vec<SeatPoint>,
}

impl SeatPlan {
    /// The plan that a complete configuration describes.
    ///
    /// # Errors
    /// Everything that is wrong with it, one line each.
    pub fn new(config: &BenchConfig, around: Surroundings) -> Result<Self, Vec<String>> {
        let mut found = problems(config);
        let mut ways: Vec<Way> = Vec::new();
        for text in config.strategies.iter().flatten() {
            match text.parse::<Way>() {
                Ok(way) if ways.contains(&way) => {
                    found.push(format!("way {way} is given twice; leave one out"));
                }
                Ok(way) => ways.push(way),
                Err(error) => found.push(error.to_string()),
            }
        }
        let mut reference = 0;
        if let Some(text) = &config.reference {
            match text.parse() {
                Err(error) => {
                    let error: UnknownWay = error;
                    found.push(format!("reference: {error}"));
                }
                Ok(wanted) => match ways.iter().position(|way| *way == wanted) {
                    Some(place) => reference = place,
                    None => found.push(format!(
                        "reference {wanted} is not among the ways that run; add it with \
                         --strategy {wanted}"
                    )),
                },
            }
        }
        if !found.is_empty() {
            return Err(found);
        }
        Ok(Self {
            name: config.name.clone().unwrap_or_default(),
            ways,
            reference,
            runs: config.runs.unwrap_or(1),
            points: points(config, around),
        })
    }

    /// The runs at one point in the order in which they are made, block after block.
    #[must_use]
    pub fn cells(&self, point: &SeatPoint) -> Vec<Cell> {
        plan::blocks(point.seed, self.runs, self.ways.len())
    }

    /// How many runs there are in all.
    #[must_use]
    pub fn run_count(&self) -> usize {
        self.points.len() * self.ways.len() * self.runs as usize
    }

    /// About how long it all takes.
    #[must_use]
    pub fn estimate(&self) -> Duration {
        let runs = self.runs * u32::try_from(self.ways.len()).unwrap_or(u32::MAX);
        self.points.iter().map(|p| (p.length + p.warm_up + p.think + AROUND_A_RUN) * runs).sum()
    }
}

fn points(config: &BenchConfig, around: Surroundings) -> Vec<SeatPoint> {
    let mut points = Vec::new();
    for base in plan::points(config, around) {
        let Length::Time(length) = base.length else { continue };
        for seats in list(config.seats.as_ref(), 2) {
            for think in list(config.think_time.as_ref(), 0) {
                for hold in list(config.hold_time.as_ref(), 1000) {
                    for abandon_percent in list(config.abandon_percent.as_ref(), 0.0) {
                        points.push(SeatPoint {
                            shards: base.shards,
                            clients: base.clients,
                            seats,
                            seats_on: config.seats_on.unwrap_or_default(),
                            access: base.access,
                            think: Duration::from_millis(think),
                            hold: Duration::from_millis(hold),
                            abandon_percent,
                            length,
                            warm_up: base.warm_up,
                            seed: base.seed,
                        });
                    }
                }
            }
        }
    }
    points
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::config::{Values, WorkloadName};

    const AROUND: Surroundings = Surroundings { shards: None, cores: 2, seed: 5 };

    pub fn plan(change: impl FnOnce(&mut BenchConfig)) -> Result<SeatPlan, Vec<String>> {
        let mut config = BenchConfig::defaults_of(WorkloadName::Seats);
        change(&mut config);
        SeatPlan::new(&config, AROUND)
    }

    #[test]
    fn the_defaults_are_three_ways_at_one_point() {
        let plan = plan(|_| {}).expect("valid");
        let names: Vec<&str> = plan.ways.iter().map(|way| way.name()).collect();
        assert_eq!(names, ["hold-row", "reserve", "lock-lease"]);
        assert_eq!((plan.points.len(), plan.run_count()), (1, 15));
        assert_eq!((plan.points[0].seats, plan.points[0].seed), (2000, 5));
    }

    #[test]
    fn every_block_has_every_way_once() {
        let plan = plan(|c| c.runs = Some(10)).expect("valid");
        for block in plan.cells(&plan.points[0]).chunks(3) {
            let mut ways: Vec<usize> = block.iter().map(|cell| cell.strategy).collect();
            ways.sort_unstable();
            assert_eq!(ways, [0, 1, 2]);
        }
    }

    #[test]
    fn think_times_and_clients_are_swept_together() {
        let plan = plan(|c| {
            c.think_time = Values::several(vec![10, 100]);
            c.clients = Values::several(vec![4, 8, 16]);
        });
        assert_eq!(plan.expect("valid").points.len(), 6);
    }

    #[test]
    fn ways_that_do_not_exist_or_come_twice_are_refused() {
        let lines = plan(|c| {
            c.strategies = Some(["2pc", "lock", "lock-lease"].map(str::to_owned).to_vec());
            c.reference = Some("reserve".to_owned());
        });
        assert_eq!(lines.expect_err("wrong").len(), 3);
    }
}
