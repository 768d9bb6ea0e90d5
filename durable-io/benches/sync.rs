//! The device floor: how long one durable append takes, by every method there is.
//!
//! `cargo bench -p durable-io --bench sync`, with `BENCH_DIR` naming a directory on the disk in
//! question (otherwise it is below `target/`). The methods take turns, append by append, so that all
//! of them meet the same noise; a sample is the median of many appends. Compare figures of one run
//! only: the ratios stand when the disk's own speed changes.

use std::env;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode, Throughput};
use durable_io::{Dir, Disk, File};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};

/// Bytes of each file. At its end an append goes on at the start, in a new file where the old one
/// would no longer be what it shall be.
const FILE_SIZE: u64 = 16 << 20;
/// What `O_DIRECT` asks of offsets, lengths and buffers.
const BLOCK_SIZE: u64 = 4096;
const RECORD_SIZE_MAX: usize = 16 << 10;

/// How many samples are taken of each method, and of how many appends each.
const SAMPLES: usize = 10;
const ROUNDS: usize = 500;

type Error = Box<dyn std::error::Error>;

/// How the file has its space before an append comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Space {
    Growing,
    Allocated,
    Zeroed,
}

/// How an append becomes durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Fdatasync,
    RwfDsync,
    DirectDsync,
    DirectFdatasync,
}

const METHODS: [(&str, Space, How); 8] = [
    ("growing, write + fdatasync", Space::Growing, How::Fdatasync),
    ("growing, RWF_DSYNC", Space::Growing, How::RwfDsync),
    (
        "allocated, write + fdatasync",
        Space::Allocated,
        How::Fdatasync,
    ),
    ("allocated, RWF_DSYNC", Space::Allocated, How::RwfDsync),
    ("zeroed, write + fdatasync", Space::Zeroed, How::Fdatasync),
    ("zeroed, RWF_DSYNC", Space::Zeroed, How::RwfDsync),
    (
        "zeroed, O_DIRECT | O_DSYNC",
        Space::Zeroed,
        How::DirectDsync,
    ),
    (
        "zeroed, O_DIRECT + fdatasync",
        Space::Zeroed,
        How::DirectFdatasync,
    ),
];

/// A buffer as `O_DIRECT` wants it.
#[repr(align(4096))]
struct Aligned([u8; RECORD_SIZE_MAX]);

struct Appender {
    dir: Dir,
    name: &'static str,
    space: Space,
    how: How,
    file: File,
    /// The same file, past the page cache.
    direct: Option<OwnedFd>,
    record: Box<Aligned>,
    size: u64,
    offset: u64,
}

impl Appender {
    fn new(dir: &Dir, method: (&'static str, Space, How), size: u64) -> Result<Self, Error> {
        let (name, space, how) = method;
        let file = dir.create_new(name)?;
        let flags = match how {
            How::Fdatasync | How::RwfDsync => None,
            How::DirectDsync => Some(OFlags::DIRECT | OFlags::DSYNC),
            How::DirectFdatasync => Some(OFlags::DIRECT),
        };
        let open = |flags| rustix::fs::open(file.path(), flags | OFlags::RDWR, Mode::empty());
        let direct = flags.map(open).transpose()?;
        let mut appender = Self {
            dir: dir.clone(),
            name,
            space,
            how,
            file,
            direct,
            record: Box::new(Aligned([7; RECORD_SIZE_MAX])),
            size,
            offset: 0,
        };
        appender.prepare()?;
        appender.append()?;
        Ok(appender)
    }

    /// Gives the file its space, and settles everything that is not the append's own.
    fn prepare(&self) -> Result<(), Error> {
        match self.space {
            Space::Growing => {}
            Space::Allocated => self.file.allocate(0, FILE_SIZE)?,
            Space::Zeroed => self.file.write_zeros(0, FILE_SIZE)?,
        }
        drop(self.file.sync_all()?);
        Ok(self.dir.sync()?)
    }

    /// Makes sure that there is room for one more append.
    fn make_room(&mut self) -> Result<(), Error> {
        if self.offset + self.size <= FILE_SIZE {
            return Ok(());
        }
        self.offset = 0;
        // What was zeroed is as good when it was written before; the others need a new file.
        if self.space != Space::Zeroed {
            self.dir.remove(self.name)?;
            self.file = self.dir.create_new(self.name)?;
            self.prepare()?;
        }
        Ok(())
    }

    fn append(&mut self) -> Result<(), Error> {
        let size = usize::try_from(self.size)?;
        let record = self.record.0.get(..size).unwrap_or_default();
        match (self.how, &self.direct) {
            (How::Fdatasync, _) => {
                self.file.write_all_at(record, self.offset)?;
                drop(self.file.sync_data()?);
            }
            (How::RwfDsync, _) => drop(self.file.write_durable_at(record, self.offset)?),
            (_, None) => return Err("no O_DIRECT descriptor".into()),
            (how, Some(direct)) => {
                // Whole blocks: a record smaller than one rewrites the block at the log's end.
                let start = self.offset / BLOCK_SIZE * BLOCK_SIZE;
                let len = self.size.next_multiple_of(BLOCK_SIZE);
                let blocks = self
                    .record
                    .0
                    .get(..usize::try_from(len)?)
                    .unwrap_or_default();
                if rustix::io::pwrite(direct, blocks, start)? != blocks.len() {
                    return Err("short write".into());
                }
                if how == How::DirectFdatasync {
                    rustix::fs::fdatasync(direct)?;
                }
            }
        }
        self.offset += self.size;
        Ok(())
    }
}

/// The time of one append by each method, `SAMPLES` times.
type Samples = Vec<[Duration; METHODS.len()]>;

/// Takes every sample of every method: the median of `rounds` appends, the methods in turn.
fn measure(appenders: &mut [Appender], rounds: usize) -> Result<Samples, Error> {
    let mut samples = Samples::new();
    for _ in 0..SAMPLES {
        let mut times = vec![Vec::with_capacity(rounds); METHODS.len()];
        for _ in 0..rounds {
            for (appender, times) in appenders.iter_mut().zip(&mut times) {
                appender.make_room()?;
                let start = Instant::now();
                appender.append()?;
                times.push(start.elapsed());
            }
        }
        let mut medians = [Duration::ZERO; METHODS.len()];
        for (median, times) in medians.iter_mut().zip(&mut times) {
            *median = *times.select_nth_unstable(rounds / 2).1;
        }
        samples.push(medians);
    }
    Ok(samples)
}

fn main() -> Result<(), Error> {
    // Warming up has no use here: every call gives one of the samples taken before.
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_nanos(1))
        .sample_size(SAMPLES)
        .configure_from_args();
    // Without `cargo bench` this is a test that it works.
    let is_bench = env::args().any(|arg| arg == "--bench");
    let rounds = if is_bench { ROUNDS } else { 1 };
    let parent = env::var_os("BENCH_DIR");
    let parent = parent.unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into());
    for size in [128, 4 << 10, 16 << 10] {
        let temp = tempfile::tempdir_in(PathBuf::from(&parent))?;
        let dir = Disk::os().open_dir(temp.path())?;
        let new = |method| Appender::new(&dir, method, size);
        let mut appenders = METHODS
            .into_iter()
            .map(new)
            .collect::<Result<Vec<_>, _>>()?;
        let samples = measure(&mut appenders, rounds)?;
        let mut group = criterion.benchmark_group(format!("durable append of {size} B"));
        group.throughput(Throughput::Bytes(size));
        group.sampling_mode(SamplingMode::Flat);
        for (at, (name, ..)) in METHODS.iter().enumerate() {
            let mut samples = samples.iter().filter_map(|methods| methods.get(at)).cycle();
            group.bench_function(*name, |bencher| {
                bencher.iter_custom(|n| {
                    let sample = samples.next().copied().unwrap_or_default();
                    sample * u32::try_from(n).unwrap_or(u32::MAX)
                });
            });
        }
        group.finish();
    }
    criterion.final_summary();
    Ok(())
}
