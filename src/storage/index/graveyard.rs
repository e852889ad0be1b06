//! Dropping an index in slices.
//!
//! Giving back the tables of ten million entries takes longer than a turn may. So a dropped index becomes a graveyard, and its
//! owner frees a slice each turn until it is empty, and hears of each entry that goes.

use super::directory::{Directory, Node};
use super::entry::Candidate;

/// What is left of a dropped index.
#[derive(Debug)]
pub struct Graveyard {
    /// Nodes still to be freed, a list for each level that was opened; the last is worked on.
    levels: Vec<Vec<Node>>,
}

impl Graveyard {
    pub(super) fn new(directory: Directory) -> Self {
        Self {
            levels: vec![directory.into_nodes()],
        }
    }

    /// Frees memory until `bytes_max` are reached (by at most one table more than that) or all is free; says whether it is. `gone` is told of
    /// each entry.
    pub fn free_slice(&mut self, bytes_max: usize, mut gone: impl FnMut(Candidate)) -> bool {
        let mut bytes = 0;
        while bytes < bytes_max {
            let Some(level) = self.levels.last_mut() else {
                return true;
            };
            match level.pop() {
                Some(Node::Table(table)) => {
                    table.entries().for_each(|entry| gone(entry.candidate()));
                    bytes += table.heap_bytes() + size_of::<Node>();
                }
                Some(Node::Directory(child)) => self.levels.push(child.into_nodes()),
                None => {
                    self.levels.pop();
                }
            }
        }
        self.levels.is_empty()
    }
}
