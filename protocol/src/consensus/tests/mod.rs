//! Tests of what all kinds share.

mod fixed;
mod pay;
pub(super) mod plain_binary;

use super::algorithm_id;

#[test]
fn the_algorithm_id_changes_only_on_purpose() {
    assert_eq!(
        hex::encode(algorithm_id()),
        "6de7479b9bb1e40c46cc7455e44d54cb6526a9807f98941741ae2c62c86fcad0"
    );
}
