//! [`Contender`]: one thing that is measured.

use std::path::Path;
use std::time::Duration;

use crate::measure::{QUICK_SIZE, Rate};
use crate::scheduler::{self, RealTime};

/// What a contender is to the others of its workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "which peers there are depends on the features")]
pub(crate) enum Role {
    /// A raw method; the fastest of its workload is the floor.
    Floor,
    /// This workspace's log or store.
    Own,
    /// The same log, whose groups do not wait for company.
    OwnWithoutGather,
    Peer,
    /// A peer that promises less than the workload asks for.
    LesserPeer,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Operations,
    /// Of payload.
    Bytes,
    /// Of memory, for each key; no rate, and less is better.
    BytesPerKey,
    /// Of one operation; no rate, and less is better.
    Nanoseconds,
    /// No rate, and less is better.
    Ratio,
}

type Run = Box<dyn Fn(&Path, Duration) -> anyhow::Result<Rate>>;

pub(crate) struct Contender {
    pub(crate) workload: String,
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) unit: Unit,
    /// The workload of the raw methods that give the same guarantee for the same record; empty if
    /// there are none.
    pub(crate) floor: String,
    pub(crate) real_time: bool,
    /// Measures for about that long in an empty directory.
    pub(crate) run: Run,
}

/// What one contender did in one round.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Measured {
    /// Units per second; of what is no rate, units.
    pub(crate) rate: f64,
    pub(crate) involuntary_switches: u64,
    /// The machine's, of the last minute.
    pub(crate) load: f64,
}

impl Contender {
    pub(crate) fn measure(&self, parent: &Path, time: Duration) -> anyhow::Result<Measured> {
        let dir = tempfile::tempdir_in(parent)?;
        let real_time = self.real_time.then(RealTime::enter).transpose()?;
        let rate = (self.run)(dir.path(), time)?;
        drop(real_time);
        dir.close()?;
        Ok(Measured {
            rate: rate.per_second,
            involuntary_switches: rate.involuntary_switches,
            load: scheduler::load()?,
        })
    }
}

/// The workload of the raw methods that make records of `size` bytes durable.
pub(crate) fn durable_floor(size: usize, real_time: bool) -> String {
    format!("raw durable append, {size} B{}", suffix(real_time))
}

/// The workload of the raw method that hands records to the kernel.
pub(crate) fn kernel_floor(real_time: bool) -> String {
    let suffix = suffix(real_time);
    format!("raw append without sync, {QUICK_SIZE} B{suffix}")
}

/// The workload of the raw method that reads a file that was just written.
pub(crate) const READ_FLOOR: &str = "raw read, warm";

pub(crate) fn durable(size: usize, threads: usize, real_time: bool) -> String {
    let plural = if threads == 1 { "" } else { "s" };
    format!(
        "durable append, {size} B, {threads} thread{plural}{}",
        suffix(real_time)
    )
}

/// Of a log that is made for it.
pub(crate) fn first(size: usize) -> String {
    format!("durable append, {size} B, 1 thread, a log's first 1.5 s")
}

pub(crate) fn unsynced(real_time: bool) -> String {
    let suffix = suffix(real_time);
    format!("append without sync, {QUICK_SIZE} B, 1 thread{suffix}")
}

pub(crate) fn replay(size: usize) -> String {
    format!("replay, warm, {size} B")
}

pub(crate) fn suffix(real_time: bool) -> &'static str {
    if real_time { ", real-time" } else { "" }
}
