// SPDX-License-Identifier: MIT
//! Whether a file has changed, by what the file system says of it.
//!
//! Looked at again and again rather than announced by the kernel: that works on every file system, through symbolic
//! links that are swapped and folders that are replaced, and misses nothing when events overflow.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// How long a file stays the same before it is taken for complete, and how often it is looked at.
pub(crate) const SETTLE: Duration = Duration::from_secs(1);

/// What a file is known by without reading it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: SystemTime,
    /// When it, its owner or its permissions changed: a file that became readable has changed.
    changed: (i64, i64),
}

impl Stamp {
    /// Of the file that `path` leads to. `None`: there is none, or it is no regular file.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok().filter(|it| it.is_file())?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: metadata.modified().ok()?,
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// True if it was last written so long ago that it is complete. Without a usable clock: false.
    pub(crate) fn is_old(&self) -> bool {
        self.modified.elapsed().is_ok_and(|age| age >= SETTLE)
    }
}
