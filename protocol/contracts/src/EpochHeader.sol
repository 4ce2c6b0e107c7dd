// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

/// @notice A lane's epoch. Field `view_` is called `view` in the EIP-712 type and in the published ABI.
struct EpochHeader {
    /// Lane the epoch belongs to.
    uint32 lane;
    /// One more than the lane's last epoch.
    uint64 epoch;
    /// Attempt within the epoch; leaders rotate by it.
    uint32 view_;
    /// Term of the committee that signs.
    uint64 term;
    /// Header hash of the previous epoch; zero for epoch 1.
    bytes32 parent;
    /// Block the epoch was computed at.
    uint64 chainBlock;
    /// Hash of that block.
    bytes32 chainBlockHash;
    /// Root over the signed records of the epoch.
    bytes32 recordsRoot;
    /// Root over the states of the lane's tasks.
    bytes32 stateRoot;
    /// Root of the payout tree (see PositionalMerkle).
    bytes32 payoutRoot;
    /// Root of the audit tree: the payout leaves in the same places, each with the sum of all before it.
    bytes32 auditRoot;
    /// Number of payout leaves.
    uint32 payoutCount;
    /// Root of the loss tree (see PositionalMerkle).
    bytes32 lossRoot;
    /// Root over reputations.
    bytes32 reputationRoot;
    /// blake3 hash of the file that lists the payout leaves.
    bytes32 payoutFile;
    /// Sum of all payout leaves, in token base units.
    uint256 totalOwed;
    /// keccak256(abi.encode(settled)).
    bytes32 settledHash;
}

/// @notice A task whose money an epoch takes from the escrow.
struct SettledTask {
    bytes32 taskId;
    address client;
}

/// @title The header's name
library EpochHeaders {
    /// @dev Type of the signed header.
    bytes32 internal constant TYPEHASH = keccak256(
        "EpochHeader(uint32 lane,uint64 epoch,uint32 view,uint64 term,bytes32 parent,uint64 chainBlock,bytes32 chainBlockHash,bytes32 recordsRoot,bytes32 stateRoot,bytes32 payoutRoot,bytes32 auditRoot,uint32 payoutCount,bytes32 lossRoot,bytes32 reputationRoot,bytes32 payoutFile,uint256 totalOwed,bytes32 settledHash)"
    );

    /// @dev EIP-712 struct hash, "the header hash". Every field is one word of calldata, so the words are hashed as they
    ///      came: a field with bits beyond its type hashes to something that nobody signs.
    function hash(EpochHeader calldata header) internal pure returns (bytes32 result) {
        bytes32 typeHash = TYPEHASH;
        assembly ("memory-safe") {
            let at := mload(0x40)
            mstore(at, typeHash)
            calldatacopy(add(at, 0x20), header, 0x220)
            result := keccak256(at, 0x240)
        }
    }
}
