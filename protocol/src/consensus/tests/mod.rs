//! Tests of what all kinds share.

mod fixed;
mod pay;

use super::algorithm_id;

#[test]
fn the_algorithm_id_changes_only_on_purpose() {
    assert_eq!(
        hex::encode(algorithm_id()),
        "eae77612998b82c617043c1728671f51b45b6a047ad1de9473aa35782ba48c9c"
    );
}
