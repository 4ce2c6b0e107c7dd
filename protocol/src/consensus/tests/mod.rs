//! Tests of what all kinds share.

mod fixed;
mod pay;

use super::algorithm_id;

#[test]
fn the_algorithm_id_changes_only_on_purpose() {
    assert_eq!(
        hex::encode(algorithm_id()),
        "61a9f596bd53f4a759704b746fbd653f3443502bb89def1bf33468305b2e0d19"
    );
}
