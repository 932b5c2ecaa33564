//! What callers ordered and what they were told, in a file that outlives them.
//!
//! A line is written before a transfer is sent and after it is answered, in one piece, so that a
//! process killed in between leaves an order without an answer. Held against the ledger, this is
//! the truth of answers: whoever was told "committed" finds both effects, whoever was told "no"
//! finds none, and nobody was told two things.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::ChaosError;
use crate::ledger::books::AppliedLeg;
use crate::outcome::Outcome;
use crate::transfer::{LegKind, Transfer, TransferId};

/// What a caller was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Both effects are there, or are decided to be.
    Committed,
    /// Nothing changed, and that is final.
    Refused,
    /// Nothing changed and nothing is recorded.
    Failed,
    /// Nobody knows.
    InDoubt,
    /// The id was used for something else, which the worker never does.
    IdReused,
}

impl From<&Outcome> for Answer {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Committed => Self::Committed,
            Outcome::Rejected(_) | Outcome::Aborted(_) => Self::Refused,
            Outcome::Failed(_) => Self::Failed,
            Outcome::InDoubt(_) => Self::InDoubt,
            Outcome::IdReused => Self::IdReused,
        }
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// About to be sent.
    Ordered {
        /// Which transfer.
        id: TransferId,
        /// By which strategy.
        strategy: String,
        /// The account that pays.
        source: i64,
        /// The account that is paid.
        target: i64,
        /// How much, in minor units.
        amount: i64,
    },
    /// What came of the last order of this id.
    Answered {
        /// Which transfer.
        id: TransferId,
        /// What was said.
        answer: Answer,
    },
}

impl Event {
    /// An order of `transfer` by `strategy`.
    #[must_use]
    pub fn ordered(transfer: &Transfer, strategy: String) -> Self {
        Self::Ordered {
            id: transfer.id,
            strategy,
            source: transfer.source.get(),
            target: transfer.target.get(),
            amount: transfer.amount.get(),
        }
    }
}

/// Writes a history.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Mutex<File>,
}

impl Journal {
    /// A new history in `path`.
    ///
    /// # Errors
    /// The file is there already or cannot be made.
    pub fn create(path: &Path) -> Result<Self, ChaosError> {
        let file = File::create_new(path).map_err(ChaosError::io("cannot create", path))?;
        Ok(Self { path: path.to_owned(), file: Mutex::new(file) })
    }

    /// Writes one line.
    ///
    /// # Errors
    /// It cannot be written: then nothing may be sent.
    pub fn write(&self, event: &Event) -> Result<(), ChaosError> {
        let mut line = serde_json::to_vec(event).expect("an event is plain data");
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line).map_err(ChaosError::io("cannot write", &self.path))
    }
}

/// Reads a history while it is being written.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    file: Option<File>,
    partial: Vec<u8>,
}

impl Reader {
    /// A reader of the history in `path`, which need not be there yet.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), file: None, partial: Vec::new() }
    }

    /// The whole lines that have come since the last call.
    ///
    /// # Errors
    /// It cannot be read, or holds something else.
    pub fn read(&mut self) -> Result<Vec<Event>, ChaosError> {
        if self.file.is_none() {
            self.file = match File::open(&self.path) {
                Ok(file) => Some(file),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                Err(error) => return Err(ChaosError::io("cannot open", &self.path)(error)),
            };
        }
        let Some(file) = &mut self.file else { return Ok(Vec::new()) };
        file.read_to_end(&mut self.partial).map_err(ChaosError::io("cannot read", &self.path))?;
        let whole = self.partial.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let events = self.partial[..whole]
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).map_err(std::io::Error::other))
            .collect::<Result<Vec<Event>, _>>()
            .map_err(ChaosError::io("not a history:", &self.path))?;
        self.partial.drain(..whole);
        Ok(events)
    }
}

/// One transfer, as its caller knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// By which strategies it was ordered, order by order.
    pub strategies: Vec<String>,
    /// The account that pays.
    pub source: i64,
    /// The account that is paid.
    pub target: i64,
    /// How much.
    pub amount: i64,
    /// What was said to those orders.
    pub answers: Vec<Answer>,
}

/// What must be in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Both,
    Neither,
    BothOrNeither,
}

impl Told {
    /// Whether it was ordered once more than it was answered.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.strategies.len() > self.answers.len()
    }

    fn due(&self) -> Result<Due, String> {
        let told = |answer| self.answers.contains(&answer);
        match (told(Answer::Committed), told(Answer::Refused)) {
            _ if told(Answer::IdReused) => Err("told that its id was used before".to_owned()),
            (true, true) => Err(format!("told two things: {:?}", self.answers)),
            (true, false) => Ok(Due::Both),
            (false, true) => Ok(Due::Neither),
            (false, false) if self.is_open() || told(Answer::InDoubt) => Ok(Due::BothOrNeither),
            (false, false) => Ok(Due::Neither),
        }
    }

    /// What is wrong with `legs`, all applied ones of this transfer over all shards.
    fn wrong_with(&self, legs: &[AppliedLeg]) -> Option<String> {
        let due = match self.due() {
            Ok(due) => due,
            Err(wrong) => return Some(wrong),
        };
        let has = |kind, account, amount| {
            legs.iter()
                .any(|leg| leg.kind == kind && leg.account == account && leg.amount == amount)
        };
        let both = legs.len() == 2
            && has(LegKind::Debit, self.source, -self.amount)
            && has(LegKind::Credit, self.target, self.amount);
        let neither = legs.is_empty()
            || legs.len() == 2
                && has(LegKind::Debit, self.source, -self.amount)
                && has(LegKind::Refund, self.source, self.amount);
        match due {
            Due::Both | Due::BothOrNeither if both => None,
            Due::Neither | Due::BothOrNeither if neither => None,
            _ => Some(format!("told {:?}, and the ledger holds {legs:?}", self.answers)),
        }
    }
}

/// All transfers of a history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History(HashMap<TransferId, Told>);

impl History {
    /// Takes in what was read.
    pub fn extend(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Ordered { id, strategy, source, target, amount } => {
                    let (strategies, answers) = (Vec::new(), Vec::new());
                    let first = Told { strategies, source, target, amount, answers };
                    self.0.entry(id).or_insert(first).strategies.push(strategy);
                }
                Event::Answered { id, answer } => {
                    let told = self.0.get_mut(&id).expect("an order stands before its answer");
                    told.answers.push(answer);
                }
            }
        }
    }

    /// Every transfer with what is known of it.
    pub fn transfers(&self) -> impl Iterator<Item = (&TransferId, &Told)> {
        self.0.iter()
    }

    /// How many transfers were told `answer` at least once.
    #[must_use]
    pub fn count(&self, answer: Answer) -> usize {
        self.0.values().filter(|told| told.answers.contains(&answer)).count()
    }

    /// Every transfer whose caller was told something else than `legs` say: all applied legs of
    /// these transfers, over all shards at rest.
    #[must_use]
    pub fn lies(&self, legs: Vec<AppliedLeg>) -> Vec<String> {
        let mut of = HashMap::<TransferId, Vec<AppliedLeg>>::new();
        for leg in legs {
            of.entry(leg.transfer).or_default().push(leg);
        }
        self.0
            .iter()
            .filter_map(|(id, told)| {
                let legs = of.get(id).map_or(&[][..], Vec::as_slice);
                told.wrong_with(legs)
                    .map(|wrong| format!("transfer {id} by {:?}: {wrong}", told.strategies))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(answers: &[Answer], orders: usize) -> Told {
        let (strategies, answers) = (vec!["2pc".to_owned(); orders], answers.to_vec());
        Told { strategies, source: 1, target: 2, amount: 5, answers }
    }

    fn legs(count: usize) -> Vec<AppliedLeg> {
        let transfer = TransferId::fresh();
        let leg = |kind, account, amount| AppliedLeg { transfer, kind, account, amount };
        let both = [leg(LegKind::Debit, 1, -5), leg(LegKind::Credit, 2, 5)];
        both[..count].to_vec()
    }

    #[test]
    fn an_answer_is_held_to_what_the_ledger_says() {
        use Answer::{Committed, Failed, IdReused, InDoubt, Refused};
        for (answers, orders, none, one, both) in [
            (&[Committed][..], 1, false, false, true),
            (&[Refused], 1, true, false, false),
            (&[Failed], 1, true, false, false),
            (&[Failed], 2, true, false, true),
            (&[InDoubt], 1, true, false, true),
            (&[], 1, true, false, true),
            (&[InDoubt, Refused], 2, true, false, false),
            (&[Failed, Committed, Committed], 3, false, false, true),
            (&[Committed, Refused], 2, false, false, false),
            (&[IdReused], 1, false, false, false),
        ] {
            let told = told(answers, orders);
            for (count, holds) in [none, one, both].into_iter().enumerate() {
                assert_eq!(told.wrong_with(&legs(count)).is_none(), holds, "{told:?}, {count}");
            }
        }
    }

    #[test]
    fn effects_on_other_accounts_are_not_what_was_ordered() {
        let mut told = told(&[Answer::Committed], 1);
        told.target = 3;
        assert!(told.wrong_with(&legs(2)).is_some());
    }

    #[test]
    fn a_history_is_read_while_it_is_written_and_its_last_line_may_be_torn() {
        let path = std::env::temp_dir().join(format!("history-{}.jsonl", TransferId::fresh()));
        let mut reader = Reader::new(&path);
        assert_eq!(reader.read().expect("nothing yet"), vec![]);
        let journal = Journal::create(&path).expect("a new file");
        let id = TransferId::fresh();
        let event = Event::Answered { id, answer: Answer::InDoubt };
        journal.write(&event).expect("written");
        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(b"{\"event\":"))
            .expect("torn");
        assert_eq!(reader.read().expect("read"), vec![event]);
        assert_eq!(reader.read().expect("read"), vec![]);
        std::fs::remove_file(path).expect("removed");
    }
}
