//! Tests of what all kinds share.

mod fixed;
mod pay;
pub(super) mod plain_binary;

use super::algorithm_id;

#[test]
fn the_algorithm_id_changes_only_on_purpose() {
    assert_eq!(
        hex::encode(algorithm_id()),
        "b396add0c7f900398db49186dcc3158d0017896fb1bdb52ae42bcbba560cec6d"
    );
}
