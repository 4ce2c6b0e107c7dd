//! Tests of what all kinds share.

mod fixed;
mod pay;

use super::algorithm_id;

#[test]
fn the_algorithm_id_changes_only_on_purpose() {
    assert_eq!(
        hex::encode(algorithm_id()),
        "ba72074276d8c6f2518b77d9dfb374511d0d13a484e1c100960b4cac072aee3b"
    );
}
