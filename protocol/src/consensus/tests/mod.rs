//! Tests of what all kinds share.

mod fixed;
mod pay;
pub(super) mod plain_binary;

use super::algorithm_id;

#[test]
fn the_algorithm_id_changes_only_on_purpose() {
    assert_eq!(
        hex::encode(algorithm_id()),
        "15aa022ddf6c5697e2efd47690c877818fbe46ba3f5e76f4c5a87cf5c7886fb0"
    );
}
