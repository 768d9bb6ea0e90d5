//! The floor: what the disk and the kernel allow without a log.

use std::path::Path;
use std::time::Duration;

use durable_io::Disk;

use crate::contender::{Contender, READ_FLOOR, Role, Unit, durable_floor, kernel_floor};
use crate::measure::{QUICK, QUICK_SIZE, REPLAYED, Rate, SIZES, closed_loop, record};
use appender::{Appender, How, METHODS, Method, Space};

#[path = "../../../durable-io/benches/sync/appender.rs"]
mod appender;

/// How much is read at once.
const READ: usize = 256 << 10;

pub(crate) fn contenders() -> Vec<Contender> {
    let mut all = Vec::new();
    for real_time in [false, true] {
        for size in SIZES {
            let methods = METHODS.into_iter().filter(|method| is_of_interest(*method));
            all.extend(methods.map(|method| durable(method, size, real_time)));
        }
    }
    for real_time in [false, true] {
        let write = |dir: &Path, time| write(dir, time, QUICK_SIZE);
        let workload = kernel_floor(real_time);
        all.push(Contender {
            real_time,
            ..floor(workload, "zeroed, write", Unit::Operations, write)
        });
    }
    all.push(floor(
        READ_FLOOR.to_owned(),
        "read, 256 KiB",
        Unit::Bytes,
        read,
    ));
    all
}

/// Leaves out close variants of other methods, for the time that they take.
fn is_of_interest((_, space, how): Method) -> bool {
    match how {
        How::Fdatasync | How::DirectDsync => true,
        How::RwfDsync => space == Space::Zeroed,
        How::DirectFdatasync => false,
    }
}

fn floor(
    workload: String,
    name: &str,
    unit: Unit,
    run: impl Fn(&Path, Duration) -> anyhow::Result<Rate> + 'static,
) -> Contender {
    Contender {
        floor: workload.clone(),
        workload,
        name: name.to_owned(),
        role: Role::Floor,
        unit,
        real_time: false,
        run: Box::new(run),
    }
}

fn durable(method: Method, size: usize, real_time: bool) -> Contender {
    let run = move |dir: &Path, time| {
        let dir = Disk::os().open_dir(dir)?;
        closed_loop(1, time, |_thread| {
            let appender = Appender::new(&dir, method, size as u64);
            let mut appender = appender.map_err(anyhow::Error::from_boxed)?;
            Ok(move || {
                let appended = appender.make_room().and_then(|()| appender.append());
                appended.map_err(anyhow::Error::from_boxed)?;
                Ok(1)
            })
        })
    };
    Contender {
        real_time,
        ..floor(
            durable_floor(size, real_time),
            method.0,
            Unit::Operations,
            run,
        )
    }
}

fn write(dir: &Path, time: Duration, size: usize) -> anyhow::Result<Rate> {
    const FILE_SIZE: u64 = 64 << 20;
    let file = Disk::os().open_dir(dir)?.create_new("file")?;
    file.write_zeros(0, FILE_SIZE)?;
    drop(file.sync_all()?);
    let record = record(size);
    closed_loop(1, time, |_thread| {
        let mut offset = 0;
        let (file, record) = (&file, &record);
        Ok(move || {
            for _ in 0..QUICK {
                file.write_all_at(record, offset)?;
                offset = (offset + record.len() as u64) % FILE_SIZE;
            }
            Ok(QUICK)
        })
    })
}

fn read(dir: &Path, time: Duration) -> anyhow::Result<Rate> {
    let file = Disk::os().open_dir(dir)?.create_new("file")?;
    file.write_all_at(&record(REPLAYED), 0)?;
    closed_loop(1, time, |_thread| {
        let mut buffer = vec![0; READ];
        let file = &file;
        Ok(move || {
            for offset in (0..REPLAYED).step_by(READ) {
                file.read_exact_at(&mut buffer, offset as u64)?;
            }
            Ok(REPLAYED as u64)
        })
    })
}
