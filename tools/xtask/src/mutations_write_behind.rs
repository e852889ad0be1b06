//! The rules of writing behind that `mutate` breaks, one at a time.

use crate::mutations::Mutation;

/// All of them. The unit tests of the log's writer are to catch them.
pub(crate) const WRITE_BEHIND_MUTATIONS: &[Mutation] = &[
    Mutation {
        name: "take a block that does not follow",
        file: "src/runtime/glommio/shared_ring.rs",
        find: "            && filled == offset;",
        replace: "            && filled <= offset;",
    },
    Mutation {
        name: "write over what is not in the file yet",
        file: "src/runtime/glommio/shared_ring.rs",
        find: "if end - flushed + KEPT_LEN > WRITE_BEHIND_LEN as u64 {",
        replace: "if end - flushed > 2 * WRITE_BEHIND_LEN as u64 {",
    },
    Mutation {
        name: "acknowledge at once what is to be synced",
        file: "src/runtime/glommio/writer.rs",
        find: "                sync: false,\n            } = &operation",
        replace: "                sync: _,\n            } = &operation",
    },
    Mutation {
        name: "sync before what was acknowledged is in the file",
        file: "src/runtime/glommio/writer.rs",
        find: "        self.flush()?;\n        match operation {",
        replace: "        match operation {",
    },
    Mutation {
        name: "go on behind what could not be written",
        file: "src/runtime/glommio/writer.rs",
        find: "            self.failed = Some(Failure::of(&error));\n",
        replace: "            behind.flushed(offset + len as u64);\n",
    },
    Mutation {
        name: "put the end of one log behind another",
        file: "src/runtime/glommio/write_behind.rs",
        find: "        && there == *before;",
        replace: "        && there.len() == before.len();",
    },
    Mutation {
        name: "tell nobody that something is to be written",
        file: "src/runtime/glommio/write_behind.rs",
        find: "_ if told == NOTHING => (FILLING, Tell::Soon),",
        replace: "_ if told == NOTHING => (FILLING, Tell::Nothing),",
    },
];
