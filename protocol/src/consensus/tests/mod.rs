//! Tests of what all kinds share.

mod fixed;
mod pay;
pub(super) mod plain_binary;

use super::algorithm_id;

#[test]
fn the_algorithm_id_changes_only_on_purpose() {
    assert_eq!(
        hex::encode(algorithm_id()),
        "a87a1c6d91d6e7e632e6d6adda39cc5f7a57e6caa22064dbf6b07b59fec3f19f"
    );
}
