//! FORMAT.md, sections 5 to 7, is executed.

use durable_io::sim::SimDisk;
use durable_io::testing::block;
use durable_raft::machine::{Applied, KEYSPACE};

use super::{bytes, install, open, point};

const FORMAT: &str = include_str!("../../FORMAT.md");

fn state() -> Applied {
    Applied {
        last: Some(point(7)),
        membership: Some(b"abc".to_vec()),
    }
}

fn file(sim: &SimDisk, path: &str) -> durable_io::File {
    let (path, name) = path.rsplit_once('/').unwrap();
    sim.disk().open_dir(path).unwrap().open(name).unwrap()
}

fn content(sim: &SimDisk, path: &str) -> Vec<u8> {
    let file = file(sim, path);
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn the_documented_root_is_read_and_written() {
    let sim = SimDisk::new();
    let machine = open(&sim);
    machine.apply(&point(7), Some(b"abc"), |_| Ok(())).unwrap();
    let snapshot = machine.build_snapshot().unwrap();
    let own = machine.read().unwrap().keyspace(KEYSPACE).unwrap();
    let applied = own.get(b"applied").unwrap();
    assert_eq!(applied.as_deref(), Some(&block(FORMAT, "applied")[..]));
    drop((own, applied));
    machine.close().unwrap();
    drop(machine);
    let (written, documented) = (content(&sim, "/machine/root"), block(FORMAT, "root"));
    // All but the check and the two ids is what it must be.
    let id = snapshot.id.len();
    assert_eq!(written[..12], documented[..12]);
    assert_eq!(written[24..52], documented[24..52]);
    assert_eq!(&written[56..56 + id], snapshot.id.as_bytes());
    assert_eq!(written[56 + id..], documented[62..]);

    let root = file(&sim, "/machine/root");
    root.set_len(0).unwrap();
    root.write_all_at(&documented, 0).unwrap();
    let machine = open(&sim);
    let snapshot = machine.snapshot().unwrap().unwrap();
    assert_eq!((snapshot.id.as_str(), snapshot.state), ("monday", state()));
    assert_eq!(machine.stats().generation, 2);
}

#[test]
fn the_documented_stream_is_read_and_written() {
    let stream = ["preamble", "file", "chunk"]
        .map(|name| block(FORMAT, name))
        .concat();
    let sim = SimDisk::new();
    let machine = open(&sim);
    // It is no store: one is made there, with nothing in it, and then refused for that.
    install(&machine, &stream, 7).unwrap_err();
    let incoming = machine.receive().unwrap();
    incoming.write_at(&stream, 0).unwrap();
    let incoming = durable_raft::machine::SnapshotData::Incoming(incoming);
    machine
        .install("monday", incoming, |found| found.last.is_none())
        .unwrap();
    let files = sim.files();
    let found = files.iter().find(|(path, _)| path.ends_with("notes/hello"));
    assert_eq!(content(&sim, &found.unwrap().0), b"abc\0\0");

    machine.apply(&point(7), Some(b"abc"), |_| Ok(())).unwrap();
    let written = bytes(&mut machine.build_snapshot().unwrap().data);
    assert_eq!(written[..12], stream[..12]);
    let number = |at: usize| u64::from_le_bytes(written[at..at + 8].try_into().unwrap());
    assert_eq!(number(24), written.len() as u64);
    let name_len = usize::from(written[44]);
    let name = String::from_utf8(written[64..64 + name_len].to_vec()).unwrap();
    let (dir, file) = name.split_once('/').unwrap();
    let path = format!("/machine/{}.snapshot/{dir}/{file}", "0000000000000008");
    let content = content(&sim, &path);
    let sent = usize::try_from(number(56)).unwrap();
    assert_eq!(number(48), content.len() as u64);
    assert_eq!(written[64 + name_len + 4..][..sent], content[..sent]);
    assert!(content[sent..].iter().all(|byte| *byte == 0));
}
