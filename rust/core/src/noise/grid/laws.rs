//! The laws' tables, one for each mechanism and grid, kept for the whole process.

use std::sync::{Arc, Mutex};

use super::cube::Cube;
use super::table::Magnitudes;
use super::thresholds::{self, MAX_RADII, TAIL_ERROR};
use crate::{Error, Mechanism, Result};

/// The narrowest and the widest noise, in steps of the grid. Below, every integer is nearly always 0; above, the thresholds
/// outgrow a table.
const STEPS: std::ops::RangeInclusive<f64> = 1.0 / 16.0..=65536.0;

/// Laws kept: as many as this, and those of no more bytes.
const KEPT: usize = 8;
const KEPT_BYTES: usize = 128 << 20;

/// A law, ready to be drawn from.
pub enum Law {
    /// Independent coordinates.
    Independent(Magnitudes),
    /// Coordinates uniform in a cube of random half-width.
    Cube(Cube),
}

impl std::fmt::Debug for Law {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Law").field("largest", &self.largest()).finish_non_exhaustive()
    }
}

impl Law {
    /// The largest magnitude.
    pub fn largest(&self) -> u32 {
        match self {
            Self::Independent(magnitudes) => magnitudes.largest() as u32,
            Self::Cube(cube) => cube.largest() as u32,
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Independent(magnitudes) => magnitudes.bytes(),
            Self::Cube(cube) => cube.bytes(),
        }
    }

    /// At least the total variation distance of a draw of `dim` coordinates, as docs/exact.md derives it.
    pub fn total_variation(&self, dim: f64) -> f64 {
        const STEP: f64 = 1.0 / (1u128 << 64) as f64;
        let distance = match self {
            Self::Independent(magnitudes) => dim * (magnitudes.largest() as f64 + 1.0) * (STEP + TAIL_ERROR),
            Self::Cube(cube) => {
                let (count, error) = cube.thresholds();
                dim * (2.0 * cube.largest() as f64 + 1.0) * (STEP / 4.0) + (count as f64 + 2.0) * (STEP / 2.0 + error)
            }
        };
        // The roundings above.
        distance * (1.0 + 8.0 * f64::EPSILON)
    }
}

/// What a law depends on: the mechanism's name, its parameter's bits, the grid and, for joint laws, the coordinates.
type Identity = (&'static str, u64, u32, u64);

/// The law of `mechanism`'s noise in steps of 1/`grid`.
pub fn law(mechanism: Mechanism, grid: u32, dim: u64) -> Result<Arc<Law>> {
    let identity =
        (mechanism.name(), mechanism.parameter().to_bits(), grid, if mechanism.is_joint() { dim } else { 0 });
    // The latest use is last. A lock that is held, which it stays for ever in a child forked just then, is not waited for.
    static LAWS: Mutex<Vec<(Identity, Arc<Law>)>> = Mutex::new(Vec::new());
    if let Ok(mut laws) = LAWS.try_lock()
        && let Some(at) = laws.iter().position(|(known, _)| *known == identity)
    {
        let found = laws.remove(at);
        let law = Arc::clone(&found.1);
        laws.push(found);
        return Ok(law);
    }
    let law = Arc::new(mechanism.grid_law(grid, dim)?);
    if let Ok(mut laws) = LAWS.try_lock() {
        laws.push((identity, Arc::clone(&law)));
        while laws.len() > KEPT || laws.iter().map(|(_, law)| law.bytes()).sum::<usize>() > KEPT_BYTES {
            laws.remove(0);
        }
    }
    Ok(law)
}

impl Law {
    /// Independent coordinates of the magnitudes that `thresholds` gives, for noise of `parameter`, which is called `name`.
    /// `size` guesses, over the parameter, what a magnitude exceeds with a given probability.
    pub fn independent(
        name: &'static str,
        parameter: f64,
        grid: u32,
        thresholds: fn(f64, u32) -> Vec<u64>,
        size: fn(f64) -> f64,
    ) -> Result<Self> {
        check(name, parameter, grid, *STEPS.end(), "")?;
        let steps = parameter * f64::from(grid);
        Ok(Self::Independent(Magnitudes::new(thresholds(parameter, grid), |tail| 0.5 + steps * size(tail))))
    }

    /// Coordinates uniform in a cube, P(Z) ∝ exp(−‖Z‖∞/(σ·`grid`)), for a σ that is called `name`.
    pub fn cube(name: &'static str, sigma: f64, grid: u32, dim: u64) -> Result<Self> {
        // Reached from the mode, at about σg·dim, in so many steps at most: see docs/exact.md.
        let spread = 24.0 * (dim as f64).sqrt() + 70.0;
        let widest = (MAX_RADII as f64 / spread).min(f64::from(i32::MAX) / (dim as f64 + spread));
        check(name, sigma, grid, widest.min(*STEPS.end()), &format!(" of {dim} coordinates"))?;
        Ok(Self::Cube(Cube::new(thresholds::radii(sigma, grid, dim))))
    }
}

fn check(name: &'static str, parameter: f64, grid: u32, widest: f64, draws: &str) -> Result<()> {
    let (least, most) = (STEPS.start() / f64::from(grid), widest / f64::from(grid));
    if (least..=most).contains(&parameter) {
        return Ok(());
    }
    let allowed = format!(
        "between {least:e} and {most:e} on a grid of {grid}, which is {} to {widest:.0} grid steps{}",
        STEPS.start(),
        if draws.is_empty() { String::new() } else { format!(" for draws{draws}") }
    );
    Err(Error::argument(name, allowed, parameter))
}
