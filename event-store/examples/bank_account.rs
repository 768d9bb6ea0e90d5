//! A bank account: the balance is what the events add up to, and a withdrawal is written only if the
//! account has not changed since the balance was looked at.
//!
//! ```console
//! $ cargo run -p event-store --example bank_account
//! ```

#![allow(clippy::print_stdout, reason = "an example")]

use event_store::{Append, Error, EventStore, Expected, NewEvent, Options, Version};

/// The balance of an account, and the version that it is of.
fn balance(
    store: &EventStore,
    account: &str,
    up_to: Version,
) -> event_store::Result<(i64, Version)> {
    let mut state = (0, Version(0));
    for event in store.read_stream(account, Version(1)) {
        let event = event?;
        if event.version() > up_to {
            break;
        }
        let text = std::str::from_utf8(event.payload()).unwrap_or("0");
        let amount: i64 = text.parse().unwrap_or(0);
        match event.kind() {
            "Deposited" => state.0 += amount,
            "Withdrawn" => state.0 -= amount,
            _ => {}
        }
        state.1 = event.version();
    }
    Ok(state)
}

const NOW: Version = Version(u64::MAX);

/// Moves `amount` between two accounts, all or nothing; false if there is not enough.
fn transfer(
    store: &EventStore,
    (from, to): (&str, &str),
    amount: i64,
    id: u128,
) -> event_store::Result<bool> {
    let text = amount.to_string();
    loop {
        let (available, version) = balance(store, from, NOW)?;
        if available < amount {
            return Ok(false);
        }
        let event = |kind, id: u128| NewEvent::new(kind, text.as_bytes()).id(id);
        let append = Append::new()
            .stream(from, Expected::Exactly(version), [event("Withdrawn", id)])
            .stream(to, Expected::StreamExists, [event("Deposited", id + 1)]);
        match store.write(&append) {
            // Somebody was faster: look again. A retry after a crash, with the same id, does no harm.
            Err(Error::WrongVersion { .. }) => {}
            done => return done.map(|_| true),
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let store = Options::new().open(dir.path().join("bank"))?;
    for (account, opening) in [("account-1", "100"), ("account-2", "5")] {
        let opened = NewEvent::new("Deposited", opening.as_bytes());
        store.append(account, Expected::NoStream, [opened])?;
    }
    assert!(transfer(&store, ("account-1", "account-2"), 30, 10)?);
    assert!(!transfer(&store, ("account-1", "account-2"), 300, 20)?);
    println!("now: {}", balance(&store, "account-1", NOW)?.0);
    // Any moment of the past is a prefix of the stream.
    println!(
        "before the transfer: {}",
        balance(&store, "account-1", Version(1))?.0
    );
    assert_eq!(balance(&store, "account-1", NOW)?, (70, Version(2)));
    store.close()?;
    Ok(())
}
