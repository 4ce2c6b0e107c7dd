// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";

import {ExactTransfer} from "./ExactTransfer.sol";
import {IAnchorView} from "./IWiring.sol";

/// @title Money of tasks that are not settled yet
/// @notice A client locks a deposit and a gold bond before anyone works. The epoch that settles the task moves both to
///         the distributor; what the client gets back is a payout leaf like any other.
/// @dev Decides nothing about who is paid and has no way back to the client, with one exception: a top-up made after
///      the block an epoch was computed at is not in that epoch's totals, so it stays here for the client to take.
///      Without that, anyone could hold up an epoch by topping up one unit just before it is posted.
///      Escrows are keyed by task id and client together, so nobody can occupy another client's task id.
///      Invariant: the token balance is at least the sum of open deposits, open gold bonds and late top-ups.
contract TaskEscrow is ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using ExactTransfer for IERC20;
    using Checkpoints for Checkpoints.Trace208;
    using SafeCast for uint256;

    /// @notice One task's money, in token base units.
    struct Escrow {
        /// All that was funded and topped up for labels and fees.
        uint128 deposit;
        /// Bond behind the gold items.
        uint128 goldBond;
        /// Lane whose committee settles the task.
        uint32 lane;
        /// True once an epoch has taken the money.
        bool settled;
        /// Block of the latest top-up; zero when there was none.
        uint48 lastTopUpBlock;
        /// Top-ups that came too late for the settling epoch and that the client can still take.
        uint128 late;
    }

    /// @dev What is stored per escrow: one word, so that settling a task rewrites a slot instead of filling a new one.
    struct Packed {
        uint112 deposit;
        uint112 goldBond;
        uint24 lane;
        bool settled;
    }

    /// @notice The token tasks are paid in.
    IERC20 public immutable token;
    /// @notice The EpochAnchor; only it can release money.
    address public immutable anchor;

    mapping(bytes32 escrowId => Packed) private _escrows;
    /// @dev Sum of top-ups by block number.
    mapping(bytes32 escrowId => Checkpoints.Trace208) private _topUps;
    mapping(bytes32 escrowId => uint128) private _late;

    /// @notice `client` locked `deposit` and `goldBond` for `taskId`.
    event Funded(bytes32 indexed taskId, address indexed client, uint32 lane, uint128 deposit, uint128 goldBond);
    /// @notice Somebody added `amount`; the deposit is now `deposit`.
    event ToppedUp(bytes32 indexed taskId, address indexed client, uint128 amount, uint128 deposit);
    /// @notice An epoch took `amount` to the distributor.
    event Released(bytes32 indexed taskId, address indexed client, uint256 amount);
    /// @notice `amount` that was topped up too late went back to `client`.
    event LateTopUpReturned(bytes32 indexed taskId, address indexed client, uint128 amount);

    /// @notice A constructor argument is the zero address.
    error BadConfiguration();
    /// @notice Only the anchor may call this.
    error OnlyAnchor(address caller);
    /// @notice The network has no such lane, so nobody could ever settle the task.
    error UnknownLane(uint32 lane);
    /// @notice The amount is zero.
    error ZeroAmount();
    /// @notice This client has funded this task already; use `topUp`.
    error AlreadyFunded(bytes32 taskId, address client);
    /// @notice This client has not funded this task.
    error NotFunded(bytes32 taskId, address client);
    /// @notice The task is settled.
    error AlreadySettled(bytes32 taskId, address client);
    /// @notice The task belongs to another lane.
    error WrongLane(uint32 expected, uint32 given);
    /// @notice There is no late top-up to take.
    error NothingLate(bytes32 taskId, address client);

    /// @param token_ payment token
    /// @param anchor_ the EpochAnchor, which may be deployed later at this address
    constructor(IERC20 token_, address anchor_) {
        if (address(token_) == address(0) || anchor_ == address(0)) revert BadConfiguration();
        token = token_;
        anchor = anchor_;
    }

    /// @notice Locks the caller's money for a task, once; needs an allowance of `deposit + goldBond`.
    /// @param taskId hash of the manifest
    /// @param lane lane that settles the task
    /// @param deposit base units for labels and fees, not zero, below 2^112 together with later top-ups
    /// @param goldBond base units behind the gold items, may be zero, below 2^112
    function fund(bytes32 taskId, uint32 lane, uint128 deposit, uint128 goldBond) external nonReentrant {
        if (deposit == 0) revert ZeroAmount();
        if (lane >= IAnchorView(anchor).lanes()) revert UnknownLane(lane);
        bytes32 id = escrowId(taskId, msg.sender);
        if (_escrows[id].deposit != 0) revert AlreadyFunded(taskId, msg.sender);
        // Lanes fit: the anchor allows far fewer than 2^24.
        _escrows[id] = Packed(uint256(deposit).toUint112(), uint256(goldBond).toUint112(), uint24(lane), false);
        token.pullExact(msg.sender, uint256(deposit) + goldBond);
        emit Funded(taskId, msg.sender, lane, deposit, goldBond);
    }

    /// @notice Adds the caller's money to the deposit of an open task; anyone may. Needs an allowance of `amount`.
    function topUp(bytes32 taskId, address client, uint128 amount) external nonReentrant {
        if (amount == 0) revert ZeroAmount();
        bytes32 id = escrowId(taskId, client);
        Packed memory e = _open(id, taskId, client);
        uint112 deposit = (uint256(e.deposit) + amount).toUint112();
        _escrows[id].deposit = deposit;
        Checkpoints.Trace208 storage trace = _topUps[id];
        trace.push(block.number.toUint48(), trace.latest() + amount);
        token.pullExact(msg.sender, amount);
        emit ToppedUp(taskId, client, amount, deposit);
    }

    /// @notice Settles a task: moves what it held at the end of block `asOfBlock` to the lane's `distributor`. Anchor only.
    /// @return amount base units moved, all of which arrived
    function release(bytes32 taskId, address client, uint32 lane, uint64 asOfBlock, address distributor)
        external
        nonReentrant
        returns (uint256 amount)
    {
        if (msg.sender != anchor) revert OnlyAnchor(msg.sender);
        bytes32 id = escrowId(taskId, client);
        Packed memory e = _open(id, taskId, client);
        if (e.lane != lane) revert WrongLane(e.lane, lane);
        _escrows[id].settled = true;
        uint256 late = _toppedUpAfter(id, asOfBlock);
        if (late != 0) _late[id] = uint128(late);
        amount = uint256(e.deposit) + e.goldBond - late;
        token.pushExact(distributor, amount);
        emit Released(taskId, client, amount);
    }

    /// @notice Sends a top-up that came too late for the settling epoch to the client; anyone may call.
    function returnLateTopUp(bytes32 taskId, address client) external nonReentrant {
        bytes32 id = escrowId(taskId, client);
        uint128 amount = _late[id];
        if (amount == 0) revert NothingLate(taskId, client);
        _late[id] = 0;
        token.safeTransfer(client, amount);
        emit LateTopUpReturned(taskId, client, amount);
    }

    /// @notice The money of one task; all zero when it was never funded by this client.
    function escrows(bytes32 taskId, address client) external view returns (Escrow memory) {
        bytes32 id = escrowId(taskId, client);
        Packed memory e = _escrows[id];
        (, uint48 lastTopUpBlock,) = _topUps[id].latestCheckpoint();
        return Escrow(e.deposit, e.goldBond, e.lane, e.settled, lastTopUpBlock, _late[id]);
    }

    /// @notice Deposit and gold bond together as they stood at the end of block `blockNumber`, for an open task.
    /// @dev Zero when this client has not funded the task or the task is settled. Funding itself counts at any block.
    function fundedAt(bytes32 taskId, address client, uint48 blockNumber) external view returns (uint256 amount) {
        bytes32 id = escrowId(taskId, client);
        Packed memory e = _escrows[id];
        if (e.deposit == 0 || e.settled) return 0;
        return uint256(e.deposit) + e.goldBond - _toppedUpAfter(id, blockNumber);
    }

    /// @notice Storage key of a task's money.
    function escrowId(bytes32 taskId, address client) public pure returns (bytes32) {
        return keccak256(abi.encode(taskId, client));
    }

    /// @dev Sum of the top-ups in blocks after `blockNumber`; never more than the deposit, so it fits 112 bits.
    function _toppedUpAfter(bytes32 id, uint64 blockNumber) private view returns (uint256) {
        Checkpoints.Trace208 storage trace = _topUps[id];
        (bool any, uint48 last, uint208 sum) = trace.latestCheckpoint();
        if (!any || last <= blockNumber) return 0;
        // The cast keeps the value: it is below the 48-bit block `last`.
        return sum - trace.upperLookupRecent(uint48(blockNumber));
    }

    function _open(bytes32 id, bytes32 taskId, address client) private view returns (Packed memory e) {
        e = _escrows[id];
        if (e.deposit == 0) revert NotFunded(taskId, client);
        if (e.settled) revert AlreadySettled(taskId, client);
    }
}
