//! Counts to top-k certificates (Jia et al. 2020): within the radius a class given beforehand stays among the k most
//! probable ones.
//!
//! # What certifies
//! Let l be the class, p its probability, qᵢ those after a shift of size r, and B_r the trade-off curve. If l leaves the top k
//! there is a set Γ of k others with qᵢ ≥ q_l. Take any t of them, of the probability S in sum: their union has at most
//! B_r(S) after the shift and at least t·q_l, and q_l ≥ 1 − B_r(1 − p). So l stays where for some t
//!
//! ```text
//! 1 − B_r(1 − p) > B_r(S_t)/t,
//! ```
//!
//! S_t being the largest that the sum of the t smallest of k others can be: that of the t smallest among the k largest of all
//! others, and at most 1 − p. Both sides are monotone in r; the radius is the largest over t = 1 … k of where they meet.
//! For k = 1 that is the Neyman–Pearson bound. Only B_r enters, so it holds for every mechanism whose curve is known.
//!
//! By divergence, for mechanisms of which D_MR is known: with P' = (p, S, 1 − p − S) the probabilities of l, of the union and
//! of the rest, S ≤ tp, and Q' = (u, v, w) those after the shift, v ≥ tu. For α > 1, u^α p^(1−α) + v^α S^(1−α) is
//! convex, for a given u + v = m it is least where u/v = p/S, which is not allowed, and hence least where v = tu: there it
//! is m^α G^(1−α) with G = (1 + t)·M, M the power mean of exponent 1 − α of p and S/t with weights 1 and t. By Hölder's inequality
//! m^α G^(1−α) + w^α (1 − p − S)^(1−α) ≥ (1 − p − S + G)^(1−α), so that D_α(Q ‖ P) ≥ −ln(1 − p − S + G), and l stays where D_MR(r) is below
//!
//! ```text
//! sup over α > 1 of −ln(1 − p − S_t + (1 + t)M)/α
//! ```
//!
//! for some t. It grows with p and falls with S: ∂G/∂p = (M/p)^α ≤ 1 ≤ (tM/S)^α = ∂G/∂S. For k = 1 it is the Rényi bound.
//!
//! # What the confidence bounds promise
//! L(l) at α/(k + 1), and U at α/(k + 1) of the k largest other counts. Neither needs a factor K: let Γ be the k others of
//! the largest true probabilities, a fixed set. With probability at least 1 − α no bound of l and of Γ misses. Then the sum
//! of the t smallest true probabilities of any k others is at most that of Γ, which is at most the sum of the t smallest U of
//! Γ; and the i-th largest U of all others is at least the i-th largest U of Γ. U grows with the count.
//!
//! # How it is solved
//! r_1 and a first value for the other r_t, where each of the t has S_t/t, come from the curve's own inverse, rounded down.
//! Beyond it the meeting point is bracketed and found by regula falsi (the Illinois rule), all rows of a block together. A
//! radius is returned only where the left side was seen above the right one by [`ROUNDING`].

use std::num::NonZeroUsize;
use std::sync::Arc;

use crate::bounds::{Rule, TIGHTEST};
use crate::certify::{Count, draws_and_most};
use crate::confidence::{Interval, Side, check_alpha};
use crate::mechanisms::profile::{Profile, Tradeoff};
use crate::{Error, Result, threads};

/// Rows handed to a thread at a time.
const BLOCK: usize = 256;

/// Above what the values of two curves can be off by. A value is F at a point x = F⁻¹(p) ± s: x is known to some 10 units
/// of |F⁻¹(p)| + s, which is below 90 for doubles, and F's slope is at most ½.
const ROUNDING: f64 = 2e-13;

/// Steps of a search; each gives a valid radius.
const STEPS: usize = 60;

/// A search stops where what is left is this share of the radius.
const CLOSE: f64 = 1e-13;

/// What a top-k radius comes from, by the names of the bounds that it is for k = 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Whichever is known and certifies more.
    Tightest,
    /// The trade-off curve.
    Curve,
    /// D_MR.
    Divergence,
}

impl By {
    /// What is called `name`.
    pub fn named(name: &str) -> Result<Self> {
        [(TIGHTEST, Self::Tightest), ("neyman-pearson", Self::Curve), ("renyi", Self::Divergence)]
            .into_iter()
            .find_map(|(known, by)| (known == name).then_some(by))
            .ok_or_else(|| {
                let allowed = "\"tightest\", \"neyman-pearson\" or \"renyi\" for top-k certificates";
                Error::argument("bound", allowed, format!("{name:?}"))
            })
    }
}

/// How rows of counts become top-k certificates.
#[derive(Debug)]
pub struct Settings {
    /// The mechanism's profile; of its bound nothing is used.
    pub rule: Arc<Rule>,
    /// What of the profile is used.
    pub by: By,
    /// The failure probability of each certificate.
    pub alpha: f64,
    /// How counts become bounds on probabilities.
    pub interval: Interval,
    /// How many classes are the top ones.
    pub k: usize,
    /// The number of draws that every row must have, where it is fixed.
    pub draws: Option<u64>,
    /// How far, in total variation, a draw's law may be from the mechanism's.
    pub noise_error: f64,
}

/// Where the certificates of some rows go; every slice has one element a row.
pub struct Certificates<'a> {
    /// The class that is certified to stay, or −1. On entry, the class that is asked for.
    pub prediction: &'a mut [i64],
    /// The radius, 0 exactly where nothing is certified.
    pub radius: &'a mut [f64],
    /// The lower bound on the class's probability.
    pub p1: &'a mut [f64],
    /// The upper bound on the probability of the k-th largest other.
    pub p2: &'a mut [f64],
}

/// Certifies the rows of `counts`, of `classes` each, the first of which is number `first` in what the caller was given.
pub fn certify<T: Count>(
    settings: &Settings,
    counts: &[T],
    classes: usize,
    first: usize,
    out: Certificates<'_>,
    threads: Option<NonZeroUsize>,
) -> Result<()> {
    check_alpha(settings.alpha)?;
    if !(0.0..1.0).contains(&settings.noise_error) {
        return Err(Error::argument("noise_error", "a number of at least 0 and below 1", settings.noise_error));
    }
    if !(1..classes).contains(&settings.k) {
        let allowed = format!("between 1 and {}, below the number of classes", classes.saturating_sub(1));
        return Err(Error::argument("k", allowed, settings.k));
    }
    let Profile { mr, tradeoff, .. } = settings.rule.profile();
    if mr.is_none() && tradeoff.is_none() {
        let allowed = "one whose trade-off curve or divergence D_MR is known";
        return Err(Error::argument("mechanism", allowed, "one without"));
    }
    let Certificates { prediction, radius, p1, p2 } = out;
    let blocks = counts
        .chunks(BLOCK * classes)
        .zip(prediction.chunks_mut(BLOCK))
        .zip(radius.chunks_mut(BLOCK))
        .zip(p1.chunks_mut(BLOCK))
        .zip(p2.chunks_mut(BLOCK));
    threads::for_each(threads, blocks.enumerate(), |(i, ((((counts, prediction), radius), p1), p2))| {
        let out = Certificates { prediction, radius, p1, p2 };
        block(settings, counts, classes, first + i * BLOCK, out)
    })
}

fn block<T: Count>(
    settings: &Settings,
    counts: &[T],
    classes: usize,
    first: usize,
    out: Certificates<'_>,
) -> Result<()> {
    let rows = out.prediction.len();
    // S_t of row i is sums[(t − 1)·rows + i].
    let mut sums = vec![0.0; settings.k * rows];
    for (i, row) in counts.chunks_exact(classes).enumerate() {
        let (p, largest) = bounds_of(settings, row, out.prediction[i], first + i)?;
        out.p1[i] = p;
        // From ½ on the difference is exact.
        let most = if p < 0.5 { (1.0 - p).next_up().min(1.0) } else { 1.0 - p };
        out.p2[i] = largest[0].min(most);
        let mut sum: f64 = 0.0;
        for (t, u) in largest.into_iter().enumerate() {
            sum = if t == 0 { u } else { (sum + u).next_up() };
            sums[t * rows + i] = sum.min(most);
        }
    }
    radii(settings, out.p1, &sums, out.radius)?;
    for (prediction, radius) in out.prediction.iter_mut().zip(&*out.radius) {
        if *radius == 0.0 {
            *prediction = -1;
        }
    }
    Ok(())
}

/// The lower bound of class `label` of a row, and the upper bounds of the k largest others from the smallest up.
fn bounds_of<T: Count>(settings: &Settings, row: &[T], label: i64, number: usize) -> Result<(f64, Vec<f64>)> {
    let (draws, _) = draws_and_most(row, "counts", number)?;
    if let Some(n) = settings.draws.filter(|&n| n != draws) {
        let (allowed, found) = (format!("a row of n = {n} votes"), format!("a row with the sum {draws}"));
        return Err(Error::element("counts", [number], allowed, found));
    }
    let class = usize::try_from(label)
        .ok()
        .filter(|&class| class < row.len())
        .ok_or_else(|| Error::element("labels", [number], format!("a class from 0 to {}", row.len() - 1), label))?;
    let mut others: Vec<u64> = row.iter().enumerate().filter(|(i, _)| *i != class).map(|(_, n)| n.wide()).collect();
    let smaller = others.len() - settings.k;
    if smaller > 0 {
        others.select_nth_unstable(smaller);
    }
    let largest = &mut others[smaller..];
    largest.sort_unstable();
    let level = (settings.alpha / (settings.k + 1) as f64).next_down();
    let (interval, error) = (settings.interval, settings.noise_error);
    let lower = interval.bound(row[class].wide(), draws, level, Side::Lower);
    let upper = largest.iter().map(|&count| interval.bound(count, draws, level, Side::Upper));
    if error == 0.0 {
        return Ok((lower, upper.collect()));
    }
    Ok(((lower - error).next_down().max(0.0), upper.map(|p| (p + error).next_up().min(1.0)).collect()))
}

/// The radius of each row of `p`, rounded down; 0 where there is none. S_t of row i is `sums[(t − 1)·rows + i]`.
fn radii(settings: &Settings, p: &[f64], sums: &[f64], radius: &mut [f64]) -> Result<()> {
    let Profile { mr, tradeoff, .. } = settings.rule.profile();
    radius.fill(0.0);
    if let Some(curve) = tradeoff.as_deref().filter(|_| settings.by != By::Divergence) {
        by_curve(curve, p, sums, radius)?;
        if curve.settles() {
            return Ok(());
        }
    }
    if let Some(mr) = mr.as_deref().filter(|_| settings.by != By::Curve) {
        let rows = p.len();
        let mut budget = vec![0.0_f64; rows];
        for (t, sums) in (1..).zip(sums.chunks(rows.max(1))) {
            for ((budget, &p), &sum) in budget.iter_mut().zip(p).zip(sums) {
                *budget = budget.max(divergence(p, sum, f64::from(t)));
            }
        }
        let mut found = vec![0.0; rows];
        mr.within(&budget, &mut found)?;
        for ((radius, found), budget) in radius.iter_mut().zip(found).zip(budget) {
            if budget > 0.0 {
                *radius = radius.max(found);
            }
        }
    }
    Ok(())
}

/// The supremum over α of −ln(1 − p − S + (1 + t)M)/α, rounded down; 0 where p ≤ S/t.
///
/// Found by golden section over α up to 2; every α gives a valid value, so the search decides only how tight it is.
fn divergence(p: f64, sum: f64, t: f64) -> f64 {
    /// Steps of the search.
    const STEPS: usize = 40;
    if p * t <= sum || sum == 0.0 {
        return if sum == 0.0 && p > 0.0 { -libm::log1p(-p) * (1.0 - 1e-14) } else { 0.0 };
    }
    let ln_ratio = libm::log(t * p / sum);
    let at = |a: f64| {
        // ln of (1 + tρ^a)/(1 + t), ρ = tp/S, of which M is p times the power −1/a.
        let mean = p * libm::exp(-libm::log1p(t / (1.0 + t) * libm::expm1(a * ln_ratio)) / a);
        // p, S and G are known to a few units in their last places, M included: e^−x·x never amplifies.
        let fall = (p + sum - (1.0 + t) * mean) - 1e-14 * (p + sum + (1.0 + t) * mean);
        if fall >= 1.0 { f64::INFINITY } else { -libm::log1p(-fall.max(0.0)) / (1.0 + a) * (1.0 - 1e-14) }
    };
    let cut = 0.5 * (5.0_f64.sqrt() - 1.0);
    let (mut low, mut high) = (1e-6, 1.0);
    let (mut left, mut right) = (high - cut * (high - low), low + cut * (high - low));
    let (mut at_left, mut at_right) = (at(left), at(right));
    for _ in 0..STEPS {
        if at_left < at_right {
            (low, left, at_left) = (left, right, at_right);
            right = low + cut * (high - low);
            at_right = at(right);
        } else {
            (high, right, at_right) = (right, left, at_left);
            left = high - cut * (high - low);
            at_left = at(left);
        }
    }
    at_left.max(at_right)
}

/// The largest over t of where 1 − B_r(1 − p) and B_r(S_t)/t meet, rounded down, for each row of `p`; 0 where they do not.
fn by_curve(curve: &dyn Tradeoff, p: &[f64], sums: &[f64], radius: &mut [f64]) -> Result<()> {
    let rows = p.len();
    curve.within(p, &sums[..rows], radius)?;
    let mut start = vec![0.0; rows];
    for (t, sums) in (2..).zip(sums[rows..].chunks(rows.max(1))) {
        let t = f64::from(t);
        // Each of the t has this much; B_r is concave and B_r(0) ≥ 0, so B_r(S/t) ≥ B_r(S)/t.
        let shares: Vec<f64> = sums.iter().map(|sum| (sum / t).next_up()).collect();
        curve.within(p, &shares, &mut start)?;
        for (radius, start) in radius.iter_mut().zip(&start) {
            *radius = radius.max(*start);
        }
        beyond(curve, t, p, sums, radius)?;
    }
    Ok(())
}

/// Moves each finite radius up to where 1 − B_r(1 − p) and B_r(S)/t meet, if that is beyond it.
fn beyond(curve: &dyn Tradeoff, t: f64, p: &[f64], sums: &[f64], radius: &mut [f64]) -> Result<()> {
    // A radius of the usual size, where there is none to start from.
    let mut usual = [0.0];
    curve.within(&[0.75], &[0.25], &mut usual)?;
    let mut searches: Vec<Search> = p
        .iter()
        .zip(sums)
        .enumerate()
        .filter(|(row, (p, sum))| **p > **sum / t && radius[*row].is_finite())
        .map(|(row, (&p, &sum))| Search::new(row, p, sum, radius[row]))
        .collect();
    let (mut r, mut levels, mut most) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..STEPS {
        searches.retain(|search| !search.done);
        if searches.is_empty() {
            break;
        }
        r.clear();
        levels.clear();
        for search in &searches {
            r.extend([search.probe; 2]);
            levels.extend([search.miss, search.sum]);
        }
        most.resize(r.len(), 0.0);
        curve.at(&r, &levels, &mut most)?;
        for (search, most) in searches.iter_mut().zip(most.as_chunks::<2>().0) {
            let margin = (1.0 - most[0]) - most[1] / t - ROUNDING;
            if margin >= 0.0 {
                radius[search.row] = radius[search.row].max(search.probe);
            }
            search.narrow(margin, usual[0]);
        }
    }
    Ok(())
}

/// A search for where a row's margin becomes negative.
struct Search {
    row: usize,
    /// 1 − p.
    miss: f64,
    sum: f64,
    probe: f64,
    /// The largest r with a margin that was not negative, and its margin, which the Illinois rule may halve.
    low: Option<(f64, f64)>,
    /// The smallest r with a negative one.
    high: Option<(f64, f64)>,
    /// Which side moved last.
    rose: Option<bool>,
    done: bool,
}

impl Search {
    /// From `start` on, below which the row is certified already.
    fn new(row: usize, p: f64, sum: f64, start: f64) -> Self {
        let miss = if p < 0.5 { (1.0 - p).next_up() } else { 1.0 - p };
        Self { row, miss, sum, probe: start, low: None, high: None, rose: None, done: false }
    }

    fn narrow(&mut self, margin: f64, usual: f64) {
        let r = self.probe;
        let rises = margin >= 0.0;
        if rises {
            if let (Some(true), Some(high)) = (self.rose, &mut self.high) {
                high.1 *= 0.5;
            }
            self.low = Some((r, margin));
        } else {
            if let (Some(false), Some(low)) = (self.rose, &mut self.low) {
                low.1 *= 0.5;
            }
            self.high = Some((r, margin));
        }
        self.rose = Some(rises);
        match (self.low, self.high) {
            (Some((low, at_low)), Some((high, at_high))) => {
                self.done = high - low <= CLOSE * high;
                if !self.done {
                    let cut = low + (high - low) * (at_low / (at_low - at_high));
                    // A little off both ends, so that the last steps close the bracket from both sides.
                    let inset = 0.25 * CLOSE * high;
                    self.probe = cut.clamp(low + inset, high - inset);
                }
            }
            // Even the start is too far: what is known already is better than what this t gives, to within rounding.
            (None, _) => self.done = true,
            // Nothing limits it so far.
            (Some((low, _)), None) => {
                self.probe = if low > 0.0 { 1.25 * low } else { usual };
                self.done = self.probe == low || self.probe.is_infinite();
            }
        }
    }
}
