//! A disk as a line of text: `d/, d/log 1500 AA., x 0`.
//!
//! Each file has its length and one sign for each sector: the letter of which it is full, `.` for
//! zeros, `(D88A424)` for a few runs of letters, `?` for garbage.

use std::collections::BTreeSet;

use durable_io::{Dir, Disk};

const SECTOR: usize = 512;

pub fn of_disk(disk: &Disk) -> String {
    let mut things = Vec::new();
    walk(&disk.open_dir("/").unwrap(), "", &mut things);
    things.sort();
    things.join(", ")
}

fn walk(dir: &Dir, path: &str, things: &mut Vec<String>) {
    for entry in dir.list().unwrap() {
        let path = format!("{path}{}", entry.name);
        if entry.is_dir {
            let path = format!("{path}/");
            walk(&dir.open_dir(&entry.name).unwrap(), &path, things);
            things.push(path);
        } else {
            things.push(format!("{path} {}", of_file(dir, &entry.name)));
        }
    }
}

pub fn of_file(dir: &Dir, name: &str) -> String {
    let file = dir.open(name).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    of_bytes(&bytes)
}

pub fn of_bytes(bytes: &[u8]) -> String {
    let sectors: String = bytes.chunks(SECTOR).map(sector).collect();
    let text = format!("{} {sectors}", bytes.len());
    text.trim_end().to_owned()
}

fn sector(bytes: &[u8]) -> String {
    let runs: Vec<&[u8]> = bytes.chunk_by(|a, b| a == b).collect();
    let sign = |byte: u8| if byte == 0 { '.' } else { char::from(byte) };
    match runs.as_slice() {
        [one] => sign(one[0]).to_string(),
        few if few.len() < 8 => {
            let texts = few
                .iter()
                .map(|run| format!("{}{}", sign(run[0]), run.len()));
            format!("({})", texts.collect::<String>())
        }
        _ => "?".to_owned(),
    }
}

/// What a file of `size` bytes can hold, of which each sector shows one of its `sectors` and `_`
/// stands for one that was never written: all of these show zeros, or all garbage, or all what one of
/// the `stale` files held there.
pub fn contents(size: usize, sectors: &[&[&str]], stale: &[&str]) -> BTreeSet<String> {
    let mut all: Vec<Vec<&str>> = vec![Vec::new()];
    for versions in sectors {
        all = (all.iter())
            .flat_map(|file| versions.iter().map(|v| [file.as_slice(), &[*v]].concat()))
            .collect();
    }
    let stale_at = |source: usize, at: usize| stale[source].chars().nth(at).unwrap_or('.');
    let fills = |file: &Vec<&str>, fill: usize| {
        let signs = file
            .iter()
            .enumerate()
            .map(|(at, sector)| match (*sector, fill) {
                ("_", 0) => ".".to_owned(),
                ("_", 1) => "?".to_owned(),
                ("_", source) => stale_at(source - 2, at).to_string(),
                (written, _) => written.to_owned(),
            });
        format!("{size} {}", signs.collect::<String>())
    };
    (all.iter())
        .flat_map(|file| (0..stale.len() + 2).map(move |fill| fills(file, fill)))
        .collect()
}

/// Each of `texts` after `prefix`.
pub fn after(prefix: &str, texts: BTreeSet<String>) -> BTreeSet<String> {
    texts
        .into_iter()
        .map(|text| format!("{prefix}{text}"))
        .collect()
}

pub fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}
