// SPDX-License-Identifier: MIT
//! [`Journal`]: goal states in a file, in an order in which applying them makes the wanted state.
//!
//! The file is a redb database: a transaction is whole or absent after a crash, and no other process has it meanwhile.

use std::path::{Path, PathBuf};

use prost::bytes::{Buf, BufMut};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use crate::core::Goal;
use crate::proto::schema::GoalStateV2;
use crate::southbound::decode::{Encoded, Form, Malformed};
use crate::state::Revisions;
use crate::state::age::Ages;

/// Goal states by their place in the order. The first byte is the form, the rest the message. Forms: 1 `GoalState`, 2
/// `GoalStateV2`; 3 and 4 the same, taken while revisions were ignored. 5 is a part of the wanted state: the state's clock,
/// the number of ages, and the ages, each 64 bits with the lowest byte first; then a `GoalStateV2`.
const GOALS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("goal-states");

/// What the file is: [`FORMAT`] under the key "format". Under "whole" the place behind the last part that counts: parts
/// from there on are of a compaction that did not come to its end.
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");

/// The present format. What the one before it, 1, may hold it may hold too.
const FORMAT: u64 = 2;

/// Memory that the database may use for pages, all of which it fills sooner or later: goal states are read once, and the upper levels
/// of a tree of a million neighbors fit.
const CACHE: usize = 2 << 20;

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
    /// Of a part of the wanted state, which is no goal state that came.
    pub ages: Option<Ages>,
}

impl Entry {
    /// One that came.
    pub(crate) const fn said(goal: Encoded, revisions: Revisions) -> Self {
        Self {
            goal,
            revisions,
            ages: None,
        }
    }

    /// A part of what is wanted, which says of everything how it is, whatever was said of it before.
    pub(crate) fn part((goal, ages): (GoalStateV2, Ages)) -> Self {
        Self {
            goal: Encoded::from(&Goal::V2(goal)),
            revisions: Revisions::Ignore,
            ages: Some(ages),
        }
    }

    /// Bytes of it in the file.
    pub(super) fn len(&self) -> usize {
        let ages = self
            .ages
            .as_ref()
            .map_or(0, |ages| 16 + 8 * ages.of_each.len());
        1 + ages + self.goal.bytes.len()
    }
}

/// Goal states in a file, in order.
#[derive(Debug)]
pub(crate) struct Journal {
    /// `None` from a failure until [`Journal::reopen`].
    database: Option<Database>,
    path: PathBuf,
    next: u64,
    whole: u64,
    read: u64,
}

impl Journal {
    /// Opens the file, or creates it.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let mut journal = Self {
            database: None,
            path: path.to_owned(),
            next: 0,
            whole: 0,
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
        let opened = open(&self.path).map_err(|error| failed(&self.path, error))?;
        let found = opened.format;
        if found > FORMAT {
            let path = self.path.clone();
            return Err(StoreError::Format { path, found });
        }
        (self.next, self.whole) = (opened.next, opened.whole);
        self.database = Some(opened.database);
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
            self.read += entry.len() as u64;
            if entry.ages.is_some() && at.value() >= self.whole {
                continue;
            }
            take(entry).map_err(|_| no_goal())?;
        }
        Ok(())
    }

    /// Appends goal states and parts. When it returns they are on the disk.
    pub(crate) fn append(&mut self, entries: &[Entry]) -> Result<(), StoreError> {
        let begin = self.next;
        self.change(|write| {
            let mut goals = write.open_table(GOALS)?;
            for (at, entry) in (begin..).zip(entries) {
                let mut space = goals.insert_reserve(at, entry.len())?;
                pack(entry, space.as_mut());
            }
            Ok(())
        })?;
        self.next += entries.len() as u64;
        Ok(())
    }

    /// Begins to replace all that is here with parts of what has become of it, which are appended from now on.
    pub(crate) const fn begin_compaction(&self) -> Compaction {
        Compaction { begin: self.next }
    }

    /// Those were all parts: removes what they replace. If this is never reached the parts do not count, and what they
    /// would replace is there.
    pub(crate) fn end_compaction(&mut self, compaction: &Compaction) -> Result<(), StoreError> {
        let whole = self.next;
        self.change(|write| {
            write.open_table(ABOUT)?.insert("whole", whole)?;
            let mut goals = write.open_table(GOALS)?;
            Ok(goals.retain_in(..compaction.begin, |_, _| false)?)
        })?;
        self.whole = whole;
        Ok(())
    }

    /// Makes a change. When it returns that is on the disk. After a failure the file is closed: the database refuses
    /// everything from then on, also when there is room again.
    fn change(
        &mut self,
        change: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), StoreError> {
        let Some(database) = &self.database else {
            return Err(StoreError::Closed {
                path: self.path.clone(),
            });
        };
        let changed = || -> Result<(), redb::Error> {
            let write = database.begin_write()?;
            change(&write)?;
            Ok(write.commit()?)
        };
        changed().map_err(|error| {
            self.database = None;
            failed(&self.path, error)
        })
    }
}

/// Goal states are being replaced.
#[derive(Debug)]
pub(crate) struct Compaction {
    /// Those before it are.
    begin: u64,
}

/// What opening the file gave.
struct Opened {
    database: Database,
    format: u64,
    /// The place behind the last entry.
    next: u64,
    /// As under "whole".
    whole: u64,
}

/// Opens the file or creates it, with its tables.
fn open(path: &Path) -> Result<Opened, redb::Error> {
    let database = Database::builder().set_cache_size(CACHE).create(path)?;
    let write = database.begin_write()?;
    let (format, whole, next) = {
        let mut about = write.open_table(ABOUT)?;
        let format = about.get("format")?.map_or(FORMAT, |format| format.value());
        about.insert("format", format.max(FORMAT))?;
        let whole = about.get("whole")?.map_or(0, |whole| whole.value());
        let last = write.open_table(GOALS)?.last()?.map(|(at, _)| at.value());
        (format, whole, last.map_or(0, |at| at + 1))
    };
    write.commit()?;
    Ok(Opened {
        database,
        format,
        next: next.max(whole),
        whole,
    })
}

fn failed(path: &Path, error: impl Into<redb::Error>) -> StoreError {
    StoreError::Database {
        path: path.to_owned(),
        error: error.into(),
    }
}

/// Writes the entry into space of its length.
fn pack(entry: &Entry, mut into: &mut [u8]) {
    let form = match (&entry.ages, entry.goal.form, entry.revisions) {
        (Some(_), ..) => 5,
        (None, Form::V1, Revisions::Check) => 1,
        (None, Form::V2, Revisions::Check) => 2,
        (None, Form::V1, Revisions::Ignore) => 3,
        (None, Form::V2, Revisions::Ignore) => 4,
    };
    into.put_u8(form);
    if let Some(Ages { clock, of_each }) = &entry.ages {
        into.put_u64_le(*clock);
        into.put_u64_le(of_each.len() as u64);
        of_each.iter().for_each(|age| into.put_u64_le(*age));
    }
    into.put_slice(&entry.goal.bytes);
}

fn unpack(mut entry: &[u8]) -> Option<Entry> {
    let (form, revisions) = match entry.try_get_u8().ok()? {
        1 => (Form::V1, Revisions::Check),
        2 => (Form::V2, Revisions::Check),
        3 => (Form::V1, Revisions::Ignore),
        4 => (Form::V2, Revisions::Ignore),
        5 => {
            let (clock, count) = (entry.try_get_u64_le().ok()?, entry.try_get_u64_le().ok()?);
            let length = usize::try_from(count).ok()?.checked_mul(8)?;
            let (ages, goal) = entry.split_at_checked(length)?;
            let of_each = ages
                .as_chunks()
                .0
                .iter()
                .map(|age| u64::from_le_bytes(*age));
            let goal = Encoded {
                form: Form::V2,
                bytes: goal.to_vec().into(),
            };
            let of_each = of_each.collect();
            return Some(Entry {
                goal,
                revisions: Revisions::Ignore,
                ages: Some(Ages { clock, of_each }),
            });
        }
        _ => return None,
    };
    let bytes = entry.to_vec().into();
    Some(Entry::said(Encoded { form, bytes }, revisions))
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
        Entry::said(goal, revisions)
    }

    fn texts(journal: &mut Journal) -> Vec<String> {
        let mut texts = Vec::new();
        journal
            .read(|found| {
                let text = String::from_utf8(found.goal.bytes.to_vec()).unwrap();
                match found.ages {
                    Some(_) => assert_eq!(found, part(&text)),
                    None => assert_eq!(found, goal(&text)),
                }
                let of_part = ["", "part "][usize::from(found.ages.is_some())];
                texts.push(of_part.to_owned() + &text);
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

    fn part(text: &str) -> Entry {
        Entry {
            revisions: Revisions::Ignore,
            ages: Some(Ages {
                clock: 7,
                of_each: vec![1, 1 << 40],
            }),
            goal: Encoded {
                form: Form::V2,
                bytes: text.as_bytes().to_vec().into(),
            },
        }
    }

    #[test]
    fn compaction_replaces_what_was_before_it_and_keeps_what_came_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let mut journal = Journal::open(&path).unwrap();
        journal.append(&[goal("old"), goal("older")]).unwrap();
        let compaction = journal.begin_compaction();
        journal
            .append(&[part("1"), goal("new"), part("2")])
            .unwrap();
        // As a crash here would leave it: the parts do not count.
        assert_eq!(texts(&mut journal), ["old", "older", "new"]);
        journal.end_compaction(&compaction).unwrap();
        assert_eq!(texts(&mut journal), ["part 1", "new", "part 2"]);
        journal.append(&[goal("last")]).unwrap();
        // One that does not come to its end.
        journal.append(&[part("3")]).unwrap();
        drop(journal);
        let mut journal = Journal::open(&path).unwrap();
        assert_eq!(texts(&mut journal), ["part 1", "new", "part 2", "last"]);
        assert_eq!(journal.bytes_read() as usize, 3 * part("1").len() + 9);
    }

    #[test]
    fn a_store_of_the_first_format_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let mut journal = Journal::open(&path).unwrap();
        journal
            .change(|write| {
                write.open_table(ABOUT)?.insert("format", 1)?;
                let mut goals = write.open_table(GOALS)?;
                goals.insert(3, b"\x01old".as_slice())?;
                goals.insert(1 << 32, b"\x02new".as_slice())?;
                Ok(())
            })
            .unwrap();
        drop(journal);
        let mut journal = Journal::open(&path).unwrap();
        let mut found = Vec::new();
        let read = journal.read(|entry| {
            found.push((entry.goal.form, entry.goal.bytes.to_vec(), entry.revisions));
            Ok(())
        });
        read.unwrap();
        let check = Revisions::Check;
        let expected = [
            (Form::V1, b"old".to_vec(), check),
            (Form::V2, b"new".to_vec(), check),
        ];
        assert_eq!(found, expected);
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
            .insert("format", 3)
            .unwrap();
        write.commit().unwrap();
        drop(journal);
        let error = Journal::open(&path).unwrap_err();
        assert!(
            matches!(error, StoreError::Format { found: 3, .. }),
            "{error}"
        );
    }
}
