//! Noise as a function: (mechanism, key, draw, coordinate) → number.
//!
//! A value depends on nothing else: not on the number of threads, on how a call is divided, on the instruction set, nor on
//! which other values are computed with it. Half precisions are the single-precision number, rounded; single and double
//! precision agree to within rounding.

mod element;
mod engine;
pub mod grid;
pub(crate) mod law;
pub(crate) mod real;
mod uncached;
mod writer;

pub use element::Element;
pub use engine::{Inputs, Noise};
