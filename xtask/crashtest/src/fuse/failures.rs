//! What is no crash: a sync that fails and drops what it was to make durable, and a full disk.

use super::call::Call;
use super::machine::Event;
use super::replay::Run;
use crate::model::mix;

impl Run<'_> {
    /// Lets one sync of a file fail in each of several runs. The pages that it covered are clean from
    /// then on and never reach the disk, as on a real system; whatever is acknowledged before or after
    /// must survive, over a power loss and over the death of the process alone.
    pub(crate) fn fail_syncs(&mut self, recorded: &[Event]) {
        let last = self.bound.failing_operations;
        let of_these = recorded
            .iter()
            .take_while(|event| !matches!(event, Event::Acknowledged(n) if *n == last));
        let syncs = of_these
            .filter(|event| matches!(event, Event::Call(Call::SyncFile { .. })))
            .count();
        let runs = self.bound.failed_syncs.min(syncs);
        for nth in 0..runs {
            if self.is_over() {
                return;
            }
            let sync = (nth * syncs / runs) as u64;
            self.machine.boot(self.fresh());
            self.machine.fail_sync_after(sync);
            let ended = self.work(self.bound.failing_operations);
            if self.machine.sync_has_not_failed() {
                // A program that does not do the same in every run.
                continue;
            }
            self.tally.failed_syncs += 1;
            let left = self.machine.volume();
            drop(ended.store);
            let place = |what: &str| format!("the failure of file sync {sync} and {what}");
            self.judge(ended.promised, &|| place("the end of the process"));
            let (ending, most) = (self.conditions.ending, self.bound.per_moment);
            for crashed in ending.states(&left, most, mix(self.seed, sync)) {
                self.judge_loss(crashed, ended.promised, &|| place(&ending.what()));
            }
        }
    }

    /// Runs on disks of several sizes until they are full. Then there is room again: the store must
    /// open with what it acknowledged, whether or not the power failed in between.
    pub(crate) fn fill_disks(&mut self) {
        let empty = self.fresh().used_bytes();
        self.machine.boot(self.fresh());
        drop(self.work(self.bound.failing_operations).store);
        let enough = self.machine.volume().used_bytes().saturating_sub(empty);
        for nth in 1..=self.bound.full_disks {
            if self.is_over() {
                return;
            }
            let room = empty + enough * nth / (self.bound.full_disks + 1);
            self.machine.boot(self.fresh());
            self.machine.set_room(Some(room));
            let ended = self.work(self.bound.failing_operations);
            let left = self.machine.volume();
            drop(ended.store);
            self.machine.set_room(None);
            self.tally.full_disks += 1;
            let place = |what: &str| format!("a disk of {room} bytes was full, and {what}");
            self.judge(ended.promised, &|| place("grew"));
            let ending = self.conditions.ending;
            let then = format!("was ended by {}", ending.what());
            self.judge_loss(ending.least(&left), ended.promised, &|| place(&then));
        }
    }
}
