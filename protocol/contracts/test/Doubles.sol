// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {DevToken} from "../src/DevToken.sol";
import {EpochHeader} from "../src/EpochHeader.sol";
import {RewardDistributor} from "../src/RewardDistributor.sol";
import {TaskEscrow} from "../src/TaskEscrow.sol";

/// @dev The header hash from the written definition, without the library under test.
library Headers {
    function hash(EpochHeader memory h) internal pure returns (bytes32) {
        return keccak256(
            bytes.concat(
                keccak256(
                    "EpochHeader(uint32 lane,uint64 epoch,uint32 view,uint64 term,bytes32 parent,uint64 chainBlock,bytes32 chainBlockHash,bytes32 recordsRoot,bytes32 stateRoot,bytes32 payoutRoot,bytes32 auditRoot,uint32 payoutCount,bytes32 lossRoot,bytes32 reputationRoot,bytes32 payoutFile,uint256 totalOwed,bytes32 settledHash)"
                ),
                abi.encode(h)
            )
        );
    }
}

/// @dev Stands where the anchor stands, so that each contract can be driven without a committee.
contract AnchorDouble {
    uint32 public lanes = 1;
    mapping(uint32 lane => EpochHeader) private _heads;
    /// @dev Whoever deployed the double may slash.
    address public immutable disputes = msg.sender;
    /// @dev The same for every lane and account.
    uint48 public activity = uint48(block.timestamp);
    bool public serving;
    uint64 public servedUntil;

    function setService(bool serving_, uint64 until) external {
        (serving, servedUntil) = (serving_, until);
    }

    function service(address) external view returns (bool, uint64) {
        return (serving, servedUntil);
    }

    function setActivity(uint48 time) external {
        activity = time;
    }

    function lastActivity(uint32) external view returns (uint48) {
        return activity;
    }

    function setHead(EpochHeader calldata h) external {
        _heads[h.lane] = h;
    }

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
        EpochHeader memory h = _heads[lane];
        return (h.epoch, h.epoch == 0 ? bytes32(0) : Headers.hash(h), 1);
    }

    function isHead(EpochHeader calldata h) external view returns (bool) {
        return h.epoch != 0 && Headers.hash(h) == Headers.hash(_heads[h.lane]);
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

    function revoke(RewardDistributor d, uint64 from, uint64 to) external returns (bool) {
        return d.revoke(from, to);
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
