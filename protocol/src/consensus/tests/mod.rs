//! Tests of what all kinds share.

mod fixed;
mod pay;
pub(super) mod plain_binary;

use super::algorithm_id;

#[test]
fn the_algorithm_id_changes_only_on_purpose() {
    assert_eq!(
        hex::encode(algorithm_id()),
        "3b79a3d575603a28d5feadb065e540631142ddb0d9c8688eda9e0c7b6bd19d1f"
    );
}
