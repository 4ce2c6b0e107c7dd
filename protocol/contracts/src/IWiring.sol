// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

/// @title What the registry, the escrow and the distributor ask of the anchor
interface IAnchorView {
    /// @notice Number of lanes.
    function lanes() external view returns (uint32);
    /// @notice Root of a lane's latest loss tree.
    function lossRoot(uint32 lane) external view returns (bytes32);
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
    /// @notice Where released money goes.
    function distributor() external view returns (address);
    /// @notice Moves what a task held at the end of block `asOfBlock` to the distributor.
    function release(bytes32 taskId, address client, uint32 lane, uint64 asOfBlock) external returns (uint256 amount);
}

/// @title What the anchor asks of the distributor
interface IDistributor {
    /// @notice The reward token.
    function token() external view returns (address);
    /// @notice The anchor the distributor is wired to.
    function anchor() external view returns (address);
    /// @notice Books money that has just arrived for a lane; returns all that was ever released for it.
    function noteReleased(uint32 lane, uint256 amount) external returns (uint256 releasedTotal);
    /// @notice Makes a payout root claimable.
    function activate(bytes32 root, uint256 totalOwed, uint64 epoch, uint32 lane) external;
}
