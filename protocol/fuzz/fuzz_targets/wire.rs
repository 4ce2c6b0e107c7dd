//! Requests, responses, epoch bodies and manifests: refused, or the same bytes again.
#![no_main]

use assay_protocol::{
    codec,
    id::NetworkId,
    limit,
    message::{EpochBody, Manifest, Request, Response},
    network::Params,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let most = limit::REQUEST_BYTES_MAX;
    if let Ok(request) = codec::decode::<Request>(bytes, most) {
        assert_eq!(codec::encode(&request), bytes);
    }
    if let Ok(response) = codec::decode::<Response>(bytes, most) {
        assert_eq!(codec::encode(&response), bytes);
    }
    if let Ok(body) = codec::decode::<EpochBody>(bytes, most) {
        assert_eq!(codec::encode(&body), bytes);
    }
    if let Ok(manifest) = codec::decode::<Manifest>(bytes, most) {
        // Unusable ones are told apart without a panic.
        let _ = manifest.check(&NetworkId([7; 32]), &Params::dev());
        assert_eq!(codec::encode(&manifest), bytes);
    }
});
