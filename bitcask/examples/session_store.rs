//! Sessions of a web server: put at sign-in, read on each request, deleted at sign-out. A power cut
//! loses at most the last second of them, so a request never waits for the disk.
//!
//! ```console
//! $ cargo run --release -p bitcask --example session_store
//! ```

use std::time::Duration;

use bitcask::{Batch, Bitcask, MergePolicy, Options, SyncMode};

/// The sessions, by their token.
struct Sessions {
    store: Bitcask,
}

impl Sessions {
    fn open(dir: &std::path::Path) -> bitcask::Result<Self> {
        let store = Options::new()
            .sync(SyncMode::Batch {
                writes: 1000,
                interval: Duration::from_secs(1),
            })
            .memory_limit(1 << 30) // about 50 million sessions; then sign-in fails, not the machine
            .merge_policy(MergePolicy::new().trigger_dead_percent(50))
            .open(dir)?;
        Ok(Self { store })
    }

    fn sign_in(&self, token: &[u8], user: &str) -> bitcask::Result<()> {
        self.store.put(token, user.as_bytes())
    }

    fn user(&self, token: &[u8]) -> bitcask::Result<Option<String>> {
        let user = self.store.get(token)?;
        Ok(user.map(|user| String::from_utf8_lossy(&user).into_owned()))
    }

    /// A new token for the same session: never both, never none.
    fn renew(&self, old: &[u8], new: &[u8], user: &str) -> bitcask::Result<()> {
        let renewal = Batch::new().delete(old).put(new, user.as_bytes());
        self.store.write(renewal)
    }

    fn sign_out(&self, token: &[u8]) -> bitcask::Result<()> {
        self.store.delete(token)
    }
}

#[allow(clippy::print_stdout, reason = "an example")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let sessions = Sessions::open(dir.path())?;
    for n in 0..10_000_u32 {
        sessions.sign_in(
            format!("token {n}").as_bytes(),
            &format!("user {}", n % 500),
        )?;
    }
    sessions.renew(b"token 7", b"token 7, renewed", "user 7")?;
    for n in 100..10_000_u32 {
        sessions.sign_out(format!("token {n}").as_bytes())?;
    }
    assert_eq!(sessions.user(b"token 7")?, None);
    assert_eq!(
        sessions.user(b"token 7, renewed")?.as_deref(),
        Some("user 7")
    );

    // What the sessions that ended have left on the disk, and that a merge gives it back.
    sessions.store.rotate()?;
    for file in sessions.store.explain_space() {
        println!(
            "data file {}: {} of {} bytes live, {:?}",
            file.number, file.live_bytes, file.bytes, file.why
        );
    }
    let report = sessions.store.merge()?;
    println!(
        "merged {} bytes into {}",
        report.read_bytes, report.written_bytes
    );
    let stats = sessions.store.stats();
    println!(
        "{} sessions, {} bytes of index",
        stats.keys, stats.index_bytes
    );
    assert_eq!(stats.keys, 100);
    sessions.store.close()?;
    Ok(())
}
