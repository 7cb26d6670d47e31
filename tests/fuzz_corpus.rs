//! The corpus of the fuzz targets (`tests/fuzz`) on a stable compiler: every input that fuzzing found worth keeping, and a
//! few mutations of each, go through the very functions that the fuzzer calls.
//!
//! `BURDOCK_FUZZ_MUTATIONS=<n>` makes n mutations of every input, for a longer run; `BURDOCK_FUZZ_TARGET=<name>` runs one target alone.

#[path = "fuzz/src/lib.rs"]
pub mod targets;

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use burdock::peers::group::Random;

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpus")
        .join(target);
    let files =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path, bytes)
    };
    paths.into_iter().map(read).collect()
}

fn mutated(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..1 + random.below(3) {
        let at = random.below(bytes.len() as u64 + 1) as usize;
        match random.below(4) {
            0 => bytes.insert(at, random.number() as u8),
            1 => bytes.truncate(at),
            2 => {
                let copy = bytes[at..].to_vec();
                bytes.extend(copy);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = [0, 0x7f, 0x80, 0xef, 0xf0, 0xff, *byte ^ 1, *byte ^ 0x80]
                        [random.below(8) as usize];
                }
            }
        }
    }
    bytes
}

#[test]
fn the_corpus_harms_nothing() {
    let mutations: u64 = std::env::var("BURDOCK_FUZZ_MUTATIONS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(2);
    let only = std::env::var("BURDOCK_FUZZ_TARGET").ok();
    let is_wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    for (name, target) in targets::TARGETS.iter().filter(|(name, _)| is_wanted(name)) {
        let corpus = corpus(name);
        assert!(!corpus.is_empty(), "no corpus for {name}");
        let mut random = Random::new(1);
        for (path, bytes) in corpus {
            let mut inputs = vec![bytes.clone()];
            inputs.extend((0..mutations).map(|_| mutated(&bytes, &mut random)));
            for (mutation, input) in inputs.iter().enumerate() {
                if catch_unwind(|| target(input)).is_err() {
                    panic!(
                        "{name} fails with mutation {mutation} of {}: {input:?}",
                        path.display()
                    );
                }
            }
        }
    }
}

/// A folder without a target is a corpus that nobody runs.
#[test]
fn every_corpus_and_every_binary_has_its_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
    let names = |sub: &str| {
        let files = fs::read_dir(folder.join(sub)).expect("a folder");
        let mut names: Vec<String> = files
            .map(|file| {
                file.expect("a file")
                    .path()
                    .file_stem()
                    .expect("a name")
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    };
    let mut targets: Vec<String> = targets::TARGETS
        .iter()
        .map(|(name, _)| (*name).into())
        .collect();
    targets.sort();
    assert_eq!(names("corpus"), targets);
    assert_eq!(names("fuzz_targets"), targets);
}
