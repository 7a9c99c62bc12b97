//! Noise, confidence bounds and radii for randomized-smoothing certification.
//!
//! The crate knows nothing of Python. Its three parts are the noise stream ([`stream`], [`noise`]), the confidence
//! bounds on class probabilities ([`interval`]) and the radii they certify ([`radius`], [`certify`]).

pub mod certify;
pub mod confidence;
mod elementary;
mod error;
pub mod interval;
mod mechanism;
pub mod noise;
pub mod radius;
pub mod stream;
pub mod threads;

pub use error::{Error, Result};
pub use mechanism::Mechanism;
