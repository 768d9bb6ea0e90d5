//! The lives of keyspaces: created, cleared, dropped.
//!
//! - K1: an id is never given again.
//! - K2: a creation is durable before a record names its id.
//! - K3: nothing is written under an id after the edit that ends it; that edit is durable after everything
//!   that was acknowledged before.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use durable_io::made_durable;

use crate::error::{Error, Result};
use crate::gate::Closed;
use crate::levels::Levels;
use crate::limits::DEFAULT_KEYSPACE;
use crate::manifest::{Change, Manifest};
use crate::options::{KeyspaceOptions, check_name};
use crate::store::{Catalog, Store, new_slot};
use crate::tree::DEFAULT_SLOT;
use crate::tree::Tree;

impl Store {
    /// Creates a keyspace; its slot.
    pub(crate) fn create_keyspace(&self, name: &str, options: &KeyspaceOptions) -> Result<u64> {
        check_name(name)?;
        options.check()?;
        // Held across I/O: edits are made one at a time.
        let mut manifest = self.health.lock(&self.manifest);
        self.check_healthy()?;
        if self.catalog().named(name).is_some() {
            let name = name.to_owned();
            return Err(Error::KeyspaceExists { name });
        }
        let slot = new_slot();
        let new = new_tree(&manifest, slot, name, options);
        let changes = creation(&manifest, &new);
        let closed = self.edit_keyspaces(&mut manifest, None, changes)?;
        let mut catalog = Catalog::clone(&self.catalog());
        catalog.trees.push(Arc::new(new));
        catalog.trees.sort_by_key(|tree| tree.slot);
        self.set_catalog(catalog);
        drop(closed);
        Ok(slot)
    }

    /// Drops the keyspace `name`.
    pub(crate) fn drop_keyspace(&self, name: &str) -> Result<()> {
        if name == DEFAULT_KEYSPACE {
            return Err(Error::DefaultKeyspace);
        }
        // Held across I/O: edits are made one at a time.
        let mut manifest = self.health.lock(&self.manifest);
        self.check_healthy()?;
        let tree = self.catalog().named(name).map(Arc::clone);
        let tree = tree.ok_or_else(|| Error::NoKeyspace {
            name: name.to_owned(),
        })?;
        let closed = self.edit_keyspaces(&mut manifest, Some(&tree), Vec::new())?;
        let mut catalog = Catalog::clone(&self.catalog());
        catalog.trees.retain(|other| other.id != tree.id);
        self.set_catalog(catalog);
        drop(closed);
        drop(manifest);
        self.give_back(&tree)
    }

    /// Removes all keys of the keyspace of `slot`: another life of it begins.
    pub(crate) fn clear(&self, slot: u64) -> Result<()> {
        // Held across I/O: edits are made one at a time.
        let mut manifest = self.health.lock(&self.manifest);
        self.check_healthy()?;
        let tree = Arc::clone(self.catalog().find(slot)?);
        let new = new_tree(&manifest, slot, &tree.name, &tree.options);
        let changes = creation(&manifest, &new);
        let closed = self.edit_keyspaces(&mut manifest, Some(&tree), changes)?;
        let mut catalog = Catalog::clone(&self.catalog());
        let at = catalog.trees.iter_mut().find(|other| other.slot == slot);
        *at.expect("nobody else changes the catalog") = Arc::new(new);
        self.set_catalog(catalog);
        drop(closed);
        drop(manifest);
        self.give_back(&tree)
    }

    /// Makes an edit that ends the keyspace `gone`, and changes others. Until what is returned is dropped
    /// nobody writes.
    fn edit_keyspaces(
        &self,
        manifest: &mut Manifest,
        gone: Option<&Tree>,
        changes: Vec<Change>,
    ) -> Result<Closed<'_>> {
        let closed = self.gate.close(|| self.help());
        self.check_healthy()?;
        // Durable: everything that was acknowledged before. Only now may the edit be: a power loss takes
        // back a suffix of all that was done.
        let durable = made_durable(|| self.log.sync()).map_err(|error| self.note(error.into()))?;
        let gone = gone.map(|tree| tree.id);
        let unflushed = |tree: &Tree| tree.first_unflushed().filter(|_| gone != Some(tree.id));
        let floor = self.floor(durable, unflushed).max(manifest.root().floor);
        let mut edit: Vec<Change> = gone.map(|id| Change::Drop { id }).into_iter().collect();
        edit.extend(changes);
        // Its records pin the log no longer.
        edit.push(Change::Floor(floor));
        // Durable: the edit. Only now may a record name the new id, and files of the old one go.
        let mut commit = || manifest.commit(&edit);
        // What is dropped or cleared gives space back.
        let committed = if gone.is_some() {
            self.with_reserve(commit)
        } else {
            commit()
        };
        committed.map_err(|error| self.note(error))?;
        Ok(closed)
    }

    /// Gives back what a keyspace had that is gone.
    fn give_back(&self, tree: &Tree) -> Result<()> {
        let state = tree.state();
        for live in &state.levels.tables {
            self.pinned.add(live, live.memory_bytes());
        }
        let frozen = state.frozen.iter().map(|frozen| &frozen.table);
        for table in frozen.chain([&state.active]) {
            self.pinned.add(table, table.bytes());
        }
        self.remove_tables(state.levels.tables.iter().map(|live| live.entry.number));
        self.retire_log()?;
        self.hold_reserve()
    }

    /// The slot of the keyspace `name`.
    pub(crate) fn slot_of(&self, name: &str) -> Result<u64> {
        if name == DEFAULT_KEYSPACE {
            return Ok(DEFAULT_SLOT);
        }
        let catalog = self.catalog();
        let tree = catalog.named(name).ok_or_else(|| Error::NoKeyspace {
            name: name.to_owned(),
        })?;
        Ok(tree.slot)
    }

    /// The number that the next table gets, for the manifest.
    pub(crate) fn numbers(&self, manifest: &Manifest) -> Change {
        Change::Numbers {
            next_keyspace: manifest.root().next_keyspace,
            next_table: self.next_table.load(Ordering::Relaxed),
        }
    }
}

/// The changes that create `new`.
fn creation(manifest: &Manifest, new: &Tree) -> Vec<Change> {
    vec![
        Change::Numbers {
            next_keyspace: new.id.checked_add(1).expect("ids are 32-bit numbers"),
            next_table: manifest.root().next_table,
        },
        Change::Create {
            id: new.id,
            name: new.name.clone(),
            options: new.options.clone(),
        },
    ]
}

/// A keyspace without keys, of the next id.
fn new_tree(manifest: &Manifest, slot: u64, name: &str, options: &KeyspaceOptions) -> Tree {
    let id = manifest.root().next_keyspace;
    let (name, options) = (name.to_owned(), options.clone());
    Tree::new(id, slot, name, options, Levels::default())
}
