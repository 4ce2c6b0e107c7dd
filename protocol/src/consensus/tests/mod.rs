//! Tests of what all kinds share.

mod fixed;
mod pay;
pub(super) mod plain_binary;

use super::algorithm_id;

#[test]
fn the_algorithm_id_changes_only_on_purpose() {
    assert_eq!(
        hex::encode(algorithm_id()),
        "e26d4c547b0fde4eedd6d23620c7b1b805c82a7411f4549c449294cf59d6efe7"
    );
}
