//! Under what a store is judged: how its machine ends, and from when on.

use clap::ValueEnum;
use durable_io::sim::{Profile, Volume};
use serde::{Deserialize, Serialize};

/// What ends a machine, and so what is left of what was not synced.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ending {
    /// Power loss on a file system that promises no more than POSIX does.
    #[default]
    Strict,
    /// Power loss on ext4 as it is mounted by default.
    Ext4,
    /// Power loss on ext4 that is mounted with `noauto_da_alloc`.
    Ext4NoautoDaAlloc,
    /// Power loss on XFS.
    Xfs,
    /// Power loss on btrfs.
    Btrfs,
    /// The process is killed, the machine goes on: nothing that was written is lost.
    Kill,
}

impl Ending {
    /// Its word on the command line.
    fn word(self) -> String {
        let value = self.to_possible_value().expect("each has a word");
        value.get_name().to_owned()
    }

    /// Its name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict POSIX",
            Self::Ext4 => "ext4",
            Self::Ext4NoautoDaAlloc => "ext4 with noauto_da_alloc",
            Self::Xfs => "XFS",
            Self::Btrfs => "btrfs",
            Self::Kill => "kill -9",
        }
    }

    /// What a report says in the place of "a power loss".
    pub(crate) fn what(self) -> String {
        match self {
            Self::Strict => "a power loss".to_owned(),
            Self::Kill => "kill -9".to_owned(),
            other => format!("a power loss on {}", other.name()),
        }
    }

    /// An empty disk that tears at `unit` bytes.
    pub(crate) fn disk(self, unit: usize) -> Volume {
        Volume::with_profile(
            unit,
            match self {
                Self::Strict | Self::Kill => Profile::STRICT,
                Self::Ext4 => Profile::EXT4,
                Self::Ext4NoautoDaAlloc => Profile::EXT4_NOAUTO_DA_ALLOC,
                Self::Xfs => Profile::XFS,
                Self::Btrfs => Profile::BTRFS,
            },
        )
    }

    /// What may be left of `volume`, a [`disk`](Ending::disk) of this ending: all of it if there are at most `most`
    /// states, a sample of so many otherwise, drawn by `seed`.
    pub(crate) fn states(self, volume: &Volume, most: usize, seed: u64) -> Vec<Volume> {
        match self {
            Self::Kill => vec![volume.clone()],
            _ => volume.power_losses(most, seed),
        }
    }

    /// The least that may be left of `volume`.
    pub(crate) fn least(self, volume: &Volume) -> Volume {
        match self {
            Self::Kill => volume.clone(),
            _ => volume.lose_unsynced(),
        }
    }
}

/// Under what a store is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::Args)]
pub(crate) struct Conditions {
    /// Judge by what is lost under this profile alone; each cause that is found is tried under all of them.
    /// Only the layer `fuse` runs.
    #[arg(long = "profile", value_enum, default_value_t, value_name = "PROFILE")]
    pub(crate) ending: Ending,
    /// Open the store once, read it and end it, and take that for durable: judge from there on.
    /// Only the layer `fuse` runs.
    #[arg(long)]
    pub(crate) after_creation: bool,
}

impl Conditions {
    /// The words of a command line that say this.
    pub(crate) fn words(self) -> Vec<String> {
        let mut words = vec![format!("--profile={}", self.ending.word())];
        words.extend(self.after_creation.then(|| "--after-creation".to_owned()));
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_loses_nothing_that_was_written_and_a_power_loss_what_was_not_synced() {
        for ending in Ending::value_variants() {
            let mut volume = ending.disk(512);
            let file = volume.create_file(Volume::ROOT, "a").unwrap();
            volume.write(file, b"x", 0).unwrap();
            let is_there = |left: &Volume| left.lookup(Volume::ROOT, "a").is_ok();
            let kills = *ending == Ending::Kill;
            assert_eq!(is_there(&ending.least(&volume)), kills, "{ending:?}");
            let states = ending.states(&volume, 16, 1);
            assert_eq!(states.iter().all(is_there), kills, "{ending:?}");
        }
    }
}
