//! What `strace -f -y -s 0` wrote, as the calls of durable-io's backend.
//!
//! Every system call on a path below the script's base is either translated, or on the list of those
//! that change nothing, or unknown; an unknown one differs from everything the simulator can do, so
//! a call that nobody thought of is not overlooked.

use std::collections::HashSet;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, bail};

use super::Procedure;

/// Names that begin like this are opened only to mark where a procedure begins. They do not exist,
/// and no other name has this character.
pub(super) const MARK: char = '@';

/// Calls that neither change a file nor make one durable.
const HARMLESS: [&str; 16] = [
    "close",
    "dup",
    "dup3",
    "fadvise64",
    "fchmod",
    "fcntl",
    "flock",
    "fstat",
    "fstatfs",
    "getdents64",
    "ioctl",
    "lseek",
    "munmap",
    "newfstatat",
    "readlink",
    "statx",
];

/// The trace as one list of calls for each procedure.
///
/// # Errors
/// A line that strace does not write, a call with other arguments than it has, or a process with more
/// than one thread.
pub(super) fn procedures(trace: &str, root: &Path) -> anyhow::Result<Vec<Procedure>> {
    let mut translator = Translator {
        root,
        dirs: HashSet::new(),
    };
    let mut procedures: Vec<Procedure> = Vec::new();
    for line in trace.lines() {
        let Some(call) = Syscall::parse(line)? else {
            continue;
        };
        match translator.translate(&call)? {
            Event::Mark(name) => procedures.push(Procedure {
                name,
                calls: Vec::new(),
            }),
            Event::Call(call) => {
                if let Some(procedure) = procedures.last_mut() {
                    procedure.calls.push(call);
                }
            }
            Event::Nothing => {}
        }
    }
    Ok(procedures)
}

/// One line of the trace.
#[derive(Debug, PartialEq, Eq)]
struct Syscall<'a> {
    name: &'a str,
    args: Vec<&'a str>,
    result: &'a str,
}

impl<'a> Syscall<'a> {
    /// `None` for a line about a signal or an exit.
    fn parse(line: &'a str) -> anyhow::Result<Option<Self>> {
        let text = line
            .trim_start_matches(|c: char| c.is_ascii_digit())
            .trim_start();
        if text.is_empty() || text.starts_with("---") || text.starts_with("+++") {
            return Ok(None);
        }
        if text.contains("<unfinished ...>") || text.starts_with("<... ") {
            bail!("two threads were traced, so the order of calls is not known: {line}");
        }
        let parsed = text.split_once('(').and_then(|(name, rest)| {
            let (args, rest) = split_args(rest)?;
            let result = rest.trim_start().strip_prefix('=')?.trim();
            Some(Self { name, args, result })
        });
        match parsed {
            Some(call) => Ok(Some(call)),
            None => bail!("strace wrote a line that cannot be read: {line}"),
        }
    }

    /// Argument `index`, which every call of this name has.
    fn arg(&self, index: usize) -> anyhow::Result<&'a str> {
        let arg = self.args.get(index).copied();
        arg.with_context(|| format!("strace wrote too few arguments: {self}"))
    }

    /// The path of the file descriptor in argument `index`, as `-y` shows it.
    fn fd_path(&self, index: usize) -> Option<PathBuf> {
        let (_, path) = self.args.get(index)?.split_once('<')?;
        let path = path
            .strip_suffix("(deleted)")
            .unwrap_or(path)
            .strip_suffix('>')?;
        Some(PathBuf::from(
            path.strip_suffix(" (deleted)").unwrap_or(path),
        ))
    }

    /// The path that argument `index` names, relative to the descriptor in the one before it.
    fn path_at(&self, index: usize) -> Option<PathBuf> {
        let name = self.args.get(index)?;
        let name = name.strip_prefix('"')?.strip_suffix('"')?;
        match index.checked_sub(1).and_then(|before| self.fd_path(before)) {
            Some(dir) => Some(dir.join(name)),
            None => Some(PathBuf::from(name)),
        }
    }
}

impl fmt::Display for Syscall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}({}) = {}",
            self.name,
            self.args.join(", "),
            self.result
        )
    }
}

/// The arguments up to the closing parenthesis, and what follows it.
fn split_args(text: &str) -> Option<(Vec<&str>, &str)> {
    let mut args = Vec::new();
    let (mut depth, mut start, mut quoted, mut escaped) = (0_u32, 0, false, false);
    for (at, c) in text.char_indices() {
        if quoted {
            quoted = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            continue;
        }
        match c {
            '"' => quoted = true,
            '(' | '[' | '{' => depth += 1,
            ')' if depth == 0 => {
                args.push(text.get(start..at)?.trim());
                return Some((args, text.get(at + 1..)?));
            }
            ')' | ']' | '}' => depth = depth.checked_sub(1)?,
            ',' if depth == 0 => {
                args.push(text.get(start..at)?.trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    None
}

enum Event {
    Mark(String),
    Call(String),
    Nothing,
}

struct Translator<'a> {
    root: &'a Path,
    /// What was opened as a directory: a sync of it is one of names.
    dirs: HashSet<PathBuf>,
}

impl Translator<'_> {
    fn translate(&mut self, call: &Syscall<'_>) -> anyhow::Result<Event> {
        let Some(path) = self.subject(call) else {
            return Ok(Event::Nothing);
        };
        if let Some((_, name)) = path.split_once(MARK) {
            return Ok(Event::Mark(name.to_owned()));
        }
        // Locks are outside the crash model: that of the file, and that of the directory.
        let is_lock = path == "lock" || path.ends_with("/lock");
        let is_lock = is_lock || call.args.iter().any(|arg| arg.contains("O_NOFOLLOW"));
        if is_lock || HARMLESS.contains(&call.name) {
            return Ok(Event::Nothing);
        }
        let text = match call.name {
            "open" => self.open(call, &path, 1)?,
            "openat" => self.open(call, &path, 2)?,
            "mkdir" | "mkdirat" => format!("create_dir {path}"),
            "rename" => self.two_names(call, "rename", &path, 1),
            "renameat" | "renameat2" => self.two_names(call, "rename", &path, 3),
            "link" => self.two_names(call, "link", &path, 1),
            "linkat" => self.two_names(call, "link", &path, 3),
            "rmdir" => format!("remove_dir {path}"),
            "unlinkat" if call.arg(2)? == "AT_REMOVEDIR" => format!("remove_dir {path}"),
            "unlink" | "unlinkat" => format!("remove {path}"),
            "pread64" => format!("read {path} {} {}", call.arg(3)?, call.arg(2)?),
            // What was written, not what was asked for: the vectors' lengths are not all shown.
            "pwrite64" | "pwritev" => format!("write {path} {} {}", call.arg(3)?, call.result),
            "pwritev2" if call.arg(4)? == "RWF_DSYNC" => {
                format!("write_durable {path} {} {}", call.arg(3)?, call.result)
            }
            "ftruncate" => format!("set_len {path} {}", call.arg(1)?),
            "fallocate" if call.arg(1)? == "0" => {
                format!("allocate {path} {} {}", call.arg(2)?, call.arg(3)?)
            }
            "fdatasync" => format!("sync_data {path}"),
            "fsync" if self.dirs.contains(Path::new(&path)) => format!("sync_dir {path}"),
            "fsync" => format!("sync_all {path}"),
            // Maps begin at a page, whatever was asked for: only the file is compared.
            "mmap" if !call.arg(2)?.contains("PROT_WRITE") => format!("map {path}"),
            _ => format!("unknown {call}"),
        };
        Ok(Event::Call(text))
    }

    /// The first path below the root that the call is about, relative to the root.
    fn subject(&self, call: &Syscall<'_>) -> Option<String> {
        let named = (0..call.args.len()).filter_map(|index| call.path_at(index));
        let held = (0..call.args.len()).filter_map(|index| call.fd_path(index));
        named.chain(held).find_map(|path| self.relative(&path))
    }

    fn relative(&self, path: &Path) -> Option<String> {
        let below = path.strip_prefix(self.root).ok()?;
        let names: Vec<_> = below
            .components()
            .filter(|component| *component != Component::CurDir)
            .map(|component| component.as_os_str().to_string_lossy())
            .collect();
        Some(if names.is_empty() {
            ".".to_owned()
        } else {
            super::anonymous(&names.join("/"))
        })
    }

    /// An open, whose flags are argument `flags`.
    fn open(&mut self, call: &Syscall<'_>, path: &str, flags: usize) -> anyhow::Result<String> {
        let (name, flags) = (call.arg(flags - 1)?, call.arg(flags)?);
        let has = |flag| flags.split('|').any(|given| given == flag);
        Ok(if has("O_DIRECTORY") {
            self.dirs.insert(PathBuf::from(path));
            // A listing opens the directory anew, as ".".
            let op = if name == "\".\"" { "list" } else { "open_dir" };
            format!("{op} {path}")
        } else if has("O_CREAT") && has("O_EXCL") {
            format!("create_new {path}")
        } else if has("O_CREAT") || has("O_TRUNC") {
            format!("unknown open of {path} with {flags}")
        } else if has("O_RDWR") {
            format!("open {path}")
        } else {
            format!("open_read_only {path}")
        })
    }

    fn two_names(&self, call: &Syscall<'_>, op: &str, path: &str, to: usize) -> String {
        match call.path_at(to).and_then(|to| self.relative(&to)) {
            Some(to) => format!("{op} {path} {to}"),
            None => format!("unknown {call}"),
        }
    }
}

#[cfg(test)]
mod tests;
