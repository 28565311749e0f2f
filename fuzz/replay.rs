// SPDX-License-Identifier: MIT
//! Runs a fuzz target's first inputs, those that reach all that fuzzing has reached, and those that once failed, as an
//! ordinary test.

use std::fs;
use std::path::Path;

/// Runs `seeds` and all that is kept under `fuzz/seeds/TARGET/` and `tests/crashes/TARGET/`. With the variable
/// `ALKAID_SEEDS` set to a folder the seeds are written there as well, for the fuzzer to begin with.
pub(crate) fn replay(target: &str, seeds: &[Vec<u8>], run: fn(&[u8])) {
    for seed in seeds {
        run(seed);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let reached = fs::read_dir(root.join("fuzz/seeds").join(target)).unwrap();
    // None is kept of a target that never failed.
    let failed = fs::read_dir(root.join("tests/crashes").join(target));
    for entries in [Some(reached), failed.ok()] {
        for entry in entries.into_iter().flatten() {
            let path = entry.unwrap().path();
            println!("{}", path.display());
            run(&fs::read(path).unwrap());
        }
    }
    if let Some(folder) = std::env::var_os("ALKAID_SEEDS") {
        let folder = Path::new(&folder).join(target);
        fs::create_dir_all(&folder).unwrap();
        for (n, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("seed-{n}")), seed).unwrap();
        }
    }
}
