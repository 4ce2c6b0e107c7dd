// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

/// @title A committee as one blob
/// @notice What a post needs to know of a committee, read with one account access:
///         term (8 bytes) || threshold (2) || distributor of the lane (20) || members (20 each, ascending).
library Committee {
    uint256 private constant PREFIX_BYTES = 30;
    uint256 private constant MEMBER_BYTES = 20;
    /// @dev Half the order of secp256k1; an s above it is a second form of the same signature.
    uint256 private constant HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    /// @notice Fewer signatures than the threshold.
    error QuorumTooSmall(uint256 given, uint256 threshold);
    /// @notice `signatures` must hold 64 bytes for every signer.
    error BadSignatureLength(uint256 expected, uint256 given);
    /// @notice A signer's bit is beyond the number of members.
    error UnknownSigner(uint256 signers, uint256 members);
    /// @notice The signature for this seat is not its member's.
    error BadSignature(uint256 seat);

    /// @dev The blob of a committee.
    function pack(uint64 term_, uint16 threshold_, address distributor_, address[] memory members_)
        internal
        pure
        returns (bytes memory data)
    {
        data = abi.encodePacked(term_, threshold_, distributor_);
        for (uint256 i; i < members_.length; ++i) {
            data = bytes.concat(data, bytes20(members_[i]));
        }
    }

    /// @dev Term the committee serves.
    function term(bytes memory data) internal pure returns (uint64) {
        return uint64(_word(data, 0) >> 192);
    }

    /// @dev Signatures a header needs.
    function threshold(bytes memory data) internal pure returns (uint16) {
        return uint16(_word(data, 8) >> 240);
    }

    /// @dev RewardDistributor of the lane.
    function distributor(bytes memory data) internal pure returns (address) {
        return address(uint160(_word(data, 10) >> 96));
    }

    /// @dev Number of members.
    function seats(bytes memory data) internal pure returns (uint256) {
        return (data.length - PREFIX_BYTES) / MEMBER_BYTES;
    }

    /// @dev All members, ascending.
    function members(bytes memory data) internal pure returns (address[] memory list) {
        list = new address[](seats(data));
        for (uint256 i; i < list.length; ++i) {
            list[i] = address(uint160(_word(data, PREFIX_BYTES + i * MEMBER_BYTES) >> 96));
        }
    }

    /// @dev Reverts unless the members whose bits are set in `signers` signed `digest` and reach the threshold.
    /// @param signatures 64 bytes (EIP-2098: r, then s with the parity in its top bit) per signer, in seat order
    function requireQuorum(bytes memory data, bytes32 digest, uint256 signers, bytes calldata signatures) internal view {
        uint256 count = signatures.length / 64;
        if (count < threshold(data)) revert QuorumTooSmall(count, threshold(data));
        if (signers >> seats(data) != 0) revert UnknownSigner(signers, seats(data));
        (uint256 used, uint256 bad) = _recoverAll(data, digest, signers, signatures);
        if (bad != type(uint256).max) revert BadSignature(bad);
        if (used * 64 != signatures.length) revert BadSignatureLength(used * 64, signatures.length);
    }

    /// @dev Walks the seats of `signers` and their signatures together; a signature beyond the end reads as zero and
    ///      recovers nobody. Returns how many were good and the first seat that was not.
    function _recoverAll(bytes memory data, bytes32 digest, uint256 signers, bytes calldata signatures)
        private
        view
        returns (uint256 used, uint256 bad)
    {
        bad = type(uint256).max;
        assembly ("memory-safe") {
            // ecrecover's input: digest, v, r, s; its answer goes to the scratch word at 0.
            let input := mload(0x40)
            mstore(input, digest)
            let at := signatures.offset
            let end := add(at, signatures.length)
            // Address of seat 0's word: 32 bytes of length, then the prefix.
            let member := add(data, 0x3e)
            for { let seat := 0 } signers {
                seat := add(seat, 1)
                signers := shr(1, signers)
                member := add(member, 20)
            } {
                if iszero(and(signers, 1)) { continue }
                let vs := 0
                let r := 0
                if lt(at, end) {
                    r := calldataload(at)
                    vs := calldataload(add(at, 0x20))
                }
                let s := shr(1, shl(1, vs))
                mstore(add(input, 0x20), add(27, shr(255, vs)))
                mstore(add(input, 0x40), r)
                mstore(add(input, 0x60), s)
                mstore(0, 0)
                // A failed recovery returns nothing and leaves zero, which no member is.
                pop(staticcall(gas(), 1, input, 0x80, 0, 0x20))
                if or(gt(s, HALF_ORDER), iszero(eq(mload(0), shr(96, mload(member))))) {
                    bad := seat
                    break
                }
                at := add(at, 0x40)
                used := add(used, 1)
            }
        }
    }

    /// @dev The word that starts at a byte of the blob.
    function _word(bytes memory data, uint256 offset) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := mload(add(add(data, 0x20), offset))
        }
    }
}
