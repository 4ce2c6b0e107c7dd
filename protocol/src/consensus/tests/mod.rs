//! Tests of what all kinds share.

mod fixed;
mod pay;
pub(super) mod plain_binary;

use super::algorithm_id;

#[test]
fn the_algorithm_id_changes_only_on_purpose() {
    assert_eq!(
        hex::encode(algorithm_id()),
        "a00a415a66b98e6c5bcb567eef74c0e0955e0158da950bc077a73bdf901f5c75"
    );
}
