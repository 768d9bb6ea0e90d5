//! A settings file that no crash can leave half-written: `cargo run -p durable-io --example
//! replace_file [DIR]` counts how often it was run.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use durable_io::{Dir, Disk, Result, replace_file};

const NAME: &str = "runs";

/// How often this was run before: the content of the file, or 0 if there is none yet.
fn runs(dir: &Dir) -> Result<u32> {
    let file = match dir.open(NAME) {
        Err(error) if error.is_not_found() => return Ok(0),
        other => other?,
    };
    let mut text = [0; 10];
    let n = file.read_at(&mut text, 0)?;
    let text = String::from_utf8_lossy(text.get(..n).unwrap_or_default());
    // Somebody edited the file: begin again.
    Ok(text.trim().parse().unwrap_or(0))
}

fn main() -> Result<()> {
    let path = std::env::args_os()
        .nth(1)
        .unwrap_or_else(|| "target/replace_file".into());
    let dir = Disk::os().create_dir(&path)?;
    // One process at a time: of two that read the same number one would be lost.
    let lock = dir.try_lock("LOCK")?;
    let runs = runs(&dir)?.saturating_add(1);
    replace_file(&dir, NAME, format!("{runs}\n").as_bytes())?;
    // Only now is it true, also after a power loss.
    println!(
        "run {runs}, recorded in {}",
        dir.path().join(NAME).display()
    );
    drop(lock);
    Ok(())
}
