//! Small stores to be damaged.

use btree::{Background, Btree, Options, SyncMode};
use crashtest::{Contents, Held, Root, Span, Specimen, files};
use durable_io::sim::{SimDisk, World};

use super::TABLE;

const DIR: &str = "/btree";
const KEYS: usize = 8;

/// So many zeros in a row were never written to, or are the same everywhere.
const RUN: usize = 16;

/// A meta slot: its bytes in the page file.
const SLOT: std::ops::Range<usize> = 0..1024;

/// Every key that a specimen has or had.
pub(super) fn keys() -> impl Iterator<Item = Vec<u8>> {
    (0..KEYS).map(key)
}

fn key(nth: usize) -> Vec<u8> {
    match nth {
        0 => Vec::new(),
        nth => format!("key {nth:02}").into_bytes(),
    }
}

/// A store that is being written.
struct Scribe {
    disk: SimDisk,
    store: Btree,
    now: Contents,
    earlier: Vec<World>,
}

impl Scribe {
    fn new() -> btree::Result<Self> {
        let disk = SimDisk::new();
        let store = Options::new()
            .sync(SyncMode::Always)
            .page_size(512)
            .log_segment_size(2048)
            // Each commit is a checkpoint: what stands in the log is the log's own to judge.
            .large_transaction(1)
            .growth(4 << 9)
            .reserve(0)
            .background(Background::Inline)
            .disk(disk.disk())
            .open(DIR)?;
        Ok(Self {
            disk,
            store,
            now: Contents::new(),
            earlier: Vec::new(),
        })
    }

    fn put(&mut self, nth: usize, len: usize) -> btree::Result<()> {
        let value = vec![u8::try_from(nth).expect("few keys"); len];
        let mut write = self.store.begin_write()?;
        write.create_table(TABLE)?.put(&key(nth), &value)?;
        write.commit()?;
        self.now.insert(key(nth), value);
        self.earlier.push(self.disk.world());
        Ok(())
    }

    fn delete(&mut self, nth: usize) -> btree::Result<()> {
        let mut write = self.store.begin_write()?;
        write.create_table(TABLE)?.delete(&key(nth))?;
        write.commit()?;
        self.now.remove(&key(nth));
        self.earlier.push(self.disk.world());
        Ok(())
    }

    fn checkpoint(&mut self) -> btree::Result<()> {
        self.store.checkpoint()?;
        self.earlier.push(self.disk.world());
        Ok(())
    }

    fn end(self, name: &'static str) -> btree::Result<Specimen> {
        self.store.close()?;
        let root = Root {
            span: Span::new("pages", SLOT),
            witness: 1,
            history: vec![Held::new(1, self.now)],
        };
        let world = self.disk.world();
        let files = files(DIR, &world).into_iter();
        let used = files
            .flat_map(|(name, bytes)| used(&name, &bytes))
            .collect();
        Ok(Specimen::new(name, DIR, &world, self.earlier, vec![root]).used(used))
    }
}

/// The bytes of file `name` that hold something: all but long runs of zeros.
fn used(name: &str, bytes: &[u8]) -> Vec<Span> {
    let runs = bytes.chunks(RUN).enumerate();
    let runs = runs.filter(|(_, run)| run.iter().any(|&byte| byte != 0));
    let span = |(nth, run): (usize, &[u8])| Span::new(name, nth * RUN..nth * RUN + run.len());
    runs.map(span).collect()
}

/// The stores that are damaged.
pub(super) fn all() -> btree::Result<Vec<Specimen>> {
    let mut closed = Scribe::new()?;
    for nth in 0..KEYS {
        closed.put(nth, 60)?;
    }
    closed.put(3, 700)?;
    closed.checkpoint()?;
    closed.delete(5)?;
    closed.put(6, 0)?;
    Ok(vec![closed.end("closed")?, Scribe::new()?.end("created")?])
}
