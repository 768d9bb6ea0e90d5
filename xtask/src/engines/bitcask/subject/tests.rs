use super::*;
use durable_io::sim::{Bound, Explorer};

#[test]
fn every_mode_survives_every_single_operation() {
    for sync in [SyncMode::Always, BATCH, SyncMode::Manual] {
        let subject = BitcaskSubject {
            sync,
            reserve: 0,
            backs_up: false,
        };
        let explored = Explorer::new(&subject).explore(&Bound::of_length(1), &|_| {});
        if let Some(example) = explored.counterexample {
            panic!("{sync:?}:\n{example}");
        }
        assert!(
            explored.counts.unique_states > 1000,
            "{:?}",
            explored.counts
        );
        assert_eq!(explored.counts.sampled_points, 0);
    }
}
