//! Tests of what all kinds share.

mod fixed;
mod pay;
pub(super) mod plain_binary;

use super::algorithm_id;

#[test]
fn the_algorithm_id_changes_only_on_purpose() {
    assert_eq!(
        hex::encode(algorithm_id()),
        "20bc939988f53b90347c3b022e2a9e44063a69ae7d3fbdc5d654feb469a2e863"
    );
}
