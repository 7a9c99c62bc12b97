//! Bounds: from p1, a lower bound on the top class's probability, and p2, an upper bound on every other's, to a radius R
//! such that no δ with ‖δ‖ ≤ R changes the vote. All results are rounded down.
//!
//! A bound is one file: a function of a [`Profile`], valid exactly where the part that it needs is present. To add one,
//! write its file and add its line to [`BOUNDS`].

mod hockey_stick;
mod neyman_pearson;
mod pixeldp;
mod pure_dp;
mod renyi;

pub use renyi::{Sup, sup, sup_many};

use std::num::NonZeroUsize;

use crate::mechanisms::profile::{Part, Profile};
use crate::stream::level::Level;
use crate::{Error, Result, threads};

/// Every bound, the paper's first: what the names stand for, and what `tightest` chooses from.
pub static BOUNDS: [Bound; 5] =
    [renyi::BOUND, neyman_pearson::BOUND, hockey_stick::BOUND, pure_dp::BOUND, pixeldp::BOUND];

/// The name of the largest radius of all bounds that hold.
pub const TIGHTEST: &str = "tightest";

/// Rows handed to a thread at a time.
const BLOCK: usize = 1024;

/// A way to turn p1 and p2 into a radius.
pub struct Bound {
    /// What it is called.
    pub name: &'static str,
    /// What figures call it.
    pub label: &'static str,
    /// The part of a profile that it needs, by the name that Python gives it.
    pub part: &'static str,
    holds: fn(&Profile) -> bool,
    /// Whether no other bound can certify more.
    settles: fn(&Profile) -> bool,
    /// Whether another bound that holds is never below it.
    beaten: fn(&Profile) -> bool,
    /// Writes radii and orders, both of which come as 0 and NaN.
    fill: fn(&Profile, &Pairs<'_>, &mut [f64], &mut [f64]) -> Result<()>,
}

impl Bound {
    /// Whether it holds for a mechanism of this profile.
    pub fn holds(&self, profile: &Profile) -> bool {
        (self.holds)(profile)
    }
}

impl std::fmt::Debug for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// A block of valid pairs.
struct Pairs<'a> {
    level: Level,
    p1: &'a [f64],
    p2: &'a [f64],
}

impl Pairs<'_> {
    fn each(&self) -> impl Iterator<Item = (f64, f64)> {
        self.p1.iter().copied().zip(self.p2.iter().copied())
    }

    /// The largest radius at which `part` stays within `budget`(p1, p2); 0 where p1 ≤ p2.
    fn within(&self, part: &dyn Part, budget: fn(f64, f64) -> f64, radius: &mut [f64]) -> Result<()> {
        let budgets: Vec<f64> = self.each().map(|(p1, p2)| if p1 > p2 { budget(p1, p2) } else { 0.0 }).collect();
        part.within(&budgets, radius)?;
        for (radius, (p1, p2)) in radius.iter_mut().zip(self.each()) {
            if p1 <= p2 {
                *radius = 0.0;
            }
        }
        Ok(())
    }
}

/// A profile and the bounds of which the largest radius counts.
#[derive(Debug)]
pub struct Rule {
    profile: Profile,
    bounds: Vec<&'static Bound>,
    level: Level,
}

impl Rule {
    /// The rule that applies `bound`, the name of one or [`TIGHTEST`], to `profile`, which is that of `subject`.
    pub fn new(profile: Profile, bound: &str, subject: &str) -> Result<Self> {
        let holding = || BOUNDS.iter().filter(|bound| bound.holds(&profile));
        let named = |bounds: &mut dyn Iterator<Item = &'static Bound>| {
            listed(std::iter::once(TIGHTEST).chain(bounds.map(|bound| bound.name)))
        };
        let refuse = |allowed: String| Err(Error::argument("bound", allowed, format!("{bound:?}")));
        if holding().next().is_none() {
            let parts = listed(BOUNDS.iter().map(|bound| bound.part));
            return Err(Error::argument(
                "profile",
                format!("of at least one part ({parts})"),
                format!("none of {subject}"),
            ));
        }
        let bounds = if bound == TIGHTEST {
            match holding().find(|bound| (bound.settles)(&profile)) {
                Some(settling) => vec![settling],
                None => holding().filter(|bound| !(bound.beaten)(&profile)).collect(),
            }
        } else {
            match BOUNDS.iter().find(|known| known.name == bound) {
                None => return refuse(named(&mut BOUNDS.iter())),
                Some(known) if !known.holds(&profile) => {
                    return refuse(format!("{} for {subject}", named(&mut holding())));
                }
                Some(known) => vec![known],
            }
        };
        Ok(Self { profile, bounds, level: Level::in_use()? })
    }

    /// The instruction set that the radii are computed with.
    pub(crate) fn level(&self) -> Level {
        self.level
    }

    /// What is known of the mechanism.
    pub(crate) fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The radius and order of every pair that [`check`] accepts, in parallel; 0 where p1 ≤ p2, and a NaN order where the
    /// bound has none. `order` may be left out.
    pub fn radius_many(
        &self,
        p1: &[f64],
        p2: &[f64],
        radius: &mut [f64],
        order: Option<&mut [f64]>,
        threads: Option<NonZeroUsize>,
    ) -> Result<()> {
        map_pairs(p1, p2, radius, order, threads, |p1, p2, radius, order| self.fill(p1, p2, radius, order))
    }

    /// [`Rule::radius_many`] for a block of valid pairs.
    pub(crate) fn fill(&self, p1: &[f64], p2: &[f64], radius: &mut [f64], order: &mut [f64]) -> Result<()> {
        let pairs = Pairs { level: self.level, p1, p2 };
        radius.fill(0.0);
        order.fill(f64::NAN);
        if let [bound] = self.bounds[..] {
            return (bound.fill)(&self.profile, &pairs, radius, order);
        }
        for bound in &self.bounds {
            let (mut radii, mut orders) = (vec![0.0; radius.len()], vec![f64::NAN; radius.len()]);
            (bound.fill)(&self.profile, &pairs, &mut radii, &mut orders)?;
            for (((radius, order), other), other_order) in radius.iter_mut().zip(&mut *order).zip(&radii).zip(&orders) {
                if other > radius {
                    (*radius, *order) = (*other, *other_order);
                }
            }
        }
        Ok(())
    }
}

/// `"a", "b" or "c"`.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("\"{name}\"")).collect();
    match names.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => names.concat(),
    }
}

/// Refuses a pair of which p1 or p2 is no probability, and gives the p2 that the pair means: 1 − p1 where p2 is above it.
///
/// A sum that exceeds 1 by no more than 2⁻⁵², which is what rounding p2 = 1 − p1 can do, is left as it is: p1 may have been
/// rounded up, and the bounds then certify no more than for the pair (p1, 1 − p1) that was meant.
#[inline]
pub fn check(p1: f64, p2: f64, index: usize) -> Result<f64> {
    let unit = 0.0..=1.0;
    if unit.contains(&p1) && unit.contains(&p2) {
        Ok(if p1 + p2 <= 1.0 + f64::EPSILON { p2 } else { 1.0 - p1 })
    } else {
        let (name, value) = if unit.contains(&p1) { ("p2", p2) } else { ("p1", p1) };
        Err(Error::element(name, [index], "a probability from 0 to 1", value))
    }
}

/// Applies `fill` to blocks of valid pairs; the first invalid pair is the error, and the outputs are then unspecified.
fn map_pairs(
    p1: &[f64],
    p2: &[f64],
    first: &mut [f64],
    second: Option<&mut [f64]>,
    threads: Option<NonZeroUsize>,
    fill: impl Fn(&[f64], &[f64], &mut [f64], &mut [f64]) -> Result<()> + Sync,
) -> Result<()> {
    let seconds = second.as_ref().map_or(p1.len(), |second| second.len());
    for length in [p2.len(), first.len(), seconds] {
        if length != p1.len() {
            return Err(Error::argument("p2 and every output", format!("as long as p1, {}", p1.len()), length));
        }
    }
    let block = |start: usize, first: &mut [f64], second: &mut [f64]| {
        let range = start..start + first.len();
        let (p1, given) = (&p1[range.clone()], &p2[range]);
        let mut p2 = [0.0; BLOCK];
        let p2 = &mut p2[..p1.len()];
        for (i, (p2, (&p1, &given))) in p2.iter_mut().zip(p1.iter().zip(given)).enumerate() {
            *p2 = check(p1, given, start + i)?;
        }
        fill(p1, p2, first, second)
    };
    let firsts = first.chunks_mut(BLOCK).enumerate();
    match second {
        Some(second) => threads::for_each(threads, firsts.zip(second.chunks_mut(BLOCK)), |((i, first), second)| {
            block(i * BLOCK, first, second)
        }),
        None => threads::for_each(threads, firsts, |(i, first)| {
            let length = first.len();
            block(i * BLOCK, first, &mut [0.0; BLOCK][..length])
        }),
    }
}
