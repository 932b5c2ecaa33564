//! One measured transfer, and how it is counted.

use crate::bench::trace::Steps;
use crate::outcome::{AbortReason, Outcome};
use crate::transfer::Transfer;
use crate::verbs::observed::Phase;

/// How a transfer is counted. Every attempted one is counted under exactly one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Both effects are there, or are decided to be.
    Committed,
    /// A business refusal; nothing changed.
    Rejected,
    /// Given up after its tries; nothing changed.
    Aborted,
    /// The tool or a connection failed; nothing changed, for certain.
    Failed,
    /// The debit was made and refunded.
    Compensated,
    /// Never started.
    Skipped,
    /// Not known when the run ended.
    InDoubt,
}

impl Ending {
    /// All of them, in the order of the files' columns.
    pub const ALL: [Self; 7] = [
        Self::Committed,
        Self::Rejected,
        Self::Aborted,
        Self::Failed,
        Self::Compensated,
        Self::Skipped,
        Self::InDoubt,
    ];

    /// As files spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Rejected => "rejected",
            Self::Aborted => "aborted",
            Self::Failed => "failed",
            Self::Compensated => "compensated",
            Self::Skipped => "skipped",
            Self::InDoubt => "in_doubt",
        }
    }
}

impl Ending {
    /// How a transfer is counted that ended with `outcome`, its debit made good or not.
    #[must_use]
    pub fn of(outcome: &Outcome, is_refunded: bool) -> Self {
        match Self::from(outcome) {
            Self::Rejected | Self::Aborted if is_refunded => Self::Compensated,
            ending => ending,
        }
    }
}

impl From<&Outcome> for Ending {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Committed => Self::Committed,
            Outcome::Rejected(_) => Self::Rejected,
            Outcome::Aborted(_) => Self::Aborted,
            // Ids are fresh, so a reused one would be the tool's own failure.
            Outcome::Failed(_) | Outcome::IdReused => Self::Failed,
            Outcome::InDoubt(_) => Self::InDoubt,
        }
    }
}

/// One transfer, as its client saw it. Instants are nanoseconds since the start of the measured
/// window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Which client, counted from 0.
    pub client: u32,
    /// The client's how-manieth transfer, counted from 0.
    pub number: u64,
    /// What was ordered.
    pub transfer: Transfer,
    /// When it should have started. In a closed loop, when it did.
    pub due_ns: u64,
    /// When it started.
    pub started_ns: u64,
    /// When its ending was known.
    pub ended_ns: u64,
    /// How often it was tried.
    pub tries: u32,
    /// How it is counted.
    pub ending: Ending,
    /// Whether recovery decided against it while its coordinator was alive.
    pub superseded: bool,
    /// Whether its hold expired before anybody decided for it.
    pub expired: bool,
    /// The code of what went wrong, where a server gave one.
    pub sqlstate: Option<[u8; 5]>,
    /// What its steps took.
    pub steps: Steps,
}

impl Sample {
    /// From when it was due until it had ended.
    #[must_use]
    pub const fn response_ns(&self) -> u64 {
        self.ended_ns.saturating_sub(self.due_ns)
    }

    /// From when it started until it had ended.
    #[must_use]
    pub const fn service_ns(&self) -> u64 {
        self.ended_ns.saturating_sub(self.started_ns)
    }

    /// The phase in which something last went wrong, where the transfer did not go through.
    #[must_use]
    pub fn failed_phase(&self) -> Option<Phase> {
        self.steps.failed_phase.filter(|_| self.ending != Ending::Committed)
    }
}

/// The code of what went wrong, where there is one.
#[must_use]
pub fn sqlstate(outcome: &Outcome) -> Option<[u8; 5]> {
    match outcome {
        Outcome::Failed(error) | Outcome::InDoubt(error) => {
            error.sqlstate.as_deref().and_then(|code| code.as_bytes().try_into().ok())
        }
        Outcome::Aborted(AbortReason::LockTimeout) => Some(*b"55P03"),
        Outcome::Aborted(AbortReason::Deadlock) => Some(*b"40P01"),
        Outcome::Aborted(AbortReason::Serialization) => Some(*b"40001"),
        Outcome::Aborted(AbortReason::NoPreparedSlot) => Some(*b"53200"),
        Outcome::Committed | Outcome::Rejected(_) | Outcome::Aborted(_) | Outcome::IdReused => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::transfer::{AccountId, Amount, IdOrigin, TransferId};

    /// A transfer from `started_us` to `ended_us` in one try, for other modules' tests.
    #[must_use]
    pub fn sample(ending: Ending, started_us: u64, ended_us: u64) -> Sample {
        Sample {
            client: 0,
            number: 0,
            transfer: Transfer {
                id: TransferId::fresh(),
                source: AccountId::new(1).expect("positive"),
                target: AccountId::new(2).expect("positive"),
                amount: Amount::new(3).expect("positive"),
                origin: IdOrigin::Fresh,
            },
            due_ns: started_us * 1000,
            started_ns: started_us * 1000,
            ended_ns: ended_us * 1000,
            tries: 1,
            ending,
            superseded: false,
            expired: false,
            sqlstate: None,
            steps: Steps::default(),
        }
    }

    #[test]
    fn a_transfer_that_went_through_has_no_failed_phase() {
        let mut late = sample(Ending::Committed, 0, 10);
        late.steps.failed_phase = Some(Phase::Prepare);
        assert_eq!(late.failed_phase(), None);
        late.ending = Ending::Aborted;
        assert_eq!(late.failed_phase(), Some(Phase::Prepare));
    }
}
