// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {DevToken} from "../src/DevToken.sol";
import {EpochHeader} from "../src/EpochHeader.sol";
import {RewardDistributor} from "../src/RewardDistributor.sol";
import {TaskEscrow} from "../src/TaskEscrow.sol";

/// @dev Stands where the anchor stands, so that each contract can be driven without a committee.
contract AnchorDouble {
    uint32 public lanes = 1;
    mapping(uint32 lane => EpochHeader) private _heads;

    function setLanes(uint32 count) external {
        lanes = count;
    }

    /// @dev Makes the lane's last header one with this loss root.
    function setLossRoot(uint32 lane, bytes32 root) external {
        EpochHeader storage h = _heads[lane];
        h.lane = lane;
        ++h.epoch;
        h.lossRoot = root;
    }

    /// @dev The lane's last header; without one everything but the lane is zero.
    function header(uint32 lane) external view returns (EpochHeader memory h) {
        h = _heads[lane];
        h.lane = lane;
    }

    function head(uint32 lane) external view returns (uint64 epoch, bytes32 hash, uint64 term) {
        return (_heads[lane].epoch, keccak256(abi.encode(_heads[lane])), 1);
    }

    function isHead(EpochHeader calldata h) external view returns (bool) {
        return h.epoch != 0 && keccak256(abi.encode(h)) == keccak256(abi.encode(_heads[h.lane]));
    }

    function release(TaskEscrow escrow, bytes32 taskId, address client, uint32 lane, uint64 asOf, address to)
        external
        returns (uint256)
    {
        return escrow.release(taskId, client, lane, asOf, to);
    }

    function activate(RewardDistributor d, uint64 epoch, bytes32 root, uint32 count, uint256 moved, uint256 owed)
        external
    {
        d.activate(epoch, root, count, moved, owed);
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

/// @dev Calls back into a target in the middle of a transfer and passes its failure on, or keeps it.
contract ReentrantToken is DevToken {
    address public target;
    bytes public payload;
    /// @dev Whether the last call back went through, and why not.
    bool public succeeded;
    bytes public reason;
    bool private _quiet;

    function armQuietly(address target_, bytes calldata payload_) external {
        (target, payload, _quiet) = (target_, payload_, true);
    }

    function arm(address target_, bytes calldata payload_) external {
        target = target_;
        payload = payload_;
    }

    function _update(address from, address to, uint256 value) internal override {
        if (target != address(0)) {
            (address hit, bytes memory data) = (target, payload);
            target = address(0);
            (bool ok, bytes memory why) = hit.call(data);
            (succeeded, reason) = (ok, why);
            if (!ok && !_quiet) {
                assembly ("memory-safe") {
                    revert(add(why, 0x20), mload(why))
                }
            }
        }
        super._update(from, to, value);
    }
}
