//! Tests of what all kinds share.

mod fixed;
mod pay;

use super::algorithm_id;

#[test]
fn the_algorithm_id_changes_only_on_purpose() {
    assert_eq!(
        hex::encode(algorithm_id()),
        "0f376c2c516af6d771b6d43516a54a98762afea1fbadc15bd449fc833f78a3a0"
    );
}
