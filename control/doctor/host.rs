// SPDX-License-Identifier: MIT
//! [`Host`]: what the kernel says of the machine, in `/proc` and `/sys`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The machine, or a folder that looks like one.
pub(crate) struct Host {
    root: PathBuf,
}

impl Host {
    /// What is below `root`; `/` is this machine.
    pub(crate) fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// A file's text, without the white space around it; `None` if it cannot be read.
    pub(crate) fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        let text = fs::read_to_string(self.at(path)).ok()?;
        Some(text.trim().to_owned())
    }

    /// The number that a file contains.
    pub(crate) fn number(&self, path: impl AsRef<Path>) -> Option<u64> {
        self.text(path)?.parse().ok()
    }

    /// The CPUs, or nodes, that a file lists: `0-3,8`. None if there is no such file.
    pub(crate) fn set(&self, path: impl AsRef<Path>) -> BTreeSet<usize> {
        numbers(&self.text(path).unwrap_or_default())
    }

    /// The names in a folder, in order.
    pub(crate) fn names(&self, path: impl AsRef<Path>) -> Vec<String> {
        let entries = fs::read_dir(self.at(path)).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort_unstable();
        names
    }

    /// The last part of what a link leads to.
    pub(crate) fn link(&self, path: impl AsRef<Path>) -> Option<String> {
        let to = fs::read_link(self.at(path)).ok()?;
        Some(to.file_name()?.to_str()?.to_owned())
    }

    /// Whether there is such a file or folder.
    pub(crate) fn has(&self, path: impl AsRef<Path>) -> bool {
        self.at(path).exists()
    }
}

/// The numbers of a list in the kernel's form, `0-3,8`; what is none is left out.
fn numbers(list: &str) -> BTreeSet<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lists_are_read() {
        let read = |list| numbers(list).into_iter().collect::<Vec<_>>();
        assert_eq!(read("0-2,8"), [0, 1, 2, 8]);
        assert_eq!(read("5"), [5]);
        for nothing in ["", "(null),x-2,3-1"] {
            assert!(read(nothing).is_empty(), "{nothing}");
        }
    }
}
