// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {EpochHeader} from "./EpochHeader.sol";

/// @title What the registry, the escrow and the distributor ask of the anchor
interface IAnchorView {
    /// @notice Number of lanes.
    function lanes() external view returns (uint32);
    /// @notice The last epoch of a lane: number (zero when there is none), header hash, term of the committee.
    function head(uint32 lane) external view returns (uint64 epoch, bytes32 hash, uint64 term);
    /// @notice Whether `header` is the last one posted in its lane.
    function isHead(EpochHeader calldata header) external view returns (bool);
}

/// @title What the anchor asks of the registry
interface IRegistryView {
    /// @notice The anchor the registry is wired to.
    function anchor() external view returns (address);
    /// @notice Validators in list order with their weights in draws.
    function validators() external view returns (address[] memory accounts, uint128[] memory weights);
}

/// @title What the anchor asks of the escrow
interface IEscrow {
    /// @notice The payment token.
    function token() external view returns (address);
    /// @notice The anchor the escrow is wired to.
    function anchor() external view returns (address);
    /// @notice Moves what a task held at the end of block `asOfBlock` to `distributor`.
    function release(bytes32 taskId, address client, uint32 lane, uint64 asOfBlock, address distributor)
        external
        returns (uint256 amount);
}

/// @title What the anchor asks of a lane's distributor
interface IDistributor {
    /// @notice The reward token.
    function token() external view returns (address);
    /// @notice The anchor the distributor is wired to.
    function anchor() external view returns (address);
    /// @notice The lane the distributor pays for.
    function lane() external view returns (uint32);
    /// @notice Books money that has just arrived and makes a payout root claimable.
    function activate(uint64 epoch, bytes32 root, uint32 count, uint256 moved, uint256 totalOwed) external;
}
