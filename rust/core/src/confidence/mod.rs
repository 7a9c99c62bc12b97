//! Confidence bounds on a class's probability from its count.

mod anytime;
mod clopper_pearson;
mod wealth;

use std::num::NonZeroUsize;

pub use anytime::{anytime, crossed};
pub use clopper_pearson::clopper_pearson;
pub use wealth::{ln_wealth, ln_wealth_many};

use crate::{Error, Result, threads};

/// The largest number of draws: counts up to here are exact as floats.
pub const MAX_DRAWS: u64 = 1 << 53;

/// Which of the two bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The lower bound, rounded down.
    Lower,
    /// The upper bound, rounded up.
    Upper,
}

/// How counts become bounds on probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    /// The exact bound for a number of draws that was fixed before they were looked at.
    ClopperPearson,
    /// The bound that holds after every draw at once.
    Anytime,
}

impl Interval {
    /// Every interval.
    pub const ALL: [Self; 2] = [Self::ClopperPearson, Self::Anytime];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::ClopperPearson => "clopper-pearson",
            Self::Anytime => "anytime",
        }
    }

    /// Whether it holds for draws that were stopped by looking at the votes.
    pub fn holds_when_stopped(self) -> bool {
        match self {
            Self::ClopperPearson => false,
            Self::Anytime => true,
        }
    }

    /// The interval called `name`.
    pub fn named(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|interval| interval.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(|interval| format!("\"{}\"", interval.name())).join(" or ");
            Error::argument("interval", names, format!("{name:?}"))
        })
    }

    /// The bound for `k` of `n` draws, `k` ≤ `n`, 0 < `n` ≤ [`MAX_DRAWS`], which misses with probability `alpha` at most.
    pub fn bound(self, k: u64, n: u64, alpha: f64, side: Side) -> f64 {
        match self {
            Self::ClopperPearson => clopper_pearson(k, n, alpha, side),
            Self::Anytime => anytime(k, n, alpha, side),
        }
    }

    /// [`bound`](Self::bound) of every triple, in parallel.
    pub fn bound_many(
        self,
        k: &[i64],
        n: &[i64],
        alpha: &[f64],
        side: Side,
        out: &mut [f64],
        threads: Option<NonZeroUsize>,
    ) -> Result<()> {
        check_counts(k, n, 1)?;
        check_alphas(alpha)?;
        fill(out, threads, |i| self.bound(k[i].unsigned_abs(), n[i].unsigned_abs(), alpha[i], side))
    }
}

/// Numbers that a thread computes at a time.
const BLOCK: usize = 64;

/// Computes number i of `out`, for every i.
fn fill(out: &mut [f64], threads: Option<NonZeroUsize>, of: impl Fn(usize) -> f64 + Sync) -> Result<()> {
    threads::for_each(threads, out.chunks_mut(BLOCK).enumerate(), |(block, out)| {
        (block * BLOCK..).zip(out).for_each(|(i, out)| *out = of(i));
        Ok(())
    })
}

/// Refuses a failure probability that is not inside (0, 1).
pub fn check_alpha(alpha: f64) -> Result<()> {
    if alpha > 0.0 && alpha < 1.0 {
        Ok(())
    } else {
        Err(Error::argument("alpha", "a number above 0 and below 1", alpha))
    }
}

/// Refuses numbers of draws that are not from `least` to [`MAX_DRAWS`], and counts that are not from 0 to them.
fn check_counts(k: &[i64], n: &[i64], least: i64) -> Result<()> {
    for (i, (&k, &n)) in k.iter().zip(n).enumerate() {
        if n < least || n.unsigned_abs() > MAX_DRAWS {
            return Err(Error::element("n", [i], format!("an integer from {least} to 2**53"), n));
        }
        if k < 0 || k > n {
            return Err(Error::element("k", [i], format!("an integer from 0 to n, which is {n} there"), k));
        }
    }
    Ok(())
}

/// Refuses failure probabilities that are not inside (0, 1).
fn check_alphas(alpha: &[f64]) -> Result<()> {
    match alpha.iter().position(|&alpha| !(alpha > 0.0 && alpha < 1.0)) {
        Some(i) => Err(Error::element("alpha", [i], "a number above 0 and below 1", alpha[i])),
        None => Ok(()),
    }
}
