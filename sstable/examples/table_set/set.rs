//! The set: tables that a manifest names. What is written becomes a new table, and compactions keep their
//! number small.
//!
//! Every edit goes in the same order: new tables, durable; the manifest, durable; then the tables that it
//! does not name any more go. So whatever a crash leaves, the manifest names tables that are whole; all
//! other tables are orphans, and go when the set is opened.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::path::Path;

use durable_io::{Dir, Disk, Lock};
use sstable::compaction::{Action, Compaction, Job, Strategy, TableMeta, plan};
use sstable::{
    BlockCache, Entry, Kind, Options, RangeTombstone, Source, Table, TableCursor, TableInfo,
    Visible, fragment,
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

/// A durable set of tables.
pub(crate) struct TableSet {
    disk: Disk,
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
            disk: disk.clone(),
            manifest: Manifest::read(&dir)?,
            dir,
            options,
            strategy,
            tables: HashMap::new(),
            cache: BlockCache::new(1 << 20),
            _lock: lock,
        };
        set.remove_orphans()?;
        for member in &set.manifest.members {
            let table = set.open_table(member)?;
            set.tables.insert(member.number, table);
        }
        Ok(set)
    }

    /// Removes what an edit left that was cut short. No sync: what comes back goes at the next open.
    fn remove_orphans(&mut self) -> Outcome<()> {
        for entry in self.dir.list()? {
            let temp = entry.name.strip_suffix(".tmp");
            let number = temp.unwrap_or(&entry.name).strip_suffix(".table");
            let number = number.and_then(|number| u64::from_str_radix(number, 16).ok());
            if let Some(number) = number {
                // Its number is not given again, also if the manifest does not know that it was.
                self.manifest.next_number = self.manifest.next_number.max(number + 1);
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
        let mut members: Vec<&Member> = self.manifest.members.iter().collect();
        members.sort_by_key(|member| (member.level, std::cmp::Reverse(member.run)));
        let newest_first = self.sources(members.iter().map(|member| member.number))?;
        Ok(Visible::new(newest_first, u64::MAX).collect::<Result<_, _>>()?)
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
        let number = next(&mut self.manifest.next_number);
        let mut writer = self
            .options
            .create(&self.disk, &self.dir, &file_name(number))?;
        let ranges = changes.ranges.iter().map(|(start, end)| RangeTombstone {
            start: start.clone(),
            end: end.clone(),
            version: 0,
        });
        for range in fragment(ranges) {
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
        self.edit(
            &[],
            &[Member {
                number,
                level,
                run,
                info,
            }],
        )
    }

    /// Does what the strategy asks for, until there is nothing to do; the number of jobs.
    pub(crate) fn compact(&mut self) -> Outcome<usize> {
        let mut done = 0;
        loop {
            let members = self.manifest.members.iter();
            let metas = members.map(|m| TableMeta::new(m.number, m.level, m.run, &m.info));
            let jobs = plan(&metas.collect::<Vec<_>>(), &self.strategy);
            if jobs.is_empty() {
                return Ok(done);
            }
            for job in jobs {
                self.run(&job)?;
                done += 1;
            }
        }
    }

    fn run(&mut self, job: &Job) -> Outcome<()> {
        let mut numbers = Vec::new();
        let mut infos: Vec<TableInfo> = Vec::new();
        match job.action {
            Action::Merge => {
                let sources = self.sources(job.inputs.iter().copied())?;
                let next_number = &mut self.manifest.next_number;
                let name = || {
                    numbers.push(next(next_number));
                    file_name(numbers.last().copied().unwrap_or_default())
                };
                // Durable: the outputs. Only now may the manifest name them.
                let outputs = Compaction::new(self.options.clone())
                    .run(job, sources, &self.disk, &self.dir, name)?;
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
        self.edit(&job.inputs, &outputs.collect::<Vec<_>>())
    }

    /// Puts `outputs` in the place of `inputs`.
    fn edit(&mut self, inputs: &[u64], outputs: &[Member]) -> Outcome<()> {
        let mut manifest = self.manifest.clone();
        manifest
            .members
            .retain(|member| !inputs.contains(&member.number));
        manifest.members.extend_from_slice(outputs);
        for member in outputs {
            let table = self.open_table(member)?;
            self.tables.insert(member.number, table);
        }
        // A failure may have written it or not: so the outputs stay where they are. If it was not, they
        // are orphans.
        manifest.write(&self.dir)?;
        self.manifest = manifest;
        for number in inputs {
            if outputs.iter().all(|member| member.number != *number) {
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
fn next(next_number: &mut u64) -> u64 {
    *next_number += 1;
    *next_number - 1
}

pub(crate) fn file_name(number: u64) -> String {
    format!("{number:016x}.table")
}
