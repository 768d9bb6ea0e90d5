//! A bank account: the balance is what the events add up to, a withdrawal is written only if the account has not
//! changed since the balance was looked at, and any moment of the past can be looked at. Where an account has
//! many events its balance is saved, and only what came after that is read.
//!
//! ```console
//! $ cargo run -p event-store --example bank_account
//! ```

#![allow(clippy::print_stdout, reason = "an example")]

use event_store::{
    Append, Error, Event, EventStore, Expected, Failure, Loaded, NewEvent, Options, Projection,
    Until, Version,
};

/// How much is in an account.
#[derive(Debug, Default, PartialEq, Eq)]
struct Balance(i64);

impl Projection for Balance {
    const NAME: &'static str = "balance";
    const VERSION: u32 = 1;

    fn apply(&mut self, event: &Event) -> Result<(), Failure> {
        let amount: i64 = std::str::from_utf8(event.payload())?.parse()?;
        match event.kind() {
            "Deposited" => self.0 += amount,
            "Withdrawn" => self.0 -= amount,
            other => return Err(format!("{other} is no event of an account").into()),
        }
        Ok(())
    }

    fn encode(&self) -> Vec<u8> {
        self.0.to_le_bytes().into()
    }

    fn decode(state: &[u8]) -> Option<Self> {
        Some(Self(i64::from_le_bytes(state.try_into().ok()?)))
    }
}

/// Events of an account after which its balance is saved.
const MANY: u64 = 100;

/// The balance of an account, and the version that it is of.
fn balance(store: &EventStore, account: &str) -> event_store::Result<Loaded<Balance>> {
    let balance = store.load::<Balance>(account)?;
    if balance.replayed() > MANY {
        store.save(&balance)?;
    }
    Ok(balance)
}

/// Moves `amount` between two accounts, all or nothing; false if there is not enough.
fn transfer(
    store: &EventStore,
    (from, to): (&str, &str),
    amount: i64,
    id: u128,
) -> event_store::Result<bool> {
    let text = amount.to_string();
    loop {
        let available = balance(store, from)?;
        if available.state.0 < amount {
            return Ok(false);
        }
        let unchanged = Expected::Exactly(available.version());
        let event = |kind, id: u128| NewEvent::new(kind, text.as_bytes()).id(id);
        let append = Append::new()
            .stream(from, unchanged, [event("Withdrawn", id)])
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
    for (account, opening) in [("account-1", "1000"), ("account-2", "5")] {
        let opened = NewEvent::new("Deposited", opening.as_bytes());
        store.append(account, Expected::NoStream, [opened])?;
    }
    for n in 0..150 {
        assert!(transfer(&store, ("account-1", "account-2"), 3, 2 * n)?);
    }
    assert!(!transfer(&store, ("account-1", "account-2"), 3000, 1000)?);
    let now = balance(&store, "account-1")?;
    println!("now: {}, of {} events read", now.state.0, now.replayed());
    assert_eq!((now.state.0, now.version()), (550, Version(151)));
    assert!(now.replayed() <= MANY);
    // Any moment of the past.
    let then = store.reconstruct::<Balance>("account-1", Until::Version(Version(11)))?;
    println!("after ten transfers: {}", then.state.0);
    assert_eq!(then.state, Balance(970));
    store.close()?;
    Ok(())
}
