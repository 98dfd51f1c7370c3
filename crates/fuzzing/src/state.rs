//! `state`: what rt reads back that it, or another runtime, has written: state.json, and rt.json and descriptors.json, which
//! come with images that nobody vouches for.

use crate::one_line;
use container::fuzzing;

type ReadAndWrite = fn(&[u8]) -> container::Result<Vec<u8>>;

pub(crate) fn check(input: &[u8]) {
    for read_and_write in [fuzzing::record as ReadAndWrite, fuzzing::manifest, fuzzing::descriptors] {
        match read_and_write(input) {
            Ok(written) => assert_eq!(read_and_write(&written).ok(), Some(written), "it is read as another"),
            Err(error) => drop(one_line(&error)),
        }
    }
}
