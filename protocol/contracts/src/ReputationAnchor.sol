// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {EpochHeader} from "./EpochHeader.sol";
import {IAnchorView} from "./IWiring.sol";
import {PositionalMerkle} from "./PositionalMerkle.sol";

/// @title Reputation that another contract can ask for
/// @notice A lane's newest header anchors the evidence about every labeler: what was right (alpha) and what was wrong (beta)
///         in a domain, in thousandths. Whoever has the header and a proof can show one line of it to any contract, and
///         nothing else has to be shown.
/// @dev Only views, no storage, no owner. Evidence is kept by lane; the caller reads the lane in the header. A header counts as
///      soon as it is posted: a caller for whom much depends on the answer waits until the lane's distributor says that
///      its payout root is claimable, for before that a proven fault can still revoke it.
///      reputation leaf = keccak256(0x04 || account (20 bytes) || domain (32) || alpha (8, big endian) || beta (8, big endian)),
///      ascending by account and domain, in the tree of PositionalMerkle.
contract ReputationAnchor {
    /// @notice The EpochAnchor whose headers count.
    IAnchorView public immutable anchor;

    /// @notice The anchor is the zero address.
    error BadConfiguration();

    /// @param anchor_ the EpochAnchor
    constructor(IAnchorView anchor_) {
        if (address(anchor_) == address(0)) revert BadConfiguration();
        anchor = anchor_;
    }

    /// @notice Whether the newest epoch of the header's lane says that `account` has this evidence in `domain`.
    /// @param header the lane's newest header; any other gives false
    /// @param account labeler
    /// @param domain hash of the domain's name
    /// @param alphaMilli evidence for the labeler, in thousandths
    /// @param betaMilli evidence against the labeler, in thousandths
    /// @param index position of the leaf
    /// @param proof siblings from the bottom
    function prove(
        EpochHeader calldata header,
        address account,
        bytes32 domain,
        uint64 alphaMilli,
        uint64 betaMilli,
        uint256 index,
        bytes32[] calldata proof
    ) external view returns (bool) {
        bytes32 leaf = leafOf(account, domain, alphaMilli, betaMilli);
        return PositionalMerkle.verify(header.reputationRoot, leaf, index, proof) && anchor.isHead(header);
    }

    /// @notice The leaf of one labeler in one domain.
    function leafOf(address account, bytes32 domain, uint64 alphaMilli, uint64 betaMilli)
        public
        pure
        returns (bytes32)
    {
        return keccak256(abi.encodePacked(uint8(0x04), account, domain, alphaMilli, betaMilli));
    }
}
