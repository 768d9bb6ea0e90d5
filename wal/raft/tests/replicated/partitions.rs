//! Links that are severed or slow, around the node that leads.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::clients::Clients;
use crate::group::{DEADLINE, Group};
use crate::links::Link;
use crate::types::{Command, Reply, Request};

/// Longer than any node waits for a leader.
const LATE: Duration = Duration::from_millis(2_500);
/// So many operations are acknowledged in each phase of a round.
const PHASE: u64 = 30;
/// So many messages come late before a phase with slow links is over.
const LATE_MESSAGES: u64 = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The leader reaches nobody, and nobody reaches it.
    Isolated,
    /// The leader reaches nobody, and hears all others.
    Mute,
    /// The leader is heard by all others, and hears none: it knows of no entry that another node has it.
    Deaf,
    /// The leader and one that follows do not reach each other; both reach all others.
    Apart,
    /// What the leader and one that follows say to each other comes later than an election takes.
    Late,
    /// As late, between the leader and all others.
    AllLate,
}

const FAULTS: [Fault; 6] = [
    Fault::Isolated,
    Fault::Mute,
    Fault::Deaf,
    Fault::Apart,
    Fault::Late,
    Fault::AllLate,
];

/// From `node` to each of `others`.
fn from(node: usize, others: &[usize]) -> impl Iterator<Item = Link> {
    others.iter().map(move |other| (node, *other))
}

/// And back.
fn to(node: usize, others: &[usize]) -> impl Iterator<Item = Link> {
    others.iter().map(move |other| (*other, node))
}

fn both(node: usize, others: &[usize]) -> impl Iterator<Item = Link> {
    from(node, others).chain(to(node, others))
}

/// Node `nth` leads, or believes that it does, and does not reach a majority in at least one direction: it acknowledges
/// nothing, however long it is asked.
async fn expect_silence(group: &Group<'_>, nth: usize) {
    let (key, value) = ("not acknowledged".to_owned(), "nor read".to_owned());
    let get = Request::Get(key.clone());
    let put = Request::Write(Command::Put { key, value });
    let replies = tokio::join!(group.ask(nth, &put), group.ask(nth, &get));
    for reply in [replies.0, replies.1] {
        let is_done = matches!(reply, Ok(Reply::Answer(_) | Reply::Value(_)));
        assert!(!is_done, "it was answered without a majority: {reply:?}");
    }
}

/// Breaks links of the leader, kills another node meanwhile if the rest is a majority, and sees to it that the group goes
/// on as far as it can, and that all of it does when the links are whole again.
async fn round(group: &mut Group<'_>, clients: &mut Clients, fault: Fault, random: &mut StdRng) {
    let leader = group.leader(&[]).await;
    let mut others: Vec<usize> = (0..group.count()).filter(|nth| *nth != leader).collect();
    others.shuffle(random);
    let one = &others[..1];
    let links = group.links.clone();
    match fault {
        Fault::Isolated => links.sever(both(leader, &others)),
        Fault::Mute => links.sever(from(leader, &others)),
        Fault::Deaf => links.sever(to(leader, &others)),
        Fault::Apart => links.sever(both(leader, one)),
        Fault::Late => links.delay(both(leader, one), LATE),
        Fault::AllLate => links.delay(both(leader, &others), LATE),
    }
    // With three nodes there would be no majority without it.
    let killed = others
        .last()
        .copied()
        .filter(|_| group.count() > 3 && random.gen_bool(0.7));
    if let Some(killed) = killed {
        group.kill(killed).await;
    }
    let late = links.late();
    match fault {
        Fault::Isolated => {
            expect_silence(group, leader).await;
            let without: Vec<usize> = killed.into_iter().chain([leader]).collect();
            group.leader(&without).await;
            clients.go_on(PHASE).await;
            expect_silence(group, leader).await;
        }
        Fault::Deaf => expect_silence(group, leader).await,
        Fault::Mute | Fault::Apart => clients.go_on(PHASE).await,
        Fault::Late => {
            clients.go_on(PHASE).await;
            come_late(group, late).await;
        }
        Fault::AllLate => come_late(group, late).await,
    }
    links.heal();
    if let Some(killed) = killed {
        group.restart(killed).await;
    }
    clients.go_on(PHASE).await;
    for node in 0..group.count() {
        group.catch_up(node, (node + 1) % group.count()).await;
    }
}

/// Waits until enough messages came late, since there were `before`.
async fn come_late(group: &Group<'_>, before: u64) {
    let waited =
        tokio::time::timeout(DEADLINE, group.links.come_late(before + LATE_MESSAGES)).await;
    assert!(waited.is_ok(), "nothing comes late");
}

/// Each fault once, in an order that `random` draws.
#[expect(clippy::print_stderr, reason = "the harness shows it with a failure")]
pub(crate) async fn judge(count: usize, mut random: StdRng) {
    let temp = tempfile::tempdir().unwrap();
    let mut group = Group::start(temp.path(), count).await;
    let mut clients = Clients::start(group.addresses.clone());
    clients.go_on(1).await;
    let mut faults = FAULTS;
    faults.shuffle(&mut random);
    for fault in faults {
        eprintln!("{count} nodes: {fault:?}");
        round(&mut group, &mut clients, fault, &mut random).await;
    }
    clients.judge().await;
}
