//! A leaderboard: scores by player, and players by score, kept alike by transactions; the best ten and
//! everybody between two scores by ranges.
//!
//! `cargo run --example leaderboard`

use std::error::Error;
use std::io::Write as _;

use btree::{Btree, Options};

/// Orders by score, and then by name.
fn rank(score: u32, player: &str) -> Vec<u8> {
    format!("{score:010} {player}").into_bytes()
}

fn score_of(key: &[u8]) -> u32 {
    let digits = key.get(..10).and_then(|digits| str::from_utf8(digits).ok());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// Adds to a player's score.
fn add(board: &Btree, player: &str, points: u32) -> btree::Result<u32> {
    let mut write = board.begin_write()?;
    let mut players = write.create_table("players")?;
    let before = players.get(player.as_bytes())?;
    let before = before.map(|score| score_of(&score));
    let score = before.unwrap_or(0) + points;
    players.put(player.as_bytes(), &rank(score, ""))?;
    let mut ranks = write.create_table("ranks")?;
    if let Some(before) = before {
        ranks.delete(&rank(before, player))?;
    }
    ranks.put(&rank(score, player), b"")?;
    write.commit()?;
    Ok(score)
}

/// The best `count` players, the best one first.
fn best(board: &Btree, count: usize) -> btree::Result<Vec<(String, u32)>> {
    let read = board.begin_read();
    let ranks = read.table("ranks")?;
    let entries = ranks.range(..).rev().take(count);
    entries
        .map(|entry| {
            let (key, _) = entry?;
            let name = String::from_utf8_lossy(key.get(11..).unwrap_or(&[]));
            Ok((name.into_owned(), score_of(&key)))
        })
        .collect()
}

/// How many players have a score from `low` to `high`.
fn between(board: &Btree, low: u32, high: u32) -> btree::Result<usize> {
    let read = board.begin_read();
    let (low, high) = (rank(low, ""), rank(high + 1, ""));
    let mut count = 0;
    for entry in read.table("ranks")?.range(&low[..]..&high[..]) {
        entry?;
        count += 1;
    }
    Ok(count)
}

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let board = Options::new().open(dir.path().join("board"))?;
    for n in 0..300_u32 {
        add(
            &board,
            &format!("player {:02}", n * 37 % 50),
            n * 7919 % 100,
        )?;
    }
    let mut out = std::io::stdout();
    for (place, (name, score)) in best(&board, 10)?.into_iter().enumerate() {
        writeln!(out, "{:2}. {name}: {score}", place + 1)?;
    }
    writeln!(
        out,
        "{} players from 200 to 300",
        between(&board, 200, 300)?
    )?;
    board.close()?;
    Ok(())
}
