// SPDX-License-Identifier: MIT
//! [`Journal`]: goal states in a file, in an order in which applying them makes the wanted state.
//!
//! The file is a redb database: a transaction is whole or absent after a crash, and no other process has it meanwhile.

use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase, ReadableTable, Table, TableDefinition};

use crate::southbound::decode::{Encoded, Form, Malformed};
use crate::state::Revisions;

/// Goal states by their place in the order. The first byte is the form, the rest the message. Forms: 1 `GoalState`, 2
/// `GoalStateV2`; 3 and 4 the same, taken while revisions were ignored.
const GOALS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("goal-states");

type Goals<'t> = Table<'t, u64, &'static [u8]>;

/// What the file is: [`FORMAT`] under the key "format".
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");

/// The only format so far.
const FORMAT: u64 = 1;

/// Memory that the database may use for what it read: goal states are read once.
const CACHE: usize = 16 << 20;

/// Places that a compaction keeps for the goal states that it writes; each holds thousands of resources.
const RESERVED: u64 = 1 << 32;

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// It cannot be opened, read or written.
    #[error("the store {}: {error}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        error: redb::Error,
    },
    /// It was written by another version.
    #[error("the store {} has format {found}, this version knows {FORMAT}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
    /// A failure closed it.
    #[error("the store {} is closed since it failed", path.display())]
    Closed {
        /// The file.
        path: PathBuf,
    },
    /// What it holds is no goal state.
    #[error("the store {}: entry {at} is no goal state", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// Which entry.
        at: u64,
    },
}

/// A goal state, and what was made of its revisions: both decide what it changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    /// As it came.
    pub goal: Encoded,
    /// In force when it came.
    pub revisions: Revisions,
}

/// Goal states in a file, in order.
#[derive(Debug)]
pub(crate) struct Journal {
    /// `None` after a failure: from then on it refuses all, and so it does not after [`Journal::reopen`].
    database: Option<Database>,
    path: PathBuf,
    next: u64,
    read: u64,
}

impl Journal {
    /// Opens the file, or creates it.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let mut journal = Self {
            database: None,
            path: path.to_owned(),
            next: 0,
            read: 0,
        };
        journal.reopen()?;
        Ok(journal)
    }

    /// Opens the file again if something failed, which may take as long as reading it.
    pub(crate) fn reopen(&mut self) -> Result<(), StoreError> {
        if self.is_open() {
            return Ok(());
        }
        let (database, found, next) =
            open(&self.path).map_err(|error| failed(&self.path, error))?;
        if found != FORMAT {
            return Err(StoreError::Format {
                path: self.path.clone(),
                found,
            });
        }
        (self.database, self.next) = (Some(database), next);
        Ok(())
    }

    /// False from a failure until [`Journal::reopen`].
    pub(crate) const fn is_open(&self) -> bool {
        self.database.is_some()
    }

    /// Bytes of goal states that were read.
    pub(crate) const fn bytes_read(&self) -> u64 {
        self.read
    }

    /// Gives each goal state to `take`, in order.
    pub(crate) fn read(
        &mut self,
        mut take: impl FnMut(Entry) -> Result<(), Malformed>,
    ) -> Result<(), StoreError> {
        let Some(database) = &self.database else {
            return Err(StoreError::Closed {
                path: self.path.clone(),
            });
        };
        let goals = || -> Result<_, redb::Error> { Ok(database.begin_read()?.open_table(GOALS)?) };
        let goals = goals().map_err(|error| failed(&self.path, error))?;
        let entries = goals.range::<u64>(..);
        for entry in entries.map_err(|error| failed(&self.path, error))? {
            let (at, bytes) = entry.map_err(|error| failed(&self.path, error))?;
            let no_goal = || StoreError::Entry {
                path: self.path.clone(),
                at: at.value(),
            };
            let entry = unpack(bytes.value()).ok_or_else(no_goal)?;
            self.read += entry.goal.bytes.len() as u64;
            take(entry).map_err(|_| no_goal())?;
        }
        Ok(())
    }

    /// Appends goal states. When it returns they are on the disk.
    pub(crate) fn append(&mut self, entries: &[Entry]) -> Result<(), StoreError> {
        self.next = self.write(self.next, entries)?;
        Ok(())
    }

    /// Writes goal states at a place and behind, and returns the place behind them.
    fn write(&mut self, at: u64, entries: &[Entry]) -> Result<u64, StoreError> {
        self.change(|goals| {
            for (at, entry) in (at..).zip(entries) {
                let mut space = goals.insert_reserve(at, 1 + entry.goal.bytes.len())?;
                pack(entry, space.as_mut());
            }
            Ok(())
        })?;
        Ok(at + entries.len() as u64)
    }

    /// Changes the table. When it returns that is on the disk. After a failure the file is closed: the database refuses
    /// everything from then on, also when there is room again.
    fn change(
        &mut self,
        change: impl FnOnce(&mut Goals<'_>) -> redb::Result,
    ) -> Result<(), StoreError> {
        let Some(database) = &self.database else {
            return Err(StoreError::Closed {
                path: self.path.clone(),
            });
        };
        let changed = || -> Result<(), redb::Error> {
            let write = database.begin_write()?;
            change(&mut write.open_table(GOALS)?)?;
            Ok(write.commit()?)
        };
        changed().map_err(|error| {
            self.database = None;
            failed(&self.path, error)
        })
    }

    /// Begins to replace all that is here with fewer goal states that say the same as they did, or what has become of
    /// it since: what is appended from now on is applied after them.
    pub(crate) fn begin_compaction(&mut self) -> Compaction {
        let begin = self.next;
        self.next += RESERVED;
        Compaction { begin, next: begin }
    }

    /// Appends to those that replace.
    pub(crate) fn compact(
        &mut self,
        compaction: &mut Compaction,
        entries: &[Entry],
    ) -> Result<(), StoreError> {
        compaction.next = self.write(compaction.next, entries)?;
        Ok(())
    }

    /// Removes what was replaced. If this is never reached, nothing is lost: the goal states that were written then only
    /// repeat what those before them say.
    pub(crate) fn end_compaction(&mut self, compaction: Compaction) -> Result<(), StoreError> {
        self.change(|goals| goals.retain_in(..compaction.begin, |_, _| false))
    }
}

/// Goal states that replace all before them.
#[derive(Debug)]
pub(crate) struct Compaction {
    /// Those before it are replaced.
    begin: u64,
    next: u64,
}

/// Opens the file or creates it, with its tables. Returns also the format and the place behind the last entry.
fn open(path: &Path) -> Result<(Database, u64, u64), redb::Error> {
    let database = Database::builder().set_cache_size(CACHE).create(path)?;
    let write = database.begin_write()?;
    let (format, next) = {
        let mut about = write.open_table(ABOUT)?;
        let known = about.get("format")?.map(|format| format.value());
        if known.is_none() {
            about.insert("format", FORMAT)?;
        }
        let last = write.open_table(GOALS)?.last()?.map(|(at, _)| at.value());
        (known.unwrap_or(FORMAT), last.map_or(0, |at| at + 1))
    };
    write.commit()?;
    Ok((database, format, next))
}

fn failed(path: &Path, error: impl Into<redb::Error>) -> StoreError {
    StoreError::Database {
        path: path.to_owned(),
        error: error.into(),
    }
}

fn pack(entry: &Entry, into: &mut [u8]) {
    if let Some((form, bytes)) = into.split_first_mut() {
        *form = match (entry.goal.form, entry.revisions) {
            (Form::V1, Revisions::Check) => 1,
            (Form::V2, Revisions::Check) => 2,
            (Form::V1, Revisions::Ignore) => 3,
            (Form::V2, Revisions::Ignore) => 4,
        };
        bytes.copy_from_slice(&entry.goal.bytes);
    }
}

fn unpack(entry: &[u8]) -> Option<Entry> {
    let (form, bytes) = entry.split_first()?;
    let (form, revisions) = match form {
        1 => (Form::V1, Revisions::Check),
        2 => (Form::V2, Revisions::Check),
        3 => (Form::V1, Revisions::Ignore),
        4 => (Form::V2, Revisions::Ignore),
        _ => return None,
    };
    let bytes = bytes.to_vec().into();
    let goal = Encoded { form, bytes };
    Some(Entry { goal, revisions })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of every form, by the text's length.
    fn goal(text: &str) -> Entry {
        let form = [Form::V1, Form::V2][text.len() % 2];
        let revisions = [Revisions::Check, Revisions::Ignore][text.len() / 2 % 2];
        let bytes = text.as_bytes().to_vec().into();
        let goal = Encoded { form, bytes };
        Entry { goal, revisions }
    }

    fn texts(journal: &mut Journal) -> Vec<String> {
        let mut texts = Vec::new();
        journal
            .read(|found| {
                let text = String::from_utf8(found.goal.bytes.to_vec()).unwrap();
                assert_eq!(found, goal(&text));
                texts.push(text);
                Ok(())
            })
            .unwrap();
        texts
    }

    #[test]
    fn what_was_appended_is_there_again_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let mut journal = Journal::open(&path).unwrap();
        journal.append(&[goal("a"), goal("bb")]).unwrap();
        drop(journal);
        let mut journal = Journal::open(&path).unwrap();
        journal.append(&[goal("c"), goal("")]).unwrap();
        assert_eq!(texts(&mut journal), ["a", "bb", "c", ""]);
        drop(journal);
        assert_eq!(
            texts(&mut Journal::open(&path).unwrap()),
            ["a", "bb", "c", ""]
        );
    }

    #[test]
    fn compaction_replaces_what_was_before_it_and_keeps_what_came_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let mut journal = Journal::open(&path).unwrap();
        journal.append(&[goal("old"), goal("older")]).unwrap();
        let mut compaction = journal.begin_compaction();
        journal.compact(&mut compaction, &[goal("1")]).unwrap();
        journal.append(&[goal("new")]).unwrap();
        journal.compact(&mut compaction, &[goal("2")]).unwrap();
        // As a crash here would leave it: what is old, what replaces it, what is new.
        assert_eq!(texts(&mut journal), ["old", "older", "1", "2", "new"]);
        journal.end_compaction(compaction).unwrap();
        assert_eq!(texts(&mut journal), ["1", "2", "new"]);
        journal.append(&[goal("last")]).unwrap();
        drop(journal);
        let mut journal = Journal::open(&path).unwrap();
        assert_eq!(texts(&mut journal), ["1", "2", "new", "last"]);
        assert_eq!(journal.bytes_read(), 9);
    }

    #[test]
    fn what_is_no_store_is_refused_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        std::fs::write(&path, b"not a database, but long enough to be read as one").unwrap();
        let error = Journal::open(&path).unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");

        let path = folder.path().join("other");
        let journal = Journal::open(&path).unwrap();
        assert!(
            Journal::open(&path).is_err(),
            "two switches share one store"
        );
        let write = journal.database.as_ref().unwrap().begin_write().unwrap();
        write
            .open_table(ABOUT)
            .unwrap()
            .insert("format", 2)
            .unwrap();
        write.commit().unwrap();
        drop(journal);
        let error = Journal::open(&path).unwrap_err();
        assert!(
            matches!(error, StoreError::Format { found: 2, .. }),
            "{error}"
        );
    }
}
