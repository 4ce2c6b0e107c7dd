// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

/// @title Calls that an account would make one after the other, to be looked at and never to be sent
/// @notice Never deployed: a node has an endpoint run it in the place of an account's code (`eth_call` with a state override), and so
///         learns what a token does before it sends anything.
contract AccountScript {
    /// @notice A call to make.
    struct Call {
        address to;
        bytes data;
    }

    /// @notice What came of it: the answer, or the revert data.
    struct Outcome {
        bool success;
        bytes data;
    }

    /// @notice Makes the calls in order; one that fails does not end the script.
    function run(Call[] calldata calls) external returns (Outcome[] memory outcomes) {
        outcomes = new Outcome[](calls.length);
        for (uint256 i; i < calls.length; ++i) {
            // slither-disable-next-line low-level-calls: the answer of any token is wanted, whatever its form.
            (bool success, bytes memory data) = calls[i].to.call(calls[i].data);
            outcomes[i] = Outcome(success, data);
        }
    }
}
