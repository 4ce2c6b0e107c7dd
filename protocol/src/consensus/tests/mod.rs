//! Tests of what all kinds share.

mod fixed;
mod pay;

use super::algorithm_id;

#[test]
fn the_algorithm_id_changes_only_on_purpose() {
    assert_eq!(
        hex::encode(algorithm_id()),
        "3cd5e797d457e1360f85935f537208e3c9c263500b281f2389c1525148c78670"
    );
}
