//! From effects to disks: every set of effects that has no effect without its reason, and something in
//! each hole.

use std::collections::{BTreeMap, BTreeSet};

use super::{Disk, Image, Node, Reference, as_usize};

/// What fills the holes of a file.
#[derive(Clone, Copy)]
enum Fill {
    Zero,
    Garbage,
    Stale(usize),
}

/// An image that is being built, and what the files in it were taken to hold.
type Filled = (Image, BTreeMap<usize, Vec<u8>>);

impl Reference {
    /// Every state that a power loss can leave now; `None` if there are more than `limit` choices.
    pub(crate) fn images(
        &self,
        limit: usize,
        garbage: &dyn Fn(usize) -> Vec<u8>,
    ) -> Option<BTreeSet<Image>> {
        let mut choices = vec![Vec::new()];
        for effect in &self.effects {
            let mut longer = Vec::new();
            for chosen in choices {
                let may_happen = effect.after.iter().all(|before| chosen[*before]);
                assert!(may_happen || !effect.durable, "durable without its reason");
                if may_happen {
                    longer.push([chosen.as_slice(), &[true]].concat());
                }
                if !effect.durable {
                    longer.push([chosen.as_slice(), &[false]].concat());
                }
            }
            choices = longer;
            if choices.len() > limit {
                return None;
            }
        }
        let mut images = BTreeSet::new();
        for chosen in choices {
            let disk = self.fold(|index| chosen[index]);
            images.extend(self.fillings(&disk, garbage));
        }
        Some(images)
    }

    /// The images of a disk whose holes are filled, those of each file in one way.
    fn fillings(&self, disk: &Disk, garbage: &dyn Fn(usize) -> Vec<u8>) -> Vec<Image> {
        let stale = (0..self.stale.len()).map(Fill::Stale);
        let fills: Vec<Fill> = [Fill::Zero, Fill::Garbage]
            .into_iter()
            .chain(stale)
            .collect();
        let mut images: Vec<Filled> = vec![Default::default()];
        for (name, node) in &disk.names {
            if !disk.has_dir(name.0) {
                continue;
            }
            let path = format!("{}{}", ["/", "/d/"][name.0], name.1);
            let Node::File(file) = *node else {
                for (image, _) in &mut images {
                    image.insert(path.clone(), None);
                }
                continue;
            };
            let mut filled = Vec::new();
            for (image, bytes_of) in &images {
                // A file of two names has one content.
                let contents: BTreeSet<Vec<u8>> = match bytes_of.get(&file) {
                    Some(bytes) => BTreeSet::from([Vec::clone(bytes)]),
                    None => (fills.iter())
                        .map(|fill| self.content(disk, file, *fill, garbage))
                        .collect(),
                };
                for bytes in contents {
                    let (mut image, mut bytes_of) = (image.clone(), bytes_of.clone());
                    bytes_of.insert(file, bytes.clone());
                    image.insert(path.clone(), Some(bytes));
                    filled.push((image, bytes_of));
                }
            }
            images = filled;
        }
        images.into_iter().map(|(image, _)| image).collect()
    }

    fn content(
        &self,
        disk: &Disk,
        file: usize,
        fill: Fill,
        garbage: &dyn Fn(usize) -> Vec<u8>,
    ) -> Vec<u8> {
        let size = as_usize(disk.size(file));
        let sectors = (0..size.div_ceil(self.unit)).map(|at| {
            let written = disk.sectors.get(&(file, at)).cloned();
            written.unwrap_or_else(|| match fill {
                Fill::Zero => vec![0; self.unit],
                Fill::Garbage => garbage(at),
                Fill::Stale(source) => {
                    let stale = self.stale[source].get(&at).cloned();
                    stale.unwrap_or_else(|| vec![0; self.unit])
                }
            })
        });
        let mut bytes: Vec<u8> = sectors.flatten().collect();
        bytes.truncate(size);
        bytes
    }
}
