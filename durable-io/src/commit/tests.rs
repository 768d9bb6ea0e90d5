use std::sync::mpsc;
use std::thread::{self, ScopedJoinHandle};

use super::*;

type Queue = GroupCommit<u32, Vec<u32>>;

/// Until `n` members are in the group that is filling.
fn until_filled(queue: &Queue, n: usize) {
    while queue.lock().filling.len() < n {
        thread::yield_now();
    }
}

/// Joins all, and returns what was committed together with each.
fn groups(threads: Vec<ScopedJoinHandle<'_, Vec<u32>>>) -> Vec<Vec<u32>> {
    let joined = threads.into_iter().map(|thread| thread.join().unwrap());
    joined.collect()
}

#[test]
fn all_who_come_while_a_leader_works_form_the_next_group() {
    let queue = &Queue::new();
    let (work, leader_works) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let first = scope.spawn(move || {
            let wait = |items: &mut [u32]| {
                assert!(leader_works.recv().is_err());
                items.to_vec()
            };
            queue.commit(0, wait).0
        });
        while queue.lock().leader == Leader::Free {
            thread::yield_now();
        }
        let mut others = Vec::new();
        for n in 1..=5 {
            others.push(scope.spawn(move || queue.commit(n, |items| items.to_vec()).0));
            until_filled(queue, n as usize);
        }
        drop(work);
        assert_eq!(first.join().unwrap(), [0]);
        assert_eq!(groups(others), vec![vec![1, 2, 3, 4, 5]; 5]);
    });
}

#[test]
fn a_panic_of_the_leader_is_a_panic_of_its_followers_and_of_all_later_ones() {
    let queue = &Queue::new();
    let (work, leader_works) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let first = scope.spawn(move || {
            queue.commit(0, |_| {
                assert!(leader_works.recv().is_err());
                panic!("planted");
            })
        });
        while queue.lock().leader == Leader::Free {
            thread::yield_now();
        }
        let waiting = scope.spawn(|| queue.commit(1, |items| items.to_vec()));
        until_filled(queue, 1);
        drop(work);
        assert!(first.join().is_err());
        assert!(waiting.join().is_err());
        let later = scope.spawn(|| queue.commit(2, |items| items.to_vec()));
        assert!(later.join().is_err());
    });
}

/// A thread that serves was stopped while others led what was left, and was not stopped again.
#[test]
fn a_thread_that_serves_ends_when_others_lead_what_is_left() {
    let queue = &Queue::new();
    let (work, leader_works) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let server = scope.spawn(|| while queue.wait_for_group() {});
        scope.spawn(move || {
            let wait = |items: &mut [u32]| {
                assert!(leader_works.recv().is_err());
                items.to_vec()
            };
            queue.commit(0, wait)
        });
        while queue.lock().leader == Leader::Free {
            thread::yield_now();
        }
        scope.spawn(|| queue.commit(1, |items| items.to_vec()));
        while queue.lock().waiting == 0 {
            thread::yield_now();
        }
        queue.stop();
        // Until it has seen that it is to stop, and that something is left.
        while !queue.lock().idle {
            thread::yield_now();
        }
        drop(work);
        server.join().unwrap();
    });
}

#[test]
fn whoever_waits_for_the_leader_learns_that_it_is_done_or_that_it_panicked() {
    for panics in [false, true] {
        let queue = &Queue::new();
        assert!(!queue.wait_for_leader(), "nobody leads");
        let (work, leader_works) = mpsc::channel::<()>();
        let is_done = &Mutex::new(false);
        thread::scope(|scope| {
            let leader = scope.spawn(move || {
                queue.commit(0, |items| {
                    assert!(leader_works.recv().is_err());
                    *is_done.lock().unwrap() = true;
                    assert!(!panics, "planted");
                    items.to_vec()
                })
            });
            while queue.lock().leader == Leader::Free {
                thread::yield_now();
            }
            let outside = scope.spawn(|| {
                assert!(queue.wait_for_leader());
                assert!(*is_done.lock().unwrap());
            });
            while queue.lock().outside == 0 {
                thread::yield_now();
            }
            drop(work);
            assert_eq!(leader.join().is_err(), panics);
            outside.join().unwrap();
        });
    }
}

#[test]
fn the_site_is_where_the_queue_was_made() {
    let (queue, line) = (Queue::default(), line!());
    assert_eq!((queue.site().file, queue.site().line), (file!(), line));
    assert_eq!(queue.site().barrier, Barrier::Data);
}

#[test]
fn members_that_do_not_wait_are_led_by_the_first_that_does() {
    let queue = Queue::new();
    let members: Vec<_> = (0..3).map(|n| queue.submit(n)).collect();
    assert!(members.iter().all(|member| member.result().is_none()));
    assert_eq!(
        queue.commit(3, |items| items.to_vec()),
        (vec![0, 1, 2, 3], 3)
    );
    for (index, member) in members.iter().enumerate() {
        assert_eq!(member.index(), index);
        assert_eq!(queue.wait(member, |_| unreachable!()), [0, 1, 2, 3]);
    }
    assert!(!queue.lead_once(|_| unreachable!()));
    let member = queue.submit(4);
    assert!(queue.lead_once(|items| items.to_vec()));
    assert_eq!(member.result(), Some(&vec![4]));
}

#[test]
fn a_thread_that_serves_leads_what_nobody_waits_for() {
    let queue = &Queue::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            while queue.wait_for_group() {
                queue.lead_once(|items| items.to_vec());
            }
        });
        for n in 0..1000 {
            let member = queue.submit(n);
            // Waited for in every other round only, so that both ways of leading take turns.
            if n % 2 == 0 {
                assert!(queue.wait(&member, |items| items.to_vec()).contains(&n));
            }
            while member.result().is_none() {
                thread::yield_now();
            }
        }
        // Left behind, and led before the thread ends.
        let last = queue.submit(1000);
        queue.stop();
        while last.result().is_none() {
            thread::yield_now();
        }
    });
}

#[test]
fn those_who_wait_and_those_who_do_not_are_all_committed_once() {
    let queue = &Queue::new();
    let committed = &Mutex::new(Vec::new());
    let lead = &|items: &mut [u32]| {
        committed.lock().unwrap().extend_from_slice(items);
        items.to_vec()
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            while queue.wait_for_group() {
                queue.lead_once(lead);
            }
        });
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                scope.spawn(move || {
                    for n in 0..2000 {
                        let item = writer * 2000 + n;
                        let member = queue.submit(item);
                        let (result, index) = match n % 3 {
                            0 => (queue.wait(&member, lead), member.index()),
                            1 => queue.commit(item + 100_000, lead),
                            _ => continue,
                        };
                        let own = [item, item + 100_000];
                        assert!(own.contains(&result[index]));
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        queue.stop();
    });
    let mut committed = committed.lock().unwrap().clone();
    committed.sort_unstable();
    let mut expected: Vec<u32> = (0..8000).collect();
    expected.extend((0..8000).filter(|n| n % 2000 % 3 == 1).map(|n| n + 100_000));
    assert_eq!(committed, expected);
}

const LONG: Duration = Duration::from_secs(3600);

#[test]
fn a_group_waits_for_those_who_are_about_to_come_and_the_last_one_leads() {
    for gathers in [true, false] {
        let queue = &Queue::new().gather(gathers);
        queue.lock().expected = 3;
        queue.lock().took = LONG;
        thread::scope(|scope| {
            let mut others = Vec::new();
            for n in 1..=2 {
                let lead = move |items: &mut [u32]| {
                    assert!(!gathers, "one who waits leads");
                    items.to_vec()
                };
                others.push(scope.spawn(move || queue.commit(n, lead).0));
                if gathers {
                    until_filled(queue, n as usize);
                }
            }
            if gathers {
                let group = queue.commit(3, |items| items.to_vec());
                assert_eq!(group, (vec![1, 2, 3], 2));
                assert_eq!(groups(others), vec![vec![1, 2, 3]; 2]);
            }
        });
    }
}

/// The last one does not wait, so one of those who sleep must be called.
#[test]
fn a_member_that_does_not_wait_may_be_the_last_that_a_group_waits_for() {
    let queue = &Queue::new();
    queue.lock().expected = 2;
    queue.lock().took = LONG;
    thread::scope(|scope| {
        let first = scope.spawn(|| queue.commit(0, |items| items.to_vec()).0);
        until_filled(queue, 1);
        queue.submit(1);
        assert_eq!(first.join().unwrap(), [0, 1]);
    });
}

/// Those who sleep for a group that fills while another one is committed must not all stay asleep.
#[test]
fn a_group_that_filled_while_another_was_committed_is_watched_by_one_of_its_members() {
    let queue = &Queue::new();
    let (work, leader_works) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            let wait = |items: &mut [u32]| {
                assert!(leader_works.recv().is_err());
                items.to_vec()
            };
            queue.commit(0, wait)
        });
        while queue.lock().leader == Leader::Free {
            thread::yield_now();
        }
        let second = scope.spawn(|| queue.commit(1, |items| items.to_vec()).0);
        while queue.lock().waiting == 0 {
            thread::yield_now();
        }
        // Long enough to wait for the first to come back, which it does not.
        queue.lock().took = SHORT;
        drop(work);
        assert_eq!(second.join().unwrap(), [1]);
    });
    assert_eq!(queue.lock().skipping, 1, "it was in vain");
}

#[test]
fn after_it_was_in_vain_a_group_is_waited_for_more_rarely() {
    let queue = Queue::new();
    for skipped in [1, 2, 4, 8] {
        queue.lock().expected = 2;
        queue.lock().took = SHORT;
        assert_eq!(queue.commit(0, |items| items.to_vec()).0, [0]);
        assert_eq!(queue.lock().skipping, skipped);
        // The ones that are not waited for.
        for left in (0..skipped).rev() {
            queue.lock().expected = 2;
            queue.lock().took = LONG;
            assert_eq!(queue.commit(0, |items| items.to_vec()).0, [0]);
            assert_eq!(queue.lock().skipping, left);
        }
    }
    // And as before when they do come.
    queue.lock().expected = 2;
    queue.lock().took = LONG;
    thread::scope(|scope| {
        let first = scope.spawn(|| queue.commit(2, |items| items.to_vec()).0);
        until_filled(&queue, 1);
        queue.commit(3, |items| items.to_vec());
        assert_eq!(first.join().unwrap(), [2, 3]);
    });
    assert_eq!(queue.lock().skip_next, 1);
}

#[test]
fn what_is_lazy_waits_for_company_or_for_the_end() {
    let queue = Queue::new();
    let lead = |items: &mut [u32]| items.to_vec();
    let lazy = queue.submit_lazily(1);
    assert!(queue.has_lazy());
    assert!(!queue.lead_once(|_| unreachable!()));
    assert_eq!(queue.commit(2, lead).0, [1, 2]);
    assert_eq!(lazy.result(), Some(&vec![1, 2]));
    assert!(!queue.has_lazy());
    let lazy = queue.submit_lazily(3);
    drop(queue.submit(4));
    assert!(queue.lead_once(lead));
    assert_eq!(lazy.result(), Some(&vec![3, 4]));
    let lazy = queue.submit_lazily(5);
    assert_eq!(queue.wait(&lazy, lead), [5], "somebody waits for it");
    drop(queue.submit_lazily(6));
    queue.stop();
    assert!(queue.wait_for_group());
    assert!(queue.lead_once(lead));
    assert!(!queue.wait_for_group());
}
