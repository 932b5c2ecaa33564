//! What a simulation begins with: accounts, transfers, who carries them out, who recovers.

use std::fmt;
use std::num::NonZeroU32;

use uuid::Uuid;

use super::cluster::Plant;
use super::leavings::Leavings;
use super::locking::Tokens;
use super::network::short;
use super::scheduler::{Program, Programs};
use super::shard::{Account, Shard};
use super::world::{Budget, Violation, World};
use crate::strategies::Strategy;
use crate::transfer::{AccountId, Amount, IdOrigin, Routing, ShardIndex, Transfer, TransferId};

/// The tries of one call.
pub const MAX_TRIES: NonZeroU32 = NonZeroU32::new(2).expect("two is not zero");

/// One task and the process that it runs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// The number of its process.
    pub process: usize,
    /// What it does.
    pub program: Program,
    /// The role that has to end, or die, before this one begins.
    pub follows: Option<usize>,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}: ", self.process)?;
        match &self.program {
            Program::Recovery => write!(f, "recovery")?,
            Program::Relay { shards: [first, second] } => {
                write!(f, "relay of shard {first}, then of {second}")?;
            }
            Program::Transfer { strategy, transfer, .. } => {
                let Transfer { id, source, target, amount, origin } = transfer;
                let id = short(*id);
                write!(f, "{id}, {amount} from {source} to {target}, {origin:?}, {strategy:?}")?;
            }
        }
        match self.follows {
            None => Ok(()),
            Some(other) => write!(f, ", after task {other}"),
        }
    }
}

/// What a simulation begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scene {
    /// Where accounts live.
    pub routing: Routing,
    /// The accounts.
    pub accounts: Vec<(AccountId, Account)>,
    /// The tasks; processes are numbered from 0 without a gap.
    pub roles: Vec<Role>,
    /// Whether recoverers can end before everything is over as coordinators can.
    pub recoverers_may_end: bool,
    /// How the lock service numbers its grants.
    pub tokens: Tokens,
    /// What may go wrong.
    pub budget: Budget,
    /// Which bug is planted.
    pub plant: Option<Plant>,
}

/// An account number.
#[must_use]
pub fn account(id: i64) -> AccountId {
    AccountId::new(id).expect("accounts are numbered from 1")
}

/// A transfer for a scene, with a small number for its id.
#[must_use]
pub fn transfer(id: u128, from: i64, to: i64, amount: i64, origin: IdOrigin) -> Transfer {
    Transfer {
        id: TransferId(Uuid::from_u128(id)),
        source: account(from),
        target: account(to),
        amount: Amount::new(amount).expect("amounts are positive"),
        origin,
    }
}

/// Whether both are calls for the same thing, and not for another under the same id.
#[must_use]
pub fn is_same_order(one: &Transfer, other: &Transfer) -> bool {
    let order = |t: &Transfer| (t.id, t.source, t.target, t.amount);
    order(one) == order(other)
}

impl Scene {
    /// Accounts with the same balance, numbered from 1, and nothing to do yet.
    #[must_use]
    pub fn new(shards: u16, accounts: i64, balance: i64, budget: Budget) -> Self {
        Self {
            routing: Routing::new(shards),
            accounts: (1..=accounts).map(|id| (account(id), Account::with(balance))).collect(),
            roles: Vec::new(),
            recoverers_may_end: false,
            tokens: Tokens::default(),
            budget,
            plant: None,
        }
    }

    /// Adds a call in process `process`.
    #[must_use]
    pub fn calling(mut self, process: usize, strategy: &Strategy, transfer: Transfer) -> Self {
        let strategy = strategy.clone();
        let program = Program::Transfer { strategy, transfer, max_tries: MAX_TRIES };
        self.roles.push(Role { process, program, follows: None });
        self
    }

    /// Adds a pass of recovery in process `process`.
    #[must_use]
    pub fn recovering(mut self, process: usize) -> Self {
        self.roles.push(Role { process, program: Program::Recovery, follows: None });
        self
    }

    /// Adds a relay in process `process` that makes a round on each of `shards`.
    #[must_use]
    pub fn relaying(mut self, process: usize, shards: [u16; 2]) -> Self {
        let program = Program::Relay { shards: shards.map(ShardIndex) };
        self.roles.push(Role { process, program, follows: None });
        self
    }

    /// Lets the role that was added last begin when `other` has ended or died.
    #[must_use]
    pub fn after(mut self, other: usize) -> Self {
        if let Some(role) = self.roles.last_mut() {
            role.follows = Some(other);
        }
        self
    }

    /// Plants a bug.
    #[must_use]
    pub const fn planting(mut self, plant: Plant) -> Self {
        self.plant = Some(plant);
        self
    }

    /// Gives an account another balance to begin with.
    #[must_use]
    pub fn with_balance(mut self, id: i64, balance: i64) -> Self {
        let place = self.accounts.iter_mut().find(|(known, _)| known.get() == id);
        if let Some((_, account)) = place {
            *account = Account::with(balance);
        }
        self
    }

    /// Lets the lock service number its grants otherwise.
    #[must_use]
    pub const fn numbered(mut self, tokens: Tokens) -> Self {
        self.tokens = tokens;
        self
    }

    /// The orders, each once, as they were first asked for.
    #[must_use]
    pub fn transfers(&self) -> Vec<Transfer> {
        let mut all: Vec<Transfer> = Vec::new();
        for role in &self.roles {
            if let Program::Transfer { transfer, .. } = &role.program
                && all.iter().all(|known| !is_same_order(known, transfer))
            {
                all.push(*transfer);
            }
        }
        all
    }

    /// Whether two of its orders share an id.
    #[must_use]
    pub fn reuses_ids(&self) -> bool {
        let all = self.transfers();
        (1..all.len()).any(|i| all[..i].iter().any(|known| known.id == all[i].id))
    }

    /// What its calls, or `repeats` of them, can leave behind.
    #[must_use]
    pub fn leavings(&self, repeats: &[Strategy]) -> Leavings {
        let called = self.roles.iter().filter_map(|role| match &role.program {
            Program::Transfer { strategy, .. } => Some(strategy),
            _ => None,
        });
        Leavings::of(called.chain(repeats))
    }

    /// The cluster at the first instant.
    ///
    /// # Errors
    /// A task broke a rule before anything was answered.
    pub fn open(&self, programs: &mut Programs) -> Result<World, Violation> {
        let shards = self.routing.shards().map(|shard| {
            let here = self.accounts.iter().filter(|(id, _)| self.routing.shard_of(*id) == shard);
            Shard::with_accounts(here.copied())
        });
        let mut world = World::new(shards.collect(), self.tokens, self.budget);
        world.ids_are_reused = self.reuses_ids();
        let processes = self.roles.iter().map(|role| role.process + 1).max().unwrap_or(0);
        for process in 0..processes {
            let mut roles = self.roles.iter().filter(|role| role.process == process);
            let recovers = roles.all(|role| role.program == Program::Recovery);
            world.start_process(self.recoverers_may_end || !recovers);
        }
        for role in &self.roles {
            world.start_task(role.process, &role.program, role.follows, programs)?;
        }
        Ok(world)
    }
}
