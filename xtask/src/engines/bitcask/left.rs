//! How far a merge had come when its process was killed: told by the files that it left.
//!
//! What cannot be told from those is not guessed: an output that a rotation has overtaken could be an
//! input, and a temporary manifest can be a rotation's.

use std::collections::BTreeSet;
use std::path::Path;

use crashtest::Outcome;
use durable_io::codec::Decoder;
use durable_io::{Dir, Disk, Temp};

/// What is alive is in an output, which no manifest names.
const OUTPUT: &str = "merge with an output";
/// The manifest that swaps the files is being written.
const MANIFEST: &str = "merge writing the manifest";
/// The manifest has swapped them, and the inputs are still there.
const INPUTS: &str = "merge giving up its inputs";
/// All of them, and the chores.
pub(super) const PHASES: &[&str] = &["rotate", "merge", OUTPUT, MANIFEST, INPUTS];

/// Where the first group of a data file begins, and the size of its header (`bitcask/FORMAT.md`,
/// sections 3 and 4).
const FIRST_GROUP: u64 = 64;
const GROUP_HEADER_SIZE: usize = 24;

/// What the manifest says (section 5).
#[derive(Debug)]
struct Manifest {
    next_number: u64,
    /// The data files, by number.
    named: BTreeSet<u64>,
}

impl Manifest {
    fn read(dir: &Dir) -> durable_io::Result<Option<Self>> {
        let file = match dir.open("manifest") {
            Err(error) if error.is_not_found() => return Ok(None),
            other => other?,
        };
        let mut bytes = vec![0; usize::try_from(file.len()?).expect("a small file")];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(Self::decode(&bytes))
    }

    /// Unchecked: the store itself judges it when it is opened.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut decoder = Decoder::new(bytes);
        // Magic, version, check, store id, hash seed.
        decoder.bytes(32)?;
        let next_number = decoder.u64()?;
        let count = decoder.u32()?;
        decoder.bytes(12)?; // Zero, generation.
        let mut named = BTreeSet::new();
        for _ in 0..count {
            named.insert(decoder.u64()?);
            // Id, end, digest.
            decoder.bytes(24)?;
        }
        Some(Self { next_number, named })
    }
}

/// The phase of the merge that left the store in `dir` as it is; `None` if no merge did, or none that
/// had written anything. `is_merging` if the process had said that it merges.
pub(super) fn phase(dir: &Path, is_merging: bool) -> Outcome<Option<&'static str>> {
    let dir = match Disk::os().open_dir(dir) {
        // It was killed before it made it.
        Err(error) if error.is_not_found() => return Ok(None),
        other => other?,
    };
    let Some(manifest) = Manifest::read(&dir)? else {
        return Ok(None);
    };
    let names: BTreeSet<String> = dir.list()?.into_iter().map(|entry| entry.name).collect();
    let orphans = |ending: &'static str| {
        let numbers = names
            .iter()
            .filter_map(move |name| u64::from_str_radix(name.strip_suffix(ending)?, 16).ok());
        numbers.filter(|number| !manifest.named.contains(number))
    };
    // The manifest has named it, so it has been sealed, and nobody gives up a file but a merge.
    let is_input = |number: u64| number < manifest.next_number;
    if orphans(".hint").any(is_input) {
        return Ok(Some(INPUTS));
    }
    let mut is_output = false;
    let mut is_rotated_to = false;
    for number in orphans(".data").filter(|&number| !is_input(number)) {
        let has_group = has_group(&dir, number)?;
        is_output |= has_group;
        is_rotated_to |= !has_group;
    }
    let has_temp = names
        .iter()
        .any(|name| Temp::target_of(name) == Some("manifest"));
    Ok(match (is_output, has_temp) {
        (true, false) => Some(OUTPUT),
        (true, true) => Some(MANIFEST),
        // Nothing was alive, so there is no output.
        (false, true) if is_merging && !is_rotated_to => Some(MANIFEST),
        (false, _) => None,
    })
}

/// True if a group was written to data file `number`: to the one that a rotation makes, not before the
/// manifest names it.
fn has_group(dir: &Dir, number: u64) -> Outcome<bool> {
    let file = dir.open(&format!("{number:016x}.data"))?;
    let mut header = [0; GROUP_HEADER_SIZE];
    let read = file.read_at(&mut header, FIRST_GROUP)?;
    Ok(header.iter().take(read).any(|&byte| byte != 0))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "files of a test")]
mod tests {
    use super::*;
    use bitcask::{Background, Options};

    #[test]
    fn what_a_merge_left_tells_how_far_it_came() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path();
        let store = Options::new().background(Background::Inline);
        let store = store.open(dir).unwrap();
        store.put(b"key", b"value").unwrap();
        store.rotate().unwrap();
        store.delete(b"key").unwrap();
        // Data file 1 goes, and 3 is the next number.
        store.merge().unwrap();
        store.close().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(dir.join(name), bytes).unwrap();
        let remove = |name: &str| std::fs::remove_file(dir.join(name)).unwrap();
        assert_eq!(phase(dir, true).unwrap(), None);
        write("~0000000000000000~manifest", b"");
        assert_eq!(phase(dir, false).unwrap(), None);
        assert_eq!(phase(dir, true).unwrap(), Some(MANIFEST));
        write("0000000000000003.data", &[0; 128]);
        assert_eq!(phase(dir, true).unwrap(), None, "a rotation's file");
        write("0000000000000003.data", &[1; 128]);
        assert_eq!(phase(dir, false).unwrap(), Some(MANIFEST));
        remove("~0000000000000000~manifest");
        assert_eq!(phase(dir, false).unwrap(), Some(OUTPUT));
        write("0000000000000001.hint", b"");
        assert_eq!(phase(dir, false).unwrap(), Some(INPUTS));
    }
}
