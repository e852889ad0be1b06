//! What must hold of a log that recovery gives back.

use corduroy::storage::format::{Entry, Record, RecordAt, SEGMENT_HEADER_LEN};
use corduroy::storage::recovery::{
    Recovered, RecoveredSegment, RecoveryError, Repair, SegmentFile, Visitor, recover,
};
use corduroy::types::{PartitionId, Position, SegmentId};

use super::image::{IDENTITY, Image, Known, Writer};

/// Forged headers ask for files up to a gibibyte; repairs are carried out up to here.
const FILE_LEN_MAX: u64 = 4 << 20;

/// What recovery gave back and what it showed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) recovered: Recovered,
    pub(crate) seen: Vec<Known>,
}

/// Keeps each record's bytes as the visitor was shown them.
struct Seen<'a> {
    image: &'a Image,
    known: Vec<Known>,
}

impl Visitor for Seen<'_> {
    fn entry(&mut self, _: &Entry<'_>) {}

    fn record(&mut self, partition: PartitionId, at: &RecordAt<'_>) {
        // The key is in the file that the record is in: that is how its bytes are had without knowing where it is.
        let key = at.record.key.as_ptr() as usize;
        let before = at.record.encoded_len() - body_len(&at.record);
        let bytes = self
            .image
            .values()
            .find_map(|file| {
                let start = key.checked_sub(file.as_ptr() as usize)?;
                file.get(start.checked_sub(before)?..)?
                    .get(..at.len as usize)
            })
            .expect("what is shown is in a file");
        self.known.push(Known {
            position: at.position.0,
            partition,
            bytes: bytes.to_vec(),
        });
    }
}

/// Length of the key, the value and the padding.
fn body_len(record: &Record<'_>) -> usize {
    let fixed = if record.expiry.is_some() { 40 } else { 32 };
    record.encoded_len() - fixed
}

pub(crate) fn run(image: &Image, salvage: bool) -> Result<Outcome, RecoveryError> {
    let names: Vec<String> = image
        .keys()
        .map(|id| format!("{}.segment", SegmentId(*id)))
        .collect();
    let files: Vec<SegmentFile<'_>> = image
        .iter()
        .zip(&names)
        .map(|((id, bytes), name)| SegmentFile {
            id: SegmentId(*id),
            name,
            bytes,
        })
        .collect();
    let mut seen = Seen {
        image,
        known: Vec::new(),
    };
    let recovered = recover(&IDENTITY, salvage, &files, &mut seen)?;
    assert_shape(&recovered);
    Ok(Outcome {
        recovered,
        seen: seen.known,
    })
}

/// The segments follow each other without a gap, from zero to the end.
fn assert_shape(recovered: &Recovered) {
    let mut end = Position(0);
    for (segment, id) in recovered.segments.iter().zip(1..) {
        assert_eq!((segment.id.0, segment.base), (id, end));
        assert!(segment.end >= segment.base && segment.end.0.is_multiple_of(64));
        assert!(segment.end.0 - segment.base.0 <= segment.len - SEGMENT_HEADER_LEN as u64);
        end = segment.end;
    }
    assert_eq!(recovered.end, end);
    assert_eq!(recovered.log.is_some(), !recovered.segments.is_empty());
    assert!(!recovered.clean || recovered.damage.is_empty());
}

/// Each record lies where the index would look for it, and its own checksum is right unless somebody forged.
pub(crate) fn read_back(image: &Image, outcome: &Outcome, forged: bool) {
    for known in &outcome.seen {
        let position = Position(known.position);
        let segment = holder(&outcome.recovered.segments, position);
        let at = SEGMENT_HEADER_LEN + (position.0 - segment.base.0) as usize;
        let bytes = &image[&segment.id.0][at..at + known.bytes.len()];
        assert_eq!(bytes, known.bytes);
        let record = Record::parse(bytes).expect("was shown");
        assert_eq!(record.encoded_len(), bytes.len());
        if !forged {
            assert_eq!(Record::check(bytes, position), Ok(record));
        }
    }
}

fn holder(segments: &[RecoveredSegment], position: Position) -> &RecoveredSegment {
    segments
        .iter()
        .find(|segment| (segment.base..segment.end).contains(&position))
        .expect("a record lies in a segment")
}

/// After the repairs, a block is appended where recovery says. A start without salvage then finds all that was shown
/// before, and the block.
pub(crate) fn continues(mut image: Image, outcome: &Outcome) {
    let Outcome { recovered, seen } = outcome;
    if recovered
        .segments
        .iter()
        .any(|segment| segment.len > FILE_LEN_MAX)
    {
        return;
    }
    for repair in &recovered.repairs {
        carry_out(&mut image, repair);
    }
    let mut expected = seen.clone();
    let mut end = recovered.end.0;
    let image = match Writer::resume(image, recovered) {
        Ok(mut writer) => {
            writer.append_one();
            expected.append(&mut writer.known);
            end = writer.end();
            writer.image
        }
        Err(image) => image,
    };
    let again = run(&image, false).expect("sound after the repairs");
    assert_eq!(again.seen, expected);
    assert_eq!(again.recovered.end.0, end);
    assert_eq!(again.recovered.repairs, []);
}

fn carry_out(image: &mut Image, repair: &Repair) {
    let (segment, offset, bytes) = match repair {
        Repair::Delete { segment } => {
            image.remove(&segment.0).expect("was there");
            return;
        }
        Repair::Extend { segment, len } => {
            let file = image.get_mut(&segment.0).expect("was there");
            file.resize(*len as usize, 0);
            return;
        }
        Repair::Zero {
            segment,
            offset,
            len,
        } => (segment, *offset as usize, vec![0; *len as usize]),
        Repair::Write {
            segment,
            offset,
            bytes,
        } => (segment, *offset as usize, bytes.clone()),
    };
    let file = image.get_mut(&segment.0).expect("was there");
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(&bytes);
}
