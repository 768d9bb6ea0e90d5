//! What is done to the names of a [`World`].

use std::io;
use std::sync::Arc;

use rustix::io::Errno;

use super::{Edge, Ino, Inode, Node, World, errno};
use crate::sim::chain::{Chain, EffectId};

impl World {
    /// What `name` leads to, as a running process sees it.
    pub(crate) fn lookup(&self, dir: Ino, name: &str) -> io::Result<Ino> {
        self.dir(dir)?
            .names
            .get(name)
            .and_then(|chain| *chain.current())
            .ok_or_else(|| errno(Errno::NOENT))
    }

    pub(crate) fn set_name(
        &mut self,
        dir: Ino,
        name: &str,
        to: Option<Ino>,
    ) -> io::Result<EffectId> {
        let effect = self.effect();
        let names = &mut self.dir_mut(dir)?.names;
        if let Some(chain) = names.get_mut(name) {
            chain.push(to, effect);
        } else {
            let mut chain = Chain::durable(None);
            chain.push(to, effect);
            names.insert(Arc::from(name), chain);
        }
        Ok(effect)
    }

    pub(crate) fn create(&mut self, dir: Ino, name: &str, node: Node) -> io::Result<Ino> {
        if name.is_empty() || name == "." || name == ".." || name.contains('/') {
            return Err(errno(Errno::INVAL));
        }
        self.check_new(dir, name)?;
        let ino = self.nodes.len();
        self.nodes.push(Inode::new(node));
        let effect = self.set_name(dir, name, Some(ino))?;
        self.enter(effect, Some(ino));
        Ok(ino)
    }

    /// Gives the file `from` the name `to` in the directory `other`.
    pub(crate) fn link(&mut self, dir: Ino, from: &str, other: Ino, to: &str) -> io::Result<()> {
        let ino = self.lookup(dir, from)?;
        self.link_file(ino, other, to)
    }

    /// Gives the file `ino` the name `to` in `dir`.
    pub(crate) fn link_file(&mut self, ino: Ino, dir: Ino, to: &str) -> io::Result<()> {
        self.file(ino)?;
        self.check_new(dir, to)?;
        let effect = self.set_name(dir, to, Some(ino))?;
        self.enter(effect, None);
        Ok(())
    }

    pub(crate) fn remove(&mut self, dir: Ino, name: &str) -> io::Result<()> {
        let ino = self.lookup(dir, name)?;
        self.file(ino)?;
        let effect = self.set_name(dir, name, None)?;
        self.enter(effect, None);
        // A file that was renamed and then removed may be gone although the rename never happened,
        // with what it replaced still there: btrfs shows that after a sync of another directory.
        self.edges
            .retain(|edge| edge.dir != dir || *edge.added.0 != *name);
        self.remember_stale(ino);
        Ok(())
    }

    /// Removes the empty directory `name`.
    pub(crate) fn remove_dir(&mut self, dir: Ino, name: &str) -> io::Result<()> {
        let removed = self.lookup(dir, name)?;
        let names = &mut self.dir(removed)?.names.values();
        if names.any(|name| name.current().is_some()) {
            return Err(errno(Errno::NOTEMPTY));
        }
        let effect = self.set_name(dir, name, None)?;
        self.enter(effect, None);
        self.dir_mut(removed)?.is_removed = true;
        Ok(())
    }

    /// The error of making `name`, if it exists or the directory is gone.
    fn check_new(&self, dir: Ino, name: &str) -> io::Result<()> {
        if self.dir(dir)?.is_removed {
            return Err(errno(Errno::NOENT));
        }
        match self.lookup(dir, name) {
            Ok(_stands) => Err(errno(Errno::EXIST)),
            Err(_missing) => Ok(()),
        }
    }

    pub(crate) fn rename(&mut self, dir: Ino, from: &str, to: &str) -> io::Result<()> {
        let ino = self.lookup(dir, from)?;
        // Two names of one file stay as they are: so says POSIX.
        if self.lookup(dir, to).is_ok_and(|there| there == ino) {
            return Ok(());
        }
        if let Ok(replaced) = self.lookup(dir, to) {
            self.file(replaced)?;
            self.remember_stale(replaced);
            self.enter_lengths(ino);
        }
        let added = self.set_name(dir, to, Some(ino))?;
        let removed = self.set_name(dir, from, None)?;
        self.enter(added, None);
        self.edges.push(Edge {
            dir,
            removed: (Arc::from(from), removed),
            added: (Arc::from(to), added),
        });
        Ok(())
    }
}
