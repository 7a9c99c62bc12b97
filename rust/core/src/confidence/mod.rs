//! How counts become bounds on probabilities.

pub mod anytime;
