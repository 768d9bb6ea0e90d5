//! Ways of appending that never wait, and payloads in parts.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use durable_io::sim::SimDisk;
use wal::{Background, Batch, Error, Lsn, MAX_IN_FLIGHT, Options, SyncMode};

#[path = "support/files.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod files;

use files::{fast_dir, options, payloads, settle};

#[test]
fn what_does_not_wait_says_that_too_much_is_in_flight() {
    let dir = fast_dir();
    let log = options().segment_size(32 << 20).open(dir.path()).unwrap();
    let megabyte = vec![7; (1 << 20) - 8];
    let mut tickets = Vec::new();
    let full = loop {
        match log.try_submit(&[&megabyte]) {
            Ok(ticket) => tickets.push(ticket),
            Err(error) => break error,
        }
    };
    assert!(matches!(full, Error::Full));
    assert_eq!(tickets.len() as u64, MAX_IN_FLIGHT >> 20);
    assert!(
        tickets.iter().all(|ticket| ticket.poll().is_none()),
        "nothing was committed"
    );
    let refused = log.try_submit_then(&[&megabyte], |_| panic!("nothing was submitted"));
    assert!(matches!(refused, Err(Error::Full)));
    settle(&log);
    // Larger than all that may be in flight, but nothing is.
    let huge = vec![7; 20 << 20];
    let huge = log.try_submit(&[&huge]).unwrap();
    assert!(matches!(log.try_submit(&[b"behind it"]), Err(Error::Full)));
    assert_eq!(huge.wait().unwrap().lsns(), Lsn(17)..Lsn(18));
    assert!(log.try_submit(&[b"fits again"]).unwrap().wait().is_ok());
}

/// A thread that held a lock which the callbacks take submitted until it had to wait, for itself.
#[test]
fn a_lock_that_callbacks_take_may_be_held_by_who_does_not_wait() {
    let dir = fast_dir();
    let log = options()
        .segment_size(32 << 20)
        .background(Background::Threads)
        .open(dir.path())
        .unwrap();
    let passed_on = Arc::new(Mutex::new(0));
    let megabyte = vec![7; 1 << 20];
    let mut submitted = 0;
    for _ in 0..4 {
        let count = passed_on.lock().unwrap();
        loop {
            let passed_on = Arc::clone(&passed_on);
            let done = move |_: Result<_, _>| *passed_on.lock().unwrap() += 1;
            match log.try_submit_then(&[&megabyte], done) {
                Ok(()) => submitted += 1,
                Err(Error::Full) => break,
                Err(error) => panic!("{error}"),
            }
        }
        drop(count);
        log.append(b"waits for what is in flight").unwrap();
    }
    log.close().unwrap();
    assert_eq!(*passed_on.lock().unwrap(), submitted);
}

#[test]
fn a_sync_that_is_not_waited_for_covers_what_came_before_it() {
    for mode in [SyncMode::Always, SyncMode::Manual] {
        for background in [Background::Inline, Background::Threads] {
            let sim = SimDisk::new();
            let options = options().sync(mode).background(background).disk(sim.disk());
            let log = options.open("/wal").unwrap();
            let (send, passed_on) = mpsc::channel();
            log.append(b"one").unwrap();
            drop(log.submit(&[b"two", b"three"]).unwrap());
            let first = send.clone();
            log.sync_then(move |durable| first.send(durable).unwrap())
                .unwrap();
            drop(log.submit(&[b"four"]).unwrap());
            log.sync_then(move |durable| send.send(durable).unwrap())
                .unwrap();
            while log.run_background().unwrap() {}
            let durable = passed_on
                .recv_timeout(Duration::from_secs(60))
                .unwrap()
                .unwrap();
            assert!(durable >= Lsn(3) && durable <= Lsn(4));
            assert_eq!(
                passed_on
                    .recv_timeout(Duration::from_secs(60))
                    .unwrap()
                    .unwrap(),
                Lsn(4)
            );
            assert_eq!(log.durable_lsn(), Lsn(4));
            let survivor = SimDisk::boot(sim.world().lose_unsynced());
            let log = Options::new().disk(survivor.disk()).open("/wal").unwrap();
            assert_eq!(log.bounds().end, Lsn(5));
        }
    }
}

#[test]
fn a_full_disk_is_nothing_to_a_sync() {
    let sim = SimDisk::new();
    let log = options().disk(sim.disk()).open("/wal").unwrap();
    log.append(&[7; 1200]).unwrap();
    sim.set_budget(Some(sim.used_bytes()));
    let refused = log.submit(&[&[7; 1200]]).unwrap();
    let (send, passed_on) = mpsc::channel();
    log.sync_then(move |durable| send.send(durable.unwrap()).unwrap())
        .unwrap();
    assert!(refused.wait().unwrap_err().is_no_space());
    assert_eq!(passed_on.try_recv(), Ok(Lsn(1)));
    assert_eq!(log.stats().appended_records, 1);
}

#[test]
fn after_a_failure_or_a_close_a_sync_says_so() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    log.close().unwrap();
    let refused = log.sync_then(|_| panic!("it was refused"));
    assert!(matches!(refused, Err(Error::Closed)));
}

#[test]
fn a_payload_in_parts_is_the_same_record() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    let base = log.expectation();
    let batch = || {
        let mut batch = Batch::new();
        batch.push_parts(&[b"head", b"", b"body"]);
        batch.push(b"whole");
        batch.push_parts(&[]);
        batch
    };
    assert_eq!((batch().size(), batch().is_empty()), (3 * 8 + 13, false));
    let first = log.send(batch().at(base)).unwrap();
    let (send, passed_on) = mpsc::channel();
    let again = batch().at(base.after(3));
    log.send_then(again, move |appended| send.send(appended).unwrap())
        .unwrap();
    assert_eq!(first.wait().unwrap().lsns(), Lsn(1)..Lsn(4));
    assert_eq!(
        passed_on.try_recv().unwrap().unwrap().lsns(),
        Lsn(4)..Lsn(7)
    );
    assert!(matches!(
        log.write(batch().at(base)),
        Err(Error::Refused { .. })
    ));
    log.append_batch(&[b"headbody", b"whole", b""]).unwrap();
    let all = payloads(&log).unwrap();
    assert_eq!((&all[..3], all.len()), (&all[6..], 9));
    assert!(log.write(Batch::new()).unwrap().lsns().is_empty());
    log.verify().unwrap();
}

#[test]
fn a_log_begins_at_the_requested_record() {
    let dir = fast_dir();
    let at = |lsn| options().first_lsn(Lsn(lsn));
    for lsn in [0, 1 << 62] {
        let refused = at(lsn).open(dir.path());
        assert!(matches!(refused, Err(Error::InvalidOption(_))));
    }
    let log = at(1000).open(dir.path()).unwrap();
    assert_eq!(log.bounds(), Lsn(1000)..Lsn(1000));
    assert_eq!(
        (log.durable_lsn(), log.recovery().first_lsn),
        (Lsn(999), Lsn(1000))
    );
    drop(log);
    // Only when it is created.
    let log = at(5).open(dir.path()).unwrap();
    assert_eq!(log.append(b"one").unwrap().lsn(), Lsn(1000));
    log.append(b"two").unwrap();
    assert_eq!(log.replay().count(), 2);
    log.truncate_after(Lsn(0)).unwrap();
    assert_eq!(log.append(b"another one").unwrap().lsn(), Lsn(1000));
    log.verify().unwrap();
    drop(log);
    let log = options().repair(dir.path()).unwrap();
    assert_eq!(
        (log.recovery().dropped.clone(), log.bounds()),
        (None, Lsn(1000)..Lsn(1001))
    );
}

/// A sync that was due waited until the whole next segment was zeroed.
#[test]
fn before_a_sync_that_is_due_at_most_one_step_of_a_segment_is_made() {
    const STEP: u64 = 4096;
    let sim = SimDisk::new();
    let mode = SyncMode::Batch {
        writes: 1000,
        interval: Duration::ZERO,
    };
    let options = options().segment_size(1 << 20).zero_step(STEP);
    let options = options.sync(mode).disk(sim.disk());
    let log = options.clone().open("/wal").unwrap();
    let mut made = 0;
    for n in 1..200 {
        log.append(&[1; 3000]).unwrap();
        assert!(log.run_background().unwrap());
        assert_eq!(log.durable_lsn(), Lsn(n), "the sync comes first");
        sim.start_trace();
        made += u64::from(log.run_background().unwrap());
        let calls = sim.trace();
        let written = calls.iter().filter(|call| call.op == "write");
        // The header of a segment is written with its first zeros.
        assert!(written.map(|call| call.len).sum::<u64>() <= STEP + 64);
    }
    assert!(made > 100, "{made}");
    // What is not made yet does not hold up the end of the handle, nor the next one.
    sim.start_trace();
    drop(log);
    assert!(sim.trace().iter().all(|call| call.op != "write"));
    let log = options.open("/wal").unwrap();
    assert_eq!(log.bounds().end, Lsn(200));
    log.rotate().unwrap();
    log.append(b"in the next segment").unwrap();
    log.verify().unwrap();
}
