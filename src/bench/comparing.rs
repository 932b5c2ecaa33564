//! Which runs are compared with which: of one point, each contender's with the reference's of the
//! same block.

use crate::bench::statistics::{Comparison, Verdict, compare, holm};

/// A run, as far as it is compared with others.
pub trait Run {
    /// What it was measured at.
    type Point: Copy + PartialEq;

    /// Its point.
    fn point(&self) -> Self::Point;

    /// What was measured, with its options.
    fn contender(&self) -> String;

    /// Which block it belongs to.
    fn block(&self) -> u32;

    /// The figure that is compared.
    fn rate(&self) -> Option<f64>;

    /// What may be wrong with it.
    fn warnings(&self) -> &[String];
}

/// All runs of one contender at one point, and how they compare.
#[derive(Debug)]
pub struct Contender<'a, R: Run> {
    /// The point.
    pub point: R::Point,
    /// Its name, with its options.
    pub name: String,
    /// Whether it is what the others are compared with.
    pub is_reference: bool,
    /// Its runs.
    pub runs: Vec<&'a R>,
    /// How its rate compares with the reference's, corrected for all that are compared here.
    pub comparison: Option<Comparison>,
    /// What may be said of that.
    pub verdict: Option<Verdict>,
}

/// The contenders in the order in which points first appear in `runs`; at each point the
/// reference first, the others by name.
#[must_use]
pub fn contenders<'a, R: Run>(runs: &'a [R], reference: &str) -> Vec<Contender<'a, R>> {
    let mut points: Vec<R::Point> = Vec::new();
    for run in runs {
        if !points.contains(&run.point()) {
            points.push(run.point());
        }
    }
    points.into_iter().flat_map(|point| at_point(runs, point, reference)).collect()
}

fn at_point<'a, R: Run>(runs: &'a [R], point: R::Point, reference: &str) -> Vec<Contender<'a, R>> {
    let here: Vec<&R> = runs.iter().filter(|run| run.point() == point).collect();
    let mut names: Vec<String> = here.iter().map(|run| run.contender()).collect();
    names.sort_by_key(|name| (name != reference, name.clone()));
    names.dedup();
    let of = |name: &str| here.iter().copied().filter(|run| run.contender() == name).collect();
    let base: Vec<&R> = of(reference);
    let mut contenders: Vec<Contender<'a, R>> = names
        .into_iter()
        .map(|name| {
            let (runs, is_reference): (Vec<&R>, bool) = (of(&name), name == reference);
            let comparison = if is_reference { None } else { compare(&pairs(&runs, &base)) };
            Contender { point, name, is_reference, runs, comparison, verdict: None }
        })
        .collect();
    let mut comparisons: Vec<&mut Comparison> =
        contenders.iter_mut().filter_map(|one| one.comparison.as_mut()).collect();
    holm(&mut comparisons);
    for one in &mut contenders {
        one.verdict = one.comparison.as_ref().map(Comparison::verdict);
    }
    contenders
}

/// The rates of the runs that share a block.
fn pairs<R: Run>(runs: &[&R], reference: &[&R]) -> Vec<(f64, f64)> {
    runs.iter()
        .filter_map(|run| {
            let same_block = reference.iter().find(|other| other.block() == run.block())?;
            Some((run.rate()?, same_block.rate()?))
        })
        .collect()
}

impl<R: Run> Contender<'_, R> {
    /// The rates of its runs.
    #[must_use]
    pub fn rates(&self) -> Vec<f64> {
        self.runs.iter().filter_map(|run| run.rate()).collect()
    }

    /// What may be wrong with its runs, each once.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> = Vec::new();
        for warning in self.runs.iter().flat_map(|run| run.warnings()) {
            if !warnings.contains(warning) {
                warnings.push(warning.clone());
            }
        }
        warnings
    }
}
