//! A bank: transfers from any number of threads, each in one transaction over two tables, and an audit
//! that reads one state while they go on.
//!
//! `cargo run --example bank [DIRECTORY]`

use std::error::Error;
use std::thread;

use btree::{Btree, Options};

const ACCOUNTS: u64 = 100;
const OPENING: u64 = 1000;

/// Keys are in the order of their bytes.
fn key(number: u64) -> Vec<u8> {
    format!("{number:010}").into_bytes()
}

fn amount(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

/// Moves `sum`, if the account has so much, and writes it down; both or neither.
fn transfer(bank: &Btree, from: u64, to: u64, sum: u64) -> btree::Result<bool> {
    let mut write = bank.begin_write()?;
    let mut accounts = write.table("accounts")?;
    let balance = |bytes: Option<btree::Value>| bytes.map_or(0, |bytes| amount(&bytes));
    let has = balance(accounts.get(&key(from))?);
    if from == to || has < sum {
        return Ok(false); // the transaction is dropped, and so taken back
    }
    let had = balance(accounts.get(&key(to))?);
    accounts.put(&key(from), &(has - sum).to_le_bytes())?;
    accounts.put(&key(to), &(had + sum).to_le_bytes())?;
    let mut journal = write.table("journal")?;
    let number = journal.len();
    journal.put(&key(number), format!("{from} to {to}: {sum}").as_bytes())?;
    write.commit()?;
    Ok(true)
}

/// The sum of all accounts, in one state.
fn audit(bank: &Btree) -> btree::Result<(u64, u64)> {
    let read = bank.begin_read();
    let mut total = 0;
    let accounts = read.table("accounts")?;
    let mut entries = accounts.range(..);
    while let Some((_, balance)) = entries.advance()? {
        total += amount(balance);
    }
    Ok((total, read.table("journal")?.len()))
}

fn main() -> Result<(), Box<dyn Error>> {
    let temporary = tempfile::tempdir()?;
    let dir = std::env::args_os().nth(1);
    let dir = dir.unwrap_or_else(|| temporary.path().join("bank").into());
    let bank = Options::new().open(&dir)?;
    let mut write = bank.begin_write()?;
    write.create_table("journal")?;
    let mut accounts = write.create_table("accounts")?;
    if accounts.is_empty() {
        for account in 0..ACCOUNTS {
            accounts.put(&key(account), &OPENING.to_le_bytes())?;
        }
    }
    write.commit()?;

    thread::scope(|scope| {
        let clerks: Vec<_> = (0..4_u64)
            .map(|clerk| {
                let bank = &bank;
                scope.spawn(move || {
                    (0..50).try_for_each(|n| {
                        let from = (clerk * 31 + n * 7) % ACCOUNTS;
                        let to = (clerk * 17 + n * 13 + 1) % ACCOUNTS;
                        transfer(bank, from, to, n * 5).map(drop)
                    })
                })
            })
            .collect();
        let (total, _) = audit(&bank)?;
        assert_eq!(total, ACCOUNTS * OPENING, "while they work");
        for clerk in clerks {
            clerk.join().expect("clerks do not panic")?;
        }
        Ok::<(), btree::Error>(())
    })?;
    let (total, transfers) = audit(&bank)?;
    assert_eq!(total, ACCOUNTS * OPENING);
    let stats = bank.stats();
    let mut out = std::io::stdout();
    std::io::Write::write_fmt(
        &mut out,
        format_args!(
            "{transfers} transfers, {} commits in {} syncs, and {total} all in all\n",
            stats.commits, stats.log_syncs
        ),
    )?;
    bank.close()?;
    Ok(())
}
