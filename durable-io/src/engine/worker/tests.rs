use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;

use super::*;

#[derive(Clone, Debug, thiserror::Error)]
#[error("planted")]
struct Planted;

struct Rig {
    work: Arc<Work>,
    health: Arc<Health>,
}

fn rig() -> Rig {
    let health = Health::new();
    Rig {
        work: Work::new(&Disk::os(), &health),
        health,
    }
}

#[test]
fn a_thread_works_until_there_is_nothing_left_and_again_when_it_is_notified() {
    let Rig { work, .. } = rig();
    let (did, done) = mpsc::channel();
    let (todo, wanted) = mpsc::channel();
    let step = move || {
        let Ok(n) = wanted.try_recv() else {
            return Ok::<_, Planted>(Step::Idle);
        };
        did.send((n, thread::current().name().map(str::to_owned)))
            .unwrap();
        Ok(Step::Done)
    };
    todo.send(1).unwrap();
    let worker = work.start("worker-test", step).unwrap();
    for n in 2..100 {
        todo.send(n).unwrap();
        work.notify();
    }
    let numbers = done.iter().take(99).map(|(n, name)| {
        assert_eq!(name.as_deref(), Some("worker-test"));
        n
    });
    assert!(numbers.eq(1..100));
    drop(worker);
    assert!(done.recv().is_err(), "the thread has ended");
}

#[test]
fn a_step_that_failed_is_put_off_and_is_no_error() {
    let Rig { work, .. } = rig();
    let tries = AtomicU32::new(0);
    let fails = || {
        tries.fetch_add(1, Ordering::Relaxed);
        Err(Planted)
    };
    assert!(work.run_once(fails).unwrap());
    assert!(!work.run_once(fails).unwrap(), "not yet");
    assert_eq!(tries.load(Ordering::Relaxed), 1);
    let trouble = work.trouble().unwrap();
    assert_eq!(trouble.attempts, 1);
    assert_eq!(trouble.error.to_string(), "planted");
}

#[test]
fn each_attempt_waits_longer_and_a_success_forgets_them() {
    let Rig { work, .. } = rig();
    let delays = [100, 200, 400].map(Duration::from_millis);
    for expected in delays {
        assert_eq!(work.put_off(Planted), expected);
    }
    for _ in 0..100 {
        assert!(work.put_off(Planted) <= LONGEST_DELAY);
    }
    work.state().trouble.as_mut().unwrap().next = Duration::ZERO;
    assert!(work.run_once(|| Ok::<_, Planted>(Step::Done)).unwrap());
    assert!(work.trouble().is_none());
}

#[test]
fn a_thread_tries_again() {
    let Rig { work, .. } = rig();
    let (did, done) = mpsc::channel();
    let mut tries = 0;
    let step = move || {
        tries += 1;
        if tries < 3 {
            return Err(Planted);
        }
        did.send(tries).unwrap();
        Ok(Step::Idle)
    };
    let worker = work.start("worker-test", step).unwrap();
    assert_eq!(done.recv(), Ok(3));
    drop(worker);
}

#[test]
fn an_error_that_poisons_is_returned_and_ends_the_work() {
    let Rig { work, health } = rig();
    let step = || {
        health.poison(Failure::Panic);
        Err(Planted)
    };
    work.run_once(step).unwrap_err();
    let (did, done) = mpsc::channel();
    let worker = work
        .start("worker-test", move || {
            did.send(()).unwrap();
            Ok::<_, Planted>(Step::Done)
        })
        .unwrap();
    assert!(done.recv().is_err(), "no step is taken any more");
    drop(worker);
}

#[test]
fn a_panic_poisons_and_is_nobody_elses() {
    let Rig { work, health } = rig();
    let (did, done) = mpsc::channel();
    let worker = work
        .start("worker-test", move || -> Result<Step, Planted> {
            did.send(()).unwrap();
            panic!("planted")
        })
        .unwrap();
    // A worker that is stopped at once takes no step.
    done.recv().unwrap();
    drop(worker);
    let poisoned = health.check().unwrap_err();
    assert!(matches!(poisoned.source, Failure::Panic));
}

#[test]
fn a_thread_that_drops_itself_does_not_wait_for_itself() {
    let Rig { health, .. } = rig();
    let (give, take) = mpsc::channel::<Thread>();
    let (did, done) = mpsc::channel();
    let run = move || {
        drop(take.recv().unwrap());
        did.send(()).unwrap();
    };
    give.send(Thread::spawn("worker-test", &health, run).unwrap())
        .unwrap();
    done.recv().unwrap();
}
