//! For tests of the handles: a file and a directory that answer by a script.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::backend::{DirBackend, FileBackend, LockAttempt, MapBytes};
use crate::dir::{Dir, Entry, Modes};
use crate::file::{Advice, File};
use crate::mapped::Ranges;
use crate::process::Process;
use crate::site::Site;

/// What the kernel answers to one call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// Do it all. Also the answer when the script has ended.
    All,
    /// Read or write this many bytes only.
    Short(usize),
    /// Do nothing and fail.
    Fail(ErrorKind),
}

/// The answers to come, the calls that came, and the bytes of the one file.
#[derive(Debug, Default)]
pub(crate) struct Script {
    answers: Mutex<VecDeque<Answer>>,
    calls: Mutex<Vec<String>>,
    pub(crate) bytes: Mutex<Vec<u8>>,
}

impl Script {
    pub(crate) fn new(answers: &[Answer]) -> Arc<Self> {
        let answers = Mutex::new(answers.iter().copied().collect());
        Arc::new(Self {
            answers,
            ..Self::default()
        })
    }

    pub(crate) fn file(self: &Arc<Self>) -> File {
        File::new(self.clone(), PathBuf::from("d/f"))
    }

    pub(crate) fn dir(self: &Arc<Self>) -> Dir {
        Dir::new(self.clone(), PathBuf::from("d"), Modes::default())
    }

    /// The calls that came since this was last asked.
    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    /// Notes a call, and says how many bytes it may move.
    fn answer(&self, call: String) -> io::Result<usize> {
        self.calls.lock().unwrap().push(call);
        match self.answers.lock().unwrap().pop_front() {
            None | Some(Answer::All) => Ok(usize::MAX),
            Some(Answer::Short(n)) => Ok(n),
            Some(Answer::Fail(kind)) => Err(kind.into()),
        }
    }

    fn done(&self, call: &str) -> io::Result<()> {
        self.answer(call.to_owned()).map(drop)
    }
}

impl FileBackend for Script {
    fn len(&self) -> io::Result<u64> {
        self.done("len")?;
        Ok(self.bytes.lock().unwrap().len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let most = self.answer(format!("read {} at {offset}", buf.len()))?;
        let bytes = self.bytes.lock().unwrap();
        // After the end there is nothing to read.
        let start = bytes.len().min(usize::try_from(offset).unwrap());
        let rest = &bytes[start..];
        let n = most.min(rest.len()).min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let all: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        let most = self.answer(format!("write {} at {offset}", all.len()))?;
        let n = most.min(all.len());
        let mut bytes = self.bytes.lock().unwrap();
        let start = usize::try_from(offset).unwrap();
        if bytes.len() < start + n {
            bytes.resize(start + n, 0);
        }
        bytes[start..start + n].copy_from_slice(&all[..n]);
        Ok(n)
    }

    fn write_durable_at(&self, buf: &[u8], offset: u64, _site: &Site) -> io::Result<usize> {
        self.write_at(&[IoSlice::new(buf)], offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.done(&format!("set_len {len}"))
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.done(&format!("allocate {len} at {offset}"))
    }

    fn sync(&self, site: &Site) -> io::Result<()> {
        self.done(format!("sync {}", site.step).trim_end())
    }

    fn start_writeback(&self, _offset: u64, _len: u64) -> io::Result<()> {
        self.done("start_writeback")
    }

    fn advise(&self, _offset: u64, _len: u64, _advice: Advice) -> io::Result<()> {
        self.done("advise")
    }

    fn map(&self, _range: Range<u64>) -> io::Result<MapBytes> {
        self.done("map")?;
        Err(ErrorKind::Unsupported.into())
    }

    fn set_mode(&self, _mode: u32) -> io::Result<()> {
        Ok(())
    }

    fn ranges(&self) -> io::Result<Arc<Ranges>> {
        Ok(Arc::default())
    }
}

impl DirBackend for Script {
    fn open(&self, name: &str) -> io::Result<Arc<dyn FileBackend>> {
        self.done(&format!("open {name}"))?;
        Err(ErrorKind::Unsupported.into())
    }

    fn open_read_only(&self, name: &str) -> io::Result<Arc<dyn FileBackend>> {
        self.open(name)
    }

    fn create_new(&self, name: &str, _mode: u32) -> io::Result<Arc<dyn FileBackend>> {
        self.done(&format!("create {name}"))?;
        Ok(Self::new(&[]))
    }

    fn mode_of(&self, _name: &str) -> io::Result<Option<u32>> {
        Ok(None)
    }

    fn temp_number(&self, attempt: u64) -> io::Result<u64> {
        Ok(attempt)
    }

    fn unique_id(&self) -> io::Result<u64> {
        Ok(1)
    }

    fn open_dir(&self, name: &str) -> io::Result<Arc<dyn DirBackend>> {
        self.done(&format!("open_dir {name}"))?;
        Ok(Self::new(&[]))
    }

    fn create_dir(&self, name: &str, _mode: u32) -> io::Result<()> {
        self.done(&format!("create_dir {name}"))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.done(&format!("rename {from} {to}"))
    }

    fn link(&self, from: &str, _dir: &dyn DirBackend, to: &str) -> io::Result<()> {
        self.done(&format!("link {from} {to}"))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.done(&format!("remove {name}"))
    }

    fn remove_dir(&self, name: &str) -> io::Result<()> {
        self.done(&format!("remove_dir {name}"))
    }

    fn list(&self) -> io::Result<Vec<Entry>> {
        self.done("list")?;
        Ok(Vec::new())
    }

    fn sync(&self, site: &Site) -> io::Result<()> {
        self.done(format!("sync_dir {}", site.step).trim_end())
    }

    fn free_space(&self) -> io::Result<u64> {
        self.done("free_space")?;
        Ok(0)
    }

    fn try_lock(&self, name: &str, _owner: Process, _mode: u32) -> io::Result<LockAttempt> {
        self.done(&format!("lock {name}"))?;
        Ok(LockAttempt::Held { pid: None })
    }

    fn try_lock_shared(&self, name: &str, _owner: Process) -> io::Result<LockAttempt> {
        self.done(&format!("lock_shared {name}"))?;
        Ok(LockAttempt::Held { pid: None })
    }
}
