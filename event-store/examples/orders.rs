//! Orders, and a projection of them written by hand: how many are open, kept up to date by a named
//! subscription that goes on where it was after a restart.
//!
//! ```console
//! $ cargo run -p event-store --example orders
//! ```

#![allow(clippy::print_stdout, reason = "an example")]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use event_store::{EventStore, Expected, NewEvent, Options, Position, Query, Subscribe, Version};

/// The orders that are open, as of some position. It lives in memory: a new one begins at the first event.
/// One that lives elsewhere would store its position together with its rows, and begin behind that.
#[derive(Debug, Default)]
struct OpenOrders {
    open: BTreeSet<String>,
    position: Position,
}

impl OpenOrders {
    /// Takes in everything that has come.
    fn catch_up(&mut self, store: &EventStore) -> event_store::Result<()> {
        let orders = Query::new().category("order");
        let what = Subscribe::new().query(orders).after(self.position);
        let mut events = store.subscribe(what)?;
        while let Some(event) = events.try_next()? {
            match event.kind() {
                "Placed" => self.open.insert(event.stream().to_owned()),
                _ => self.open.remove(event.stream()),
            };
            self.position = event.position();
        }
        Ok(())
    }
}

/// Sends what has to be sent, each once as long as the process lives, and at least once over a crash.
fn send_confirmations(store: &EventStore) -> event_store::Result<u64> {
    let placed = Query::new().kinds(["Placed"]);
    let mut mails = store.subscribe(Subscribe::new().named("mails").query(placed))?;
    let mut sent = 0;
    while let Some(event) = mails.next(Duration::ZERO)? {
        println!("dear customer of {}: thank you", event.stream());
        sent += 1;
        mails.acknowledge()?;
    }
    Ok(sent)
}

fn day(path: &Path, first: u64) -> event_store::Result<u64> {
    let store = Options::new().open(path)?;
    for number in first..first + 3 {
        let placed = NewEvent::new("Placed", b"2 apples");
        store.append(&format!("order-{number}"), Expected::NoStream, [placed])?;
    }
    let shipped = NewEvent::new("Shipped", b"");
    let order = format!("order-{first}");
    store.append(&order, Expected::Exactly(Version(1)), [shipped])?;
    let mut open = OpenOrders::default();
    open.catch_up(&store)?;
    println!("open: {:?}", open.open);
    let sent = send_confirmations(&store)?;
    store.close()?;
    Ok(sent)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("shop");
    for first in [1, 4] {
        // After the restart only what was not acknowledged is sent.
        assert_eq!(day(&path, first)?, 3);
    }
    Ok(())
}
