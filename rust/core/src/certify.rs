//! Counts to certificates: top two, confidence bounds and radius of every row in one pass.
//!
//! # What the confidence bounds promise
//! Of the rows whose input is fixed, at most a share α gets a prediction c and bounds p1, p2 for which "class c has
//! probability at least p1 and every other at most p2" is false. The levels at which the Clopper–Pearson bounds L
//! (lower) and U (upper) are taken depend on how c was chosen:
//!
//! **Separate draws chose c**, so c is fixed. [`RunnerUp::Complement`]: L(c) at α, and p2 = 1 − p1.
//! [`RunnerUp::Second`]: L(c) at α/2, and U at α/2 of the largest other count. That needs no factor K: let b be the
//! class, fixed too, with the largest true probability but c's; the largest other count is no less than b's and U
//! increases with the count, so U misses only where b's own bound does.
//!
//! **The same draws chose c** (the class with the most votes).
//! - [`RunnerUp::Second`]: L at α/2K, and U at α/4 of the largest other count. L misses for any of the K classes with
//!   probability at most α/2. For U let m be the class with the largest true probability and b the one with the
//!   second largest, both fixed. If c = m, a miss of U is a miss of b's own bound; if c ≠ m, the largest other count is
//!   no less than m's, and a miss of U is a miss of m's own bound. Together α/4 + α/4.
//! - [`RunnerUp::Complement`]: L at α/2, whatever K > 1. A certificate needs p1 > ½, that is a count of at least s, the
//!   least with L(s) > ½; write F(p) = P(Bin(n, p) ≥ s), so F(½) ≤ α/2, and s ≥ (n + 1)/2. A class i with pᵢ ≥ ½ is
//!   wrongly certified with probability at most α/2. One with pᵢ < ½ is with at most F(pᵢ), and F is convex
//!   on [0, ½] with F(0) = 0 (its derivative increases up to (s − 1)/(n − 1) ≥ ½), so that such classes have in sum at most
//!   F(½)·Σpᵢ/½. If a class has pᵢ ≥ ½ the rest has Σ ≤ ½, else all have Σ = 1: at most 2·α/2 either way.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use fearless_simd::{Simd, dispatch};

use crate::bounds::Rule;
use crate::confidence::{Interval, MAX_DRAWS, Side, check_alpha};
use crate::{Error, Result, threads};

/// Rows handed to a thread at a time.
const BLOCK: usize = 256;

/// How p2 is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunnerUp {
    /// By the largest other count, and by 1 − p1 where that is less.
    Second,
    /// By 1 − p1.
    Complement,
}

/// An integer type that counts come in.
pub trait Count: Copy + Ord + Default + Send + Sync + std::fmt::Display {
    /// The value, if it is not negative.
    fn wide(self) -> u64;
}

macro_rules! count {
    ($($type:ty),*) => {$(
        impl Count for $type {
            #[inline]
            #[allow(clippy::cast_sign_loss, clippy::cast_lossless)]
            fn wide(self) -> u64 {
                self as u64
            }
        }
    )*};
}
count!(i8, i16, i32, i64, u8, u16, u32, u64);

/// Where the certificates of some rows go; every slice has one element a row.
pub struct Certificates<'a> {
    /// The certified class, or −1 for an abstention. On entry, the selected class where selection was separate.
    pub prediction: &'a mut [i64],
    /// The radius, 0 exactly where the row abstains.
    pub radius: &'a mut [f64],
    /// The lower bound on the selected class's probability.
    pub p1: &'a mut [f64],
    /// The upper bound on every other class's probability.
    pub p2: &'a mut [f64],
    /// The Rényi order that gives the radius, or NaN.
    pub order: &'a mut [f64],
}

/// How rows of counts become certificates.
#[derive(Debug)]
pub struct Settings {
    /// How p1 and p2 become a radius.
    pub rule: Arc<Rule>,
    /// The failure probability of each certificate.
    pub alpha: f64,
    /// How p2 is bounded.
    pub runner_up: RunnerUp,
    /// How counts become p1 and p2.
    pub interval: Interval,
    /// Whether the class was selected on other draws.
    pub separate: bool,
    /// The number of draws that every row must have, where it is fixed.
    pub draws: Option<u64>,
    /// How far, in total variation, a draw's law may be from the mechanism's: p1 is that much smaller and p2 larger.
    pub noise_error: f64,
}

/// Certifies rows of counts, remembering confidence bounds from row to row.
pub struct Certifier {
    settings: Settings,
    classes: usize,
    lower: Memo,
    upper: Option<Memo>,
}

impl Certifier {
    /// For rows of `classes` counts, about `rows` of them.
    pub fn new(settings: Settings, classes: usize, rows: usize) -> Result<Self> {
        let Settings { alpha, interval, noise_error, .. } = settings;
        check_alpha(alpha)?;
        if !(0.0..1.0).contains(&noise_error) {
            return Err(Error::argument("noise_error", "a number of at least 0 and below 1", noise_error));
        }
        if classes < 2 {
            return Err(Error::argument("counts", "of at least 2 classes, shape (N, K)", classes));
        }
        let (lower, upper) = match (settings.runner_up, settings.separate) {
            (RunnerUp::Complement, true) => (alpha, None),
            (RunnerUp::Complement, false) => (alpha / 2.0, None),
            (RunnerUp::Second, true) => (alpha / 2.0, Some(alpha / 2.0)),
            (RunnerUp::Second, false) => (alpha / (2.0 * classes as f64), Some(alpha / 4.0)),
        };
        Ok(Self {
            settings,
            classes,
            lower: Memo::new(interval, lower, Side::Lower, rows),
            upper: upper.map(|alpha| Memo::new(interval, alpha, Side::Upper, rows)),
        })
    }

    /// Certifies the rows of `counts`, the first of which is number `first` in what the caller was given.
    pub fn certify<T: Count>(
        &self,
        counts: &[T],
        first: usize,
        out: Certificates<'_>,
        threads: Option<NonZeroUsize>,
    ) -> Result<()> {
        let rows = counts.len() / self.classes;
        for length in [out.prediction.len(), out.radius.len(), out.p1.len(), out.p2.len(), out.order.len()] {
            if length != rows || rows * self.classes != counts.len() {
                return Err(Error::argument("an output", format!("one element for each of {rows} whole rows"), length));
            }
        }
        let Certificates { prediction, radius, p1, p2, order } = out;
        let blocks = counts
            .chunks(BLOCK * self.classes)
            .zip(prediction.chunks_mut(BLOCK))
            .zip(radius.chunks_mut(BLOCK))
            .zip(p1.chunks_mut(BLOCK))
            .zip(p2.chunks_mut(BLOCK))
            .zip(order.chunks_mut(BLOCK));
        threads::for_each(threads, blocks.enumerate(), |(i, (((((counts, prediction), radius), p1), p2), order))| {
            self.block(counts, first + i * BLOCK, Certificates { prediction, radius, p1, p2, order })
        })
    }

    fn block<T: Count>(&self, counts: &[T], first: usize, out: Certificates<'_>) -> Result<()> {
        let mut votes = [Votes::default(); BLOCK];
        let votes = &mut votes[..out.prediction.len()];
        dispatch!(self.settings.rule.level().0, simd => simd.vectorize(
            #[inline(always)]
            || self.read(counts, first, out.prediction, votes)
        ))?;
        for (i, votes) in votes.iter().enumerate() {
            let p1 = self.moved(self.lower.bound(votes.chosen, votes.draws), Side::Lower);
            let complement = if p1 < 0.5 { (1.0 - p1).next_up().min(1.0) } else { 1.0 - p1 };
            out.p1[i] = p1;
            out.p2[i] = match &self.upper {
                None => complement,
                Some(upper) => self.moved(upper.bound(votes.other, votes.draws), Side::Upper).min(complement),
            };
        }
        self.settings.rule.fill(out.p1, out.p2, out.radius, out.order)?;
        for (prediction, radius) in out.prediction.iter_mut().zip(&*out.radius) {
            if *radius == 0.0 {
                *prediction = -1;
            }
        }
        Ok(())
    }

    /// A bound on a probability under the draws' law as one under the mechanism's.
    #[inline]
    fn moved(&self, p: f64, side: Side) -> f64 {
        match (self.settings.noise_error, side) {
            (0.0, _) => p,
            (error, Side::Lower) => (p - error).next_down().max(0.0),
            (error, Side::Upper) => (p + error).next_up().min(1.0),
        }
    }

    /// Puts the chosen classes into `prediction` and what the bounds need of each row into `votes`.
    #[inline(always)]
    fn read<T: Count>(&self, counts: &[T], first: usize, prediction: &mut [i64], votes: &mut [Votes]) -> Result<()> {
        for (i, row) in counts.chunks_exact(self.classes).enumerate() {
            let (draws, most) = draws_and_most(row, "counts", first + i)?;
            if let Some(n) = self.settings.draws.filter(|&n| n != draws) {
                return Err(wrong_sum(n, draws, first + i));
            }
            let chosen =
                if self.settings.separate { self.selected(prediction[i], first + i)? } else { first_of(row, most) };
            prediction[i] = chosen as i64;
            let other = max(&row[..chosen]).max(max(&row[chosen + 1..]));
            votes[i] = Votes { draws, chosen: row[chosen].wide(), other: other.wide() };
        }
        Ok(())
    }

    fn selected(&self, class: i64, row: usize) -> Result<usize> {
        usize::try_from(class)
            .ok()
            .filter(|&class| class < self.classes)
            .ok_or_else(|| Error::element("selection", [row], format!("a class from 0 to {}", self.classes - 1), class))
    }
}

/// The class with the most votes of each row of `classes` counts, the lowest where several have them. `name` is the
/// argument that errors speak of and `first` the number of its first row.
pub fn top_classes<T: Count>(
    counts: &[T],
    classes: usize,
    name: &'static str,
    first: usize,
    out: &mut [i64],
) -> Result<()> {
    for (i, (row, out)) in counts.chunks_exact(classes).zip(out).enumerate() {
        let (_, most) = draws_and_most(row, name, first + i)?;
        *out = first_of(row, most) as i64;
    }
    Ok(())
}

/// What the confidence bounds need of a row.
#[derive(Clone, Copy, Default)]
struct Votes {
    /// The number of draws.
    draws: u64,
    /// The chosen class's count.
    chosen: u64,
    /// The largest other count.
    other: u64,
}

#[inline(always)]
fn max<T: Count>(row: &[T]) -> T {
    row.iter().fold(T::default(), |most, &count| most.max(count))
}

#[inline(always)]
fn first_of<T: Count>(row: &[T], value: T) -> usize {
    row.iter().position(|&count| count == value).unwrap_or(0)
}

/// The sum of a row, from 1 to [`MAX_DRAWS`], of counts none of which is negative, and the largest of them.
#[inline(always)]
pub(crate) fn draws_and_most<T: Count>(row: &[T], name: &'static str, number: usize) -> Result<(u64, T)> {
    let (mut least, mut most, mut sum) = (T::default(), T::default(), 0_u64);
    for &count in row {
        least = least.min(count);
        most = most.max(count);
        sum = sum.wrapping_add(count.wide());
    }
    // Then nothing was negative and the sum has not wrapped.
    let exact = least == T::default() && most.wide() <= u64::MAX / row.len() as u64;
    if exact && (1..=MAX_DRAWS).contains(&sum) { Ok((sum, most)) } else { refuse_row(row, name, number) }
}

#[cold]
fn refuse_row<T: Count>(row: &[T], name: &'static str, number: usize) -> Result<(u64, T)> {
    Err(match row.iter().position(|&count| count < T::default()) {
        Some(class) => Error::element(name, [number, class], "a count of at least 0", row[class]),
        None => {
            let sum: u128 = row.iter().map(|count| u128::from(count.wide())).sum();
            let allowed = "a row of counts whose sum is from 1 to 2**53";
            Error::element(name, [number], allowed, format!("a row with the sum {sum}"))
        }
    })
}

#[cold]
fn wrong_sum(n: u64, draws: u64, number: usize) -> Error {
    Error::element("counts", [number], format!("a row of n = {n} votes"), format!("a row with the sum {draws}"))
}

/// Confidence bounds by count and draws, computed once each as far as its size allows.
///
/// With one n for all rows and n below the number of slots no two counts share a slot.
struct Memo {
    interval: Interval,
    alpha: f64,
    side: Side,
    slots: Vec<Mutex<Slot>>,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    k: u64,
    /// 0 while the slot is empty.
    n: u64,
    bound: f64,
}

impl Memo {
    /// 16 MiB at most.
    const MOST: usize = 1 << 19;

    fn new(interval: Interval, alpha: f64, side: Side, rows: usize) -> Self {
        let size = rows.saturating_mul(2).clamp(1 << 8, Self::MOST).next_power_of_two();
        Self { interval, alpha, side, slots: (0..size).map(|_| Mutex::default()).collect() }
    }

    fn bound(&self, k: u64, n: u64) -> f64 {
        // Consecutive k lie side by side; different n start at scattered places (Knuth's multiplicative hash).
        let start = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let slot = &self.slots[(k.wrapping_add(start) as usize) & (self.slots.len() - 1)];
        let found = *slot.lock().unwrap_or_else(PoisonError::into_inner);
        if found.k == k && found.n == n {
            return found.bound;
        }
        let bound = self.interval.bound(k, n, self.alpha, self.side);
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Slot { k, n, bound };
        bound
    }
}
