//! Medians.

use crate::runner::Cost;

/// A quantity of a [`Cost`], as a plain number.
pub(crate) type Quantity = fn(&Cost) -> f64;

/// Milliseconds.
pub(crate) fn wall(cost: &Cost) -> f64 {
    cost.wall.as_secs_f64() * 1e3
}

/// Milliseconds.
pub(crate) fn cpu(cost: &Cost) -> f64 {
    cost.cpu.as_secs_f64() * 1e3
}

/// MiB.
pub(crate) fn peak(cost: &Cost) -> f64 {
    cost.peak as f64 / 1024.0
}

/// The quartiles of some numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quartiles {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

impl Quartiles {
    /// Of one quantity over all samples.
    pub(crate) fn of(costs: &[Cost], quantity: Quantity) -> Self {
        Self::new(costs.iter().map(quantity).collect())
    }

    /// Of the ratios, pair by pair: what slows both of a pair down does not change its ratio.
    pub(crate) fn of_ratios(ours: &[Cost], theirs: &[Cost], quantity: Quantity) -> Self {
        Self::new(ours.iter().zip(theirs).map(|(our, their)| quantity(our) / quantity(their)).collect())
    }

    pub(crate) fn new(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |share| interpolated(&values, share);
        Self { low: at(0.25), median: at(0.5), high: at(0.75) }
    }
}

/// The value below which `share` of the sorted values lie.
fn interpolated(sorted: &[f64], share: f64) -> f64 {
    let place = share * sorted.len().saturating_sub(1) as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    match (sorted.get(below), sorted.get(above)) {
        (Some(low), Some(high)) => low + (high - low) * place.fract(),
        _ => f64::NAN,
    }
}
