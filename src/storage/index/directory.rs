//! From a hash to its table: extendible hashing, in levels.
//!
//! A directory looks at the hash bits that follow those which led to it (`depth`). Its `2^bits` slots name the node for each
//! value of those bits; a table that needs fewer bits than the directory has is named by several slots in a row. When a table
//! is full it is split at its next bit. Had it only one slot left, the slots are doubled first, each written twice.
//!
//! Doubling is the one step of extendible hashing that costs the size of the whole, so here it is bounded: at
//! [`INDEX_DIRECTORY_BITS_MAX`] bits a directory doesn't double any more; the table that is to be split becomes a directory
//! of its own with two tables. With 2¹⁰ slots and some 1,500 entries a table one level serves a million entries, and two levels
//! a billion. No step touches more than 2¹⁰ slots, 2¹⁰ nodes and two tables.
//!
//! When removals leave two sibling tables nearly empty, they become one again. The slots of a directory are not halved
//! again: they take 2 KiB at most.
//!
//! # Invariants
//!
//! 1. `slots.len() == 2^bits`, `depth + bits <= 40`, and each node is named by at least one slot.
//! 2. A table of depth `d` is named by exactly the `2^(depth + bits - d)` slots whose bits begin as its range does.
//! 3. A child directory is named by one slot, and its depth is `depth + bits`.

use super::entry::{Entry, SHORT_HASH_BITS, ShortHash};
use super::table::{Full, Table};
use crate::limits::{INDEX_DIRECTORY_BITS_MAX, INDEX_TABLE_SLOTS_MAX};
use crate::types::Position;

/// Siblings are merged when they hold at most this many entries together: few enough that the table isn't split again soon.
const MERGE_LEN_MAX: usize = INDEX_TABLE_SLOTS_MAX / 4;

/// What a slot of a directory leads to.
#[derive(Debug)]
pub(super) enum Node {
    Table(Table),
    Directory(Box<Directory>),
}

/// See the module's header.
#[derive(Debug)]
pub(super) struct Directory {
    /// Hash bits that were used up on the way here.
    depth: u8,
    /// Hash bits that this directory looks at.
    bits: u8,
    /// Indexes into `nodes`.
    slots: Vec<u16>,
    nodes: Vec<Node>,
    /// Bytes on the heap of this directory and all below it.
    heap_bytes: usize,
}

impl Directory {
    /// A directory with one empty table.
    pub(super) fn new() -> Self {
        Self::with_nodes(0, 0, vec![Node::Table(Table::new(0))])
    }

    fn with_nodes(depth: u32, bits: u32, nodes: Vec<Node>) -> Self {
        let mut directory = Self {
            depth: depth as u8,
            bits: bits as u8,
            slots: (0..1 << bits).collect(),
            nodes,
            heap_bytes: 0,
        };
        directory.heap_bytes =
            directory.own_bytes() + directory.nodes.iter().map(Node::heap_bytes).sum::<usize>();
        directory
    }

    /// A directory over these nodes, which are in hash order and cover the range of `depth` bits. None is deeper than a directory is wide, and a
    /// directory among them is exactly that deep.
    pub(super) fn of_nodes(depth: u32, nodes: Vec<Node>) -> Self {
        let deepest = nodes.iter().map(Node::depth).max().unwrap_or(depth);
        let bits = deepest - depth;
        assert!(
            bits <= INDEX_DIRECTORY_BITS_MAX,
            "a directory is not that wide"
        );
        let slots = nodes.iter().enumerate().flat_map(|(number, node)| {
            std::iter::repeat_n(number as u16, 1 << (deepest - node.depth()))
        });
        let mut directory = Self {
            depth: depth as u8,
            bits: bits as u8,
            slots: slots.collect(),
            nodes,
            heap_bytes: 0,
        };
        assert_eq!(directory.slots.len(), 1 << bits, "nodes cover the range");
        directory.heap_bytes =
            directory.own_bytes() + directory.nodes.iter().map(Node::heap_bytes).sum::<usize>();
        directory
    }

    /// Cuts sorted entries, which share the first `depth` bits, into tables for a directory that begins at `root` bits.
    pub(super) fn cut(entries: &[Entry], depth: u32, root: u32, out: &mut Vec<Node>) {
        if let Some(table) = Table::of_sorted(depth, entries) {
            out.push(Node::Table(table));
        } else if depth - root == INDEX_DIRECTORY_BITS_MAX {
            let mut nodes = Vec::new();
            Self::cut(entries, depth, depth, &mut nodes);
            out.push(Node::Directory(Box::new(Self::of_nodes(depth, nodes))));
        } else {
            let middle = entries.partition_point(|entry| entry.hash().bits(depth, 1) == 0);
            let (left, right) = entries.split_at(middle);
            Self::cut(left, depth + 1, root, out);
            Self::cut(right, depth + 1, root, out);
        }
    }

    pub(super) fn insert(&mut self, entry: Entry) {
        loop {
            let index = self.node_index(entry.hash());
            let node = &mut self.nodes[index];
            let before = node.heap_bytes();
            let outcome = match node {
                Node::Table(table) => table.insert(entry),
                Node::Directory(child) => {
                    child.insert(entry);
                    Ok(())
                }
            };
            self.heap_bytes = self.heap_bytes - before + node.heap_bytes();
            match outcome {
                Ok(()) => return,
                Err(Full) => self.split(index, entry.hash()),
            }
        }
    }

    pub(super) fn replace(&mut self, old: Position, new: Entry) -> bool {
        let index = self.node_index(new.hash());
        match &mut self.nodes[index] {
            Node::Table(table) => table.replace(old, new),
            Node::Directory(child) => child.replace(old, new),
        }
    }

    pub(super) fn remove(&mut self, hash: ShortHash, address: Position) -> bool {
        let index = self.node_index(hash);
        let node = &mut self.nodes[index];
        let before = node.heap_bytes();
        let (removed, is_sparse) = match node {
            Node::Table(table) => {
                let removed = table.remove(hash, address);
                (removed, removed && table.len() <= MERGE_LEN_MAX)
            }
            Node::Directory(child) => (child.remove(hash, address), false),
        };
        self.heap_bytes = self.heap_bytes - before + node.heap_bytes();
        if is_sparse {
            self.merge(hash);
        }
        removed
    }

    /// The table whose range the hash lies in.
    pub(super) fn table(&self, hash: ShortHash) -> &Table {
        let mut directory = self;
        loop {
            match &directory.nodes[directory.node_index(hash)] {
                Node::Table(table) => return table,
                Node::Directory(child) => directory = child,
            }
        }
    }

    /// Bytes on the heap of this directory and all below it.
    pub(super) fn heap_bytes(&self) -> usize {
        self.heap_bytes
    }

    /// Gives the nodes away.
    pub(super) fn into_nodes(self) -> Vec<Node> {
        self.nodes
    }

    fn node_index(&self, hash: ShortHash) -> usize {
        usize::from(self.slots[hash.bits(u32::from(self.depth), u32::from(self.bits))])
    }

    /// Bits that lead to one slot of this directory.
    fn slot_depth(&self) -> u32 {
        u32::from(self.depth) + u32::from(self.bits)
    }

    fn own_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<u16>() + self.nodes.capacity() * size_of::<Node>()
    }

    /// Splits the table at `index`, in whose range the hash lies.
    fn split(&mut self, index: usize, hash: ShortHash) {
        let Node::Table(table) = &self.nodes[index] else {
            unreachable!("only a table says that it is full");
        };
        // It has two different hashes, so there is a bit left to split at.
        assert!(table.depth() < SHORT_HASH_BITS);
        let depth = table.depth();
        let (left, right) = table.split();
        self.heap_bytes -= self.own_bytes() + self.nodes[index].heap_bytes();
        if depth == self.slot_depth() && u32::from(self.bits) == INDEX_DIRECTORY_BITS_MAX {
            let child = Self::with_nodes(depth, 1, vec![Node::Table(left), Node::Table(right)]);
            self.nodes[index] = Node::Directory(Box::new(child));
            self.heap_bytes += self.nodes[index].heap_bytes();
        } else {
            if depth == self.slot_depth() {
                self.slots = self.slots.iter().flat_map(|&node| [node, node]).collect();
                self.bits += 1;
            }
            let right_index = self.nodes.len() as u16;
            self.heap_bytes += left.heap_bytes() + right.heap_bytes();
            self.nodes[index] = Node::Table(left);
            self.nodes.push(Node::Table(right));
            let (first, count) = self.slots_of(hash, depth + 1);
            let right_first = first | count;
            self.slots[right_first..right_first + count].fill(right_index);
        }
        self.heap_bytes += self.own_bytes();
    }

    /// Merges the table in whose range the hash lies with its sibling, and the result with its own, as long as they are small.
    fn merge(&mut self, hash: ShortHash) {
        loop {
            let index = self.node_index(hash);
            let Node::Table(table) = &self.nodes[index] else {
                return;
            };
            let depth = table.depth();
            if depth == u32::from(self.depth) {
                return;
            }
            let (first, count) = self.slots_of(hash, depth);
            let sibling_index = usize::from(self.slots[first ^ count]);
            let Node::Table(sibling) = &self.nodes[sibling_index] else {
                return;
            };
            if sibling.depth() != depth || table.len() + sibling.len() > MERGE_LEN_MAX {
                return;
            }
            let (left, right) = if first & count == 0 {
                (table, sibling)
            } else {
                (sibling, table)
            };
            let merged = Table::merge(left, right);
            self.heap_bytes -= self.own_bytes() + left.heap_bytes() + right.heap_bytes();
            self.heap_bytes += merged.heap_bytes();
            self.nodes[index] = Node::Table(merged);
            let sibling_first = first ^ count;
            self.slots[sibling_first..sibling_first + count].fill(index as u16);
            self.forget_node(sibling_index);
            self.heap_bytes += self.own_bytes();
        }
    }

    /// Drops a node that no slot names. The last node takes its index.
    fn forget_node(&mut self, index: usize) {
        self.nodes.swap_remove(index);
        let moved = self.nodes.len() as u16;
        for slot in self.slots.iter_mut().filter(|slot| **slot == moved) {
            *slot = index as u16;
        }
        if self.nodes.len() < self.nodes.capacity() / 4 {
            self.nodes.shrink_to(self.nodes.len() * 2);
        }
    }

    /// The first slot and the number of slots of the range of `depth` bits in which the hash lies.
    fn slots_of(&self, hash: ShortHash, depth: u32) -> (usize, usize) {
        let count = 1 << (self.slot_depth() - depth);
        let slot = hash.bits(u32::from(self.depth), u32::from(self.bits));
        (slot & !(count - 1), count)
    }

    /// Asserts the invariants of this directory and all below it; for tests.
    pub(super) fn check(&self) -> usize {
        assert_eq!(self.slots.len(), 1 << self.bits);
        assert!(
            self.slot_depth() <= SHORT_HASH_BITS
                && u32::from(self.bits) <= INDEX_DIRECTORY_BITS_MAX
        );
        let mut count = 0;
        let mut heap_bytes = self.own_bytes();
        for (index, node) in self.nodes.iter().enumerate() {
            let slots: Vec<usize> = (0..self.slots.len())
                .filter(|&slot| usize::from(self.slots[slot]) == index)
                .collect();
            heap_bytes += node.heap_bytes();
            let named = match node {
                Node::Table(table) => {
                    table.check();
                    count += table.len();
                    1 << (self.slot_depth() - table.depth())
                }
                Node::Directory(child) => {
                    assert_eq!(u32::from(child.depth), self.slot_depth());
                    count += child.check();
                    1
                }
            };
            assert_eq!(
                slots.len(),
                named,
                "node {index} is named by the slots {slots:?}"
            );
            assert!(
                slots[0].is_multiple_of(named) && slots[named - 1] == slots[0] + named - 1,
                "node {index}: slots {slots:?}"
            );
        }
        assert_eq!(heap_bytes, self.heap_bytes, "the count of bytes is wrong");
        count
    }
}

impl Node {
    /// Bits that lead here.
    fn depth(&self) -> u32 {
        match self {
            Node::Table(table) => table.depth(),
            Node::Directory(child) => u32::from(child.depth),
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Node::Table(table) => table.heap_bytes(),
            Node::Directory(child) => size_of::<Directory>() + child.heap_bytes(),
        }
    }
}

const _: () = assert!(
    size_of::<Node>() == 32,
    "a node is half a cache line, as long as a table's header is"
);
