//! Parts of a profile that are functions of the caller's: evaluated, and inverted by bisection.

use super::profile::{Approximate, Part, Tradeoff};
use crate::{Error, Result};

/// Bisection stops where what is left is this share of the radius.
const CLOSE: f64 = 1e-13;

/// A value may be smaller than at a smaller radius by this share of it, which is put down to rounding.
const ROUNDING: f64 = 1e-9;

/// Below a radius the part is looked at once more where the radius is halved, so many times.
const HALVINGS: i32 = 12;

/// Radii below this are 0, and a part that is within its budget up to its inverse is so everywhere.
const SMALLEST: f64 = 1e-290;

/// An ε above this has no use: e^2ε p2 would be above any p1 that a confidence bound gives.
const HIGHEST: f64 = 40.0;

/// A part of a profile that is computed by `function` from radii, ε or probabilities beside them, and where to put values.
///
/// Radii are sound as far as `function` is: the part is within its budget at the radius returned, as `function` computes it.
/// What it gives is refused where it is NaN or negative, or seen to be smaller at a larger radius; `name` is what errors call
/// it.
pub struct Callback<F> {
    name: &'static str,
    function: F,
}

impl<F: Fn(&[f64], Option<&[f64]>, &mut [f64]) -> Result<()> + Send + Sync> Callback<F> {
    /// The part called `name`.
    pub fn new(name: &'static str, function: F) -> Self {
        Self { name, function }
    }

    fn evaluate(&self, r: &[f64], beside: Option<&[f64]>, value: &mut [f64]) -> Result<()> {
        (self.function)(r, beside, value)?;
        match value.iter().zip(r).find(|(value, _)| value.is_nan() || **value < 0.0) {
            Some((value, r)) => {
                Err(Error::argument(self.name, "a number of at least 0", format!("{value} at r = {r}")))
            }
            None => Ok(()),
        }
    }

    /// The largest r, to within [`CLOSE`], at which `at` gives no more than each row's `limit`; infinite where that is.
    fn largest(
        &self,
        limit: &[f64],
        at: impl Fn(&[usize], &[f64], &mut [f64]) -> Result<()>,
        r: &mut [f64],
    ) -> Result<()> {
        let mut brackets: Vec<Bracket> = limit.iter().map(|&limit| Bracket::new(limit)).collect();
        loop {
            let (open, probes): (Vec<usize>, Vec<f64>) =
                brackets.iter().enumerate().filter_map(|(row, bracket)| Some((row, bracket.probe()?))).unzip();
            if open.is_empty() {
                break;
            }
            let mut values = vec![0.0; open.len()];
            at(&open, &probes, &mut values)?;
            for ((&row, &probe), &value) in open.iter().zip(&probes).zip(&values) {
                let seen = Seen { r: probe, value };
                self.in_order(brackets[row].low, seen)?;
                if let Some(high) = brackets[row].high {
                    self.in_order(seen, high)?;
                }
                brackets[row].narrow(seen);
            }
        }
        self.look_below(&brackets, at)?;
        for (r, bracket) in r.iter_mut().zip(brackets) {
            *r = if bracket.limit == f64::INFINITY { f64::INFINITY } else { bracket.low.r };
        }
        Ok(())
    }

    /// Looks for larger values at radii that bisection passed over.
    fn look_below(&self, brackets: &[Bracket], at: impl Fn(&[usize], &[f64], &mut [f64]) -> Result<()>) -> Result<()> {
        let (rows, probes): (Vec<usize>, Vec<f64>) = brackets
            .iter()
            .enumerate()
            .filter(|(_, bracket)| bracket.low.r > 0.0)
            .flat_map(|(row, bracket)| (1..=HALVINGS).map(move |k| (row, bracket.low.r * 0.5f64.powi(k))))
            .unzip();
        if rows.is_empty() {
            return Ok(());
        }
        let mut values = vec![0.0; rows.len()];
        at(&rows, &probes, &mut values)?;
        for ((&row, &r), &value) in rows.iter().zip(&probes).zip(&values) {
            self.in_order(Seen { r, value }, brackets[row].low)?;
        }
        Ok(())
    }

    /// Refuses a part whose value at `high` is below that at `low`.
    fn in_order(&self, low: Seen, high: Seen) -> Result<()> {
        if low.value <= high.value + ROUNDING * low.value {
            return Ok(());
        }
        let found = format!("{} at r = {} and {} at r = {}", low.value, low.r, high.value, high.r);
        Err(Error::argument(self.name, "nondecreasing in r", found))
    }
}

/// A value where it was seen.
#[derive(Clone, Copy)]
struct Seen {
    r: f64,
    value: f64,
}

/// Where a row's radius lies.
struct Bracket {
    limit: f64,
    /// Not above the limit. At 0 nothing was evaluated: without a shift nothing moves.
    low: Seen,
    /// Above the limit, where that was seen.
    high: Option<Seen>,
}

impl Bracket {
    fn new(limit: f64) -> Self {
        Self { limit, low: Seen { r: 0.0, value: 0.0 }, high: None }
    }

    /// Where to look next; None where the radius is known.
    fn probe(&self) -> Option<f64> {
        if !(self.limit >= 0.0 && self.limit < f64::INFINITY) {
            return None;
        }
        match self.high {
            None if self.low.r == 0.0 => Some(1.0),
            None => (self.low.r < 1.0 / SMALLEST).then_some(2.0 * self.low.r),
            Some(high) if self.low.r == 0.0 => (high.r > SMALLEST).then_some(0.5 * high.r),
            Some(high) => {
                let middle = self.low.r + 0.5 * (high.r - self.low.r);
                (high.r - self.low.r > CLOSE * high.r && middle > self.low.r).then_some(middle)
            }
        }
    }

    fn narrow(&mut self, seen: Seen) {
        if seen.value <= self.limit {
            self.low = seen;
        } else {
            self.high = Some(seen);
        }
    }
}

/// The elements of `values` at `rows`.
fn taken(values: &[f64], rows: &[usize]) -> Vec<f64> {
    rows.iter().map(|&row| values[row]).collect()
}

impl<F: Fn(&[f64], Option<&[f64]>, &mut [f64]) -> Result<()> + Send + Sync> Part for Callback<F> {
    fn at(&self, r: &[f64], value: &mut [f64]) -> Result<()> {
        self.evaluate(r, None, value)
    }

    fn within(&self, budget: &[f64], r: &mut [f64]) -> Result<()> {
        // The budget of a pair that nothing certifies is 0, and its radius 0 whatever comes out.
        let budget: Vec<f64> = budget.iter().map(|&budget| if budget > 0.0 { budget } else { -1.0 }).collect();
        self.largest(&budget, |_, r, value| self.evaluate(r, None, value), r)
    }
}

impl<F: Fn(&[f64], Option<&[f64]>, &mut [f64]) -> Result<()> + Send + Sync> Approximate for Callback<F> {
    fn at(&self, r: &[f64], epsilon: &[f64], delta: &mut [f64]) -> Result<()> {
        self.evaluate(r, Some(epsilon), delta)
    }

    fn highest(&self) -> f64 {
        HIGHEST
    }

    fn within(&self, epsilon: &[f64], delta: &[f64], r: &mut [f64]) -> Result<()> {
        // The condition that δ comes from is a strict one.
        let limit: Vec<f64> = delta.iter().map(|&delta| if delta > 0.0 { delta.next_down() } else { -1.0 }).collect();
        self.largest(&limit, |rows, r, value| self.evaluate(r, Some(&taken(epsilon, rows)), value), r)
    }

    fn unit(&self) -> f64 {
        1.0
    }
}

impl<F: Fn(&[f64], Option<&[f64]>, &mut [f64]) -> Result<()> + Send + Sync> Tradeoff for Callback<F> {
    fn at(&self, r: &[f64], p: &[f64], most: &mut [f64]) -> Result<()> {
        self.evaluate(r, Some(p), most)
    }

    fn within(&self, p1: &[f64], p2: &[f64], r: &mut [f64]) -> Result<()> {
        // Below ½ the difference from 1 is rounded, and has to be rounded up.
        let miss: Vec<f64> = p1.iter().map(|&p1| if p1 < 0.5 { (1.0 - p1).next_up() } else { 1.0 - p1 }).collect();
        // Below 1, so that the sum's own rounding cannot hide a tie.
        let limit: Vec<f64> = p1.iter().zip(p2).map(|(p1, p2)| if p1 > p2 { 1f64.next_down() } else { -1.0 }).collect();
        let sum = |rows: &[usize], r: &[f64], value: &mut [f64]| {
            let mut other = vec![0.0; r.len()];
            self.evaluate(r, Some(&taken(&miss, rows)), value)?;
            self.evaluate(r, Some(&taken(p2, rows)), &mut other)?;
            for (value, other) in value.iter_mut().zip(other) {
                *value += other;
            }
            Ok(())
        };
        self.largest(&limit, sum, r)
    }

    fn settles(&self) -> bool {
        false
    }

    fn is_concave(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_radius_is_within_the_budget_and_hardly_more_is_not(exponent in -40.0..40.0f64, power in 0.2..4.0f64) {
            let value = |r: f64| r.powf(power);
            let part = Callback::new("part", |r: &[f64], _: Option<&[f64]>, out: &mut [f64]| {
                for (out, r) in out.iter_mut().zip(r) {
                    *out = value(*r);
                }
                Ok(())
            });
            let (budget, mut r) = (libm::exp10(exponent), [0.0]);
            Part::within(&part, &[budget], &mut r).unwrap();
            prop_assert!(value(r[0]) <= budget);
            prop_assert!(value(r[0] * (1.0 + 3e-13)) > budget);
        }
    }

    #[test]
    fn parts_that_no_budget_limits_are_followed_to_the_end() {
        let part = Callback::new("part", |_: &[f64], _: Option<&[f64]>, out: &mut [f64]| {
            out.fill(0.5);
            Ok(())
        });
        let mut r = [0.0; 3];
        Part::within(&part, &[1.0, 0.25, f64::INFINITY], &mut r).unwrap();
        assert!(r[0] > 1e289 && r[0].is_finite());
        assert_eq!(r[1..], [0.0, f64::INFINITY]);
    }
}
