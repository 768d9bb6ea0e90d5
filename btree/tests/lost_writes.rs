//! A write that the disk acknowledged and lost leaves an older page at its place.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use btree::{Background, Btree, Corruption, Error, Options};
use durable_io::sim::{SimDisk, World};

const PAGE: usize = 512;
const PAGES: &str = "/btree/pages";

fn open(disk: &SimDisk) -> btree::Result<Btree> {
    let options = Options::new()
        .page_size(512)
        // The smallest there is: a transaction keeps eight pages in memory.
        .cache_size(0)
        .growth(64 << 9)
        .background(Background::Inline);
    options.disk(disk.disk()).open("/btree")
}

/// What stands in the page file, page by page.
fn pages(world: &World) -> Vec<Vec<u8>> {
    let bytes = world.file_bytes(PAGES).unwrap();
    bytes.chunks(PAGE).map(<[u8]>::to_vec).collect()
}

fn read(store: &Btree) -> btree::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let read = store.begin_read();
    let entries = read.table("t")?.range(..);
    let owned = |entry: btree::Result<(Vec<u8>, btree::Value)>| {
        entry.map(|(key, value)| (key, value.into_vec()))
    };
    entries.map(owned).collect()
}

/// One transaction that does not fit into memory writes pages, edits them again and writes them once more.
#[test]
fn what_a_transaction_wrote_twice_is_not_taken_for_its_older_version() {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    let mut model = BTreeMap::new();
    let mut versions: Vec<BTreeSet<Vec<u8>>> = Vec::new();
    let mut write = store.begin_write().unwrap();
    let mut table = write.create_table("t").unwrap();
    for n in 0..150_u32 {
        // All over the keys, so that no page is ever complete.
        let key = format!("key {:05}", n.wrapping_mul(2_654_435_761) % 100_000);
        let value = vec![u8::try_from(n).unwrap(); 40];
        table.put(key.as_bytes(), &value).unwrap();
        model.insert(key.into_bytes(), value);
        for (number, page) in pages(&disk.world()).into_iter().enumerate() {
            versions.resize_with(versions.len().max(number + 1), BTreeSet::new);
            versions[number].insert(page);
        }
    }
    write.commit().unwrap();
    drop(store);
    let world = disk.world().keep_unsynced();
    let last = pages(&world);
    let (mut older, mut found) = (0, 0);
    for (number, versions) in versions.iter().enumerate().skip(16) {
        for version in versions.iter().filter(|&version| *version != last[number]) {
            let disk = SimDisk::boot(world.clone());
            let file = disk.disk().open_dir("/btree").unwrap().open("pages");
            let file = file.unwrap();
            let offset = (number * PAGE) as u64;
            file.write_all_at(version, offset).unwrap();
            older += 1;
            match open(&disk).and_then(|store| read(&store)) {
                Ok(seen) => assert_eq!(seen, model, "page {number} is an older one"),
                Err(Error::Corrupt {
                    offset: at,
                    reason: Corruption::StalePage | Corruption::Checksum,
                    ..
                }) => {
                    assert_eq!(at, offset);
                    found += 1;
                }
                Err(error) => panic!("page {number} is an older one: {error}"),
            }
        }
    }
    assert!(found > 50, "{found} of {older} were found");
}
