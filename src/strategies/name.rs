//! A strategy as the command line and the files spell it: `2pc:log=file,statements=one-by-one`.

use std::fmt;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use crate::strategies::distributed_locks::OneShard;
use crate::strategies::reservation::Confirm;
use crate::strategies::two_phase::{Ack, Log, Visit};
use crate::strategies::{
    DistributedLocks, LockNaive, LockServiceName, Reservation, Saga, SagaChoreographed, SameShard,
    Strategy, TwoPhase, TwoPhaseLastAgent, lock_naive, reservation, saga, saga_choreographed,
    same_shard, two_phase, two_phase_last_agent,
};
use crate::verbs::Statements;

/// The text names no strategy, or an option that it does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownStrategy {
    /// No such strategy.
    #[error(
        "unknown strategy {0:?}; there are: same-shard, 2pc, 2pc-last-agent, lock-advisory, \
         lock-lease, lock-redis, lock-etcd, lock-zookeeper, lock-naive, saga, \
         saga-choreographed, reservation"
    )]
    Name(String),
    /// No such option, or no such value of it.
    #[error("strategy {strategy} has no option {option:?}; it has: {known}")]
    Option {
        /// The strategy that was named.
        strategy: &'static str,
        /// The option as it was written.
        option: String,
        /// What could have been written.
        known: &'static str,
    },
}

const TWO_PHASE_OPTIONS: &str = "log=table|file, statements=one-message|pipelined|one-by-one, \
                                 ack=completed|early, visit=fixed-order|parallel";
const LOCK_OPTIONS: &str = "one-shard=locked|local";
const RESERVATION_OPTIONS: &str = "confirm=completed|lazy, hold=SECONDS (0.1 to 86400)";
const EVENT_OPTIONS: &str = "batch=1..1000, poll=1..60000 (milliseconds), notify=on|off";
const LAST_AGENT_OPTIONS: &str = "statements=one-message|pipelined|one-by-one, ack=completed|early";

fn statements(value: &str) -> Option<Statements> {
    Some(match value {
        "pipelined" => Statements::Pipelined,
        "one-message" => Statements::OneMessage,
        "one-by-one" => Statements::OneByOne,
        _ => return None,
    })
}

fn ack(value: &str) -> Option<Ack> {
    Some(match value {
        "completed" => Ack::Completed,
        "early" => Ack::Early,
        _ => return None,
    })
}

impl FromStr for Strategy {
    type Err = UnknownStrategy;

    fn from_str(text: &str) -> Result<Self, UnknownStrategy> {
        let (name, options) = text.split_once(':').unwrap_or((text, ""));
        let options = options.split(',').map(str::trim).filter(|option| !option.is_empty());
        match name.trim() {
            same_shard::NAME => {
                without_options(same_shard::NAME, options).map(|()| Self::SameShard(SameShard))
            }
            lock_naive::NAME => {
                without_options(lock_naive::NAME, options).map(|()| Self::LockNaive(LockNaive))
            }
            saga::NAME => without_options(saga::NAME, options).map(|()| Self::Saga(Saga)),
            reservation::NAME => {
                let mut strategy = Reservation::default();
                for option in options {
                    reservation_option(&mut strategy, option).ok_or_else(|| {
                        UnknownStrategy::Option {
                            strategy: reservation::NAME,
                            option: option.to_owned(),
                            known: RESERVATION_OPTIONS,
                        }
                    })?;
                }
                Ok(Self::Reservation(strategy))
            }
            two_phase::NAME => {
                let mut strategy = TwoPhase::default();
                for option in options {
                    two_phase_option(&mut strategy, option).ok_or_else(|| {
                        UnknownStrategy::Option {
                            strategy: two_phase::NAME,
                            option: option.to_owned(),
                            known: TWO_PHASE_OPTIONS,
                        }
                    })?;
                }
                Ok(Self::TwoPhase(strategy))
            }
            two_phase_last_agent::NAME => {
                let mut strategy = TwoPhaseLastAgent::default();
                for option in options {
                    last_agent_option(&mut strategy, option).ok_or_else(|| {
                        UnknownStrategy::Option {
                            strategy: two_phase_last_agent::NAME,
                            option: option.to_owned(),
                            known: LAST_AGENT_OPTIONS,
                        }
                    })?;
                }
                Ok(Self::TwoPhaseLastAgent(strategy))
            }
            saga_choreographed::NAME => {
                let mut strategy = SagaChoreographed::default();
                for option in options {
                    event_option(&mut strategy, option).ok_or_else(|| UnknownStrategy::Option {
                        strategy: saga_choreographed::NAME,
                        option: option.to_owned(),
                        known: EVENT_OPTIONS,
                    })?;
                }
                Ok(Self::SagaChoreographed(strategy))
            }
            other => {
                let of_name = |service: &LockServiceName| service.strategy() == other;
                let service = LockServiceName::ALL.into_iter().find(of_name);
                let service = service.ok_or_else(|| UnknownStrategy::Name(other.to_owned()))?;
                let mut one_shard = OneShard::default();
                for option in options {
                    one_shard = match option {
                        "one-shard=locked" => OneShard::Locked,
                        "one-shard=local" => OneShard::Local,
                        _ => {
                            return Err(UnknownStrategy::Option {
                                strategy: service.strategy(),
                                option: option.to_owned(),
                                known: LOCK_OPTIONS,
                            });
                        }
                    };
                }
                Ok(Self::DistributedLocks(DistributedLocks { service, one_shard }))
            }
        }
    }
}

fn without_options<'a>(
    strategy: &'static str,
    mut options: impl Iterator<Item = &'a str>,
) -> Result<(), UnknownStrategy> {
    match options.next() {
        None => Ok(()),
        Some(option) => {
            Err(UnknownStrategy::Option { strategy, option: option.to_owned(), known: "none" })
        }
    }
}

/// Splits a list of strategies at its commas, but for those between the options of one: in
/// `2pc:log=file,ack=early,same-shard` a new strategy begins where no `=` does without a `:`.
#[must_use]
pub fn split_list(text: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for part in text.split(',').map(str::trim) {
        let is_option = part.contains('=') && !part.contains(':');
        match names.last_mut() {
            Some(name) if is_option => {
                name.push(',');
                name.push_str(part);
            }
            _ => names.push(part.to_owned()),
        }
    }
    names
}

fn two_phase_option(strategy: &mut TwoPhase, option: &str) -> Option<()> {
    match option.split_once('=')? {
        ("log", "table") => strategy.log = Log::Table,
        ("log", "file") => strategy.log = Log::File,
        ("statements", value) => strategy.statements = statements(value)?,
        ("ack", value) => strategy.ack = ack(value)?,
        ("visit", "fixed-order") => strategy.visit = Visit::FixedOrder,
        ("visit", "parallel") => strategy.visit = Visit::Parallel,
        _ => return None,
    }
    Some(())
}

fn last_agent_option(strategy: &mut TwoPhaseLastAgent, option: &str) -> Option<()> {
    match option.split_once('=')? {
        ("statements", value) => strategy.statements = statements(value)?,
        ("ack", value) => strategy.ack = ack(value)?,
        _ => return None,
    }
    Some(())
}

/// No hold is shorter, or longer, in seconds.
const HOLD_S: RangeInclusive<f64> = 0.1..=86_400.0;

fn reservation_option(strategy: &mut Reservation, option: &str) -> Option<()> {
    match option.split_once('=')? {
        ("confirm", "completed") => strategy.confirm = Confirm::Completed,
        ("confirm", "lazy") => strategy.confirm = Confirm::Lazy,
        ("hold", value) => {
            let seconds = value.parse().ok().filter(|seconds| HOLD_S.contains(seconds))?;
            strategy.hold = Duration::from_secs_f64(seconds);
        }
        _ => return None,
    }
    Some(())
}

fn event_option(strategy: &mut SagaChoreographed, option: &str) -> Option<()> {
    let relays = &mut strategy.relays;
    match option.split_once('=')? {
        ("batch", value) => {
            relays.batch = value.parse().ok().filter(|batch: &NonZeroU32| batch.get() <= 1000)?;
        }
        ("poll", value) => {
            let poll = value.parse().ok().filter(|poll| (1..=60_000).contains(poll))?;
            relays.poll = Duration::from_millis(poll);
        }
        ("notify", "on") => relays.notifies = true,
        ("notify", "off") => relays.notifies = false,
        _ => return None,
    }
    Some(())
}

fn event_options(strategy: &SagaChoreographed) -> String {
    let (relays, usual) = (strategy.relays, SagaChoreographed::default().relays);
    let mut options = Vec::new();
    if relays.batch != usual.batch {
        options.push(format!("batch={}", relays.batch));
    }
    if relays.poll != usual.poll {
        options.push(format!("poll={}", relays.poll.as_millis()));
    }
    if relays.notifies != usual.notifies {
        options.push(format!("notify={}", if relays.notifies { "on" } else { "off" }));
    }
    options.join(",")
}

impl Strategy {
    /// The options that differ from the defaults, as they would be typed; empty where none does.
    #[must_use]
    pub fn options(&self) -> String {
        let mut options = Vec::new();
        let (how, when) = match self {
            Self::SameShard(_) | Self::LockNaive(_) | Self::Saga(_) => return String::new(),
            Self::Reservation(Reservation { confirm, hold }) => {
                let lazy = (*confirm == Confirm::Lazy).then(|| "confirm=lazy".to_owned());
                let hold = (*hold != Reservation::default().hold)
                    .then(|| format!("hold={}", hold.as_secs_f64()));
                return lazy.into_iter().chain(hold).collect::<Vec<_>>().join(",");
            }
            Self::SagaChoreographed(strategy) => return event_options(strategy),
            Self::DistributedLocks(strategy) => {
                return match strategy.one_shard {
                    OneShard::Locked => String::new(),
                    OneShard::Local => "one-shard=local".to_owned(),
                };
            }
            Self::TwoPhase(strategy) => {
                if strategy.log == Log::File {
                    options.push("log=file");
                }
                if strategy.visit == Visit::Parallel {
                    options.push("visit=parallel");
                }
                (strategy.statements, strategy.ack)
            }
            Self::TwoPhaseLastAgent(strategy) => (strategy.statements, strategy.ack),
        };
        match how {
            Statements::OneMessage => {}
            Statements::Pipelined => options.push("statements=pipelined"),
            Statements::OneByOne => options.push("statements=one-by-one"),
        }
        if when == Ack::Early {
            options.push("ack=early");
        }
        options.join(",")
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = self.options();
        f.write_str(self.name())?;
        if options.is_empty() { Ok(()) } else { write!(f, ":{options}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_leads_back_to_its_strategy() {
        for text in [
            "same-shard",
            "2pc",
            "2pc:log=file",
            "2pc:log=file,visit=parallel,statements=one-by-one,ack=early",
            "2pc-last-agent",
            "2pc-last-agent:statements=pipelined,ack=early",
            "lock-advisory",
            "lock-zookeeper:one-shard=local",
            "lock-naive",
            "saga",
            "reservation",
            "reservation:confirm=lazy,hold=0.5",
            "saga-choreographed",
            "saga-choreographed:batch=7,poll=3,notify=on",
        ] {
            let strategy: Strategy = text.parse().expect(text);
            assert_eq!(strategy.to_string(), text);
        }
    }

    #[test]
    fn a_list_is_split_between_strategies_and_not_between_options() {
        assert_eq!(
            split_list("same-shard,2pc:log=file,ack=early, 2pc-last-agent,2pc"),
            ["same-shard", "2pc:log=file,ack=early", "2pc-last-agent", "2pc"]
        );
        assert_eq!(split_list("2pc"), ["2pc"]);
    }

    #[test]
    fn a_default_written_out_is_the_default() {
        let spelt: Strategy = "2pc:log=table,statements=one-message".parse().expect("valid");
        assert_eq!(spelt.to_string(), "2pc");
    }

    #[test]
    fn a_misspelt_strategy_or_option_is_refused_with_what_there_is() {
        let name = "3pc".parse::<Strategy>().expect_err("unknown").to_string();
        assert!(name.contains("2pc-last-agent"), "{name}");
        for text in [
            "2pc:log=paper",
            "2pc:log",
            "2pc-last-agent:log=file",
            "same-shard:x=1",
            "lock-etcd:x=1",
            "reservation:hold=-1",
            "reservation:hold=nan",
            "saga-choreographed:batch=0",
            "saga-choreographed:poll=0",
        ] {
            let error = text.parse::<Strategy>().expect_err(text).to_string();
            assert!(error.contains("it has:"), "{error}");
        }
    }
}
