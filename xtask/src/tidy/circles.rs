//! Files that import each other in a circle: none of them can be understood before the others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context as _;
use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;
use syn::visit::Visit;

/// A module: its names, from the crate's root on. The root has none.
type Module = Vec<String>;

/// The imports of one crate, of what is compiled without tests.
#[derive(Debug, Default)]
pub(super) struct Crate {
    modules: BTreeMap<Module, Imports>,
}

/// What a file imports.
#[derive(Debug, Default)]
struct Imports {
    /// As they are written, from the crate's root on.
    paths: BTreeSet<Vec<String>>,
    /// The names that the file gives out again, and where they come from.
    reexports: BTreeMap<String, Vec<String>>,
}

impl Crate {
    /// Adds the file at `path`, from the crate's `src` on, which holds `text`.
    ///
    /// # Errors
    /// What is no Rust.
    pub(super) fn add(&mut self, path: &Path, text: &str) -> anyhow::Result<()> {
        let file = syn::parse_file(text).with_context(|| path.display().to_string())?;
        let mut reader = Reader {
            module: module(path),
            imports: Imports::default(),
        };
        reader.visit_file(&file);
        self.modules.insert(reader.module, reader.imports);
        Ok(())
    }

    /// Each circle, as the imports that close it: `a -> b`.
    pub(super) fn circles(&self) -> Vec<Vec<String>> {
        let modules: Vec<&Module> = self.modules.keys().collect();
        let mut graph = DiGraphMap::<usize, ()>::new();
        for (from, (module, imports)) in self.modules.iter().enumerate() {
            for path in &imports.paths {
                let to = self.home_of(path, self.modules.len());
                // A child belongs to its parent, and may use what that has.
                if to == *module || module.starts_with(&to) && to.len() + 1 == module.len() {
                    continue;
                }
                let to = modules.binary_search(&&to);
                graph.add_edge(from, to.expect("the home is a module"), ());
            }
        }
        let name = |at: &usize| modules.get(*at).map_or_else(String::new, |it| it.join("/"));
        let circles = tarjan_scc(&graph)
            .into_iter()
            .filter(|files| files.len() > 1);
        let edges = circles.map(|files| {
            let edges = graph.all_edges().filter_map(|(from, to, ())| {
                let is_inside = files.contains(&from) && files.contains(&to);
                is_inside.then(|| format!("{} -> {}", name(&from), name(&to)))
            });
            edges.collect()
        });
        edges.collect()
    }

    /// How many files are in a circle.
    pub(super) fn files_in_circles(&self) -> usize {
        let circles = self.circles().into_iter().map(|edges| {
            let froms = edges.iter().filter_map(|edge| edge.split(' ').next());
            froms.collect::<BTreeSet<_>>().len()
        });
        circles.sum()
    }

    /// The module that has what `path` names, behind at most `most` re-exports.
    fn home_of(&self, path: &[String], most: usize) -> Module {
        let lengths = (0..=path.len()).rev();
        let mut prefixes = lengths.filter_map(|len| path.split_at_checked(len));
        let found =
            prefixes.find_map(|(module, rest)| Some((self.modules.get(module)?, module, rest)));
        let Some((imports, module, rest)) = found else {
            return Module::new();
        };
        let reexport = rest.split_first().and_then(|(name, rest)| {
            let target = imports.reexports.get(name)?;
            Some([target.as_slice(), rest].concat())
        });
        match reexport {
            Some(target) if most > 0 => self.home_of(&target, most - 1),
            _ => module.to_vec(),
        }
    }
}

fn module(path: &Path) -> Module {
    let parts = path.with_extension("");
    let mut parts: Module = parts
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if parts
        .last()
        .is_some_and(|last| ["lib", "main", "mod"].contains(&last.as_str()))
    {
        parts.pop();
    }
    parts
}

/// Reads the imports of one file.
struct Reader {
    module: Module,
    imports: Imports,
}

impl Reader {
    /// `path` from the crate's root on, if it leads into this crate.
    fn absolute(&self, path: &[String]) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        let base: &[String] = match first.as_str() {
            "crate" => &[],
            "self" => &self.module,
            "super" => {
                let supers = path.iter().take_while(|part| *part == "super").count();
                let base = self.module.get(..self.module.len().checked_sub(supers)?)?;
                return Some([base, path.get(supers..)?].concat());
            }
            _ => return None,
        };
        Some([base, rest].concat())
    }

    fn tree(&mut self, before: &[String], tree: &syn::UseTree, is_public: bool) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.tree(&with(&path.ident), &path.tree, is_public),
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.tree(before, tree, is_public);
                }
            }
            syn::UseTree::Name(name) => self.import(&with(&name.ident), &name.ident, is_public),
            syn::UseTree::Rename(name) => self.import(&with(&name.ident), &name.rename, is_public),
            syn::UseTree::Glob(_) => self.imports.paths.extend(self.absolute(before)),
        }
    }

    fn import(&mut self, path: &[String], name: &syn::Ident, is_public: bool) {
        let own_child = || [self.module.as_slice(), path].concat();
        if let Some(path) = self.absolute(path) {
            if is_public {
                self.imports
                    .reexports
                    .insert(name.to_string(), path.clone());
            }
            self.imports.paths.insert(path);
        } else if is_public {
            // `pub use child::Item`, if there is such a child; else another crate's.
            let path = own_child();
            self.imports.reexports.insert(name.to_string(), path);
        }
    }
}

impl Visit<'_> for Reader {
    fn visit_item(&mut self, item: &syn::Item) {
        let attributes = match item {
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            _ => &Vec::new(),
        };
        if attributes.iter().any(is_for_tests) {
            return;
        }
        if let syn::Item::Use(item) = item {
            let is_public = !matches!(item.vis, syn::Visibility::Inherited);
            self.tree(&[], &item.tree, is_public);
        }
        syn::visit::visit_item(self, item);
    }

    fn visit_path(&mut self, path: &syn::Path) {
        let parts: Vec<String> = path
            .segments
            .iter()
            .map(|part| part.ident.to_string())
            .collect();
        // `self` alone is a value.
        if parts.len() > 1 {
            self.imports.paths.extend(self.absolute(&parts));
        }
        syn::visit::visit_path(self, path);
    }
}

fn is_for_tests(attribute: &syn::Attribute) -> bool {
    let parse = || attribute.parse_args::<syn::Path>();
    attribute.path().is_ident("cfg") && parse().is_ok_and(|path| path.is_ident("test"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circles(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let mut all = Crate::default();
        for (path, text) in files {
            all.add(Path::new(path), text).unwrap();
        }
        all.circles()
    }

    #[test]
    fn a_circle_is_seen_through_a_reexport_and_a_path_in_the_code() {
        let files = [
            ("lib.rs", "mod a; mod b; mod c; pub use b::B;"),
            ("a.rs", "use crate::B;"),
            ("b.rs", "use super::c::{self, C}; pub struct B;"),
            ("c.rs", "fn f() { crate::a::g() }"),
        ];
        assert_eq!(circles(&files), [["a -> b", "b -> c", "c -> a"]]);
    }

    #[test]
    fn parents_and_tests_close_none() {
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "mod part; use crate::b; use part::P;"),
            ("a/part.rs", "use super::A;"),
            ("b.rs", "#[cfg(test)] mod tests { use crate::a; }"),
        ];
        assert_eq!(circles(&files), Vec::<Vec<String>>::new());
    }
}
