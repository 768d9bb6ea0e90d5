//! The log as it is: a map from positions to records. So it is asked when it is damaged.

use crashtest::{Change, Contents, Outcome, Refusal, Repaired, Setting, Store};
use wal::{Lsn, Wal};

pub(super) struct Records(pub(super) Wal);

/// The key of record `lsn`.
pub(super) fn key(lsn: u64) -> Vec<u8> {
    format!("record {lsn:03}").into_bytes()
}

pub(super) fn repair(setting: &Setting) -> Outcome<Repaired> {
    let log = super::options(setting).repair(&setting.dir)?;
    let (recovery, end) = (log.recovery().clone(), log.bounds().end);
    let (dropped, given_up) = (recovery.dropped, recovery.given_up.into_iter());
    if let Some(dropped) = dropped.as_ref().filter(|dropped| dropped.start != end) {
        return Err(format!("it ends before {end}, dropped are {dropped:?}").into());
    }
    let given_up = given_up.flat_map(|lsns| lsns.start.0..lsns.end.0);
    Ok(Repaired {
        dropped: dropped.map(|dropped| dropped.end.0 - dropped.start.0),
        given_up: given_up.map(key).collect(),
        store: Box::new(Records(log)),
    })
}

impl Store for Records {
    fn apply(&self, changes: &[Change]) -> Outcome<()> {
        let values = changes.iter().filter_map(|(_, value)| value.as_deref());
        self.0.append_batch(&values.collect::<Vec<_>>())?;
        Ok(())
    }

    fn dump(&self) -> Outcome<Contents> {
        let (contents, errors) = self.salvage();
        errors.into_iter().next().map_or(Ok(contents), Err)
    }

    fn salvage(&self) -> (Contents, Vec<Box<Refusal>>) {
        let (bounds, mut due) = (self.0.bounds(), self.0.bounds().start);
        let (mut contents, mut errors) = (Contents::new(), Vec::<Box<Refusal>>::new());
        for record in self.0.records(Lsn(0)) {
            match record {
                Ok(record) if record.lsn == due => {
                    contents.insert(key(due.0), record.payload);
                    due = due.next();
                }
                Ok(record) => errors.push(format!("{} is instead of {due}", record.lsn).into()),
                Err(error) => errors.push(error.into()),
            }
        }
        if errors.is_empty() && due != bounds.end {
            errors.push(format!("{bounds:?}, but the records end before {due}").into());
        }
        if !errors.is_empty() {
            // Damage withholds what is after it, but not the newest record: that was read by the recovery.
            let newest = bounds.end.0.saturating_sub(1);
            match self.0.records(Lsn(newest)).next() {
                Some(Ok(record)) => drop(contents.insert(key(record.lsn.0), record.payload)),
                _ => errors.push("damage withholds the newest record, which has none".into()),
            }
        }
        (contents, errors)
    }

    fn verify(&self) -> Outcome<Vec<Box<Refusal>>> {
        Ok(self.0.verify().err().into_iter().map(Into::into).collect())
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        Ok(self.0.close()?)
    }
}
