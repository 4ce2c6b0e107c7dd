//! Tests of what all kinds share.

mod fixed;
mod pay;

use super::algorithm_id;

#[test]
fn the_algorithm_id_changes_only_on_purpose() {
    assert_eq!(
        hex::encode(algorithm_id()),
        "e02dea58562453fda5fade4e9b2c3fe1517d7f6a220978a421a671bc164eca60"
    );
}
