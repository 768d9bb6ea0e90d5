//! What becomes of the files of a recorded run: older ones in the places of newer ones, and copies that were
//! made while it continued.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use durable_io::Dir;
use durable_io::sim::{SimDisk, World};

use crate::corruption::{Written, files};
use crate::splitmix::splitmix;

/// The bytes of a file, or `None` where it is not there.
type Version = Option<Arc<[u8]>>;

/// At most so many files are copied in every order; all others at once, in the end.
const ORDERED: usize = 6;

/// Files of the run's end that are replaced: by name, which version, and its bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Image {
    replaced: BTreeMap<String, (usize, Version)>,
}

impl Image {
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.replaced.keys().map(String::as_str)
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, (name, (moment, version))) in self.replaced.iter().enumerate() {
            let comma = if nth > 0 { ", " } else { "" };
            match version {
                Some(bytes) => write!(
                    f,
                    "{comma}{name} as after step {moment} ({} bytes)",
                    bytes.len()
                )?,
                None => write!(f, "{comma}{name} missing, as after step {moment}")?,
            }
        }
        Ok(())
    }
}

/// The recorded run.
pub(super) struct Images {
    dir: &'static str,
    last: World,
    /// Each file that ever was: its versions, each with the first moment at which it stood so, the last one
    /// last.
    versions: BTreeMap<String, Vec<(usize, Version)>>,
    moments: usize,
}

impl Images {
    pub(super) fn new(written: &Written, dir: &'static str) -> Self {
        let moments: Vec<BTreeMap<String, Arc<[u8]>>> = (written.earlier.iter())
            .chain([&written.world])
            .map(|world| {
                let files = files(dir, world).into_iter();
                files.map(|(name, bytes)| (name, bytes.into())).collect()
            })
            .collect();
        let names: BTreeSet<&String> = moments.iter().flat_map(BTreeMap::keys).collect();
        let versions = names.into_iter().map(|name| {
            let mut versions: Vec<(usize, Version)> = Vec::new();
            for (moment, files) in moments.iter().enumerate() {
                let version = files.get(name).cloned();
                if versions.last().is_none_or(|(_, last)| *last != version) {
                    versions.push((moment, version));
                }
            }
            (name.clone(), versions)
        });
        Self {
            dir,
            last: written.world.clone(),
            versions: versions.collect(),
            moments: moments.len(),
        }
    }

    /// The versions of the file called `name` that are not the last one.
    fn earlier(&self, name: &str) -> impl Iterator<Item = &(usize, Version)> {
        let versions = self.versions.get(name).map_or(&[][..], Vec::as_slice);
        let last = versions.last().map(|(_, last)| last);
        let mut seen = BTreeSet::new();
        let is_other = move |version: &&(usize, Version)| {
            Some(&version.1) != last && seen.insert(version.1.clone())
        };
        versions.iter().filter(is_other)
    }

    /// Each file, replaced by each of its earlier versions.
    pub(super) fn single(&self) -> Vec<Image> {
        let of = |name: &String| {
            let name = name.clone();
            self.earlier(&name)
                .map(|version| Image {
                    replaced: BTreeMap::from([(name.clone(), version.clone())]),
                })
                .collect::<Vec<_>>()
        };
        self.versions.keys().flat_map(of).collect()
    }

    /// Each pair of files, replaced by each of their earlier versions.
    pub(super) fn pairs(&self) -> Vec<Image> {
        let single = self.single();
        let mut pairs = Vec::new();
        for (nth, one) in single.iter().enumerate() {
            for other in single.iter().skip(nth + 1) {
                if one.names().eq(other.names()) {
                    continue;
                }
                let mut replaced = one.replaced.clone();
                replaced.extend(other.replaced.clone());
                pairs.push(Image { replaced });
            }
        }
        pairs
    }

    /// Copies that were begun at each moment, with a step of the run between two files, in every order.
    pub(super) fn copies(&self) -> Vec<Image> {
        let mut copies = BTreeSet::new();
        for begin in 0..self.moments {
            let is_there = |name: &&String| self.at(name, begin).1.is_some();
            let listed: Vec<&String> = self.versions.keys().filter(is_there).collect();
            // The newest files change most, and what says of the others what counts comes first or last by
            // name.
            let few = listed.len().min(ORDERED);
            let (others, ordered) = listed.split_at(listed.len() - few);
            permutations(ordered, &mut |order| {
                copies.insert(self.copy(begin, order.iter().chain(others).copied()));
            });
        }
        let is_changed = |copy: &Image| !copy.replaced.is_empty();
        copies.into_iter().filter(is_changed).collect()
    }

    /// A copy of the files `order`, begun at the moment `begin`.
    fn copy<'a>(&self, begin: usize, order: impl Iterator<Item = &'a String>) -> Image {
        let mut copied = BTreeMap::new();
        for (nth, name) in order.enumerate() {
            let moment = (begin + nth.min(ORDERED)).min(self.moments - 1);
            copied.insert(name.clone(), self.at(name, moment));
        }
        let mut replaced = BTreeMap::new();
        for (name, versions) in &self.versions {
            let (_, last) = versions.last().expect("a file that ever was has a version");
            // What came after the copy was begun is not in it.
            let version = copied.remove(name).unwrap_or((begin, None));
            if version.1 != *last {
                replaced.insert(name.clone(), version);
            }
        }
        Image { replaced }
    }

    fn at(&self, name: &str, moment: usize) -> (usize, Version) {
        let versions = self.versions.get(name).map_or(&[][..], Vec::as_slice);
        let at = versions.iter().rev().find(|(first, _)| *first <= moment);
        at.cloned().unwrap_or((moment, None))
    }

    /// The last moment at which all files that `image` replaced may have stood so, or later ones.
    pub(super) fn oldest(&self, image: &Image) -> usize {
        let until = |(name, (first, _)): (&String, &(usize, Version))| {
            let versions = self.versions.get(name).map_or(&[][..], Vec::as_slice);
            let next = versions.iter().find(|(moment, _)| moment > first);
            next.map_or(self.moments, |(moment, _)| *moment) - 1
        };
        image.replaced.iter().map(until).min().unwrap_or(0)
    }

    /// The disk with `image` on it.
    pub(super) fn world(&self, image: &Image) -> World {
        let files = image.replaced.iter();
        let files = files.map(|(name, (_, version))| (name.as_str(), version));
        replace(self.dir, &self.last, files)
    }

    /// `world` with the right files in the places of those that `image` replaced.
    pub(super) fn restored(&self, world: &World, image: &Image) -> World {
        let right = |name| {
            let versions = self.versions.get(name);
            let (_, last) = versions.and_then(|versions| versions.last())?;
            Some((name, last))
        };
        replace(self.dir, world, image.names().filter_map(right))
    }
}

fn replace<'a>(
    dir: &str,
    world: &World,
    files: impl Iterator<Item = (&'a str, &'a Version)>,
) -> World {
    let sim = SimDisk::boot(world.clone());
    let put = |name: &str, bytes: Option<&[u8]>| -> durable_io::Result<()> {
        let (below, name) = name.rsplit_once('/').unwrap_or(("", name));
        let dir: Dir = sim.disk().create_dir(format!("{dir}/{below}"))?;
        match dir.remove(name) {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
        match bytes {
            Some(bytes) => dir.create_new(name)?.write_all_at(bytes, 0),
            None => Ok(()),
        }
    };
    for (name, version) in files {
        put(name, version.as_deref()).expect("a simulated disk without faults takes it");
    }
    sim.world().keep_unsynced()
}

fn permutations<T: Copy>(items: &[T], visit: &mut dyn FnMut(&[T])) {
    fn extend<T: Copy>(chosen: &mut Vec<T>, rest: &mut Vec<T>, visit: &mut dyn FnMut(&[T])) {
        if rest.is_empty() {
            return visit(chosen);
        }
        for nth in 0..rest.len() {
            let item = rest.remove(nth);
            chosen.push(item);
            extend(chosen, rest, visit);
            chosen.pop();
            rest.insert(nth, item);
        }
    }
    extend(&mut Vec::new(), &mut items.to_vec(), visit);
}

/// Keeps `most` of `images`, drawn by `seed`.
pub(super) fn draw(images: &mut Vec<Image>, most: usize, seed: u64) {
    while images.len() > most {
        let at = splitmix(seed ^ images.len() as u64) % images.len() as u64;
        images.swap_remove(usize::try_from(at).expect("an index of them"));
    }
}
