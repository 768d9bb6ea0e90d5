//! The scanner against the compiler's own idea of where a call stands, and against its rules.

use std::panic::Location;

use super::*;

struct Handle;

#[expect(clippy::unused_self, reason = "only the place of the call matters")]
impl Handle {
    #[track_caller]
    fn sync_data(&self) -> &'static Location<'static> {
        Location::caller()
    }

    fn itself(&self) -> &Self {
        self
    }

    #[track_caller]
    fn sync(&self) -> &'static Location<'static> {
        Location::caller()
    }
}

mod procedures {
    use std::panic::Location;

    #[track_caller]
    pub(super) fn replace_file<T>(_contents: T) -> &'static Location<'static> {
        Location::caller()
    }
}

struct GroupCommit<T>(std::marker::PhantomData<T>);

impl<T> GroupCommit<T> {
    #[track_caller]
    #[expect(clippy::new_ret_no_self, reason = "only its place matters")]
    fn new() -> &'static Location<'static> {
        Location::caller()
    }
}

// Not under #[test] or cfg(test) by its own attributes, so the scanner sees it in this file's text.
#[rustfmt::skip]
fn calls() -> Vec<&'static Location<'static>> {
    let file = Handle;
    let dir = Handle;
    let one = file.sync_data();
    let two = file
        .itself()
        .itself() .sync_data();
    let three = procedures::replace_file(0);
    let four = procedures::replace_file::<u8>(
        0,
    );
    let five = GroupCommit::<u8>::new();
    let six = ("é", dir.sync()).1;
    let seven = Some(1).map(|_| file.sync_data()).expect("some");
    vec![one, two, three, four, five, six, seven]
}

#[test]
fn a_site_stands_where_the_compiler_says_the_caller_is() {
    let source = parse("tests.rs", include_str!("tests.rs")).unwrap();
    let found: Vec<_> = scan(&[source])
        .iter()
        .map(|site| (site.line, site.column))
        .collect();
    let mut expected: Vec<_> = calls()
        .iter()
        .map(|location| (location.line(), location.column()))
        .collect();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

fn scanned(text: &str) -> Vec<Call> {
    scan(&[parse("test", text).unwrap()])
        .into_iter()
        .map(|site| site.call)
        .collect()
}

/// The barriers in `text`, as `name: step, step`.
fn barriers(text: &str) -> Vec<String> {
    let barriers = scanned(text).into_iter().map(|call| match call {
        Call::Barrier { name, steps } => {
            format!(
                "{name}: {}",
                steps.into_iter().collect::<Vec<_>>().join(", ")
            )
        }
        Call::Unclassified(reason) => reason,
    });
    barriers.collect()
}

#[track_caller]
fn check(body: &str, expected: &[&str]) {
    assert_eq!(
        barriers(&format!("fn f() {{ {body} }}")),
        expected,
        "{body}"
    );
}

#[track_caller]
fn check_unclassified(body: &str) {
    let found = scanned(&format!("fn f() {{ {body} }}"));
    assert!(
        matches!(found.as_slice(), [Call::Unclassified(_)]),
        "{body}: {found:?}"
    );
}

#[test]
fn every_kind_of_barrier_is_listed() {
    check("file.sync_data()?;", &["sync_data: "]);
    check("self.active.file.sync_all()?;", &["sync_all: "]);
    check(
        "drop(mark.write_durable_at(&slot, 0)?);",
        &["write_durable_at: "],
    );
    check(
        "self.dir.sync()?; self.dir()?.sync()?; parent_dir.sync()?;",
        &["sync: "; 3],
    );
    check(
        "durable_io::replace_file(&dir, name, &bytes)?;",
        &["replace_file: contents, name"],
    );
    check("publish(&dir, &file, a, b)?;", &["publish: contents, name"]);
    check("remove_durably(&dir, a)?;", &["remove_durably: name"]);
    check(
        "durable_io::made_durable(|| self.log.sync())?;",
        &["made_durable: within"],
    );
    check(
        "create_durably(&dir, a, |file| fill(file))?;",
        &["create_durably: contents, name"],
    );
    check(
        "options.disk.create_dir(path)?; dir.create_dir(name)?;",
        &["create_dir: create_dir"],
    );
    check(
        "let group = GroupCommit::<Item, Outcome>::new();",
        &["GroupCommit::new: group commit"],
    );
    check(
        "let site = Site::new(Location::caller(), kind, \"seal\");",
        &["Site::new: seal"],
    );
}

#[test]
fn the_barriers_of_a_tracked_function_are_its_callers() {
    let text = "
        impl Log {
            #[track_caller] fn sync(&self) { let s = Site::new(Location::caller(), kind, \"\"); }
            #[track_caller] fn seal(&self) { self.sync(); replace_file(&dir, a, b); }
            #[track_caller] fn harmless(&self) {}
        }
        #[track_caller] fn free() { file.sync_data(); }
        #[track_caller] fn closure() { all.each(|dir| dir.sync()); }
        fn f() { log.seal(); log.harmless(); Log::seal(&log); self.log.sync(); module::free(); }";
    let seal = "seal: , contents, name";
    // A closure is not tracked, whatever function it is in.
    assert_eq!(barriers(text), ["sync: ", seal, seal, "sync: ", "free: "]);
}

#[test]
fn a_barrier_whose_site_was_made_elsewhere_is_not_listed() {
    check(
        "file.sync_data_at(group.site())?; dir.sync_at(site)?; options.sync(mode);",
        &[],
    );
}

#[test]
fn what_syntax_cannot_decide_is_unclassified() {
    check_unclassified("log.sync()?;");
    check_unclassified("handles[0].sync()?;");
    check_unclassified("assert!(dir.sync().is_ok());");
    check_unclassified("store.create_dir(path)?;");
    check_unclassified("File::sync_data(&file)?;");
    check_unclassified("let site = Site::new(location, Barrier::Data, \"\");");
}

#[test]
fn a_type_may_call_its_own_sync() {
    let text = "impl Log { fn sync(&self) {} fn close(&self) { self.sync(); } }";
    assert!(scanned(text).is_empty());
}

#[test]
fn tests_are_not_scanned() {
    let text =
        "#[cfg(test)] mod tests { fn f() { file.sync_data(); } } #[test] fn g() { d.sync(); }";
    assert!(scanned(text).is_empty());
}

fn workspace() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap()
}

#[test]
fn every_barrier_that_a_run_reaches_is_known() {
    let files = ["xtask/crashtest/src/controls/store.rs"];
    let known = sites_in(workspace(), &files).unwrap();
    let bound = durable_io::sim::Bound::of_length(1);
    let control = crate::controls::Control::new(None);
    let explored = durable_io::sim::Explorer::new(&control).explore(&bound, &|_| {});
    let reached = explored.sites.into_keys();
    let mut reached: Vec<_> = reached.filter(|site| site.file == files[0]).collect();
    assert!(reached.len() > 5, "{reached:?}");
    reached.retain(|site| {
        !known.iter().any(|known| {
            let is_there = (known.line, known.column) == (site.line, site.column);
            is_there
                && matches!(&known.call, Call::Barrier { steps, .. } if steps.contains(site.step))
        })
    });
    assert_eq!(reached, []);
}

#[test]
fn modules_are_followed_from_the_crates_root() {
    let sites = sites(workspace(), "durable-io").unwrap();
    assert!(
        sites
            .iter()
            .all(|site| site.file.starts_with("durable-io/src/"))
    );
}

#[test]
fn a_proof_is_the_comment_right_above() {
    let text = "// Redundant: an open does\n// it again.\ndir.sync()?;\n// Durable: it.\nfile.sync_data()?;";
    assert_eq!(
        proof_above(text, 3).as_deref(),
        Some("an open does it again.")
    );
    assert_eq!(proof_above(text, 5), None);
}
