//! The set: tables that a manifest names. What is written becomes a new table, and compactions keep their
//! number small.
//!
//! Every edit goes in the same order: new tables, durable; the manifest, durable; then the tables that it
//! does not name any more go. So whatever a crash leaves, the manifest names tables that are whole; all
//! other tables are orphans, and go when the set is opened.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::path::Path;

use durable_io::{Dir, Disk, Lock, Temp, numbered};
use sstable::compaction::{Action, Compaction, Job, Strategy, TableMeta, plan};
use sstable::{
    BlockCache, Entry, Kind, MAX_RANGE_TOMBSTONES_SIZE, Options, RangeTombstone, Source, Table,
    TableCursor, TableInfo, Visible, fragment,
};

use super::manifest::{Manifest, Member};

pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;
pub(crate) type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// What a write changes: key and value, or `None` for a deletion; ranges of keys that are deleted before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    pub(crate) entries: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    pub(crate) ranges: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Which tables go, and which come in their place.
#[derive(Debug)]
pub(crate) struct Edit {
    pub(crate) inputs: Vec<u64>,
    pub(crate) outputs: Vec<Member>,
}

/// A durable set of tables.
pub(crate) struct TableSet {
    dir: Dir,
    options: Options,
    strategy: Strategy,
    manifest: Manifest,
    /// By number, those that the manifest names.
    tables: HashMap<u64, Table>,
    cache: BlockCache,
    _lock: Lock,
}

impl TableSet {
    /// Opens the set in the directory `path`; creates it if there is none.
    pub(crate) fn open(
        disk: &Disk,
        path: &Path,
        options: Options,
        strategy: Strategy,
    ) -> Outcome<Self> {
        let dir = disk.create_dir(path)?;
        let lock = dir.try_lock("LOCK")?;
        // Durable: the name of the manifest that is read now. Only now may tables go that it does not
        // name: an older manifest, which may still be the one on the disk, names others.
        dir.sync()?;
        let mut set = Self {
            manifest: Manifest::read(&dir)?,
            dir,
            options,
            strategy,
            tables: HashMap::new(),
            cache: BlockCache::new(1 << 20),
            _lock: lock,
        };
        for member in &set.manifest.members {
            let table = set.open_table(member)?;
            set.tables.insert(member.number, table);
        }
        // Only now: a set that is refused is as it was.
        set.remove_orphans()?;
        Ok(set)
    }

    /// Removes what an edit left that was cut short. No sync: what comes back goes at the next open.
    fn remove_orphans(&mut self) -> Outcome<()> {
        for entry in self.dir.list()? {
            let temp = Temp::target_of(&entry.name);
            let number = numbered::parse(temp.unwrap_or(&entry.name), SUFFIX);
            if let Some(number) = number {
                // Its number is not given again, also if the manifest does not know that it was.
                self.manifest.last_number = self.manifest.last_number.max(number);
            }
            let mut members = self.manifest.members.iter();
            let is_named = members.any(|member| entry.name == file_name(member.number));
            if temp.is_some() || number.is_some() && !is_named {
                self.dir.remove(&entry.name)?;
            }
        }
        Ok(())
    }

    fn open_table(&self, member: &Member) -> Outcome<Table> {
        let name = file_name(member.number);
        let table = Table::open(&self.dir, &name, &self.cache)?;
        if table.file_id() != member.info.file_id {
            return Err(format!("{name} is not the table that the manifest names").into());
        }
        Ok(table)
    }

    /// What is written, as of the newest write.
    pub(crate) fn contents(&self) -> Outcome<Map> {
        Ok(self.scan()?.collect::<Result<_, _>>()?)
    }

    /// The same, entry by entry; what is written or merged meanwhile changes nothing of it.
    pub(crate) fn scan(&self) -> Outcome<Visible<TableCursor>> {
        let mut members: Vec<&Member> = self.manifest.members.iter().collect();
        members.sort_by_key(|member| (member.level, std::cmp::Reverse(member.run)));
        let newest_first = self.sources(members.iter().map(|member| member.number))?;
        Ok(Visible::new(newest_first, u64::MAX))
    }

    fn sources(&self, numbers: impl Iterator<Item = u64>) -> Outcome<Vec<Source<TableCursor>>> {
        let table = |number| {
            self.tables
                .get(&number)
                .ok_or("a table of the set is not open")
        };
        Ok(numbers
            .map(|number| table(number).map(Source::of))
            .collect::<Result<_, _>>()?)
    }

    /// All changes survive power loss when it returns; after a crash before that, all or none are there.
    pub(crate) fn write(&mut self, changes: &Changes) -> Outcome<()> {
        let number = next(&mut self.manifest.last_number);
        let mut writer = self.options.create(&self.dir, &file_name(number))?;
        let ranges = changes.ranges.iter().map(|(start, end)| RangeTombstone {
            start: start.clone(),
            end: end.clone(),
            version: 0,
        });
        for range in fragment(ranges, MAX_RANGE_TOMBSTONES_SIZE)? {
            writer.add_range_tombstone(&range)?;
        }
        for (key, value) in &changes.entries {
            let kind = if value.is_some() {
                Kind::Put
            } else {
                Kind::Delete
            };
            let value = value.as_deref().unwrap_or_default();
            writer.add(Entry {
                key,
                version: 0,
                kind,
                value,
            })?;
        }
        // Durable: the table. Only now may the manifest name it.
        let info = writer.finish()?;
        // Newer than all others: numbers grow.
        let (level, run) = (0, number);
        let member = Member {
            number,
            level,
            run,
            info,
        };
        self.publish(&Edit {
            inputs: Vec::new(),
            outputs: vec![member],
        })
    }

    /// Does what the strategy asks for, until there is nothing to do; the number of jobs.
    pub(crate) fn compact(&mut self) -> Outcome<usize> {
        let mut done = 0;
        loop {
            let jobs = plan(&self.metas(), &self.strategy);
            if jobs.is_empty() {
                return Ok(done);
            }
            for job in jobs {
                let edit = self.run(&job)?;
                self.publish(&edit)?;
                self.remove_inputs(&edit)?;
                done += 1;
            }
        }
    }

    /// The tables, as a plan sees them.
    pub(crate) fn metas(&self) -> Vec<TableMeta> {
        let members = self.manifest.members.iter();
        members
            .map(|m| TableMeta::new(m.number, m.level, m.run, &m.info))
            .collect()
    }

    /// Does the work of `job`. Its outputs are durable then, and count for nothing yet.
    pub(crate) fn run(&mut self, job: &Job) -> Outcome<Edit> {
        let mut numbers = Vec::new();
        let mut infos: Vec<TableInfo> = Vec::new();
        match job.action {
            Action::Merge => {
                let sources = self.sources(job.inputs.iter().copied())?;
                let last_number = &mut self.manifest.last_number;
                let name = || {
                    numbers.push(next(last_number));
                    file_name(numbers.last().copied().unwrap_or_default())
                };
                // Durable: the outputs. Only now may the manifest name them.
                let outputs =
                    Compaction::new(self.options.clone()).run(job, sources, &self.dir, name)?;
                infos.extend(outputs.into_iter().map(|(_, info)| info));
            }
            Action::Move => {
                let members = self.manifest.members.iter();
                for member in members.filter(|member| job.inputs.contains(&member.number)) {
                    numbers.push(member.number);
                    infos.push(member.info.clone());
                }
            }
            _ => {}
        }
        let (level, run) = (job.output_level, job.output_run);
        let outputs = numbers.into_iter().zip(infos);
        let outputs = outputs.map(|(number, info)| Member {
            number,
            level,
            run,
            info,
        });
        Ok(Edit {
            inputs: job.inputs.clone(),
            outputs: outputs.collect(),
        })
    }

    /// Puts the outputs of `edit` in the place of its inputs, durably.
    pub(crate) fn publish(&mut self, edit: &Edit) -> Outcome<()> {
        let mut manifest = self.manifest.clone();
        manifest
            .members
            .retain(|member| !edit.inputs.contains(&member.number));
        manifest.members.extend_from_slice(&edit.outputs);
        for member in &edit.outputs {
            let table = self.open_table(member)?;
            self.tables.insert(member.number, table);
        }
        // A failure may have written it or not: so the outputs stay where they are. If it was not, they
        // are orphans.
        manifest.write(&self.dir)?;
        self.manifest = manifest;
        Ok(())
    }

    /// Removes the inputs of `edit`, which was published.
    pub(crate) fn remove_inputs(&mut self, edit: &Edit) -> Outcome<()> {
        for number in &edit.inputs {
            if edit.outputs.iter().all(|output| output.number != *number) {
                self.tables.remove(number);
                // No sync: an input that comes back is an orphan.
                self.dir.remove(&file_name(*number))?;
            }
        }
        Ok(())
    }

    /// The numbers of all tables.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.manifest.members.iter().map(|member| member.number)
    }
}

/// The next number; it is durably given with the edit that names its table.
fn next(last_number: &mut u64) -> u64 {
    *last_number += 1;
    *last_number
}

const SUFFIX: &str = ".table";

pub(crate) fn file_name(number: u64) -> String {
    numbered::name(number, SUFFIX)
}
