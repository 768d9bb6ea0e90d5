//! Group commit under real threads.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use durable_io::{Disk, GroupCommit, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Item {
    thread: usize,
    number: usize,
}

/// What every member of a group gets.
type Outcome = std::result::Result<Arc<Vec<Item>>, u64>;

/// Lets `threads` threads commit `each` items, the threads in the sight of `lead`, and returns what
/// was committed, in order.
fn run(threads: usize, each: usize, fail_every: u64) -> Vec<Item> {
    let queue: GroupCommit<Item, Outcome> = GroupCommit::new();
    let leading = AtomicBool::new(false);
    let groups = AtomicU64::new(0);
    let log = std::sync::Mutex::new(Vec::new());
    let lead = |items: &mut [Item]| {
        assert!(!leading.swap(true, Ordering::SeqCst), "two leaders at once");
        let group = groups.fetch_add(1, Ordering::SeqCst);
        log.lock().unwrap().extend_from_slice(items);
        // Lets others come in between, on one core too.
        thread::yield_now();
        assert!(leading.swap(false, Ordering::SeqCst));
        if group % fail_every == fail_every - 1 {
            Err(group)
        } else {
            Ok(Arc::new(items.to_vec()))
        }
    };
    thread::scope(|scope| {
        for thread in 0..threads {
            let (queue, lead) = (&queue, &lead);
            scope.spawn(move || {
                for number in 0..each {
                    let item = Item { thread, number };
                    let (outcome, index) = queue.commit(item, lead);
                    if let Ok(items) = outcome {
                        assert_eq!(items[index], item, "the result of another group");
                    }
                }
            });
        }
    });
    assert!(groups.into_inner() <= (threads * each) as u64);
    log.into_inner().unwrap()
}

#[test]
fn every_item_is_committed_once_and_each_threads_items_in_their_order() {
    for threads in [1, 2, 3, 8, 32] {
        let each = 20_000 / threads;
        let log = run(threads, each, u64::MAX);
        assert_eq!(log.len(), threads * each);
        for thread in 0..threads {
            let of_thread = log.iter().filter(|item| item.thread == thread);
            assert!(
                of_thread.map(|item| item.number).eq(0..each),
                "{threads} threads"
            );
        }
    }
}

#[test]
fn a_group_that_failed_stops_nobody() {
    assert_eq!(run(4, 2_000, 3).len(), 8_000);
}

#[test]
fn a_log_written_by_groups_holds_every_item_and_syncs_less_often() {
    let temp = tempfile::TempDir::new().unwrap();
    let dir = Disk::os().open_dir(temp.path()).unwrap();
    let file = dir.create_new("log").unwrap();
    let queue: GroupCommit<Vec<u8>, Result<()>> = GroupCommit::new();
    let (end, syncs) = (AtomicU64::new(0), AtomicU64::new(0));
    let lead = |items: &mut [Vec<u8>]| {
        let bytes = items.concat();
        // Only one leader runs at a time.
        let at = end.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        file.write_all_at(&bytes, at)?;
        syncs.fetch_add(1, Ordering::Relaxed);
        file.sync_data_at(queue.site()).map(drop)
    };
    thread::scope(|scope| {
        for thread in 0..8_u8 {
            let (queue, lead) = (&queue, &lead);
            scope.spawn(move || {
                for _ in 0..50 {
                    queue.commit(vec![thread; 16], lead).0.unwrap();
                }
            });
        }
    });
    let mut bytes = vec![0; 8 * 50 * 16];
    file.read_exact_at(&mut bytes, 0).unwrap();
    for thread in 0..8_u8 {
        assert_eq!(
            bytes
                .chunks(16)
                .filter(|item| **item == [thread; 16])
                .count(),
            50
        );
    }
    let syncs = syncs.into_inner();
    assert!(syncs <= 400, "{syncs} syncs for 400 items");
}
