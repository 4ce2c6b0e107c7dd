//! A record off the wire: refused, or canonical to the byte. A signature made up by a fuzzer is never believed.
#![no_main]

use assay_protocol::{codec, id::NetworkId, verify::Decoded};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(decoded) = Decoded::parse(bytes) {
        let network = NetworkId([7; 32]);
        if let Ok(authentic) = decoded.authenticate(&network) {
            assert_eq!(codec::encode(authentic.envelope()), bytes);
        }
    }
});
