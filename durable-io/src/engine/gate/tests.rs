use super::*;
use crate::site::Barrier;
use std::panic::Location;

struct Wrote {
    file: File,
    position: u64,
    writes: u64,
}

impl Written for Wrote {
    fn file(&self) -> &File {
        &self.file
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn writes(&self) -> u64 {
        self.writes
    }
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Disk(#[from] Error),
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
}

struct Rig {
    gate: SyncGate,
    health: Arc<Health>,
    file: File,
    _dir: tempfile::TempDir,
}

impl Rig {
    fn new(mode: SyncMode) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::os();
        let file = disk
            .open_dir(dir.path())
            .unwrap()
            .create_new("log")
            .unwrap();
        let health = Health::new();
        Self {
            gate: SyncGate::new(mode, &disk, &health, 4),
            health,
            file,
            _dir: dir,
        }
    }

    fn sync(&self, position: u64, writes: u64) -> Result<bool, Failed> {
        let site = Site::new(Location::caller(), Barrier::Data, "");
        let file = self.file.clone();
        let mut covers = false;
        let capture = || Wrote {
            file,
            position,
            writes,
        };
        self.gate
            .sync_written::<_, Failed>(site, capture, |_| covers = true)?;
        Ok(covers)
    }
}

const BATCH: SyncMode = SyncMode::Batch {
    writes: 3,
    interval: Duration::from_secs(3600),
};

#[test]
fn only_a_sync_that_returned_moves_the_watermark_and_never_back() {
    let rig = Rig::new(SyncMode::Manual);
    assert_eq!(rig.gate.position(), 4);
    assert!(!rig.sync(4, 0).unwrap(), "it is durable already");
    assert!(rig.sync(9, 2).unwrap());
    assert!(!rig.sync(7, 1).unwrap());
    assert_eq!((rig.gate.position(), rig.gate.writes()), (9, 2));
    assert_eq!(rig.gate.syncs(), 1);
}

#[test]
fn after_a_failure_nothing_is_synced_and_the_watermark_has_ended() {
    let rig = Rig::new(SyncMode::Manual);
    assert!(!rig.gate.ends_before(5));
    rig.health.poison(super::super::Failure::Panic);
    assert!(matches!(rig.sync(9, 2), Err(Failed::Poisoned(_))));
    assert_eq!(rig.gate.position(), 4);
    assert!(rig.gate.ends_before(5));
    assert!(!rig.gate.ends_before(4), "what is durable is so for good");
}

#[test]
fn each_mode_promises_a_sync_when_it_says() {
    let must = |mode, writes| Rig::new(mode).gate.must_sync(writes);
    assert!(must(SyncMode::Always, 1));
    assert!(!must(SyncMode::Manual, 1_000_000));
    assert!(!must(BATCH, 2));
    assert!(must(BATCH, 3));
    let rig = Rig::new(BATCH);
    rig.sync(9, 2).unwrap();
    assert!(!rig.gate.must_sync(4));
    assert!(rig.gate.must_sync(5));
}

#[test]
fn the_interval_begins_with_the_first_write_that_is_not_durable() {
    let rig = Rig::new(BATCH);
    assert_eq!(rig.gate.due_in(), None);
    rig.gate.acknowledged(4);
    assert_eq!(rig.gate.due_in(), None, "it is durable");
    rig.gate.acknowledged(5);
    let due = rig.gate.due_in().unwrap();
    rig.gate.acknowledged(6);
    assert!(rig.gate.due_in().unwrap() <= due);
    let idle = rig.gate.keep_interval(|| Err(())).unwrap();
    assert!(matches!(idle, Step::Wait(wait) if wait <= due));
    rig.sync(6, 2).unwrap();
    assert_eq!(rig.gate.due_in(), None);
    assert_eq!(rig.gate.keep_interval(|| Err(())), Ok(Step::Idle));
}

#[test]
fn an_interval_that_is_over_is_kept_at_once() {
    let rig = Rig::new(SyncMode::Batch {
        writes: 3,
        interval: Duration::ZERO,
    });
    rig.gate.acknowledged(5);
    let kept = rig.gate.keep_interval(|| rig.sync(5, 1).map(drop));
    assert_eq!(kept.unwrap(), Step::Done);
    assert_eq!(rig.gate.position(), 5);
}
