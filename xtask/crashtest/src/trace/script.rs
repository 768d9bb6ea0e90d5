//! The script that both sides run: every procedure of durable-io, and what the engine does.

use std::io::IoSlice;
use std::path::Path;

use durable_io::{Disk, GroupCommit, Temp};

use crate::engine::Engine;

/// A procedure: what to do, in a directory of its own.
type Body = fn(&Disk, &Path) -> anyhow::Result<()>;

const PROCEDURES: [(&str, Body); 13] = [
    ("create_dir", create_dir),
    ("write and sync", write_and_sync),
    ("write vectored", write_vectored),
    ("write_durable_at", write_durable_at),
    ("write_zeros", write_zeros),
    ("set_len", set_len),
    ("rename, link, remove", names),
    ("remove_durably", remove_durably),
    ("replace_file", replace_file),
    ("publish", publish),
    ("create_durably", create_durably),
    ("group commit", group_commit),
    ("read and map", read_and_map),
];

/// Runs everything below `root`, which stands, and the script of `engine` in a directory of its own. `mark` is
/// called with the name of each procedure before it begins, and with an empty one at the end.
pub(super) fn run(
    engine: &dyn Engine,
    disk: &Disk,
    root: &Path,
    mut mark: impl FnMut(&str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for (n, (name, body)) in PROCEDURES.iter().enumerate() {
        mark(name)?;
        body(disk, &root.join(format!("p{n}")))?;
    }
    if let Some(script) = engine.script() {
        script(disk, &root.join(engine.name()), &mut mark)?;
    }
    mark("")
}

fn create_dir(disk: &Disk, path: &Path) -> anyhow::Result<()> {
    disk.create_dir(path.join("a/b"))?;
    // Again: it stands, and is made durable all the same.
    disk.create_dir(path.join("a/b"))?;
    Ok(())
}

fn write_and_sync(disk: &Disk, path: &Path) -> anyhow::Result<()> {
    let dir = disk.create_dir(path)?;
    let file = dir.create_new("a")?;
    file.write_all_at(&[1; 700], 0)?;
    file.write_all_at(&[2; 100], 300)?;
    drop(file.sync_data()?);
    file.write_all_at(&[3; 1], 4096)?;
    drop(file.sync_all()?);
    dir.sync()?;
    // An open file and a second attempt to create it.
    drop(dir.open("a")?);
    drop(dir.open_read_only("a")?);
    anyhow::ensure!(
        dir.create_new("a")
            .is_err_and(|error| error.is_already_exists())
    );
    anyhow::ensure!(dir.open("b").is_err_and(|error| error.is_not_found()));
    Ok(())
}

fn write_vectored(disk: &Disk, path: &Path) -> anyhow::Result<()> {
    let file = disk.create_dir(path)?.create_new("a")?;
    let mut parts = [
        IoSlice::new(&[1; 32]),
        IoSlice::new(&[]),
        IoSlice::new(&[2; 500]),
    ];
    file.write_all_vectored_at(&mut parts, 64)?;
    drop(file.sync_data()?);
    Ok(())
}

fn write_durable_at(disk: &Disk, path: &Path) -> anyhow::Result<()> {
    let file = disk.create_dir(path)?.create_new("a")?;
    file.write_zeros(0, 8192)?;
    drop(file.sync_data()?);
    drop(file.write_durable_at(&[1; 512], 4096)?);
    Ok(())
}

fn write_zeros(disk: &Disk, path: &Path) -> anyhow::Result<()> {
    let file = disk.create_dir(path)?.create_new("a")?;
    file.write_zeros(0, 600 << 10)?;
    file.allocate(600 << 10, 4096)?;
    drop(file.sync_data()?);
    Ok(())
}

fn set_len(disk: &Disk, path: &Path) -> anyhow::Result<()> {
    let file = disk.create_dir(path)?.create_new("a")?;
    file.write_all_at(&[1; 1000], 0)?;
    file.set_len(100)?;
    file.set_len(5000)?;
    drop(file.sync_data()?);
    Ok(())
}

fn names(disk: &Disk, path: &Path) -> anyhow::Result<()> {
    let dir = disk.create_dir(path)?;
    drop(dir.create_new("a")?);
    dir.link("a", "b")?;
    dir.rename("a", "c")?;
    dir.remove("b")?;
    dir.create_dir("d")?;
    let below = dir.open_dir("d")?;
    dir.link_into("c", &below, "e")?;
    below.sync()?;
    below.remove("e")?;
    dir.remove_dir("d")?;
    dir.sync()?;
    Ok(())
}

fn remove_durably(disk: &Disk, path: &Path) -> anyhow::Result<()> {
    let dir = disk.create_dir(path)?;
    drop(dir.create_new("a")?);
    durable_io::remove_durably(&dir, "a")?;
    Ok(())
}

fn replace_file(disk: &Disk, path: &Path) -> anyhow::Result<()> {
    let dir = disk.create_dir(path)?;
    durable_io::replace_file(&dir, "a", &[1; 600])?;
    // Over the old one.
    durable_io::replace_file(&dir, "a", b"")?;
    // Given up.
    drop(Temp::create(&dir, "a")?);
    Ok(())
}

fn publish(disk: &Disk, path: &Path) -> anyhow::Result<()> {
    let dir = disk.create_dir(path)?;
    let file = dir.create_new("temp")?;
    file.write_all_at(&[1; 600], 0)?;
    durable_io::publish(&dir, &file, "temp", "a")?;
    Ok(())
}

fn create_durably(disk: &Disk, path: &Path) -> anyhow::Result<()> {
    let dir = disk.create_dir(path)?;
    durable_io::create_durably(&dir, "a", |file| file.write_all_at(&[1; 600], 0))?;
    Ok(())
}

fn group_commit(disk: &Disk, path: &Path) -> anyhow::Result<()> {
    let file = disk.create_dir(path)?.create_new("a")?;
    let group = GroupCommit::new();
    let (result, _) = group.commit(600_usize, |lengths: &mut [usize]| {
        let bytes = vec![1; lengths.iter().sum()];
        file.write_all_at(&bytes, 0)?;
        file.sync_data_at(group.site()).map(drop)
    });
    result?;
    Ok(())
}

fn read_and_map(disk: &Disk, path: &Path) -> anyhow::Result<()> {
    let dir = disk.create_dir(path)?;
    let file = dir.create_new("a")?;
    file.write_all_at(&[1; 700], 0)?;
    file.read_exact_at(&mut [0; 100], 600)?;
    // Beyond the end: a short read and one that finds nothing.
    file.read_at(&mut [0; 100], 650)?;
    anyhow::ensure!(file.map(0..700)?.len() == 700);
    anyhow::ensure!(file.len()? == 700);
    anyhow::ensure!(dir.list()?.len() == 1);
    Ok(())
}
