//! Real threads against one simulated disk: what was acknowledged before an instant survives a power
//! loss at that instant, and after a failed sync nothing is acknowledged any more.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;

use durable_io::sim::{Fault, FaultKind, SimDisk, SyncFailure, World};
use durable_io::{File, GroupCommit, Result, create_durably};

const THREADS: u64 = 4;
/// A record crosses sectors.
const RECORD: usize = 200;

/// Runs `work` with the number of each thread, all of them at once.
fn in_threads(work: impl Fn(u64) + Sync) {
    let start = Barrier::new(usize::try_from(THREADS).unwrap());
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (start, work) = (&start, &work);
            scope.spawn(move || {
                start.wait();
                work(thread);
            });
        }
    });
}

/// A log that is written by groups: `RECORD` bytes of one number each.
struct Log {
    file: File,
    end: AtomicU64,
    queue: GroupCommit<u64, Result<()>>,
    acknowledged: Mutex<BTreeSet<u64>>,
}

fn record(n: u64) -> Vec<u8> {
    n.to_le_bytes().repeat(RECORD / 8)
}

/// The numbers of the whole records in `bytes`.
fn parse(bytes: &[u8]) -> BTreeSet<u64> {
    let (records, _torn) = bytes.as_chunks::<RECORD>();
    let number = |bytes: &[u8; RECORD]| u64::from_le_bytes(*bytes.first_chunk().unwrap());
    let whole = records
        .iter()
        .filter(|bytes| record(number(bytes)) == **bytes);
    whole.map(number).collect()
}

fn durable_records(world: &World) -> BTreeSet<u64> {
    parse(&world.lose_unsynced().file_bytes("/log").unwrap())
}

impl Log {
    fn new(sim: &SimDisk) -> Self {
        let dir = sim.disk().open_dir("/").unwrap();
        Self {
            file: create_durably(&dir, "log", |_file| Ok::<(), durable_io::Error>(())).unwrap(),
            end: AtomicU64::new(0),
            queue: GroupCommit::new(),
            acknowledged: Mutex::default(),
        }
    }

    fn append(&self, n: u64) -> Result<()> {
        let lead = |items: &mut [u64]| {
            let bytes: Vec<u8> = items.iter().copied().flat_map(record).collect();
            // Only one leads at a time.
            let at = self.end.load(Ordering::Relaxed);
            self.file.write_all_at(&bytes, at)?;
            drop(self.file.sync_data_at(self.queue.site())?);
            self.end.store(at + bytes.len() as u64, Ordering::Relaxed);
            Ok(())
        };
        self.queue.commit(n, lead).0?;
        self.acknowledged.lock().unwrap().insert(n);
        Ok(())
    }

    fn acknowledged(&self) -> BTreeSet<u64> {
        self.acknowledged.lock().unwrap().clone()
    }
}

#[test]
fn what_a_group_commit_acknowledged_survives_a_power_loss_at_every_instant() {
    const EACH: u64 = 200;
    let sim = SimDisk::new();
    let log = &Log::new(&sim);
    let running = AtomicUsize::new(usize::try_from(THREADS).unwrap());
    let instants = Mutex::new(Vec::new());
    thread::scope(|scope| {
        scope.spawn(|| {
            while running.load(Ordering::Acquire) > 0 {
                // First what was acknowledged, then the disk: the disk may only have more.
                let acknowledged = log.acknowledged();
                instants.lock().unwrap().push((acknowledged, sim.world()));
                thread::yield_now();
            }
        });
        in_threads(|thread| {
            for nth in 0..EACH {
                log.append(thread * EACH + nth).unwrap();
                thread::yield_now();
            }
            running.fetch_sub(1, Ordering::Release);
        });
    });
    let mut instants = instants.into_inner().unwrap();
    instants.push((log.acknowledged(), sim.world()));
    let step = instants.len().div_ceil(500);
    for (acknowledged, world) in instants.iter().rev().step_by(step) {
        let durable = durable_records(world);
        assert!(
            acknowledged.is_subset(&durable),
            "lost: {:?}",
            acknowledged - &durable
        );
    }
    assert_eq!(log.acknowledged(), (0..THREADS * EACH).collect());
    let syncs: u64 = sim
        .sites()
        .range(log.queue.site()..=log.queue.site())
        .map(|(_, n)| n)
        .sum();
    assert!((1..=THREADS * EACH).contains(&syncs), "{syncs} syncs");
}

/// What a leader takes for durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Covers {
    /// What had been written when the sync began.
    WrittenBefore,
    /// Planted: that, before the sync.
    NotSyncedYet,
    /// Planted: what has been written by the time that the sync returns.
    WrittenMeanwhile,
}

/// Threads write on their own and share syncs. Returns true if a record was acknowledged that a power
/// loss at that instant takes.
fn loses(covers: Covers) -> bool {
    const EACH: u64 = 20;
    const YIELDS: usize = 100;
    let sim = &SimDisk::new();
    let log = &Log::new(sim);
    let (writing, durable) = (&Mutex::new(()), &AtomicU64::new(0));
    let is_lost = &AtomicUsize::new(0);
    let write = |n| {
        let _one_at_a_time = writing.lock().unwrap();
        let at = log.end.load(Ordering::SeqCst);
        log.file.write_all_at(&record(n), at).unwrap();
        log.end.store(at + RECORD as u64, Ordering::SeqCst);
        at + RECORD as u64
    };
    let cover = |end| durable.fetch_max(end, Ordering::SeqCst);
    let written = || log.end.load(Ordering::SeqCst);
    let lead = |_: &mut [u64]| {
        let before = written();
        // Others run, and write, in what is planted.
        for _ in 0..YIELDS * usize::from(covers == Covers::NotSyncedYet) {
            cover(written());
            thread::yield_now();
        }
        drop(log.file.sync_data_at(log.queue.site())?);
        for _ in 0..YIELDS * usize::from(covers == Covers::WrittenMeanwhile) {
            thread::yield_now();
        }
        cover(match covers {
            Covers::WrittenMeanwhile => written(),
            _ => before,
        });
        Ok(())
    };
    in_threads(|thread| {
        for nth in 0..EACH {
            let n = thread * EACH + nth;
            let end = write(n);
            let _not_waited_for = log.queue.submit(n);
            while durable.load(Ordering::SeqCst) < end {
                if !log.queue.lead_once(lead) {
                    thread::yield_now();
                }
            }
            let is_there = durable_records(&sim.world()).contains(&n);
            is_lost.fetch_add(usize::from(!is_there), Ordering::SeqCst);
        }
    });
    is_lost.load(Ordering::SeqCst) > 0
}

#[test]
fn an_acknowledgement_that_is_early_or_covers_later_bytes_is_seen() {
    assert!(!loses(Covers::WrittenBefore));
    assert!(loses(Covers::WrittenMeanwhile));
    assert!(loses(Covers::NotSyncedYet));
}

#[test]
fn what_a_thread_wrote_before_it_synced_survives_whatever_the_others_do_meanwhile() {
    const EACH: u64 = 300;
    let sim = &SimDisk::new();
    let file = &file_of_sectors(sim);
    in_threads(|thread| {
        for n in 1..=EACH {
            write_sector(file, thread, n).unwrap();
            drop(file.sync_data().unwrap());
            let durable = sectors(&sim.world());
            assert_eq!(durable[usize::try_from(thread).unwrap()], n);
        }
    });
}

/// A durable file with a sector of zeros for each thread.
fn file_of_sectors(sim: &SimDisk) -> File {
    let dir = sim.disk().open_dir("/").unwrap();
    let zeros = |file: &File| file.write_zeros(0, THREADS * 512);
    create_durably::<durable_io::Error>(&dir, "log", zeros).unwrap()
}

fn write_sector(file: &File, thread: u64, n: u64) -> Result<()> {
    file.write_all_at(&n.to_le_bytes().repeat(64), thread * 512)
}

/// The number in each sector after the power failed; each sector must be whole.
fn sectors(world: &World) -> Vec<u64> {
    let bytes = world.lose_unsynced().file_bytes("/log").unwrap();
    let sector = |bytes: &[u8]| {
        let n = u64::from_le_bytes(*bytes.first_chunk().unwrap());
        assert_eq!(bytes, n.to_le_bytes().repeat(64), "a torn sector");
        n
    };
    bytes.chunks(512).map(sector).collect()
}

/// A fault at the `nth` sync of a log on a fresh disk, which takes a write and a sync for each group.
fn fail_sync(sim: &SimDisk, nth: u64, failure: SyncFailure) {
    sim.inject(Fault {
        call: sim.calls() + 2 * nth + 1,
        kind: FaultKind::Sync(failure),
        sticky: false,
    });
}

#[test]
fn d30_after_a_failed_sync_no_member_of_a_group_is_acknowledged_any_more() {
    for failure in SyncFailure::ALL {
        for nth in [0, 1, 5, 20] {
            let sim = SimDisk::new();
            let log = &Log::new(&sim);
            fail_sync(&sim, nth, failure);
            let refused = AtomicU64::new(0);
            in_threads(|thread| {
                let results = (0..40).map(|n| log.append(thread * 40 + n).is_ok());
                let results: Vec<bool> = results.collect();
                assert!(results.is_sorted_by(|a, b| a >= b), "{results:?}");
                let failed = results.iter().filter(|ok| !**ok).count();
                refused.fetch_add(failed as u64, Ordering::Relaxed);
            });
            assert_eq!(sim.clear_fault(), 1, "{failure:?}");
            let (acknowledged, durable) = (log.acknowledged(), durable_records(&sim.world()));
            assert!(
                acknowledged.is_subset(&durable),
                "{failure:?} of sync {nth}"
            );
            // At least the group whose sync failed, and all that came later.
            assert!(refused.load(Ordering::Relaxed) > 0);
            let total = acknowledged.len() as u64 + refused.load(Ordering::Relaxed);
            assert_eq!(total, THREADS * 40);
        }
    }
}

#[test]
fn d30_threads_that_sync_clones_of_one_file_each_get_a_failed_sync() {
    // The sync after a failed one succeeds on a real kernel, and the pages are gone: whoever is
    // waiting for it with bytes that the failed one took must not be told that they are safe.
    for failure in SyncFailure::ALL {
        let mut struck = 0;
        for nth in 0..30 {
            let sim = SimDisk::new();
            let file = file_of_sectors(&sim);
            fail_sync(&sim, nth, failure);
            let acknowledged = Mutex::new(vec![0; usize::try_from(THREADS).unwrap()]);
            in_threads(|thread| {
                for n in 1..=20 {
                    let file = file.clone();
                    let written = write_sector(&file, thread, n);
                    if written.and_then(|()| file.sync_data()).is_ok() {
                        acknowledged.lock().unwrap()[usize::try_from(thread).unwrap()] = n;
                    }
                }
            });
            let (acknowledged, durable) =
                (acknowledged.into_inner().unwrap(), sectors(&sim.world()));
            let is_there = acknowledged
                .iter()
                .zip(&durable)
                .all(|(acknowledged, there)| acknowledged <= there);
            assert!(
                is_there,
                "{failure:?}: acknowledged {acknowledged:?}, there is {durable:?}"
            );
            struck += u64::from(file.sync_data().is_err());
        }
        // The fault can fall on a write, which it does not concern.
        assert!(struck > 0, "{failure:?}");
    }
}

#[test]
fn names_synced_by_many_threads_survive() {
    const EACH: u64 = 50;
    let sim = &SimDisk::new();
    let dir = &sim.disk().open_dir("/").unwrap();
    in_threads(|thread| {
        for nth in 0..EACH {
            let name = format!("{thread}-{nth}");
            dir.create_new(&name).unwrap();
            dir.sync().unwrap();
            let lost = sim.world().lose_unsynced();
            assert!(lost.file_bytes(&format!("/{name}")).is_some(), "{name}");
        }
    });
    assert_eq!(sim.files().len() as u64, THREADS * EACH);
}
