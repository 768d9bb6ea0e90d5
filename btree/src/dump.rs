//! [`dump()`]: a store as text, whatever state it is in.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};
use std::io::Write;
use std::ops::Bound;
use std::path::Path;

use durable_io::engine::{Chain, Shown, StoreDir, Text};
use durable_io::{Disk, File};

use crate::catalog::TableEntry;
use crate::error::{Corruption, Error, Result};
use crate::meta::{BadSlot, SLOT_SIZE, SLOTS, Slot, first_page};
use crate::node::{self, Kind, Node, Ref};
use crate::overflow::{self, Stored};
use crate::pager::Pager;
use crate::record::{Change, Record};
use crate::{free_list, names};

/// How much of a store is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Detail {
    /// The meta slots, and each page.
    Pages,
    /// What is in the pages, and the records of the log, too.
    Records,
}

/// Writes the store in `dir` to `out`, for people: both meta slots, every page with what it belongs to, and
/// the records of the log. Lines that begin with `!` say what is wrong; the rest is shown all the same.
/// Nothing is changed.
///
/// # Cost
/// Reads every page twice, and holds a few bytes for each in memory.
///
/// # Errors
/// [`Error::Output`]; [`Error::Disk`], with [`Locked`](durable_io::Error::Locked) while the store is open.
pub fn dump(disk: &Disk, dir: impl AsRef<Path>, detail: Detail, out: &mut dyn Write) -> Result<()> {
    let dir = dir.as_ref();
    let locked = StoreDir::open_shared(disk, dir, names::LOCK)?;
    let mut text = Text::new(out);
    text.line(format_args!("{}", names::PAGES))?;
    let file = locked.dir().open_read_only(names::PAGES)?;
    if let Some(slot) = slots(&file, &mut text)? {
        let pager = Pager::new(file, slot.page_size, slot.store_id, 0);
        let mut pages = Pages {
            pager: &pager,
            allowed: first_page(slot.page_size)..slot.end,
            found: BTreeMap::new(),
            strays: Vec::new(),
        };
        let free = pages.all(&slot)?;
        pages.show(&free, detail, &mut text)?;
    }
    if detail == Detail::Records {
        text.line(format_args!("{}", names::LOG))?;
        log(disk, &dir.join(names::LOG), &mut text)?;
    }
    Ok(())
}

/// Shows both slots; the one that counts.
fn slots(file: &File, text: &mut Text<'_>) -> Result<Option<Slot>> {
    let mut newest: Option<Slot> = None;
    for offset in SLOTS {
        let mut bytes = [0; SLOT_SIZE];
        file.read_at(&mut bytes, offset)?;
        match Slot::decode(&bytes, offset) {
            Ok(slot) => {
                text.line(format_args!("{offset:>12}  {}", SlotWords(&slot)))?;
                let is_newer = newest.is_none_or(|newest| newest.generation < slot.generation);
                newest = if is_newer { Some(slot) } else { newest };
            }
            Err(BadSlot::Damaged) => text.damage(offset, "this meta slot is damaged")?,
            Err(BadSlot::Version(version)) => {
                text.damage(
                    offset,
                    format_args!("format version {version} is not known"),
                )?;
            }
        }
    }
    Ok(newest)
}

/// A slot in words.
struct SlotWords<'a>(&'a Slot);

impl Display for SlotWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Slot {
            page_size,
            store_id,
            generation,
            lsn,
            state,
            end,
            free_list,
        } = self.0;
        write!(
            f,
            "slot of generation {generation}: store {store_id:016x}, pages of {page_size} bytes, up to record {lsn}, \
             {} tables in {}, next table {}, end {end}, free list in {}",
            state.catalog.len,
            At(state.catalog.root),
            state.next_table,
            At(*free_list),
        )
    }
}

/// A reference in words.
struct At(Option<Ref>);

impl Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Ref { page, stamp }) => write!(f, "page {page} ({stamp:016x})"),
            None => f.write_str("no page"),
        }
    }
}

/// What the walk from a slot has found.
struct Pages<'a> {
    pager: &'a Pager,
    allowed: std::ops::Range<u32>,
    found: BTreeMap<u32, Found>,
    /// References to no page of the file, and who has them.
    strays: Vec<(u32, String)>,
}

/// A page that something refers to.
struct Found {
    owner: String,
    r: Ref,
    /// What is wrong with it.
    wrong: Option<Corruption>,
}

impl Pages<'_> {
    /// Walks everything that `slot` leads to; the pages that are free.
    fn all(&mut self, slot: &Slot) -> Result<BTreeSet<u32>> {
        let mut tables = Vec::new();
        if let Some(root) = slot.state.catalog.root {
            self.node(root, u8::MAX, "the catalog", &mut |name, value| {
                tables.push((name.to_vec(), TableEntry::decode(value)));
            })?;
        }
        for (name, entry) in tables {
            let owner = format!("table {}", Shown(&name));
            match entry.map(|entry| entry.tree.root) {
                Some(Some(root)) => self.node(root, u8::MAX, &owner, &mut |_, _| {})?,
                Some(None) => {}
                None => self.blame(slot.state.catalog.root, Corruption::Record),
            }
        }
        let listed = free_list::read(self.pager, slot.free_list, self.allowed.clone());
        let (own, free) = match listed {
            Ok(listed) => listed,
            Err(Error::Corrupt { reason, .. }) => {
                self.own(slot.free_list, "the free list");
                self.blame(slot.free_list, reason);
                return Ok(BTreeSet::new());
            }
            Err(other) => return Err(other),
        };
        for &page in &own {
            let stamp = slot.free_list.map_or(0, |first| first.stamp);
            self.own(Some(Ref { page, stamp }), "the free list");
        }
        for (page, found) in &mut self.found {
            if free.contains(page) {
                found.wrong = Some(Corruption::DoublyOwned { page: *page });
            }
        }
        Ok(free)
    }

    /// Notes that `owner` has the page; whether it is the first to have it.
    fn own(&mut self, r: Option<Ref>, owner: &str) -> bool {
        let Some(r) = r else {
            return false;
        };
        if !self.allowed.contains(&r.page) {
            self.strays.push((r.page, owner.to_owned()));
            return false;
        }
        if let Some(found) = self.found.get_mut(&r.page) {
            found.wrong = Some(Corruption::DoublyOwned { page: r.page });
            return false;
        }
        let owner = owner.to_owned();
        let wrong = None;
        self.found.insert(r.page, Found { owner, r, wrong });
        true
    }

    fn blame(&mut self, r: Option<Ref>, reason: Corruption) {
        let found = r.and_then(|r| self.found.get_mut(&r.page));
        if let Some(found) = found {
            found.wrong = Some(reason);
        }
    }

    /// The bytes of a page, if it can be believed.
    fn read(&mut self, r: Ref, owner: &str) -> Result<Option<Box<[u8]>>> {
        if !self.own(Some(r), owner) {
            return Ok(None);
        }
        match self.pager.read_from_file(r) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Error::Corrupt { reason, .. }) => {
                self.blame(Some(r), reason);
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    /// Walks the tree below `r`, which is below a branch of level `above`.
    fn node(
        &mut self,
        r: Ref,
        above: u8,
        owner: &str,
        each: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<()> {
        let Some(page) = self.read(r, owner)? else {
            return Ok(());
        };
        let node = Node::new(&page);
        if !matches!(node::kind(&page), Some(Kind::Leaf | Kind::Branch)) || node.level() >= above {
            self.blame(Some(r), Corruption::Kind);
            return Ok(());
        }
        if !node.is_leaf() {
            return (0..node.children())
                .try_for_each(|index| self.node(node.child(index), node.level(), owner, each));
        }
        for index in 0..node.count() {
            match overflow::stored(node.payload(index)) {
                Stored::Inline(value) => each(&node.key(index).to_vec(), value),
                Stored::Indirect { first, .. } => {
                    if let Some(value) = self.chain(first, owner)? {
                        each(&node.key(index).to_vec(), &value);
                    }
                }
            }
        }
        Ok(())
    }

    /// Walks a chain; what its first page holds, which is all that the catalog says of a table. `None` if it cannot
    /// be read.
    fn chain(&mut self, first: Ref, owner: &str) -> Result<Option<Vec<u8>>> {
        let mut value = None;
        let mut next = Some(first);
        while let Some(r) = next {
            // No page is walked twice.
            let Some(page) = self.read(r, owner)? else {
                return Ok(value);
            };
            if node::kind(&page) != Some(Kind::Overflow) {
                self.blame(Some(r), Corruption::Kind);
                return Ok(value);
            }
            value.get_or_insert_with(|| node::chained(&page).to_vec());
            next = node::link(&page);
        }
        Ok(value)
    }

    fn show(&self, free: &BTreeSet<u32>, detail: Detail, text: &mut Text<'_>) -> Result<()> {
        for number in self.allowed.clone() {
            let offset = self.pager.offset(number);
            match self.found.get(&number) {
                Some(Found {
                    owner,
                    wrong: Some(reason),
                    ..
                }) => text.damage(offset, format_args!("page {number} of {owner}: {reason}"))?,
                Some(Found { owner, r, .. }) => {
                    let page = self.pager.read_from_file(*r)?;
                    text.line(format_args!(
                        "{offset:>12}  page {number} of {owner}, {:016x}: {}",
                        r.stamp,
                        PageWords(&page)
                    ))?;
                    if detail == Detail::Records {
                        entries(&page, text)?;
                    }
                }
                None if free.contains(&number) => {
                    text.line(format_args!("{offset:>12}  page {number} is free"))?;
                }
                None => text.damage(offset, Corruption::Leaked { page: number })?,
            }
        }
        for (page, owner) in &self.strays {
            let outside = Corruption::Outside { page: *page };
            text.damage(0, format_args!("a reference of {owner}: {outside}"))?;
        }
        Ok(())
    }
}

/// A page in words.
struct PageWords<'a>(&'a [u8]);

impl Display for PageWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0;
        let next = || At(node::link(bytes));
        match node::kind(bytes) {
            Some(Kind::Leaf) => {
                let node = Node::new(bytes);
                let (count, used) = (node.count(), node.used());
                write!(f, "leaf, {count} entries, {used} bytes used")
            }
            Some(Kind::Branch) => {
                let node = Node::new(bytes);
                let (level, children, used) = (node.level(), node.children(), node.used());
                write!(
                    f,
                    "branch of level {level}, {children} children, {used} bytes used"
                )
            }
            Some(Kind::Overflow) => {
                let len = node::chained(bytes).len();
                write!(f, "{len} bytes of a value, then {}", next())
            }
            Some(Kind::FreeList) => {
                let runs = node::chained(bytes).len() / free_list::RUN;
                write!(f, "{runs} runs of free pages, then {}", next())
            }
            None => f.write_str("nothing that is known"),
        }
    }
}

/// Shows what is in a node.
fn entries(page: &[u8], text: &mut Text<'_>) -> Result<()> {
    if !matches!(node::kind(page), Some(Kind::Leaf | Kind::Branch)) {
        return Ok(());
    }
    let node = Node::new(page);
    if !node.is_leaf() {
        text.line(format_args!("{:>16}{}", "", At(node::link(page))))?;
    }
    for index in 0..node.count() {
        let key = node.key(index).to_vec();
        let key = Shown(&key);
        if !node.is_leaf() {
            let child = At(Some(node.child(index + 1)));
            text.line(format_args!("{:>16}from {key} on {child}", ""))?;
            continue;
        }
        match overflow::stored(node.payload(index)) {
            Stored::Inline(value) => {
                text.line(format_args!("{:>16}{key} = {}", "", Shown(value)))?;
            }
            Stored::Indirect { len, first } => {
                let first = At(Some(first));
                text.line(format_args!("{:>16}{key} = {len} bytes in {first}", ""))?;
            }
        }
    }
    Ok(())
}

/// Shows each record of the log in `path`.
fn log(disk: &Disk, path: &Path, text: &mut Text<'_>) -> Result<()> {
    let records = match wal::Options::new().disk(disk.clone()).salvage(path) {
        Ok(records) => records,
        Err(error @ wal::Error::Disk(_)) => return Err(error.into()),
        Err(error) => return Ok(text.damage(0, Chain(&error))?),
    };
    for record in records {
        match record {
            Ok(wal::Record { lsn, payload }) => transaction(lsn, &payload, text)?,
            Err(error) => text.damage(0, Chain(&error))?,
        }
    }
    Ok(())
}

fn transaction(lsn: wal::Lsn, payload: &[u8], text: &mut Text<'_>) -> Result<()> {
    let Some(mut record) = Record::decode(payload) else {
        return Ok(text.damage(0, format_args!("record {lsn} is no transaction"))?);
    };
    let (store, generation) = (record.store_id, record.generation);
    text.line(format_args!(
        "{lsn:>12}  store {store:016x}, generation {generation}"
    ))?;
    loop {
        match record.next() {
            Ok(Some(change)) => text.line(format_args!("{:>16}{}", "", Words(change)))?,
            Ok(None) => return Ok(()),
            Err(()) => {
                return Ok(text.damage(0, format_args!("the rest of record {lsn} is no change"))?);
            }
        }
    }
}

/// A change in words.
struct Words<'a>(Change<'a>);

impl Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Change::Put { table, key, value } => {
                write!(f, "table {table}: {} = {}", Shown(key), Shown(value))
            }
            Change::Delete { table, key } => write!(f, "table {table}: delete {}", Shown(key)),
            Change::DeleteRange {
                table,
                bounds: (low, high),
            } => {
                write!(f, "table {table}: delete every key")?;
                match low {
                    Bound::Unbounded => {}
                    Bound::Included(key) => write!(f, " from {} on", Shown(key))?,
                    Bound::Excluded(key) => write!(f, " behind {}", Shown(key))?,
                }
                match high {
                    Bound::Unbounded => Ok(()),
                    Bound::Included(key) => write!(f, " up to {}", Shown(key)),
                    Bound::Excluded(key) => write!(f, " before {}", Shown(key)),
                }
            }
            Change::Create { table, name } => write!(f, "create table {table}, {}", Shown(name)),
            Change::Drop { table } => write!(f, "drop table {table}"),
            Change::Rename { table, name } => write!(f, "rename table {table} to {}", Shown(name)),
        }
    }
}
