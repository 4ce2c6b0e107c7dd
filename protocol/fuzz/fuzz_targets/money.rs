//! Payout files, claims, keys of own rows and amounts in decimal text.
#![no_main]

use assay_protocol::{
    amount::Amount,
    codec,
    core::OwnKey,
    lane::{Claim, PayoutFile, SubtreeClaim},
    limit,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(claim) = codec::decode::<Claim>(bytes, limit::REQUEST_BYTES_MAX) {
        let _ = claim.is_valid();
    }
    if let Ok(file) = codec::decode::<PayoutFile>(bytes, limit::REQUEST_BYTES_MAX) {
        let (root, _) = (file.root(), file.audit_root());
        let proofs = file.proofs();
        for (at, (payee, _)) in proofs.file().leaves.iter().enumerate() {
            if let Some(claim) = proofs.claim(payee) {
                assert!(claim.is_valid() && claim.root == root);
            }
            if let Some(claim) = proofs.subtree(at, 3) {
                assert!(claim.is_valid() && claim.root == root);
            }
        }
    }
    if let Ok(claim) = codec::decode::<SubtreeClaim>(bytes, limit::REQUEST_BYTES_MAX) {
        if claim.is_valid() {
            assert_eq!(claim.packed().len(), 36 << claim.height);
        }
    }
    if let Some(key) = OwnKey::parse(bytes) {
        assert_eq!(key.to_bytes(), bytes);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        for decimals in [0, 6, 18, 255] {
            let _ = Amount::parse_decimal(text, decimals);
        }
    }
});
