// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {EpochHeader} from "../src/EpochHeader.sol";
import {TaskEscrow} from "../src/TaskEscrow.sol";

/// @dev A token that keeps its promises until it is told otherwise. Allowances are not its subject.
contract StrangeToken {
    mapping(address holder => uint256) private _balances;

    /// @dev Percent of a transfer that vanishes on the way.
    uint256 public fee;
    /// @dev Percent of a transfer that the sender pays on top.
    uint256 public senderFee;
    /// @dev Percent of its balance that everybody still has.
    uint256 public scale = 100;
    /// @dev Added to the balance that is told for one holder.
    mapping(address holder => uint256) public phantom;
    /// @dev Transfers revert.
    bool public paused;
    /// @dev Everything reverts, even questions.
    bool public dead;
    /// @dev Transfers move nothing and return false.
    bool public failing;
    /// @dev Transfers move nothing and say nothing.
    bool public silent;
    /// @dev Transfers to this holder revert.
    mapping(address holder => bool) public blocked;

    address public target;
    bytes public payload;
    /// @dev What the call back came to.
    bool public called;
    bool public succeeded;
    bytes public answer;

    function mint(address to, uint256 amount) external {
        _balances[to] += amount;
    }

    function setFee(uint256 percent) external {
        fee = percent;
    }

    function setSenderFee(uint256 percent) external {
        senderFee = percent;
    }

    function setScale(uint256 percent) external {
        scale = percent;
    }

    function setPhantom(address holder, uint256 amount) external {
        phantom[holder] = amount;
    }

    function setPaused(bool on) external {
        paused = on;
    }

    function setDead(bool on) external {
        dead = on;
    }

    function setFailing(bool on) external {
        failing = on;
    }

    function setSilent(bool on) external {
        silent = on;
    }

    function setBlocked(address holder, bool on) external {
        blocked[holder] = on;
    }

    /// @dev The next transfer calls `target_` in its middle and swallows a failure.
    function arm(address target_, bytes calldata payload_) external {
        (target, payload, called) = (target_, payload_, false);
    }

    function balanceOf(address holder) external view returns (uint256) {
        require(!dead);
        return _balances[holder] * scale / 100 + phantom[holder];
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        return _move(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        return _move(from, to, amount);
    }

    function _move(address from, address to, uint256 amount) private returns (bool) {
        require(!dead && !paused && !blocked[to]);
        if (target != address(0)) {
            address hit = target;
            target = address(0);
            called = true;
            (succeeded, answer) = hit.call(payload);
        }
        if (failing) return false;
        if (silent) return true;
        uint256 raw = amount * 100 / scale;
        _balances[from] -= raw + raw * senderFee / 100;
        _balances[to] += raw - raw * fee / 100;
        return true;
    }
}

/// @dev Returns nothing at all, like the oldest and largest stablecoin.
contract MuteToken {
    mapping(address holder => uint256) public balanceOf;

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function transfer(address to, uint256 amount) external {
        _move(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) external {
        _move(from, to, amount);
    }

    function _move(address from, address to, uint256 amount) private {
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
    }
}

/// @dev Takes no coin.
contract Unpayable {}

/// @dev Anchor, every lane's distributor and escrow in one, told what to say.
contract LaneDouble {
    mapping(bytes32 hash => bool) private _heads;
    mapping(uint64 epoch => bool) private _claimable;
    mapping(bytes32 id => TaskEscrow.Escrow) private _escrows;
    mapping(bytes32 id => TaskEscrow.Fallback) private _fallbacks;

    function setHead(bytes32 hash, bool on) external {
        _heads[hash] = on;
    }

    function setClaimable(uint64 epoch, bool on) external {
        _claimable[epoch] = on;
    }

    function setEscrow(bytes32 taskId, address client, uint128 deposit, uint32 lane, bool settled) external {
        TaskEscrow.Escrow memory e;
        (e.deposit, e.lane, e.settled) = (deposit, lane, settled);
        _escrows[keccak256(abi.encode(taskId, client))] = e;
    }

    /// @dev Opens a task for fallback with `header` as the lane's last word.
    function setFallback(bytes32 taskId, address client, bytes32 header, uint64 closesAt) external {
        _fallbacks[keccak256(abi.encode(taskId, client))] = TaskEscrow.Fallback(header, 1, closesAt, false);
    }

    function isHead(EpochHeader calldata header) external view returns (bool) {
        return _heads[hashOf(header)];
    }

    /// @dev By the written definition of a header's hash.
    function hashOf(EpochHeader calldata header) public pure returns (bytes32) {
        return keccak256(
            bytes.concat(
                keccak256(
                    "EpochHeader(uint32 lane,uint64 epoch,uint32 view,uint64 term,bytes32 parent,uint64 chainBlock,bytes32 chainBlockHash,bytes32 recordsRoot,bytes32 stateRoot,bytes32 payoutRoot,bytes32 auditRoot,uint32 payoutCount,bytes32 lossRoot,bytes32 reputationRoot,bytes32 payoutFile,uint256 totalOwed,bytes32 settledHash)"
                ),
                abi.encode(header)
            )
        );
    }

    function distributors(uint256) external view returns (address) {
        return address(this);
    }

    function roots(uint64 epoch) external view returns (bytes24, uint48, bool) {
        return (bytes24(uint192(1)), 1, _claimable[epoch]);
    }

    function escrows(bytes32 taskId, address client) external view returns (TaskEscrow.Escrow memory) {
        return _escrows[keccak256(abi.encode(taskId, client))];
    }

    function fallbacks(bytes32 taskId, address client) external view returns (TaskEscrow.Fallback memory) {
        return _fallbacks[keccak256(abi.encode(taskId, client))];
    }
}
