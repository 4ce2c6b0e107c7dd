// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {DevToken} from "../src/DevToken.sol";
import {RewardDistributor} from "../src/RewardDistributor.sol";
import {TaskEscrow} from "../src/TaskEscrow.sol";

/// @dev Stands where the anchor stands, so that each contract can be driven without a committee.
contract AnchorDouble {
    uint32 public lanes = 1;
    mapping(uint32 => bytes32) public lossRoot;

    function setLanes(uint32 count) external {
        lanes = count;
    }

    function setLossRoot(uint32 lane, bytes32 root) external {
        lossRoot[lane] = root;
    }

    function release(TaskEscrow escrow, bytes32 taskId, address client, uint32 lane, uint64 asOf)
        external
        returns (uint256)
    {
        return escrow.release(taskId, client, lane, asOf);
    }

    function note(RewardDistributor d, uint32 lane, uint256 amount) external returns (uint256) {
        return d.noteReleased(lane, amount);
    }

    function activate(RewardDistributor d, bytes32 root, uint256 owed, uint64 epoch, uint32 lane) external {
        d.activate(root, owed, epoch, lane);
    }
}

/// @dev Keeps one percent of every transfer.
contract FeeToken is DevToken {
    function _update(address from, address to, uint256 value) internal override {
        if (from == address(0) || to == address(0)) return super._update(from, to, value);
        super._update(from, to, value - value / 100);
        super._update(from, address(0xFEE), value / 100);
    }
}

/// @dev Reports failure by returning false instead of reverting, and moves nothing.
contract FalseToken {
    mapping(address => uint256) public balanceOf;

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function approve(address, uint256) external pure returns (bool) {
        return true;
    }

    function transfer(address, uint256) external pure returns (bool) {
        return false;
    }

    function transferFrom(address, address, uint256) external pure returns (bool) {
        return false;
    }
}

/// @dev Calls back into a target in the middle of a transfer and passes its failure on.
contract ReentrantToken is DevToken {
    address public target;
    bytes public payload;

    function arm(address target_, bytes calldata payload_) external {
        target = target_;
        payload = payload_;
    }

    function _update(address from, address to, uint256 value) internal override {
        if (target != address(0)) {
            (address hit, bytes memory data) = (target, payload);
            target = address(0);
            (bool ok, bytes memory why) = hit.call(data);
            if (!ok) {
                assembly ("memory-safe") {
                    revert(add(why, 0x20), mload(why))
                }
            }
        }
        super._update(from, to, value);
    }
}
