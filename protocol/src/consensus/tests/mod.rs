//! Tests of what all kinds share.

mod fixed;
mod pay;

use super::algorithm_id;

#[test]
fn the_algorithm_id_changes_only_on_purpose() {
    assert_eq!(
        hex::encode(algorithm_id()),
        "82797d274a99cf02bde32b3a281f685f3b15f1cfa4225dc8b87ba1a16718458e"
    );
}
