//! The same protocol code in a cluster made of values, under a scheduler that tries everything.
//!
//! [`cluster`] is the second implementation of the verbs. Every call becomes a message; what
//! happens to it, and when, is a choice: it runs now or later, it waits for another's lock or is
//! timed out, its answer is lost, its sender dies and it runs all the same, recovery ends its
//! session first. [`explore`] takes every choice there is within a budget of crashes and faults;
//! [`random`] takes some, far deeper, by a seed. At the end of every schedule [`check`] lets
//! recovery run to its fixed point and holds the ledger against every answer that was given.
//!
//! What is modelled of Postgres: committed and uncommitted rows, row and key locks with waiting
//! and `lock_timeout`, prepared transactions, sessions that outlive their client, advisory locks
//! of epochs; fences, intents and sagas, and that a restart forgets the closing of an intent or a saga
//! where no later commit of the shard was waited for. Locks are granted to everybody at once ([`locking`]): a
//! holder that was stopped past its lease is a schedule in which others go first. Events are given to
//! every relay that asks, for the same reason, and what is written of them without being waited for is
//! forgotten like an intent's closing; a relay is a task that makes a few rounds. What is assumed
//! is tested against real servers elsewhere. Absent: time. A message that arrives late is one that
//! runs late; no lease runs out, because none ever excluded anybody; and recovery has no grace.
//!
//! Soundness of what is left out, so that "every schedule" means it. An answer arrives when its
//! statement ends: arriving later only makes the sender's next message run later, which it may
//! anyway, and a sender that dies in between has as well died after sending a message that is
//! lost. A lost request is one whose sender gives up and that never runs. A statement that does
//! nothing on its own is forgotten when its sender gives up. Statements that nobody waits for
//! may run at any instant or never.

pub mod check;
pub mod cluster;
pub mod eventing;
pub mod explore;
pub mod fingerprint;
pub mod holds;
pub mod leavings;
pub mod locking;
pub mod network;
pub mod random;
pub mod rules;
pub mod sagas;
pub mod scene;
pub mod scheduler;
pub mod shard;
pub mod steps;
pub mod world;

#[cfg(all(test, feature = "planted-late-decision"))]
mod planted;
#[cfg(all(test, not(feature = "planted-late-decision")))]
mod tests;
