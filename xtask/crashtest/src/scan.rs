//! Lists every barrier call in a crate's sources, so that one which no run reaches still shows.
//!
//! A barrier inside a `#[track_caller]` function of the crate itself is counted where that function is
//! called, so its calls are listed instead: by name, through as many layers as there are.
//!
//! The list is made from syntax, without types. Where syntax cannot tell whether a call is a barrier
//! (`x.sync()` on something that is not called a directory, a barrier's name inside a macro), it is
//! listed as unclassified, which is red: it is better to rename a variable than to overlook a sync.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use proc_macro2::{LineColumn, Span, TokenStream, TokenTree};
use syn::visit::{self, Visit};

mod syntax;

use syntax::{call_path, is_test, last_name, literal, path_start};

/// A barrier call in the sources, at the place that [`std::panic::Location::caller`] gives for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SourceSite {
    /// Relative to the workspace, as the compiler names it: `wal/src/wal.rs`.
    pub(crate) file: String,
    /// From 1.
    pub(crate) line: u32,
    /// In characters, from 1.
    pub(crate) column: u32,
    pub(crate) call: Call,
    /// What the comment above it says after "Redundant:".
    pub(crate) proof: Option<String>,
}

/// What is at a [`SourceSite`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    /// A barrier, by its function's name, and the steps under which the barriers inside it are
    /// counted, one site for each.
    Barrier { name: String, steps: Steps },
    /// A call that may be a barrier; its text says why that cannot be told. Red.
    Unclassified(String),
}

type Steps = BTreeSet<String>;

/// The barriers of durable-io that are methods, but for `sync` and `create_dir`, which are names that
/// others use as well.
const METHODS: [&str; 3] = ["sync_data", "sync_all", "write_durable_at"];

/// The procedures of durable-io that hold barriers, and their steps.
const FUNCTIONS: [(&str, &[&str]); 11] = [
    // What it does is in another crate, and not looked into.
    (WITHIN, &["within"]),
    ("open_store", &["create_dir"]),
    ("open_empty_store", &["create_dir"]),
    ("take_file", &["copy"]),
    ("create_whole", &["name"]),
    ("replace_file", &["contents", "name"]),
    ("replace_file_with", &["contents", "name"]),
    ("create_durably", &["contents", "name"]),
    ("publish", &["contents", "name"]),
    ("publish_temp", &["contents", "name"]),
    ("remove_durably", &["name"]),
];

const WITHIN: &str = "made_durable";

const A_PATH_HAS_A_NAME: &str = "a path that was parsed has a name";

/// A function of the scanned crate: the type whose `impl` holds it, if any, and its name.
type Function = (Option<String>, String);

/// The crate's own `#[track_caller]` functions that hold barriers, and the steps of these.
type Tracked = BTreeMap<Function, Steps>;

/// Lists the barrier calls of the crate in the workspace's folder `name`, following its modules from
/// `src/lib.rs`, without those under `#[cfg(test)]`.
///
/// `sync_data_at(site)` and `sync_at(site)` are not listed: their site is where it was made.
///
/// # Errors
/// A source file that cannot be read, parsed or found.
pub(crate) fn sites(workspace: &Path, name: &str) -> anyhow::Result<Vec<SourceSite>> {
    let root = PathBuf::from(name).join("src");
    let mut queue = vec![(root.join("lib.rs"), root)];
    let mut sources = Vec::new();
    while let Some((file, children)) = queue.pop() {
        let source = read(workspace, &file.display().to_string())?;
        for module in modules(&source.parsed) {
            queue.push(module_file(workspace, &children.join(module))?);
        }
        sources.push(source);
    }
    Ok(proven(&sources))
}

/// The same of `files`, by the names that the compiler has for them, and of no module of theirs.
///
/// # Errors
/// As [`sites`].
pub(crate) fn sites_in(workspace: &Path, files: &[&str]) -> anyhow::Result<Vec<SourceSite>> {
    let sources = files.iter().map(|file| read(workspace, file));
    Ok(proven(&sources.collect::<anyhow::Result<Vec<_>>>()?))
}

/// The sites of `sources`, with the proofs that stand there.
fn proven(sources: &[Source]) -> Vec<SourceSite> {
    let mut sites = scan(sources);
    for site in &mut sites {
        let source = sources.iter().find(|source| source.name == site.file);
        site.proof = source.and_then(|source| proof_above(&source.text, site.line));
    }
    sites
}

/// What the comment right above line `line` says after "Redundant:": why nothing is lost without the
/// barrier, and why it is there all the same.
fn proof_above(text: &str, line: u32) -> Option<String> {
    let above: Vec<&str> = text.lines().take(line.saturating_sub(1) as usize).collect();
    let comment = above
        .iter()
        .rev()
        .map_while(|line| line.trim().strip_prefix("//"));
    let mut lines: Vec<&str> = comment.map(str::trim).collect();
    lines.reverse();
    let text = lines.join(" ");
    let (_, proof) = text.split_once("Redundant: ")?;
    Some(proof.to_owned())
}

/// A source file.
struct Source {
    /// The compiler's name for it.
    name: String,
    text: String,
    parsed: syn::File,
}

fn read(workspace: &Path, name: &str) -> anyhow::Result<Source> {
    let path = workspace.join(name);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    parse(name, &text)
}

fn parse(name: &str, text: &str) -> anyhow::Result<Source> {
    let parsed = syn::parse_file(text).with_context(|| format!("cannot parse {name}"))?;
    let (name, text) = (name.to_owned(), text.to_owned());
    Ok(Source { name, text, parsed })
}

/// The file of the module at `path` (without extension), and the folder of its own modules.
fn module_file(workspace: &Path, path: &Path) -> anyhow::Result<(PathBuf, PathBuf)> {
    for file in [path.with_extension("rs"), path.join("mod.rs")] {
        if workspace.join(&file).exists() {
            return Ok((file, path.to_owned()));
        }
    }
    bail!("there is no file for the module {}", path.display())
}

/// The modules that `file` keeps in files of their own.
fn modules(file: &syn::File) -> Vec<String> {
    let items = file.items.iter().filter_map(|item| match item {
        syn::Item::Mod(module) if module.content.is_none() && !is_test(&module.attrs) => {
            Some(module.ident.to_string())
        }
        _ => None,
    });
    items.collect()
}

/// Scans until no further function of the crate turns out to hold a barrier.
fn scan(sources: &[Source]) -> Vec<SourceSite> {
    let mut tracked = Tracked::new();
    loop {
        let mut scan = Scan::new(&tracked);
        for source in sources {
            source.name.clone_into(&mut scan.file);
            scan.visit_file(&source.parsed);
        }
        if scan.found == tracked {
            scan.sites.sort();
            return scan.sites;
        }
        tracked = scan.found;
    }
}

/// One walk over all sources.
struct Scan<'a> {
    tracked: &'a Tracked,
    /// What this walk learned of the crate's own functions.
    found: Tracked,
    sites: Vec<SourceSite>,
    file: String,
    /// The type whose `impl` surrounds the current place, and whether it has a `sync` of its own.
    owner: Option<String>,
    owns_sync: bool,
    /// The `#[track_caller]` function around the current place: barriers in it are its callers'.
    within: Option<Function>,
}

impl<'a> Scan<'a> {
    fn new(tracked: &'a Tracked) -> Self {
        Self {
            tracked,
            found: Tracked::new(),
            sites: Vec::new(),
            file: String::new(),
            owner: None,
            owns_sync: false,
            within: None,
        }
    }

    fn push(&mut self, at: Span, call: Call) {
        let LineColumn { line, column } = at.start();
        self.sites.push(SourceSite {
            file: self.file.clone(),
            line: u32::try_from(line).expect("a source is small"),
            column: u32::try_from(column + 1).expect("a source is small"),
            call,
            proof: None,
        });
    }

    fn barrier(&mut self, at: Span, name: &str, steps: Steps) {
        match &self.within {
            Some(function) => self
                .found
                .entry(function.clone())
                .or_default()
                .extend(steps),
            None => self.push(
                at,
                Call::Barrier {
                    name: name.to_owned(),
                    steps,
                },
            ),
        }
    }

    fn unclassified(&mut self, at: Span, reason: &str) {
        self.push(at, Call::Unclassified(reason.to_owned()));
    }

    /// Walks through a function, knowing whether its barriers are its callers'.
    fn function(
        &mut self,
        attrs: &[syn::Attribute],
        name: &syn::Ident,
        walk: impl FnOnce(&mut Self),
    ) {
        if is_test(attrs) {
            return;
        }
        let tracked = attrs
            .iter()
            .any(|attribute| attribute.path().is_ident("track_caller"));
        let within = tracked.then(|| (self.owner.clone(), name.to_string()));
        let outer = std::mem::replace(&mut self.within, within);
        walk(self);
        self.within = outer;
    }

    /// The steps of the crate's own tracked methods of that name, of whatever type.
    fn tracked_method(&self, name: &str) -> Option<Steps> {
        let same = self
            .tracked
            .iter()
            .filter(|((owner, known), _)| owner.is_some() && known == name);
        same.map(|(_, steps)| steps.clone())
            .reduce(|mut all, steps| {
                all.extend(steps);
                all
            })
    }

    /// The steps of the crate's own tracked function called as `owner::name`.
    fn tracked_function(&self, owner: Option<&syn::Ident>, name: &str) -> Option<Steps> {
        let owner = owner.map(ToString::to_string);
        let owner = if owner.as_deref() == Some("Self") {
            self.owner.clone()
        } else {
            owner
        };
        let method = self.tracked.get(&(owner, name.to_owned()));
        method
            .or_else(|| self.tracked.get(&(None, name.to_owned())))
            .cloned()
    }

    /// `Site::new(location, barrier, step)`: outside a tracked function, the site is where the
    /// location is taken.
    fn site_by_hand(&mut self, at: Span, call: &syn::ExprCall) {
        let location = match call.args.first() {
            Some(syn::Expr::Call(location)) => call_path(location),
            _ => None,
        };
        let taken_here = location.filter(|path| {
            path.path
                .segments
                .last()
                .is_some_and(|segment| segment.ident == "caller")
        });
        match (taken_here, call.args.get(2).and_then(literal)) {
            (Some(path), Some(step)) => {
                self.barrier(path_start(path), "Site::new", Steps::from([step]));
            }
            _ => self.unclassified(at, "a site made by hand of something else than literals"),
        }
    }

    /// Names of barriers inside a macro's tokens: whether they are calls, only its expansion tells.
    fn macro_tokens(&mut self, tokens: TokenStream) {
        let mut previous: Option<syn::Ident> = None;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    previous = Some(ident);
                    continue;
                }
                TokenTree::Group(group) => {
                    if let Some(ident) = previous.take().filter(is_barrier_name) {
                        self.unclassified(ident.span(), "a barrier's name inside a macro");
                    }
                    self.macro_tokens(group.stream());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
            previous = None;
        }
    }
}

fn is_barrier_name(ident: &syn::Ident) -> bool {
    METHODS.iter().any(|name| ident == name)
        || FUNCTIONS.iter().any(|(name, _)| ident == name)
        || ident == "sync"
}

impl<'ast> Visit<'ast> for Scan<'_> {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !is_test(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.function(&function.attrs, &function.sig.ident, |scan| {
            visit::visit_item_fn(scan, function);
        });
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.function(&function.attrs, &function.sig.ident, |scan| {
            visit::visit_impl_item_fn(scan, function);
        });
    }

    fn visit_expr_closure(&mut self, closure: &'ast syn::ExprClosure) {
        // A closure is not tracked: a barrier in it is counted where it is.
        let outer = self.within.take();
        visit::visit_expr_closure(self, closure);
        self.within = outer;
    }

    fn visit_item_impl(&mut self, block: &'ast syn::ItemImpl) {
        if is_test(&block.attrs) {
            return;
        }
        let owner = match &*block.self_ty {
            syn::Type::Path(path) => path
                .path
                .segments
                .last()
                .map(|segment| segment.ident.to_string()),
            _ => None,
        };
        let owns_sync = block.items.iter().any(
            |item| matches!(item, syn::ImplItem::Fn(function) if function.sig.ident == "sync"),
        );
        let outer = (
            std::mem::replace(&mut self.owner, owner),
            std::mem::replace(&mut self.owns_sync, owns_sync),
        );
        visit::visit_item_impl(self, block);
        (self.owner, self.owns_sync) = outer;
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        let receiver = last_name(&call.receiver);
        let (name, at) = (call.method.to_string(), call.method.span());
        let plain = || Steps::from([String::new()]);
        let is_sync = name == "sync" && call.args.is_empty();
        if METHODS.contains(&name.as_str()) || is_sync && receiver.contains("dir") {
            self.barrier(at, &name, plain());
        } else if let Some(steps) = self.tracked_method(&name) {
            self.barrier(at, &name, steps);
        } else if is_sync && !(receiver == "self" && self.owns_sync) {
            self.unclassified(at, "sync() of something that is not called a directory");
        } else if name == "create_dir" && receiver.contains("disk") {
            self.barrier(at, &name, Steps::from([name.clone()]));
        } else if name == "create_dir" && !receiver.contains("dir") {
            self.unclassified(
                at,
                "create_dir() of something called neither disk nor directory",
            );
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        if let Some(path) = call_path(call) {
            let names = path.path.segments.iter().rev();
            let mut names = names.map(|segment| &segment.ident);
            let name = names.next().expect(A_PATH_HAS_A_NAME).to_string();
            let owner = names.next();
            let owned_by = |wanted: &str| owner.is_some_and(|owner| owner == wanted);
            let at = path_start(path);
            let procedure = FUNCTIONS.iter().find(|(known, _)| *known == name);
            if let Some(steps) = self.tracked_function(owner, &name) {
                self.barrier(at, &name, steps);
            } else if let Some((name, steps)) = procedure {
                self.barrier(at, name, steps.iter().map(ToString::to_string).collect());
                if *name == WITHIN {
                    return;
                }
            } else if owned_by("GroupCommit") && (name == "new" || name == "default") {
                self.barrier(
                    at,
                    "GroupCommit::new",
                    Steps::from(["group commit".to_owned()]),
                );
            } else if owned_by("Site") && name == "new" {
                self.site_by_hand(at, call);
            } else if owner.is_some() && METHODS.contains(&name.as_str()) {
                self.unclassified(at, "a barrier called as a function");
            }
        }
        visit::visit_expr_call(self, call);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.macro_tokens(call.tokens.clone());
    }
}

#[cfg(test)]
mod tests;
