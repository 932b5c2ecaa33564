//! Transfers under locks: what a lock keeps, what a fence keeps, what neither keeps.
