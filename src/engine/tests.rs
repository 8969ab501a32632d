//! The engine on fakes, with failures at every step.
