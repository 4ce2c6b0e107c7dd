//! Tests of what all kinds share.

mod fixed;
mod pay;
pub(super) mod plain_binary;

use super::algorithm_id;

#[test]
fn the_algorithm_id_changes_only_on_purpose() {
    assert_eq!(
        hex::encode(algorithm_id()),
        "7b52c6979a44407cbb4dab883df6a20e1db81bb3ca4fcaa82107ce33acef24d2"
    );
}
