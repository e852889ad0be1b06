//! A shard's saved indexes on a running node: making and writing one, and reading a segment back into memory. Both run on the thread behind
//! the shard (`preparer`), and let others have their turn between two pieces.
//!
//! Left segments are read with `pread`, not mapped: a disk that fails must cost a saved index, and not the process, which a page fault that can't be
//! served would end.
//!
//! A summary is written under another name, synced, and renamed; then the directory is synced. So under its name there is a whole one
//! or none, whatever happens. What a crash leaves under the other name the next start deletes.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;

use super::segments::{file_name, summary_name, summary_name_new, sync_directory};
use crate::limits::{CONTENT_PIECE_BYTES, SECTOR_LEN, WRITE_SLICE_BYTES};
use crate::storage::format::SEGMENT_HEADER_LEN;
use crate::storage::hash::KeyIdentifier;
use crate::storage::log::{ContentPlace, LoadedContent, SegmentMemory};
use crate::storage::summary::{Fed, Maker};
use crate::types::{Position, SegmentId};

/// Makes a left segment's summary and puts it in its place.
pub(super) fn save(
    directory: &Path,
    segment: SegmentId,
    end: Position,
    identifier: KeyIdentifier,
    mut between: impl FnMut(),
) -> io::Result<()> {
    let file = File::open(directory.join(file_name(segment)))?;
    let summary = make(&file, segment, end, identifier, &mut between)?;
    let new = directory.join(summary_name_new(segment));
    let written = write(&new, &summary, between)
        .and_then(|()| fs::rename(&new, directory.join(summary_name(segment))))
        .and_then(|()| sync_directory(directory));
    if written.is_err() {
        // It only takes up space. The error that counts is the one that is given back.
        let _ = fs::remove_file(&new);
    }
    written
}

fn make(
    file: &File,
    segment: SegmentId,
    end: Position,
    identifier: KeyIdentifier,
    between: &mut impl FnMut(),
) -> io::Result<Vec<u8>> {
    let mut sector = [0; SECTOR_LEN];
    file.read_exact_at(&mut sector, 0)?;
    let mut maker = Maker::new(identifier, &sector, segment, end).map_err(io::Error::other)?;
    let mut piece = Vec::new();
    let mut wanted = CONTENT_PIECE_BYTES;
    let mut offset = SEGMENT_HEADER_LEN as u64;
    loop {
        read_up_to(file, &mut piece, offset, wanted)?;
        match maker.feed(&piece).map_err(io::Error::other)? {
            Fed::Took(taken) => {
                piece.drain(..taken);
                offset += taken as u64;
                wanted = CONTENT_PIECE_BYTES;
            }
            Fed::Needs(len) if len > piece.len() && len > wanted => wanted = len,
            Fed::Needs(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Fed::Done => return Ok(maker.finish()),
        }
        between();
        thread::yield_now();
    }
}

/// Fills `piece` up to `len` bytes with what follows in the file; less only where that ends. `offset` is where the piece begins.
fn read_up_to(file: &File, piece: &mut Vec<u8>, offset: u64, len: usize) -> io::Result<()> {
    let mut filled = piece.len();
    piece.resize(len.max(filled), 0);
    while filled < piece.len() {
        match file.read_at(&mut piece[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    piece.truncate(filled);
    Ok(())
}

fn write(path: &Path, bytes: &[u8], mut between: impl FnMut()) -> io::Result<()> {
    let file = File::create(path)?;
    for (number, slice) in bytes.chunks(WRITE_SLICE_BYTES).enumerate() {
        file.write_all_at(slice, (number * WRITE_SLICE_BYTES) as u64)?;
        between();
        thread::yield_now();
    }
    file.sync_all()
}

/// Reads a left segment's content into memory and checks it. Memory that is not needed any more comes with it.
pub(super) fn load(
    directory: &Path,
    place: &ContentPlace,
    mut between: impl FnMut(),
) -> io::Result<(LoadedContent, Option<SegmentMemory>)> {
    let file = File::open(directory.join(file_name(place.segment)))?;
    let mut memory = place.memory()?;
    let mut at = 0;
    while at < place.len() {
        let end = place.len().min(at + CONTENT_PIECE_BYTES);
        let offset = (SEGMENT_HEADER_LEN + at) as u64;
        file.read_exact_at(memory.range_mut(at..end), offset)?;
        at = end;
        between();
        thread::yield_now();
    }
    place.check(memory)
}
