//! Tests of what all kinds share.

mod fixed;
mod pay;

use super::algorithm_id;

#[test]
fn the_algorithm_id_changes_only_on_purpose() {
    assert_eq!(
        hex::encode(algorithm_id()),
        "39afc355984e64e71c0dc881f32fd41dd4fe9c774e365c404fed517bbc58eec0"
    );
}
