//! [`SimDisk`]: a machine with one simulated disk, and what a test may do to it.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::backend::SimBackend;
use super::fault::{CallClass, Fault, FaultKind};
use super::profile::Profile;
use super::unreadable::Unreadable;
use super::world::{FIRST_EFFECT, Ino, Node, World};
use crate::disk::Disk;
use crate::mapped::Ranges;
use crate::site::{Barrier, Site};

/// A running machine with a simulated disk.
///
/// Clones are the same machine. [`disk`](SimDisk::disk) gives the handle that a store is opened on;
/// everything else here is what a test does to the machine from outside.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDisk")
            .field("calls", &self.lock().calls)
            .finish_non_exhaustive()
    }
}

/// One call that reached the disk ([`SimDisk::trace`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The primitive: `open`, `open_read_only`, `create_new`, `open_dir`, `create_dir`, `rename`, `link`,
    /// `remove`,
    /// `remove_dir`, `list`, `len`, `read`, `write`, `write_durable`, `set_len`, `allocate`, `sync_data`,
    /// `sync_all`, `sync_dir`, `map`, `lock`, `lock_shared`.
    pub op: &'static str,
    /// The file or directory, from the root of the disk.
    pub path: String,
    /// The new name, for `rename` and `link`.
    pub to: Option<String>,
    /// The byte offset, where the call has one; the new length for `set_len`.
    pub offset: u64,
    /// The number of bytes asked for.
    pub len: u64,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) world: World,
    pub(crate) calls: u64,
    fault: Option<Fault>,
    fault_hits: u64,
    /// It strikes so often, and no more.
    fault_ends: u64,
    /// The class of each call, when a plan of faults is to be made.
    classes: Option<Vec<CallClass>>,
    budget: Option<u64>,
    /// The most bytes in use at any time, while there is a budget.
    most_used: u64,
    /// The barriers that were reached, and how often.
    sites: Vec<(Site, u64)>,
    ignored: Vec<Site>,
    recording: Option<Recording>,
    trace: Option<Vec<Call>>,
    effects: Option<Vec<EffectNote>>,
    /// The directories that are locked: by how many readers, or 0 if by a writer.
    pub(crate) locks: BTreeMap<Ino, usize>,
    pub(crate) ranges: BTreeMap<Ino, Weak<Ranges>>,
    pub(crate) unreadable: Unreadable,
}

/// The instants of a run at which a crash is looked at.
#[derive(Debug, Default)]
struct Recording {
    points: Vec<Point>,
    /// Also record an instant after each call that changed something, for process deaths.
    calls: bool,
}

/// Whether a machine's disk was called at all, and written to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) is_called: bool,
    pub(crate) is_written: bool,
}

impl Used {
    /// Adds what is true of another machine.
    pub(crate) fn add(&mut self, other: Self) {
        self.is_called |= other.is_called;
        self.is_written |= other.is_written;
    }
}

/// One instant of a run.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    pub(crate) world: World,
    pub(crate) kind: PointKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PointKind {
    /// Just before the barrier at this site takes effect.
    Barrier(Site),
    /// Just after a call that changed something.
    Call,
}

/// What an effect was, for the report of a counterexample.
#[derive(Clone, Debug)]
pub(crate) struct EffectNote {
    pub(crate) id: u32,
    pub(crate) text: String,
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl SimDisk {
    /// A machine with an empty disk that tears at 512 bytes.
    pub fn new() -> Self {
        Self::with_unit(512)
    }

    /// A machine with an empty disk that tears at `unit` bytes: 512 or 4096.
    ///
    /// # Panics
    /// If `unit` is neither.
    pub fn with_unit(unit: usize) -> Self {
        Self::with_profile(unit, Profile::STRICT)
    }

    /// A machine with an empty disk that tears at `unit` bytes, 512 or 4096, and whose file system
    /// keeps the promises of `profile`: [`World::crash_states`] says what a power loss leaves.
    ///
    /// # Panics
    /// If `unit` is neither.
    pub fn with_profile(unit: usize, profile: Profile) -> Self {
        assert!(
            unit == 512 || unit == 4096,
            "disks tear at 512 or at 4096 bytes"
        );
        Self::boot(World::with_profile(unit, profile))
    }

    /// A machine that starts with `world` on its disk and in its page cache.
    ///
    /// After a power loss `world` comes from [`World::lose_unsynced`] or an explorer; after the death
    /// of a process alone it is [`SimDisk::world`] as it was, pending effects and all.
    pub fn boot(world: World) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                world,
                calls: 0,
                fault: None,
                fault_hits: 0,
                fault_ends: u64::MAX,
                classes: None,
                budget: None,
                most_used: 0,
                sites: Vec::new(),
                ignored: Vec::new(),
                recording: None,
                trace: None,
                effects: None,
                locks: BTreeMap::new(),
                ranges: BTreeMap::new(),
                unreadable: Unreadable::default(),
            })),
        }
    }

    /// The disk that stores are opened on.
    pub fn disk(&self) -> Disk {
        Disk::from_backend(Arc::new(SimBackend::new(self.clone())))
    }

    /// True if both are the same machine.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.state, &other.state)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk and the page cache as they are now.
    pub fn world(&self) -> World {
        self.lock().world.clone()
    }

    /// How many calls have reached the disk.
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Plans one fault. A second one replaces it.
    pub fn inject(&self, fault: Fault) {
        self.inject_for(fault, u64::MAX);
    }

    /// Plans one fault that is over when it has struck so many times. A second one replaces it.
    pub fn inject_for(&self, fault: Fault, strikes: u64) {
        let mut state = self.lock();
        state.fault = Some(fault);
        state.fault_ends = state.fault_hits.saturating_add(strikes);
    }

    /// Takes the planned fault back, and returns how many calls it struck.
    pub fn clear_fault(&self) -> u64 {
        let mut state = self.lock();
        state.fault = None;
        state.fault_hits
    }

    /// Limits the disk to `bytes` of names and contents (a name costs one unit); `None` lifts it.
    /// Calls beyond it fail with `ENOSPC`, and removing files makes room.
    pub fn set_budget(&self, bytes: Option<u64>) {
        self.lock().budget = bytes;
    }

    /// From now on the disk copies on write: what is durable, also where a file was truncated, keeps its
    /// space until a sync has replaced it. So overwriting needs space, and zeros are no reservation;
    /// removing a file makes room at once.
    pub fn copy_on_write(&self) {
        self.lock().world.copies_on_write = true;
    }

    /// Bytes of names and contents on the disk, as the budget counts them.
    pub fn used_bytes(&self) -> u64 {
        self.lock().world.used_bytes()
    }

    /// The most that was in use at any time since a budget was set.
    pub(crate) fn most_used_bytes(&self) -> u64 {
        self.lock().most_used
    }

    /// Moves the clock that [`Disk::now`] and [`Disk::unix_time`] read.
    pub fn advance(&self, by: Duration) {
        let world = &mut self.lock().world;
        world.clock += by;
        world.unix_time += by;
    }

    /// Sets the clock that [`Disk::unix_time`] reads, also back.
    pub fn set_unix_time(&self, time: Duration) {
        self.lock().world.unix_time = time;
    }

    /// Switches a barrier off: it returns success and makes nothing durable.
    pub fn ignore(&self, site: Site) {
        self.lock().ignored.push(site);
    }

    /// Every barrier that was reached, and how often.
    pub fn sites(&self) -> BTreeMap<Site, u64> {
        self.lock().sites.iter().copied().collect()
    }

    /// Starts to keep a list of calls.
    pub fn start_trace(&self) {
        self.lock().trace = Some(Vec::new());
    }

    /// The calls since [`start_trace`](SimDisk::start_trace), which must have been called, oldest first; and
    /// starts anew.
    pub fn trace(&self) -> Vec<Call> {
        let mut state = self.lock();
        let calls = state.trace.as_mut().expect("a trace was started");
        std::mem::take(calls)
    }

    /// The barriers reached since this was last called.
    pub(crate) fn used(&self) -> Used {
        let state = self.lock();
        Used {
            is_called: state.calls > 0,
            is_written: state.world.next_effect > FIRST_EFFECT,
        }
    }

    pub(crate) fn take_sites(&self) -> Vec<Site> {
        let sites = std::mem::take(&mut self.lock().sites);
        sites.into_iter().map(|(site, _)| site).collect()
    }

    pub(crate) fn record(&self, calls: bool) {
        self.lock().recording = Some(Recording {
            points: Vec::new(),
            calls,
        });
    }

    pub(crate) fn take_points(&self) -> Vec<Point> {
        match &mut self.lock().recording {
            Some(recording) => std::mem::take(&mut recording.points),
            None => Vec::new(),
        }
    }

    pub(crate) fn note_effects(&self) {
        self.lock().effects = Some(Vec::new());
    }

    pub(crate) fn take_notes(&self) -> Vec<EffectNote> {
        let mut state = self.lock();
        let notes = state.effects.as_mut().expect("effects are noted");
        std::mem::take(notes)
    }

    pub(crate) fn classify_calls(&self) {
        self.lock().classes = Some(Vec::new());
    }

    pub(crate) fn take_classes(&self) -> Vec<CallClass> {
        let classes = self.lock().classes.take();
        classes.expect("calls were classified")
    }
}

/// What a planned fault does to the call at hand.
pub(crate) enum Struck {
    No,
    Yes(FaultKind),
}

impl State {
    /// Counts a call and says whether the planned fault strikes it.
    pub(crate) fn begin(&mut self, class: CallClass) -> Struck {
        let call = self.calls;
        self.calls += 1;
        if let Some(classes) = &mut self.classes {
            classes.push(class);
        }
        let Some(fault) = self.fault.filter(|_| self.fault_hits < self.fault_ends) else {
            return Struck::No;
        };
        let strikes =
            call == fault.call || (fault.sticky && call > fault.call && class.suffers(fault.kind));
        if !strikes {
            return Struck::No;
        }
        self.fault_hits += 1;
        Struck::Yes(fault.kind)
    }

    /// True if calls are traced: otherwise nobody needs to know their paths.
    pub(crate) fn is_traced(&self) -> bool {
        self.trace.is_some()
    }

    pub(crate) fn trace(
        &mut self,
        op: &'static str,
        path: &str,
        to: Option<&str>,
        (offset, len): (u64, u64),
    ) {
        if let Some(trace) = &mut self.trace {
            trace.push(Call {
                op,
                path: path.to_owned(),
                to: to.map(str::to_owned),
                offset,
                len,
            });
        }
    }

    /// Runs a call that changes something: notes its effects and records the instant after it.
    pub(crate) fn change<T>(
        &mut self,
        describe: impl Fn() -> String,
        call: impl FnOnce(&mut World) -> io::Result<T>,
    ) -> io::Result<T> {
        let first = self.world.next_effect;
        let before = self
            .budget
            .map(|_| (self.world.clone(), self.world.used_bytes()));
        let result = call(&mut self.world);
        if let (Some(budget), Some((world, used_before))) = (self.budget, before) {
            let used = self.world.used_bytes();
            if used > budget.max(used_before) {
                self.world = world;
                return Err(rustix::io::Errno::NOSPC.into());
            }
            self.most_used = self.most_used.max(used);
        }
        let changed = first..self.world.next_effect;
        if let Some(notes) = &mut self.effects {
            notes.extend(changed.clone().map(|id| EffectNote {
                id,
                text: describe(),
            }));
        }
        if !changed.is_empty()
            && let Some(recording) = &mut self.recording
            && recording.calls
        {
            recording.points.push(Point {
                world: self.world.clone(),
                kind: PointKind::Call,
            });
        }
        result
    }

    /// The first half of a sync: freezes what it covers and records the instant before it counts.
    /// Returns the limit to hand to [`World::for_covered`], or `None` if the barrier is switched off.
    pub(crate) fn begin_sync(&mut self, site: &Site) -> Option<u32> {
        let within = crate::site::within::sites();
        let is_ignored = |site: &Site| self.ignored.iter().any(|ignored| ignored.is(site));
        let is_ignored = is_ignored(site) || within.iter().any(is_ignored);
        for site in within.into_iter().chain([*site]) {
            match self.sites.iter_mut().find(|(known, _)| known.is(&site)) {
                Some((_, times)) => *times += 1,
                None => self.sites.push((site, 1)),
            }
        }
        if let Some(recording) = &mut self.recording {
            let kind = PointKind::Barrier(*site);
            recording.points.push(Point {
                world: self.world.clone(),
                kind,
            });
        }
        if is_ignored {
            return None;
        }
        Some(self.world.next_effect)
    }

    pub(crate) fn free_space(&self) -> u64 {
        match self.budget {
            Some(budget) => budget.saturating_sub(self.world.used_bytes()),
            None => u64::MAX,
        }
    }
}

impl SimDisk {
    /// The paths of all files, as a running process sees them, with their lengths.
    pub fn files(&self) -> Vec<(String, u64)> {
        let mut files = Vec::new();
        self.lock().world.for_each_path(&mut |path, node| {
            if let Node::File(file) = node {
                files.push((path.to_owned(), *file.size.current()));
            }
        });
        files
    }
}

/// The name of a barrier's call in a trace.
pub(crate) fn sync_name(site: &Site) -> &'static str {
    match site.barrier {
        Barrier::Data | Barrier::Write => "sync_data",
        Barrier::All => "sync_all",
        Barrier::Dir => "sync_dir",
    }
}
