// SPDX-License-Identifier: MIT
//! Goal states from a file, or from the files of a folder: applied at start, and whenever one changes.
//!
//! A file is read once it rests (see [`Stamp`]), so not while it is being written. Files are applied one after the
//! other in the order of their names. What was applied stays when its file goes.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use tokio::task::spawn_blocking;

use crate::cli::goal::load_goal;
use crate::core::{CoreHandle, Gone, NotApplied};
use crate::southbound::decode::Encoded;
use crate::stamp::{SETTLE, Stamp};

/// Most files of one folder; the log says when there are more.
const MAX_FILES: usize = 10_000;

/// What is known of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Seen {
    /// At the last look.
    stamp: Stamp,
    /// It was read like this.
    read: bool,
}

/// The files under watch.
struct Watch {
    path: PathBuf,
    files: BTreeMap<PathBuf, Seen>,
    /// What was wrong with the path at the last look, so that it is logged once.
    trouble: Option<String>,
}

/// Applies what is at `path`, and what comes there, for ever.
///
/// # Errors
/// The control thread has ended.
pub(crate) async fn follow(path: PathBuf, core: CoreHandle) -> Result<(), Gone> {
    // Absolute: `-` is a file here.
    let path = std::path::absolute(&path).unwrap_or(path);
    tracing::info!("goal states are read from {}", path.display());
    let mut watch = Watch::new(path);
    loop {
        for file in watch.look() {
            apply(file, &core).await?;
        }
        tokio::time::sleep(SETTLE).await;
    }
}

/// Applies one file. What is wrong with it is in the log; it is read again when it changes.
async fn apply(file: PathBuf, core: &CoreHandle) -> Result<(), Gone> {
    let source = file.display().to_string();
    let goal = match spawn_blocking(move || load_goal(&file)).await {
        Ok(Ok(goal)) => goal,
        Ok(Err(error)) => {
            tracing::error!("{error}; it is read again when it changes");
            return Ok(());
        }
        Err(error) => {
            tracing::error!("{source} was not read: {error}");
            return Ok(());
        }
    };
    // Statuses other than SUCCESS are logged where they arise.
    let reply = match core.apply(source.clone(), Encoded::from(&goal)).await {
        Ok(reply) => reply,
        Err(NotApplied::Gone(gone)) => return Err(gone),
        Err(NotApplied::Malformed(error)) => {
            tracing::error!("{source}: {error}");
            return Ok(());
        }
    };
    let resources = reply.operation_statuses.len();
    tracing::info!(%source, resources, "a goal state was applied");
    Ok(())
}

impl Watch {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            files: BTreeMap::new(),
            trouble: None,
        }
    }

    /// The files that are to be read now, in the order of their names.
    fn look(&mut self) -> Vec<PathBuf> {
        let (found, trouble) = match files(&self.path) {
            Ok(found) if found.len() > MAX_FILES => {
                let first = found.into_iter().take(MAX_FILES).collect();
                (
                    first,
                    Some(format!("only the first {MAX_FILES} files are read")),
                )
            }
            Ok(found) => (found, None),
            // What was read before counts as such when they can be looked at again.
            Err(error) => (
                self.files.keys().cloned().collect(),
                Some(error.to_string()),
            ),
        };
        if let Some(trouble) = &trouble
            && self.trouble.as_ref() != Some(trouble)
        {
            tracing::error!("{}: {trouble}; it is looked at again", self.path.display());
        }
        self.trouble = trouble;
        let mut ready = Vec::new();
        let mut now = BTreeMap::new();
        for path in found {
            let Some(stamp) = Stamp::of(&path) else {
                now.extend(self.files.remove_entry(&path));
                continue;
            };
            let before = self.files.get(&path).filter(|seen| seen.stamp == stamp);
            let was_read = before.is_some_and(|seen| seen.read);
            let rests = before.is_some() || stamp.is_old();
            if rests && !was_read {
                ready.push(path.clone());
            }
            now.insert(path, Seen { stamp, read: rests });
        }
        self.files = now;
        ready
    }
}

/// The files at `path`, in the order of their names: itself, or those of a folder that look like goal states.
fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let metadata = path.metadata()?;
    if metadata.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    if !metadata.is_dir() {
        return Err(io::Error::other("neither a file nor a folder"));
    }
    let mut files = Vec::new();
    for entry in path.read_dir()? {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        let fits = path
            .extension()
            .is_some_and(|extension| extension == "json" || extension == "pb");
        if fits && !hidden {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::time::{Duration, SystemTime};

    use super::*;

    fn write(path: &Path, text: &str, age: u64) {
        fs::write(path, text).unwrap();
        let when = SystemTime::now() - Duration::from_secs(age);
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(when).unwrap();
    }

    fn names(paths: Vec<PathBuf>) -> Vec<String> {
        let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        paths.into_iter().map(name).collect()
    }

    #[test]
    fn files_that_rest_are_read_once_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.json", "a.pb", "c.json", ".d.json", "e.json~", "f.txt"] {
            write(&folder.path().join(name), "{}", 60);
        }
        fs::create_dir(folder.path().join("g.json")).unwrap();
        let mut watch = Watch::new(folder.path().to_owned());
        assert_eq!(names(watch.look()), ["a.pb", "b.json", "c.json"]);
        assert!(watch.look().is_empty());
        // The same when it could not be looked at for a while.
        let away = folder.path().with_extension("away");
        fs::rename(folder.path(), &away).unwrap();
        assert!(watch.look().is_empty());
        fs::rename(&away, folder.path()).unwrap();
        assert!(watch.look().is_empty());
        write(&folder.path().join("b.json"), "{ }", 60);
        fs::rename(folder.path().join("c.json"), folder.path().join("a.json")).unwrap();
        assert_eq!(names(watch.look()), ["a.json", "b.json"]);
    }

    #[test]
    fn a_file_that_is_being_written_waits_until_it_rests() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.json");
        let mut watch = Watch::new(file.clone());
        assert!(watch.look().is_empty()); // there is none
        for text in ["{", "{ ", "{  "] {
            write(&file, text, 0);
            assert!(watch.look().is_empty());
        }
        assert_eq!(names(watch.look()), ["a.json"]);
        assert!(watch.look().is_empty());
        fs::remove_file(&file).unwrap();
        assert!(watch.look().is_empty());
        write(&file, "{  ", 60);
        assert_eq!(names(watch.look()), ["a.json"]);
    }
}
