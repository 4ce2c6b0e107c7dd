// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {DevToken} from "../src/DevToken.sol";
import {Disputes} from "../src/Disputes.sol";
import {EpochAnchor} from "../src/EpochAnchor.sol";
import {EpochHeader, SettledTask} from "../src/EpochHeader.sol";
import {Registry} from "../src/Registry.sol";
import {RewardDistributor} from "../src/RewardDistributor.sol";
import {TaskEscrow} from "../src/TaskEscrow.sol";
import {TestBeacon} from "../src/TestBeacon.sol";
import {Checks} from "./Vm.sol";

/// @dev A whole network, deployed in the documented order, with validators whose keys are 1, 2, 3, ...
abstract contract World is Checks {
    uint128 internal constant MIN = 100e6;
    uint128 internal constant BOND = 10e6;
    uint64 internal constant UNBOND = 7 days;
    uint64 internal constant TERM = 4;
    uint16 internal constant SLASH = 1_000;
    uint64 internal constant FALLBACK = 14 days;

    DevToken internal token;
    TestBeacon internal beacon;
    Registry internal registry;
    /// @dev One per lane, and lane 0's again.
    address[] internal distributors;
    RewardDistributor internal distributor;
    TaskEscrow internal escrow;
    EpochAnchor internal anchor;
    Disputes internal disputes;

    mapping(address member => uint256) internal keyOf;

    function _deploy(uint32 lanes, uint8 committeeMax) internal {
        _deploy(lanes, committeeMax, 0);
    }

    function _deploy(uint32 lanes, uint8 committeeMax, uint48 activationDelay) internal {
        token = new DevToken();
        _deploy(lanes, committeeMax, activationDelay, token);
    }

    /// @dev Stakes are in `token`, tasks are paid in `money`.
    function _deploy(uint32 lanes, uint8 committeeMax, uint48 activationDelay, IERC20 money) internal {
        beacon = new TestBeacon();
        uint256 nonce = vm.getNonce(address(this));
        address predicted = vm.computeCreateAddress(address(this), nonce + 2 + lanes);
        registry = new Registry(token, MIN, BOND, UNBOND, SLASH, predicted);
        delete distributors;
        for (uint32 lane; lane < lanes; ++lane) {
            distributors.push(address(new RewardDistributor(money, predicted, lane, activationDelay)));
        }
        distributor = RewardDistributor(distributors[0]);
        escrow = new TaskEscrow(money, predicted, FALLBACK);
        address judge = vm.computeCreateAddress(address(this), nonce + 3 + lanes);
        anchor = new EpochAnchor(
            address(registry), address(escrow), distributors, address(beacon), judge, committeeMax, TERM
        );
        eq(address(anchor), predicted, "predicted address");
        disputes = new Disputes(predicted);
        eq(address(disputes), judge, "predicted address");
    }

    function _validator(uint256 key, uint128 stake) internal {
        address who = vm.addr(key);
        keyOf[who] = key;
        token.mint(who, stake);
        vm.prank(who);
        token.approve(address(registry), stake);
        vm.prank(who);
        registry.register(bytes32(key), bytes32(key), who, 4, stake, new bytes(64));
    }

    function _validators(uint256 count) internal {
        for (uint256 key = 1; key <= count; ++key) {
            _validator(key, MIN);
        }
    }

    function _fund(address client, bytes32 taskId, uint32 lane, uint128 deposit, uint128 bond) internal {
        token.mint(client, uint256(deposit) + bond);
        vm.prank(client);
        token.approve(address(escrow), uint256(deposit) + bond);
        vm.prank(client);
        escrow.fund(taskId, lane, deposit, bond);
    }

    /// @dev The next header of a lane, computed at the previous block; roots and money are the caller's.
    function _next(uint32 lane, SettledTask[] memory settled)
        internal
        view
        returns (EpochHeader memory h)
    {
        (uint64 epoch, bytes32 parent, uint64 term) = anchor.head(lane);
        h.lane = lane;
        h.epoch = epoch + 1;
        h.term = term;
        h.parent = parent;
        h.chainBlock = uint64(vm.getBlockNumber() - 1);
        h.chainBlockHash = blockhash(h.chainBlock);
        h.settledHash = keccak256(abi.encode(settled));
        h.totalOwed = RewardDistributor(distributors[lane]).totalReleased();
        for (uint256 i; i < settled.length; ++i) {
            h.totalOwed += escrow.fundedAt(settled[i].taskId, settled[i].client, uint48(h.chainBlock));
        }
        if (h.totalOwed != 0) (h.payoutRoot, h.payoutCount) = (keccak256("some tree"), 1);
    }

    /// @dev EIP-2098 form of a signature.
    function _sign(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, bytes32(uint256(s) | (uint256(v - 27) << 255)));
    }

    /// @dev Signer bits and signatures of the first `count` members over `digest`.
    function _quorum(uint32 lane, bytes32 digest, uint256 count)
        internal
        view
        returns (uint256 signers, bytes memory signatures)
    {
        (, address[] memory members,) = anchor.committee(lane);
        signers = (1 << count) - 1;
        for (uint256 i; i < count; ++i) {
            signatures = bytes.concat(signatures, _sign(keyOf[members[i]], digest));
        }
    }

    function _post(EpochHeader memory h, SettledTask[] memory settled) internal {
        (,, uint16 threshold) = anchor.committee(h.lane);
        (uint256 signers, bytes memory signatures) = _quorum(h.lane, anchor.digest(h), threshold);
        anchor.post(h, settled, signers, signatures);
    }

    function _none() internal pure returns (SettledTask[] memory) {
        return new SettledTask[](0);
    }

    function _one(bytes32 taskId, address client) internal pure returns (SettledTask[] memory list) {
        list = new SettledTask[](1);
        list[0] = SettledTask(taskId, client);
    }
}
