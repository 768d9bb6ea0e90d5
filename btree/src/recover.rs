//! Opening: the newest meta slot, and the records of the log behind it.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use durable_io::engine::open_store;
use durable_io::{Dir, File, SyncMode, replace_file_with};
use wal::{Lsn, Opening, Wal};

use crate::draft::Pages;
use crate::error::{Corruption, Error, Result};
use crate::meta::{self, META_SIZE, SLOTS, Slot, first_page};
use crate::options::{DEFAULT_LOG_SEGMENT_SIZE, Options, refuse_page_size};
use crate::pager::Pager;
use crate::record::Record;
use crate::root::Root;
use crate::shrinking::Shrinking;
use crate::space::Space;
use crate::stats::Recovery;
use crate::store::checkpoint::Checkpoints;
use crate::store::{Parts, Store};
use crate::turn::{Ledger, Writer};
use crate::work::Work;
use crate::{free_list, names};

/// The version of the state that the slots name.
const SLOT_VERSION: u64 = 1;

pub(crate) fn recover(options: Options, path: &Path) -> Result<(Store, Recovery)> {
    // Durable: the directory's own name. Only now may anything in it be relied on.
    let dir = open_store(&options.disk, path, names::LOCK)?;
    let mut recovery = Recovery::default();
    let file = open_pages(&options, dir.dir(), &mut recovery)?;
    let (slot, are_equal) = meta::read(&file)?;
    check_page_size(&options, &slot)?;
    let backed = backed_pages(&file, &slot)?;
    let log = log_options(&options).look(path.join(names::LOG))?;
    let log_path = path.join(names::LOG);
    check_log(&slot, &log, &log_path)?;
    let clean = options.clean_pages(slot.page_size);
    let pager = Arc::new(Pager::new(
        file.clone(),
        slot.page_size,
        slot.store_id,
        clean,
    ));
    let (root, mut writer) = writer_of(&options, &pager, &slot, backed)?;
    // The slots, the free list and the log belong together: only from here on anything is changed.
    let log = log.open()?;
    settle_slots(&file, &slot, are_equal)?;
    recovery.repaired_slot = !are_equal;
    if let wal::Tail::Torn { bytes } = log.recovery().tail {
        recovery.torn_bytes = bytes;
    }
    writer.space.make_reserve(&pager)?;
    let settings = options.settings(slot.page_size);
    let checkpoints = Checkpoints::new(slot, root);
    // As many as may be dirty at all: nobody else needs memory yet.
    let memory = settings.dirty_pages;
    let writer = replay(
        &options,
        &log,
        (&slot, &log_path),
        writer,
        memory,
        &mut recovery,
    )?;
    let first = log.bounds().start;
    if first <= slot.lsn {
        recovery.needless_records = slot.lsn.next().0 - first.0;
        // The slots are durable: what they hold is not needed in the log.
        log.truncate_before(slot.lsn.next())?;
    }
    let store = Store::new(Parts {
        disk: options.disk,
        settings,
        pager,
        log,
        writer,
        checkpoints,
        dir,
    });
    crate::store::add(&store.counters.logged, recovery.replayed_bytes);
    Ok((store, recovery))
}

/// Opens the page file; makes one if there is none, and nothing that only a store with one has.
fn open_pages(options: &Options, dir: &Dir, recovery: &mut Recovery) -> Result<File> {
    match dir.open(names::PAGES) {
        Ok(file) => {
            // Durable: the file's name, which a process that was killed may have left undone. Only now
            // may there be a log.
            dir.sync()?;
            return Ok(file);
        }
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(error.into()),
    }
    if dir.list()?.iter().any(|entry| entry.name == names::LOG) {
        let path = dir.path().join(names::PAGES);
        return Err(Error::corrupt(&path, 0, Corruption::PagesLost));
    }
    let slot = Slot::empty(options.page_size_of_new(), options.disk.unique_id()?);
    // Durable: the page file, whole, and its name. Only now may there be a log.
    replace_file_with(dir, names::PAGES, |file| {
        let size = options.page_size_of_new();
        let reserve = u64::from(options.growth_in_pages(size).reserve + 1) * u64::from(size);
        file.allocate(0, META_SIZE + reserve)?;
        SLOTS
            .into_iter()
            .try_for_each(|offset| slot.write(file, offset))
    })?;
    recovery.created = true;
    Ok(dir.open(names::PAGES)?)
}

/// How many pages the file has room for: all that were ever used.
pub(crate) fn backed_pages(file: &File, slot: &Slot) -> Result<u32> {
    let pages = file.len()? / u64::from(slot.page_size);
    if pages < slot.end.into() && slot.end > first_page(slot.page_size) {
        return Err(Error::corrupt(file.path(), 0, Corruption::Length));
    }
    // What lies behind the last number is never used.
    let pages = pages.min(u32::MAX.into());
    Ok(u32::try_from(pages).expect("it was just bounded"))
}

pub(crate) fn check_page_size(options: &Options, slot: &Slot) -> Result<()> {
    match options.page_size {
        Some(size) if size != slot.page_size => Err(refuse_page_size(
            size,
            "a store keeps the page size it was created with",
        )),
        _ => Ok(()),
    }
}

fn log_options(options: &Options) -> wal::Options {
    let sync = match options.sync {
        // Commits append one by one and then share a sync.
        SyncMode::Always => SyncMode::Manual,
        other => other,
    };
    let log = wal::Options::new()
        .sync(sync)
        .background(options.background)
        .disk(options.disk.clone())
        .new_segment_size(DEFAULT_LOG_SEGMENT_SIZE);
    match options.log_segment_size {
        Some(size) => log.segment_size(size),
        None => log,
    }
}

/// Whether the log belongs to the slot: it begins at most behind the slot's record and ends at least
/// there, all of it is of this store, and none of it was written when newer slots were durable.
fn check_log(slot: &Slot, log: &Opening, path: &Path) -> Result<()> {
    check_range(slot, log.bounds(), path)?;
    for record in log.records(slot.lsn.next()) {
        check_record(slot, &record?.payload, path)?;
    }
    Ok(())
}

/// Whether a log of the records `bounds` begins at most behind the slot's record and ends at least there.
pub(crate) fn check_range(slot: &Slot, bounds: Range<Lsn>, path: &Path) -> Result<()> {
    if (bounds.start..=bounds.end).contains(&slot.lsn.next()) {
        return Ok(());
    }
    let reason = Corruption::LogRange {
        first: bounds.start.0,
        last: bounds.end.previous().0,
        mark: slot.lsn.0,
    };
    Err(Error::corrupt(path, 0, reason))
}

/// The record that `payload` is, behind the slot's one.
fn check_record<'r>(slot: &Slot, payload: &'r [u8], path: &Path) -> Result<Record<'r>> {
    let corrupt = |reason| Error::corrupt(path, 0, reason);
    let record = Record::decode(payload).ok_or_else(|| corrupt(Corruption::Record))?;
    if record.store_id != slot.store_id {
        return Err(corrupt(Corruption::ForeignLog));
    }
    if record.generation > slot.generation {
        return Err(corrupt(Corruption::Generation {
            found: record.generation,
            slot: slot.generation,
        }));
    }
    Ok(record)
}

/// Makes both slots say the same, durably. They are written again even if they do: what was read may
/// never have reached the disk.
fn settle_slots(file: &File, slot: &Slot, are_equal: bool) -> Result<()> {
    let [first, second] = SLOTS;
    if !are_equal {
        slot.write(file, first)?;
        // Durable: the first slot. Only now may the second one be written over.
        drop(file.sync_data()?);
    }
    slot.write(file, second)?;
    // Redundant: the first slot is durable, here or since before the second one was written; if a crash
    // leaves that one torn or old, the first one is found. It is done all the same: a slot that is damaged
    // later costs nothing, since neither leads to an older tree.
    drop(file.sync_data()?);
    Ok(())
}

/// The state that the slots name.
pub(crate) fn writer_of(
    options: &Options,
    pager: &Arc<Pager>,
    slot: &Slot,
    backed: u32,
) -> Result<(Arc<Root>, Writer)> {
    let first = first_page(slot.page_size);
    let (own, free) = free_list::read(pager, slot.free_list, first..slot.end)?;
    let growth = options.growth_in_pages(slot.page_size);
    let mut space = Space::new(first, slot.end, backed, free, growth);
    let lease = space.pin(SLOT_VERSION, options.disk.now());
    let at = (SLOT_VERSION, slot.lsn);
    let released = Arc::clone(space.released());
    let root = Root::new(at, slot.state, pager, (lease, released));
    let root = Arc::new(root);
    let ledger = Ledger {
        head: Arc::clone(&root),
        dirty: Pages::default(),
        next_version: SLOT_VERSION + 1,
        base: options.disk.unique_id()?,
        free_list: own,
        shrinking: Shrinking::default(),
    };
    Ok((root, Writer { space, ledger }))
}

/// Applies the records behind the slot's.
fn replay(
    options: &Options,
    log: &Wal,
    (slot, path): (&Slot, &Path),
    writer: Writer,
    memory: usize,
    recovery: &mut Recovery,
) -> Result<Writer> {
    let (from, end) = (slot.lsn.next(), log.bounds().end);
    let all = end.0 - from.0;
    if all == 0 {
        return Ok(writer);
    }
    let mut replay = Replay::new(writer, memory, (slot, path))?;
    for record in log.records(from) {
        let wal::Record { lsn, payload } = record?;
        replay.apply(lsn, &payload)?;
        recovery.replayed_records += 1;
        recovery.replayed_bytes += payload.len() as u64;
        options.progress.report((recovery.replayed_records, all));
    }
    replay.end(options.disk.now())
}

/// Applies records of the log to the state that a slot names.
pub(crate) struct Replay<'a> {
    work: Work,
    slot: &'a Slot,
    /// Of the log.
    path: &'a Path,
    last: Lsn,
}

impl<'a> Replay<'a> {
    /// As many pages as `memory` says are kept in memory before they are written to free places.
    pub(crate) fn new(
        writer: Writer,
        memory: usize,
        (slot, path): (&'a Slot, &'a Path),
    ) -> Result<Self> {
        let pager = Arc::clone(&writer.ledger.head.pager);
        let mut work = Work::new(&pager, writer, memory, usize::MAX);
        work.draft.replay();
        work.open_all()?;
        let last = slot.lsn;
        Ok(Self {
            work,
            slot,
            path,
            last,
        })
    }

    pub(crate) fn apply(&mut self, lsn: Lsn, payload: &[u8]) -> Result<()> {
        let mut record = check_record(self.slot, payload, self.path)?;
        let corrupt = |()| Error::corrupt(self.path, 0, Corruption::Record);
        while let Some(change) = record.next().map_err(corrupt)? {
            self.work.apply(change)?;
        }
        self.work.forget_changes();
        self.last = lsn;
        Ok(())
    }

    /// What the records lead to is the last committed state.
    pub(crate) fn end(mut self, now: Duration) -> Result<Writer> {
        self.work.finish()?;
        Ok(self.work.publish(self.last, now))
    }
}
