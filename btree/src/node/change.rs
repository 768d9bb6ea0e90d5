//! Changing nodes.

use super::{
    AT_CELLS, AT_COUNT, AT_DEAD, AT_KIND, AT_LEVEL, AT_PREFIX, Cell, HEADER, Kind, Node, Ref, SLOT,
    Shape, head_of, prefix_len, put, put_slot, set_link, set_stamp, size_of, slice, small, stamp,
    u16_at,
};

/// Makes `bytes` a node of `cells`, which fit. The stamp stays.
pub(crate) fn build(bytes: &mut [u8], shape: Shape, cells: &[Cell<'_>]) {
    let stamp = stamp(bytes);
    bytes.fill(0);
    set_stamp(bytes, stamp);
    let kind = if shape.level == 0 {
        Kind::Leaf
    } else {
        Kind::Branch
    };
    put(bytes, AT_KIND, &[kind as u8]);
    put(bytes, AT_LEVEL, &[shape.level]);
    put(bytes, AT_COUNT, &small(cells.len()).to_le_bytes());
    set_link(bytes, shape.link);
    let prefix = prefix_len(cells);
    let mut at = bytes.len() - prefix;
    if let Some(first) = cells.first() {
        for (to, from) in bytes.iter_mut().skip(at).zip(first.key.bytes()) {
            *to = *from;
        }
    }
    put(bytes, AT_PREFIX, &small(prefix).to_le_bytes());
    for (index, cell) in cells.iter().enumerate() {
        let key = cell.key.skip(prefix);
        at -= key.len() + cell.payload.len();
        put(bytes, at, key.first);
        put(bytes, at + key.first.len(), key.rest);
        put(bytes, at + key.len(), cell.payload);
        let head = head_of(slice(bytes, at, key.len()));
        put_slot(bytes, index, at, key.len(), head);
    }
    put(bytes, AT_CELLS, &small(at).to_le_bytes());
}

/// Puts an entry at `index` if it fits without moving others, and the key begins with the page's
/// prefix; returns whether it did.
pub(crate) fn insert(bytes: &mut [u8], index: usize, key: &[u8], payload: &[u8]) -> bool {
    let node = Node::new(bytes);
    let Some(rest) = key.strip_prefix(node.prefix()) else {
        return false;
    };
    let (count, cells) = (node.count(), usize::from(u16_at(bytes, AT_CELLS)));
    let slots_end = HEADER + count * SLOT;
    let size = rest.len() + payload.len();
    if slots_end + SLOT + size > cells {
        return false;
    }
    let at = cells - size;
    let (rest_len, head) = (rest.len(), head_of(rest));
    put(bytes, at, rest);
    put(bytes, at + rest_len, payload);
    let slot = HEADER + index * SLOT;
    bytes.copy_within(slot..slots_end, slot + SLOT);
    put_slot(bytes, index, at, rest_len, head);
    put(bytes, AT_COUNT, &small(count + 1).to_le_bytes());
    put(bytes, AT_CELLS, &small(at).to_le_bytes());
    true
}

/// Removes the entries `range`.
pub(crate) fn remove(bytes: &mut [u8], range: std::ops::Range<usize>) {
    let node = Node::new(bytes);
    let count = node.count();
    let size = |index| {
        let (_, key_len) = node.cell_at(index);
        key_len + node.payload(index).len()
    };
    let dead = usize::from(u16_at(bytes, AT_DEAD)) + range.clone().map(size).sum::<usize>();
    let (from, to) = (HEADER + range.start * SLOT, HEADER + range.end * SLOT);
    bytes.copy_within(to..HEADER + count * SLOT, from);
    put(bytes, AT_COUNT, &small(count - range.len()).to_le_bytes());
    put(bytes, AT_DEAD, &small(dead).to_le_bytes());
}

/// Replaces the payload of entry `index` by one of the same length; returns whether it is.
pub(crate) fn replace(bytes: &mut [u8], index: usize, payload: &[u8]) -> bool {
    let node = Node::new(bytes);
    if node.payload(index).len() != payload.len() {
        return false;
    }
    let (at, key_len) = node.cell_at(index);
    put(bytes, at + key_len, payload);
    true
}

/// Makes child `index` of a branch `child`.
pub(crate) fn set_child(bytes: &mut [u8], index: usize, child: Ref) {
    match index.checked_sub(1) {
        None => set_link(bytes, Some(child)),
        Some(cell) => {
            let is_replaced = replace(bytes, cell, &child.encode());
            debug_assert!(is_replaced, "all references have one length");
        }
    }
}

/// Where to divide `cells`, of which each half fits into a page of `page_size` bytes, about as evenly as
/// that goes. In a branch the cell at that place moves up.
pub(crate) fn split_point(cells: &[Cell<'_>], page_size: usize, is_leaf: bool) -> usize {
    let skipped = usize::from(!is_leaf);
    let fits = |&at: &usize| {
        let (left, right) = cells.split_at(at);
        let right = right.get(skipped..).unwrap_or(&[]);
        size_of(left) <= page_size && size_of(right) <= page_size
    };
    let size = |cell: &Cell<'_>| cell.key.len() + cell.payload.len();
    let half = cells.iter().map(size).sum::<usize>() / 2;
    let mut sum = 0;
    let middle = cells.iter().take_while(|cell| {
        sum += size(cell);
        sum <= half
    });
    let middle = middle.count();
    let last = cells.len() - 1 - skipped;
    // Nearly always it is the first one that is tried.
    let outwards = (0..=cells.len()).flat_map(|step| [middle + step, middle.wrapping_sub(step)]);
    let mut possible = outwards.filter(|at| (1..=last).contains(at));
    possible
        .find(fits)
        .expect("two pages hold what one page and a cell hold")
}
