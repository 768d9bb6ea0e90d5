//! The reference run of the log that the layer `trace` compares: every operation, each in the state that
//! the one before it left.

use std::path::Path;

use durable_io::{Background, Dir, Disk, SyncMode};
use wal::{Lsn, Options};

pub(crate) fn run(
    disk: &Disk,
    path: &Path,
    mark: &mut dyn FnMut(&str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let options = || {
        Options::new()
            .sync(SyncMode::Always)
            .segment_size(8192)
            .background(Background::Inline)
            .disk(disk.clone())
    };
    mark("wal create")?;
    let wal = options().open(path)?;
    mark("wal append")?;
    for n in 0..5 {
        wal.append(&[n; 300])?;
    }
    mark("wal append_batch")?;
    wal.append_batch(&[&[6; 100], &[7; 2000], &[]])?;
    mark("wal background")?;
    while wal.run_background()? {}
    mark("wal rotate")?;
    wal.rotate()?;
    wal.append(&[8; 10])?;
    mark("wal rotate without a spare")?;
    wal.rotate()?;
    mark("wal append over a segment's end")?;
    for n in 0..4 {
        wal.append(&[n; 3000])?;
    }
    mark("wal records")?;
    anyhow::ensure!(wal.records(Lsn(0)).collect::<Result<Vec<_>, _>>()?.len() == 13);
    mark("wal truncate_before")?;
    wal.truncate_before(Lsn(11))?;
    mark("wal sync and verify")?;
    wal.sync()?;
    wal.verify()?;
    mark("wal close")?;
    wal.close()?;
    mark("wal reopen")?;
    let wal = options().open(path)?;
    wal.append(&[9; 10])?;
    mark("wal drop and reopen")?;
    drop(wal);
    damage_tail(&disk.open_dir(path)?)?;
    options().open(path)?.close()?;
    Ok(())
}

/// Writes a few bytes over the end of the log's newest segments, as a torn write leaves them, so
/// that recovery has something to cut.
fn damage_tail(dir: &Dir) -> anyhow::Result<()> {
    let names = dir.list()?.into_iter().map(|entry| entry.name);
    let newest = names
        .filter(|name| {
            Path::new(name)
                .extension()
                .is_some_and(|ending| ending == "wal")
        })
        .max()
        .expect("a log has a segment");
    let file = dir.open(&newest)?;
    let len = file.len()?;
    file.write_all_at(&[0xFF; 9], len.saturating_sub(16))?;
    Ok(())
}
