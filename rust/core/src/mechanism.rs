//! The mechanisms x ↦ x + z whose guarantees are known.

use crate::{Error, Result};

/// A mechanism: the law of the noise z that it adds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mechanism {
    /// Independent coordinates z_i ~ N(0, σ²).
    Gaussian {
        /// The standard deviation σ.
        sigma: f64,
    },
    /// Density ∝ exp(−‖z‖∞/σ).
    Exponential {
        /// The scale σ.
        sigma: f64,
    },
    /// Independent coordinates of density exp(−|z_i|/b)/2b.
    Laplace {
        /// The scale b.
        scale: f64,
    },
}

impl Mechanism {
    /// The Gaussian mechanism of standard deviation `sigma`, finite and above 0.
    pub fn gaussian(sigma: f64) -> Result<Self> {
        positive("sigma", sigma).map(|sigma| Self::Gaussian { sigma })
    }

    /// The Exponential mechanism of scale `sigma`, finite and above 0.
    pub fn exponential(sigma: f64) -> Result<Self> {
        positive("sigma", sigma).map(|sigma| Self::Exponential { sigma })
    }

    /// The Laplace mechanism of scale `scale`, finite and above 0.
    pub fn laplace(scale: f64) -> Result<Self> {
        positive("scale", scale).map(|scale| Self::Laplace { scale })
    }
}

fn positive(name: &'static str, value: f64) -> Result<f64> {
    if value > 0.0 && value.is_finite() {
        Ok(value)
    } else {
        Err(Error::Argument { name, allowed: "a finite number above 0".into(), value: value.to_string() })
    }
}
