//! The judge on answers that no engine may give: a store that answers whatever it was told to.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use durable_io::sim::SimDisk;

use super::*;
use crate::engine::{
    Change as Write, Contents, Engine, Outcome, Place, Refusal, Repaired, Setting, Store,
};

const DIR: &str = "/fake";

/// What the fake engine says of the damaged store, and after its repair. Opened again it says the same,
/// with what was written since.
#[derive(Clone, Debug, Default)]
struct Says {
    /// An error of opening: file and offset; no file, an error that is none for damage.
    refuses: Option<(&'static str, u64)>,
    contents: Contents,
    broken: Option<(&'static str, u64)>,
    verify: Option<(&'static str, u64)>,
    repaired: Option<(Contents, Option<u64>)>,
    touches: bool,
}

#[derive(Debug)]
struct Fake {
    says: Mutex<Says>,
}

#[derive(Debug)]
struct Damaged {
    path: PathBuf,
    offset: u64,
}

impl std::fmt::Display for Damaged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Damaged {}

fn damaged((file, offset): (&'static str, u64)) -> Box<Refusal> {
    if file.is_empty() {
        return "an error like any other".into();
    }
    let path = Path::new(DIR).join(file);
    Box::new(Damaged { path, offset })
}

struct Open {
    says: Mutex<Says>,
    disk: durable_io::Disk,
}

/// What was written since is in a file of its own.
const SINCE: &str = "/since";

impl Engine for &'static Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn open(&self, setting: &Setting) -> Outcome<Box<dyn Store>> {
        let mut says = self.says.lock().unwrap().clone();
        if let Some(refusal) = says.refuses {
            if says.touches {
                let dir = setting.disk.open_dir(DIR)?;
                dir.open("log")?.set_len(1)?;
            }
            return Err(damaged(refusal));
        }
        if setting.disk.open_dir(SINCE).is_ok() {
            let (_, value) = PROBE;
            says.contents.insert(b"probe".to_vec(), value.to_vec());
        }
        Ok(Box::new(Open {
            says: Mutex::new(says),
            disk: setting.disk.clone(),
        }))
    }

    fn damage(&self, error: &Refusal) -> Option<Place> {
        let damaged: &Damaged = error.downcast_ref()?;
        Some(Place::at(&damaged.path, damaged.offset))
    }

    fn repair(&self, setting: &Setting) -> Option<Outcome<Repaired>> {
        let mut says = self.says.lock().unwrap();
        let (contents, dropped) = says.repaired.clone()?;
        *says = Says {
            contents,
            ..Says::default()
        };
        drop(says);
        let given_up = Vec::new();
        Some(self.open(setting).map(|store| Repaired {
            store,
            dropped,
            given_up,
        }))
    }
}

impl Store for Open {
    fn apply(&self, _changes: &[Write]) -> Outcome<()> {
        self.disk.create_dir(SINCE)?;
        Ok(())
    }

    fn dump(&self) -> Outcome<Contents> {
        Ok(self.says.lock().unwrap().contents.clone())
    }

    fn salvage(&self) -> (Contents, Vec<Box<Refusal>>) {
        let says = self.says.lock().unwrap();
        let broken = says.broken.map(damaged);
        (says.contents.clone(), broken.into_iter().collect())
    }

    fn verify(&self) -> Outcome<Vec<Box<Refusal>>> {
        let damage = self.says.lock().unwrap().verify.map(damaged);
        Ok(damage.into_iter().collect())
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        Ok(())
    }
}

/// Keys 1 to `last`.
fn holds(last: u8) -> Contents {
    (1..=last).map(|n| (vec![n], vec![n])).collect()
}

/// A store of steps 0 to 4, each in 10 bytes of its log, of which the first is given up; the root says
/// that step 1 was durable, and the last piece that step 2 was.
fn specimen() -> Specimen {
    let disk = SimDisk::new();
    let dir = disk.disk().create_dir(DIR).unwrap();
    for (name, len) in [("log", 40), ("root", 10)] {
        let file = dir.create_new(name).unwrap();
        file.write_all_at(&vec![7; len], 0).unwrap();
    }
    let piece = |nth: u64| {
        let start = usize::try_from(nth * 10).unwrap();
        Piece {
            span: Span::new("log", start..start + 10),
            header: start..start + 2,
            step: nth + 1,
            witness: if nth == 3 { 2 } else { 0 },
        }
    };
    let held = |step: u8| Held::new(step.into(), holds(step));
    let root = Root {
        span: Span::new("root", 0..10),
        witness: 1,
        history: (0..=4).map(held).collect(),
    };
    Specimen::new("fake", DIR, &disk.world(), Vec::new(), vec![root])
        .pieces((0..4).map(piece).collect())
        .given_up(vec![Span::new("log", 0..5)])
        .reads_up_to_damage()
}

/// What is said of a store that `says` this when the byte at `at` of its log is changed.
fn judge(at: usize, says: &Says) -> Verdict {
    let specimen = specimen();
    let changes = changes::all(&specimen, false);
    let change = changes.iter().find(|change| change.is_byte(0, at)).unwrap();
    let world = change.apply(&specimen).unwrap();
    let fake: &'static Fake = Box::leak(Box::new(Fake {
        says: Mutex::new(says.clone()),
    }));
    let engine: &'static dyn Engine = Box::leak(Box::new(fake));
    Case::new(engine, &specimen, change, &world).judge(&world)
}

fn is_wrong(at: usize, says: &Says) -> bool {
    matches!(judge(at, says), Verdict::Wrong(_))
}

fn quiet(last: u8) -> Says {
    Says {
        contents: holds(last),
        ..Says::default()
    }
}

fn refused(file: &'static str, offset: u64) -> Says {
    Says {
        refuses: Some((file, offset)),
        ..Says::default()
    }
}

#[test]
fn right_answers_are_right() {
    assert_eq!(judge(35, &quiet(4)), Verdict::Harmless);
    assert_eq!(judge(35, &quiet(3)), Verdict::InWindow);
    assert_eq!(judge(35, &refused("log", 35)), Verdict::Detected);
}

#[test]
fn a_silent_loss_outside_the_window_is_wrong() {
    // What is before the damage must be there.
    assert!(is_wrong(35, &quiet(2)));
    // The last header, which is whole, says that step 2 was durable; here it is gone, too.
    assert!(is_wrong(15, &quiet(1)));
    assert_eq!(judge(25, &quiet(2)), Verdict::InWindow);
    assert!(is_wrong(35, &quiet(0)));
}

#[test]
fn wrong_bytes_are_wrong() {
    let mut says = quiet(4);
    says.contents.insert(vec![2], vec![3]);
    assert!(is_wrong(35, &says));
    says = quiet(4);
    says.contents.remove(&vec![2][..]);
    assert!(is_wrong(35, &says));
}

#[test]
fn an_error_must_be_the_promised_one_and_name_a_place() {
    for (file, offset) in [("", 0), ("other", 0), ("log", 41)] {
        assert!(is_wrong(35, &refused(file, offset)), "{file} {offset}");
    }
}

#[test]
fn a_refusal_must_change_nothing() {
    let mut says = refused("log", 35);
    says.touches = true;
    assert!(is_wrong(35, &says));
}

#[test]
fn a_repair_must_keep_what_is_whole_and_say_what_it_gives_up() {
    let repaired = |last, dropped| Says {
        repaired: Some((holds(last), dropped)),
        ..refused("log", 35)
    };
    assert_eq!(judge(35, &repaired(3, Some(1))), Verdict::Detected);
    assert!(is_wrong(35, &repaired(2, Some(2))));
    assert!(is_wrong(35, &repaired(3, None)));
    assert!(is_wrong(35, &repaired(3, Some(2))));
}

#[test]
fn damage_of_what_is_given_up_must_not_matter() {
    assert_eq!(judge(3, &quiet(4)), Verdict::Harmless);
    assert!(is_wrong(3, &refused("log", 3)));
    let broken = Says {
        broken: Some(("log", 3)),
        verify: Some(("log", 3)),
        ..quiet(4)
    };
    assert!(is_wrong(3, &broken));
}

#[test]
fn verify_must_not_contradict_reading_and_reading_goes_up_to_the_damage() {
    let mut says = Says {
        broken: Some(("log", 35)),
        ..quiet(3)
    };
    assert!(is_wrong(35, &says));
    says.verify = Some(("log", 35));
    assert_eq!(judge(35, &says), Verdict::Detected);
    says.contents = holds(2);
    assert!(is_wrong(35, &says));
}

#[test]
fn a_panic_is_counted_and_reported() {
    let specimen = specimen();
    let changes = changes::all(&specimen, false);
    let changes = changes.get(..3).unwrap();
    let counted = damage(&specimen, changes, &|_, _| panic!("as planned"));
    assert_eq!(counted.total().panics, 3);
    let described: Vec<_> = counted.descriptions().collect();
    assert_eq!(described.len(), 1);
    let is_described = described[0].contains("as planned") && described[0].contains("first of 3");
    assert!(is_described, "{described:?}");
}
