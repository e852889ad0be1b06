//! Any files as a shard's log: recovery refuses them or gives back a log that can be read, repaired and written on.
//!
//! Random bytes fail the first checksum, so most inputs begin as a sound log that this target writes itself. Then come
//! the wounds. **Blind** ones are what a disk or an operator does: they can't make a checksum right, so whatever comes
//! back must have been written. The others **forge**: they change a field and close the checksums over it again, to
//! get behind them. Then recovery can't know what is true, and must still hold together.
//!
//! For each input:
//!
//! 1. Without salvage: an error, or a log without damage.
//! 2. With salvage: the same if that was no error, else an error or a log with its damage listed.
//! 3. Each record that is shown lies where it says that it lies.
//! 4. After the repairs and one more block, a start without salvage finds all that was shown, and the block.
#![no_main]

#[path = "recover/check.rs"]
mod check;
#[path = "recover/image.rs"]
mod image;
#[path = "recover/wound.rs"]
mod wound;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

use check::{Outcome, continues, read_back, run};
use image::{Step, Writer};
use wound::Wound;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    steps: Vec<Step>,
    wounds: Vec<Wound<'a>>,
}

fuzz_target!(|input: Input<'_>| {
    let writer = Writer::write(&input.steps);
    let mut image = writer.image.clone();
    let mut forged = false;
    for wound in input.wounds.iter().take(8) {
        forged |= wound.inflict(&mut image);
    }

    let plain = run(&image, false);
    let salvaged = run(&image, true);
    if let Ok(outcome) = &plain {
        assert!(outcome.recovered.damage.is_empty());
        assert_eq!(
            salvaged.as_ref(),
            Ok(outcome),
            "nothing was there to salvage"
        );
    }
    let Ok(outcome) = salvaged else {
        return;
    };
    read_back(&image, &outcome, forged);
    if !forged {
        assert_written(&writer, &outcome, plain.is_ok());
    }
    continues(image, &outcome);
});

/// Nothing comes back that was not written, and nothing twice or out of order. A start that saw no damage leaves out
/// nothing but the end.
fn assert_written(writer: &Writer, outcome: &Outcome, is_sound: bool) {
    if is_sound {
        assert!(writer.known.starts_with(&outcome.seen), "a gap");
    }
    let mut written = writer.known.iter();
    for seen in &outcome.seen {
        assert!(
            written.any(|known| known == seen),
            "{seen:?} was not written"
        );
    }
}
