// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

/// @title Read-only data kept as the code of an account
/// @dev Reading a list of 21 addresses costs one cold account instead of 21 cold slots. The first byte is STOP,
///      so a call to the blob does nothing.
library CodeBlob {
    /// @notice The data exceeds the code size limit, or the account that should hold it could not be created.
    error BlobNotCreated();

    /// @dev Largest payload in bytes: the code size limit less the leading STOP.
    uint256 internal constant MAX_BYTES = 24_575;

    /// @dev Stores `data` and returns the account that holds it.
    function write(bytes memory data) internal returns (address blob) {
        if (data.length <= MAX_BYTES) {
            // PUSH2 size, DUP1, PUSH1 10 (length of this preamble), PUSH0, CODECOPY, PUSH0, RETURN
            bytes memory creation =
                abi.encodePacked(hex"61", uint16(data.length + 1), hex"80600a5f395ff3", hex"00", data);
            assembly ("memory-safe") {
                blob := create(0, add(creation, 0x20), mload(creation))
            }
        }
        if (blob == address(0)) revert BlobNotCreated();
    }

    /// @dev Returns what `write` stored in `blob`.
    function read(address blob) internal view returns (bytes memory data) {
        uint256 size = blob.code.length - 1;
        data = new bytes(size);
        assembly ("memory-safe") {
            extcodecopy(blob, add(data, 0x20), 1, size)
        }
    }
}
