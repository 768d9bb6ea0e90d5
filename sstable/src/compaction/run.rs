//! [`Compaction`]: the work of a job.

use std::fmt;
use std::ops::ControlFlow;

use durable_io::Dir;

use crate::compaction::Job;
use crate::compaction::outputs::{Outputs, Ranges};
use crate::compaction::survivors::{Retention, Survivors};
use crate::cursor::Cursor;
use crate::error::{Error, Result};
use crate::merge::Source;
use crate::options::Options;
use crate::table_info::TableInfo;

/// How many entries are read between two calls of the progress callback.
const ENTRIES_PER_CALL: u64 = 1024;

type Callback<'a> = Box<dyn FnMut(Progress) -> ControlFlow<()> + 'a>;

/// How far a compaction is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Entries read, those that are dropped included.
    pub entries: u64,
    /// About how much has been written, in bytes.
    pub bytes_written: u64,
}

/// The work of a [`Job`]: merges its inputs into new tables.
///
/// ```
/// use sstable::compaction::{Action, Compaction, SizeTiered, TableMeta, plan};
/// use sstable::{BlockCache, Options, Source, Table};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let temp = tempfile::tempdir()?;
/// # let dir = durable_io::Disk::os().create_dir(temp.path().join("tables"))?;
/// let mut metas = Vec::new();
/// for number in 0..8_u64 {
///     let mut writer = Options::new().create(&dir, &number.to_string())?;
///     writer.put(b"the same key", &number.to_le_bytes())?;
///     let info = writer.finish()?;
///     metas.push(TableMeta::new(number, 0, number, &info)); // a new run of level 0
/// }
/// let jobs = plan(&metas, &SizeTiered::new().into());
/// let job = jobs.first().ok_or("eight are more than enough")?;
/// assert_eq!(job.action, Action::Merge);
///
/// let cache = BlockCache::new(1 << 20);
/// let open = |id: &u64| Table::open(&dir, &id.to_string(), &cache).map(|table| Source::of(&table));
/// let sources = job.inputs.iter().map(open).collect::<Result<Vec<_>, _>>()?;
/// let outputs = Compaction::new(Options::new()).run(job, sources, &dir, || "new".to_owned())?;
/// // Durable. Now the manifest of the store names them, and then the inputs may go.
/// let [(name, info)] = &outputs[..] else { panic!("there is one key") };
/// assert_eq!((name.as_str(), info.entries), ("new", 1));
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct Compaction<'a> {
    options: Options,
    retention: Retention<'a>,
    progress: Option<Callback<'a>>,
}

impl fmt::Debug for Compaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compaction")
            .field("options", &self.options)
            .field("retention", &self.retention)
            .finish_non_exhaustive()
    }
}

impl<'a> Compaction<'a> {
    /// New tables are made with `options`, and hold what readers of the newest versions see.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            ..Self::default()
        }
    }

    /// What else must be kept.
    #[must_use]
    pub fn retention(mut self, retention: Retention<'a>) -> Self {
        self.retention = retention;
        self
    }

    /// Calls `progress` about every thousand entries. It may wait there, so that the disk has time for
    /// others; when it returns [`ControlFlow::Break`], the compaction ends with [`Error::Stopped`].
    #[must_use]
    pub fn progress(mut self, progress: impl FnMut(Progress) -> ControlFlow<()> + 'a) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    /// Merges `sources`, which are the inputs of `job` in its order, into new tables in `dir`, each with
    /// a name from `name`, which must be a name that no file has had. An output ends where the next key
    /// begins when it has the size that the job says; range tombstones are cut there. Returns names and
    /// tables in the order of their keys; none if nothing is left.
    ///
    /// The inputs stay, and nothing names the outputs: that is for the caller's own durable edit, and only
    /// after that may he remove the inputs. A crash before it leaves outputs, or temporary files, that
    /// he removes when he opens the store.
    ///
    /// # Durability
    /// When this returns, every output and its name survive power loss.
    ///
    /// # Cost
    /// One sync of each output, and one of the directory for each. Memory: that of a [`Writer`](crate::Writer), a block
    /// of each source, and the range tombstones of all: for each range between two of their borders one for each
    /// reader.
    ///
    /// # Errors
    /// What reading the sources and writing tables can meet; [`Error::Stopped`]. The outputs are then
    /// removed, as far as the disk lets us. So they are when a filter or `progress` panics.
    pub fn run<C: Cursor>(
        self,
        job: &Job,
        sources: Vec<Source<C>>,
        dir: &Dir,
        name: impl FnMut() -> String,
    ) -> Result<Vec<(String, TableInfo)>> {
        let all = sources
            .iter()
            .flat_map(|source| source.range_tombstones.iter());
        let ranges = Ranges::new(all, &self.retention, &job.older);
        let mut outputs = Outputs {
            dir,
            options: &self.options,
            name,
            output_bytes: job.output_bytes,
            ranges,
            writer: None,
            range_bytes: 0,
            names: Vec::new(),
            finished: Vec::new(),
        };
        let survivors = Survivors::new(sources, self.retention, &job.older)?;
        copy(survivors, &mut outputs, self.progress)?;
        outputs.finish()?;
        Ok(outputs.into_tables())
    }
}

fn copy<C: Cursor, N: FnMut() -> String>(
    mut survivors: Survivors<'_, C>,
    outputs: &mut Outputs<'_, N>,
    mut progress: Option<Callback<'_>>,
) -> Result<()> {
    let mut entries: u64 = 0;
    let mut is_first_of_key = true;
    while !survivors.has_ended() {
        if let Some(entry) = survivors.entry() {
            outputs.add(entry, is_first_of_key)?;
            is_first_of_key = false;
        }
        is_first_of_key |= survivors.advance()?;
        entries += 1;
        if entries.is_multiple_of(ENTRIES_PER_CALL)
            && let Some(progress) = &mut progress
        {
            let bytes_written = outputs.bytes_written();
            let now = Progress {
                entries,
                bytes_written,
            };
            if progress(now).is_break() {
                return Err(Error::Stopped);
            }
        }
    }
    Ok(())
}
