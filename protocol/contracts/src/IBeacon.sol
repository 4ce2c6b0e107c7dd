// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

/// @title Source of public randomness that nobody knew when it was asked for
interface IBeacon {
    /// @notice The random value behind a reference.
    /// @param ref a reference returned by `refAfter`; its meaning is the adapter's (block number, round, ...)
    /// @return value the random value; meaningless while `ready` is false
    /// @return ready true once the value is fixed for ever
    function valueAt(uint64 ref) external view returns (bytes32 value, bool ready);

    /// @notice The first reference whose value is unpredictable at block `blockNumber`.
    function refAfter(uint64 blockNumber) external view returns (uint64 ref);
}
