//! Tests of what all kinds share.

mod fixed;
mod pay;

use super::algorithm_id;

#[test]
fn the_algorithm_id_changes_only_on_purpose() {
    assert_eq!(
        hex::encode(algorithm_id()),
        "9b52d4780abe81b345acefb8a3616e7165f8b21f56075020aa7106142ffbf891"
    );
}
