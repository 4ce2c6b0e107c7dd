//! Tests of what all kinds share.

mod fixed;
mod pay;

use super::algorithm_id;

#[test]
fn the_algorithm_id_changes_only_on_purpose() {
    assert_eq!(
        hex::encode(algorithm_id()),
        "34f14b7ec4b0ef0d1bb15bb2eb246574c2bf9c090bda37a2b67923bfb2a9f420"
    );
}
