//! Orders: a projection that says which are open, kept up to date by its own thread and saved now and then, so
//! that a restart continues where it was; and mails, which are sent as events come.
//!
//! ```console
//! $ cargo run -p event-store --example orders
//! ```

#![allow(clippy::print_stdout, reason = "an example")]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use event_store::{
    Event, EventStore, Expected, Failure, NewEvent, Options, Project, Projection, Query, Subscribe,
    Version,
};

/// The orders that are open. Only a sum of events: what was saved of it can be thrown away at any time.
#[derive(Debug, Default)]
struct OpenOrders(BTreeSet<String>);

impl Projection for OpenOrders {
    const NAME: &'static str = "open-orders";
    // Counted up with every change of what is done here: then it is made of all events again.
    const VERSION: u32 = 1;

    fn apply(&mut self, event: &Event) -> Result<(), Failure> {
        match event.kind() {
            "Placed" => self.0.insert(event.stream().to_owned()),
            _ => self.0.remove(event.stream()),
        };
        Ok(())
    }

    fn encode(&self) -> Vec<u8> {
        let names: Vec<&str> = self.0.iter().map(String::as_str).collect();
        names.join("\n").into_bytes()
    }

    fn decode(state: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(state).ok()?;
        Some(Self(text.lines().map(str::to_owned).collect()))
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

/// Three orders, of which one is shipped; returns how many are open then, and how many mails were sent.
fn day(path: &Path, first: u64) -> event_store::Result<(usize, u64)> {
    let store = Options::new().open(path)?;
    let orders = Query::new().category("order");
    let open_orders = store.project::<OpenOrders>(Project::new().query(orders).live())?;
    println!("day begins behind event {}", open_orders.position());
    for number in first..first + 3 {
        let placed = NewEvent::new("Placed", b"2 apples");
        store.append(&format!("order-{number}"), Expected::NoStream, [placed])?;
    }
    let shipped = NewEvent::new("Shipped", b"");
    let order = format!("order-{first}");
    let shipped = store.append(&order, Expected::Exactly(Version(1)), [shipped])?;
    // What was just written is in the answer.
    let last = shipped.positions.end.previous();
    assert!(open_orders.wait_for(last, Duration::from_secs(10))?);
    let open = open_orders.read(|orders| {
        println!("open: {:?}", orders.0);
        orders.0.len()
    })?;
    open_orders.save()?;
    let sent = send_confirmations(&store)?;
    store.close()?;
    Ok((open, sent))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("shop");
    assert_eq!(day(&path, 1)?, (2, 3));
    // After the restart it continues, and only what was not acknowledged is sent.
    assert_eq!(day(&path, 4)?, (4, 3));
    Ok(())
}
