//! The coders, against other implementations.

mod coders;
