//! Tests of what all kinds share.

mod fixed;
mod pay;

use super::algorithm_id;

#[test]
fn the_algorithm_id_changes_only_on_purpose() {
    assert_eq!(
        hex::encode(algorithm_id()),
        "88ed70fe77e012f3a697623806c49c5738c85e0dfb2ca66a4291d5ffaa9f7fae"
    );
}
