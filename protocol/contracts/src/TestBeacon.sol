// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {IBeacon} from "./IBeacon.sol";

/// @title A beacon anyone can set: development and tests only
/// @notice Whoever calls first chooses the value. Never use it where money has a value.
contract TestBeacon is IBeacon {
    mapping(uint64 ref => bytes32) private _values;

    /// @notice The value of `ref` was fixed.
    event ValueSet(uint64 indexed ref, bytes32 value);

    /// @notice The value of `ref` is fixed already and cannot change.
    error AlreadySet(uint64 ref);
    /// @notice Zero stands for "not set" and cannot be a value.
    error ZeroValue();

    /// @notice Fixes the value of `ref`, once.
    function set(uint64 ref, bytes32 value) external {
        if (value == bytes32(0)) revert ZeroValue();
        if (_values[ref] != bytes32(0)) revert AlreadySet(ref);
        _values[ref] = value;
        emit ValueSet(ref, value);
    }

    /// @inheritdoc IBeacon
    function valueAt(uint64 ref) external view returns (bytes32 value, bool ready) {
        value = _values[ref];
        ready = value != bytes32(0);
    }

    /// @inheritdoc IBeacon
    function refAfter(uint64 blockNumber) external pure returns (uint64 ref) {
        return blockNumber + 1;
    }
}
