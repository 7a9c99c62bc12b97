//! Noise, confidence bounds and radii for randomized-smoothing certification.
//!
//! The crate knows nothing of Python. The noise stream ([`stream`], [`noise`]) draws a mechanism's law ([`mechanisms`]);
//! confidence bounds on class probabilities ([`confidence`]) and the radii that they certify ([`bounds`]) make certificates
//! of counts ([`certify`], [`topk`]).

pub mod bounds;
pub mod certify;
pub mod confidence;
mod error;
pub mod mechanisms;
pub mod noise;
mod numeric;
pub mod stream;
pub mod threads;
pub mod topk;

pub use error::{Error, Result};
pub use mechanisms::Mechanism;
