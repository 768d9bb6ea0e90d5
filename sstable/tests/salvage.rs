//! Whatever is damaged, every entry is given out that can be read, and the keys of every other one are named.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test"
)]

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use std::ops::Range;

use durable_io::Dir;
use durable_io::sim::SimDisk;
use rand::RngExt;
use rand::rngs::StdRng;
use sstable::{Compression, Error, Lost, Options, Table, compare};
use support::{Model, Owned, dir, fast_dir, names, read, rng, seed, write};

const FOOTER: usize = 192;

/// Some hundred entries in blocks of a few, several partitions, versions that go over the ends of blocks, deletions,
/// range tombstones.
fn model() -> Model {
    let mut model = Model::default();
    for n in 0..120_u8 {
        let key = [b"key", &[n / 7][..], &[n]].concat();
        for version in 0..u64::from(n % 4) {
            model.put(&key, version * 10 + 1, &[n; 30]);
        }
        if n % 5 == 0 {
            model.delete(&key, 50);
        } else {
            model.put(&key, 51, &[n; 20]);
        }
    }
    model.delete_range(b"key\x02", b"key\x03", 45);
    model.delete_range(b"x", b"z", 1);
    model
}

fn options(compression: Compression) -> Options {
    Options::new()
        .block_size(200)
        .partition_keys(60)
        .compression(compression)
}

#[derive(Debug, Default)]
struct Left {
    entries: Vec<Owned>,
    lost: Vec<Lost>,
    /// Other damage.
    told: Vec<Error>,
}

fn collect(salvage: sstable::Salvage) -> Left {
    let mut left = Left::default();
    for item in salvage {
        match item {
            Ok(entry) => {
                left.entries
                    .push((entry.key, entry.version, entry.kind, entry.value));
            }
            Err(Error::Lost(lost)) => left.lost.push(*lost),
            Err(error) => left.told.push(error),
        }
    }
    left
}

impl Left {
    /// What is there is right and in order; what is missing is named. How many entries are missing.
    fn check(&self, model: &Model, what: &str) -> usize {
        let mut entries = self.entries.iter().peekable();
        let mut missing = 0;
        for expected in model.owned() {
            if entries.next_if_eq(&&expected).is_none() {
                missing += 1;
                let mut lost = self.lost.iter().filter(|lost| lost.what == "entries");
                let is_named = lost.any(|lost| lost.keys.contains(&expected.0));
                assert!(is_named, "{what}: {expected:?} is missing, {:?}", self.lost);
            }
        }
        assert_eq!(entries.next(), None, "{what}: there was no such entry");
        missing
    }
}

fn of(dir: &Dir) -> Left {
    collect(Table::salvage(dir, "table").unwrap())
}

/// Where blocks of the kind `kind` begin.
fn blocks(bytes: &[u8], kind: u8) -> Vec<Range<usize>> {
    let magic = [b's', b's', b't', kind];
    let found = bytes.windows(4).enumerate();
    let found = found.filter(|(_, bytes)| *bytes == magic);
    let len =
        |at: usize| 24 + u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize;
    found.map(|(at, _)| at - 4..at - 4 + len(at - 4)).collect()
}

fn spoil(bytes: &mut [u8], range: Range<usize>) {
    for byte in &mut bytes[range] {
        *byte ^= 0x5a;
    }
}

const BOTH: [Compression; 2] = [Compression::None, Compression::Lz4];

#[test]
fn an_undamaged_table_is_given_out_whole() {
    for compression in BOTH {
        let temp = fast_dir();
        let model = model();
        let info = model.build_in(temp.path(), &options(compression));
        let salvage = Table::salvage(&dir(temp.path()), "table").unwrap();
        assert_eq!(salvage.file_id(), Some(info.file_id));
        assert_eq!(salvage.range_tombstones(), model.range_tombstones);
        assert_eq!(salvage.properties().unwrap().entries(), info.entries);
        let left = collect(salvage);
        assert_eq!(left.check(&model, "undamaged"), 0);
        assert!(left.lost.is_empty() && left.told.is_empty(), "{left:?}");
    }
    // And one that has nothing but range tombstones.
    let temp = fast_dir();
    let mut model = Model::default();
    model.delete_range(b"a", b"b", 3);
    model.build_in(temp.path(), &Options::new());
    let left = of(&dir(temp.path()));
    assert!(left.entries.is_empty() && left.lost.is_empty() && left.told.is_empty());
}

#[test]
fn each_damaged_place_loses_its_own_blocks_and_no_others() {
    for compression in BOTH {
        let temp = fast_dir();
        let model = model();
        model.build_in(temp.path(), &options(compression));
        let bytes = read(temp.path(), "table");
        let mut losses = 0;
        for at in (0..bytes.len()).step_by(61) {
            let range = at..bytes.len().min(at + 61);
            let mut changed = bytes.clone();
            spoil(&mut changed, range.clone());
            write(temp.path(), "table", &changed);
            let left = of(&dir(temp.path()));
            let what = format!("{range:?}");
            losses += left.check(&model, &what);
            for lost in &left.lost {
                // A block of some 200 bytes, or two of them.
                let Range { start, end } = lost.bytes;
                let is_there = start < range.end as u64 && (range.start as u64) < end;
                assert!(is_there && end - start < 700, "{what}: {lost}");
            }
            assert_eq!(read(temp.path(), "table"), changed, "nothing is changed");
            assert_eq!(names(temp.path()), ["table"]);
        }
        assert!(losses > 200, "{losses}");
    }
}

#[test]
fn blocks_are_found_when_both_copies_of_an_index_are_lost() {
    for compression in BOTH {
        let temp = fast_dir();
        let model = model();
        model.build_in(temp.path(), &options(compression));
        let bytes = read(temp.path(), "table");
        for kind in *b"ITPF" {
            let mut changed = bytes.clone();
            let found = blocks(&bytes, kind);
            assert!(found.len() > 1);
            for range in found {
                spoil(&mut changed, range);
            }
            write(temp.path(), "table", &changed);
            let left = of(&dir(temp.path()));
            let what = char::from(kind).to_string();
            assert_eq!(left.check(&model, &what), 0);
            assert_eq!(left.entries.len(), model.entries.len());
            assert!(left.lost.is_empty(), "{what}: {:?}", left.lost);
            assert_eq!(left.told.is_empty(), kind == b'F', "{what}");
        }
        // With a block of the second partition damaged besides.
        let data = blocks(&bytes, b'D');
        let victim = data[data.len() / 2].clone();
        for kind in *b"IT" {
            let mut changed = bytes.clone();
            for range in blocks(&bytes, kind).into_iter().chain([victim.clone()]) {
                spoil(&mut changed, range);
            }
            write(temp.path(), "table", &changed);
            let left = of(&dir(temp.path()));
            assert!((1..9).contains(&left.check(&model, "a block")));
            let lost = &left.lost[0];
            assert_eq!(lost.bytes.start, victim.start as u64);
            assert_eq!(lost.bytes.end, victim.end as u64);
        }
    }
}

#[test]
fn lost_range_tombstones_are_named() {
    let temp = fast_dir();
    let model = model();
    model.build_in(temp.path(), &options(Compression::None));
    let mut bytes = read(temp.path(), "table");
    for range in blocks(&bytes, b'R') {
        spoil(&mut bytes, range);
    }
    write(temp.path(), "table", &bytes);
    let salvage = Table::salvage(&dir(temp.path()), "table").unwrap();
    assert_eq!(salvage.range_tombstones(), []);
    let left = collect(salvage);
    assert_eq!(left.check(&model, "range tombstones"), 0);
    let [lost] = &*left.lost else {
        panic!("{:?}", left.lost);
    };
    assert_eq!(lost.what, "range tombstones");
    assert!(lost.keys.contains(b"key\x02\x0e") && lost.keys.contains(b"y"));
    assert!(!lost.keys.contains(b"z"));
}

#[test]
fn without_header_and_footer_the_id_is_needed() {
    for compression in BOTH {
        let temp = fast_dir();
        let model = model();
        let info = model.build_in(temp.path(), &options(compression));
        let whole = read(temp.path(), "table");
        let mut bytes = whole.clone();
        let len = bytes.len();
        spoil(&mut bytes, 0..8);
        spoil(&mut bytes, len - FOOTER..len);
        write(temp.path(), "table", &bytes);
        let salvage = Table::salvage(&dir(temp.path()), "table").unwrap();
        assert_eq!(salvage.file_id(), None);
        let left = collect(salvage);
        assert_eq!((left.entries.len(), left.told.len()), (0, 2));

        let salvage = Table::salvage_as(&dir(temp.path()), "table", info.file_id).unwrap();
        assert_eq!(salvage.range_tombstones(), model.range_tombstones);
        let left = collect(salvage);
        assert_eq!(left.check(&model, "by its id"), 0);
        assert!(left.lost.is_empty(), "{:?}", left.lost);

        // Without anything but data blocks.
        for kind in *b"ITPFR" {
            for range in blocks(&whole, kind) {
                spoil(&mut bytes, range);
            }
        }
        write(temp.path(), "table", &bytes);
        let left = collect(Table::salvage_as(&dir(temp.path()), "table", info.file_id).unwrap());
        assert_eq!(left.check(&model, "data alone"), 0);
        assert_eq!(left.entries.len(), model.entries.len());
        assert!(left.lost.iter().any(|lost| lost.what == "range tombstones"));

        let other = Table::salvage_as(&dir(temp.path()), "table", info.file_id + 1).unwrap();
        assert_eq!(
            collect(other).entries.len(),
            0,
            "a block of another table is not believed"
        );
    }
}

#[test]
fn what_is_cut_off_is_named() {
    let temp = fast_dir();
    let model = model();
    model.build_in(temp.path(), &options(Compression::None));
    let bytes = read(temp.path(), "table");
    for len in (0..bytes.len()).step_by(97) {
        write(temp.path(), "table", &bytes[..len]);
        let left = of(&dir(temp.path()));
        assert!(!left.told.is_empty());
        if len >= FOOTER {
            left.check(&model, &format!("cut to {len}"));
        } else {
            assert!(left.entries.is_empty());
        }
    }
}

/// Any bytes of a table changed, in several places: whatever is given out was there, in order.
#[test]
fn many_damaged_places_at_once() {
    let mut rng = rng(seed());
    let temp = fast_dir();
    let model = model();
    let info = model.build_in(temp.path(), &options(Compression::Lz4));
    let bytes = read(temp.path(), "table");
    let (mut found, mut missing) = (0, 0);
    for _ in 0..400 {
        let mut changed = bytes.clone();
        for _ in 0..rng.random_range(1..12) {
            change(&mut rng, &mut changed);
        }
        write(temp.path(), "table", &changed);
        let left = collect(Table::salvage_as(&dir(temp.path()), "table", info.file_id).unwrap());
        missing += left.check(&model, "at random");
        found += left.entries.len();
        let in_order = left
            .entries
            .is_sorted_by(|a, b| compare((&a.0, a.1), (&b.0, b.1)).is_lt());
        assert!(in_order);
    }
    assert!(found > 1000 && missing > 1000, "{found} {missing}");
}

/// Changes a few bytes, or makes a hole.
fn change(rng: &mut StdRng, bytes: &mut [u8]) {
    let start = rng.random_range(0..bytes.len());
    let end = bytes.len().min(start + rng.random_range(1..300));
    if rng.random_bool(0.5) {
        bytes[start..end].fill(0);
    } else {
        spoil(bytes, start..end);
    }
}

#[test]
fn a_sector_that_cannot_be_read_is_no_more_than_damage() {
    let model = model();
    let sim = SimDisk::new();
    let root = sim.disk().open_dir("/").unwrap();
    let options = options(Compression::None);
    model.build(&options, &root, "table").unwrap();
    let files = SimDisk::boot(sim.world()).files();
    let len = files
        .iter()
        .find(|(path, _)| path.ends_with("table"))
        .unwrap()
        .1;
    for start in (0..len).step_by(512) {
        let range = start..len.min(start + 512);
        let sim = SimDisk::boot(sim.world());
        sim.spoil("/table", range.clone());
        let left = of(&sim.disk().open_dir("/").unwrap());
        left.check(&model, &format!("{range:?} cannot be read"));
        for lost in &left.lost {
            assert!(lost.bytes.start < range.end && range.start < lost.bytes.end);
            assert!(matches!(&lost.source, Error::Disk(error) if error.is_unreadable()));
        }
    }
}

#[test]
fn a_file_that_is_missing_or_closed_to_us_is_an_error() {
    let model = model();
    let sim = SimDisk::new();
    let root = sim.disk().open_dir("/").unwrap();
    model
        .build(&options(Compression::None), &root, "table")
        .unwrap();
    assert!(matches!(
        Table::salvage(&root, "other"),
        Err(Error::Disk(_))
    ));
    sim.forbid("/table");
    assert!(matches!(
        Table::salvage(&root, "table"),
        Err(Error::Disk(_))
    ));
}
