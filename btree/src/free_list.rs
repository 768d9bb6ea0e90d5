//! The list of free pages, as a checkpoint writes it: runs of pages, in pages of their own.

use std::collections::BTreeSet;

use durable_io::codec::{Decoder, Encoder};
use sdd::Shared;

use crate::error::{Corruption, Result};
use crate::node::{self, HEADER, Kind, Ref};
use crate::page::Page;
use crate::pager::Pager;
use crate::space::{Purpose, Space};

/// Bytes of a run: its first page and how many.
pub(crate) const RUN: usize = 8;

/// A list that is about to be written.
#[derive(Debug)]
pub(crate) struct FreeList {
    pub(crate) first: Option<Ref>,
    /// Pages from this one on are used by nothing that the state has, and not listed.
    pub(crate) end: u32,
    /// In the order of their numbers.
    pub(crate) pages: Vec<(u32, Shared<Page>)>,
}

fn runs(pages: &BTreeSet<u32>) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for &page in pages {
        match runs.last_mut() {
            Some((first, count)) if *first + *count == page => *count += 1,
            _ => runs.push((page, 1)),
        }
    }
    runs
}

/// Makes the list of all pages that are not used in a state: those that `space` knows, and `more`, but
/// for the last ones. Its own pages are taken from `space`, and are not in it.
///
/// # Errors
/// As [`Space::take`]; nothing was taken.
pub(crate) fn make(pager: &Pager, space: &mut Space, more: &[u32], stamp: u64) -> Result<FreeList> {
    let full = (pager.page_size - HEADER) / RUN;
    let mut own: Vec<u32> = Vec::new();
    let mut runs = loop {
        let mut unused = space.unused();
        unused.extend(more);
        let runs = runs(&unused);
        // Taking one shortens a run or ends it: it never takes more pages than it was thought.
        if runs.len().div_ceil(full) <= own.len() {
            break runs;
        }
        match space.take(pager, Purpose::Free) {
            Ok(page) => own.push(page),
            Err(error) => {
                for page in own {
                    space.give_back(pager, page);
                }
                return Err(error);
            }
        }
    };
    // Others may still read what is there now: the file is cut when they do not.
    let end = match runs.pop_if(|(first, count)| *first + *count == space.end()) {
        Some((first, _)) => first,
        None => space.end(),
    };
    let mut next = None;
    let mut pages = Vec::new();
    let mut parts: Vec<_> = runs.chunks(full).collect();
    // A page that is not needed after all is an empty part.
    parts.resize(own.len(), &[]);
    for (part, &number) in parts.into_iter().zip(&own).rev() {
        let mut encoder = Encoder::default();
        for &(first, count) in part {
            encoder.u32(first).u32(count);
        }
        let mut bytes = vec![0; pager.page_size].into_boxed_slice();
        node::set_stamp(&mut bytes, stamp);
        node::build_chained(&mut bytes, Kind::FreeList, next, encoder.as_slice());
        next = Some(Ref {
            page: number,
            stamp,
        });
        pages.push((number, Shared::new(Page::new(bytes))));
    }
    pages.sort_unstable_by_key(|(number, _)| *number);
    let first = next;
    Ok(FreeList { first, end, pages })
}

/// The pages of the list that begins with `first`, and those that it lists. All lie in
/// `allowed`, and none is there twice.
pub(crate) fn read(
    pager: &Pager,
    first: Option<Ref>,
    allowed: std::ops::Range<u32>,
) -> Result<(Vec<u32>, BTreeSet<u32>)> {
    let (mut own, mut free) = (BTreeSet::new(), BTreeSet::new());
    let mut next = first;
    while let Some(r) = next {
        let corrupt = |reason| pager.corrupt(r.page, reason);
        if !allowed.contains(&r.page) {
            return Err(corrupt(Corruption::Outside { page: r.page }));
        }
        // The chain ends: no page is in it twice.
        if !own.insert(r.page) {
            return Err(corrupt(Corruption::DoublyOwned { page: r.page }));
        }
        let page = pager.read_from_file(r)?;
        if node::kind(&page) != Some(Kind::FreeList) {
            return Err(corrupt(Corruption::Kind));
        }
        let mut decoder = Decoder::new(node::chained(&page));
        while let (Some(first), Some(count)) = (decoder.u32(), decoder.u32()) {
            let end = first.checked_add(count).filter(|&end| end <= allowed.end);
            let end = end.filter(|_| first >= allowed.start && count > 0);
            let end = end.ok_or_else(|| corrupt(Corruption::Outside { page: first }))?;
            for page in first..end {
                if !free.insert(page) {
                    return Err(corrupt(Corruption::DoublyOwned { page }));
                }
            }
        }
        next = node::link(&page);
    }
    if let Some(&page) = own.intersection(&free).next() {
        return Err(pager.corrupt(page, Corruption::DoublyOwned { page }));
    }
    Ok((own.into_iter().collect(), free))
}
