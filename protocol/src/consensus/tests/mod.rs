//! Tests of what all kinds share.

mod fixed;
mod pay;
pub(super) mod plain_binary;

use super::algorithm_id;

#[test]
fn the_algorithm_id_changes_only_on_purpose() {
    assert_eq!(
        hex::encode(algorithm_id()),
        "f5d2e48f9d7b5d50fa586b3b4c2f04f6075513fc1aea20eb7bde3de00e04c8b7"
    );
}
