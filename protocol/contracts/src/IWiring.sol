// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {EpochHeader} from "./EpochHeader.sol";

/// @title What the other contracts ask of the anchor
interface IAnchorView {
    /// @notice Number of lanes.
    function lanes() external view returns (uint32);
    /// @notice The last epoch of a lane: number (zero when there is none), header hash, term of the committee.
    function head(uint32 lane) external view returns (uint64 epoch, bytes32 hash, uint64 term);
    /// @notice Whether `header` is the last one posted in its lane.
    function isHead(EpochHeader calldata header) external view returns (bool);
    /// @notice Unix time in seconds of the lane's last post, draw or rewind; the anchor's own deployment when there was none.
    function lastActivity(uint32 lane) external view returns (uint48);
    /// @notice Whether `account` sits in a committee, and when (Unix seconds) it last left one.
    function service(address account) external view returns (bool serving, uint64 until);
    /// @notice The contract that proves faults.
    function disputes() external view returns (address);
    /// @notice The Registry.
    function registry() external view returns (address);
    /// @notice EIP-712 domain separator of headers.
    function domainSeparator() external view returns (bytes32);
    /// @notice Takes back an epoch with a proven fault, and all after it, unless its root is active. Disputes only.
    function rewind(uint32 lane, uint64 epoch, bytes32 parent) external returns (bool rewound);
}

/// @title What the anchor and the disputes ask of the registry
interface IRegistryView {
    /// @notice The anchor the registry is wired to.
    function anchor() external view returns (address);
    /// @notice Validators in list order with their weights in draws.
    function validators() external view returns (address[] memory accounts, uint128[] memory weights);
    /// @notice Whether `account` is a validator whose stake is still there and who is not banned.
    function bonded(address account) external view returns (bool);
    /// @notice Weights in draws of `voters` (ascending) and of all validators; newer registrations than `asOf` do not count.
    function weigh(address[] calldata voters, uint64 asOf) external view returns (uint256 given, uint256 all);
    /// @notice Seconds between leaving and withdrawing.
    function unbondSeconds() external view returns (uint64);
    /// @notice Takes a part of `account`'s stake and bans it. Disputes only.
    function slash(address account, address reporter) external;
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
    /// @notice Silence of a lane after which its tasks can be opened for fallback, in seconds.
    function FALLBACK_SECONDS() external view returns (uint64);
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
    /// @notice Seconds between the posting of a root and the first claim on it.
    function ACTIVATION_DELAY() external view returns (uint48);
    /// @notice Forgets the roots of epochs `from` to `to` unless the first of them is active already.
    function revoke(uint64 from, uint64 to) external returns (bool revoked);
}
