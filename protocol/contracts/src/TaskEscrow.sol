// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";

import {EpochHeader, EpochHeaders} from "./EpochHeader.sol";
import {ExactTransfer} from "./ExactTransfer.sol";
import {IAnchorView} from "./IWiring.sol";
import {PositionalMerkle} from "./PositionalMerkle.sol";

/// @title Money of tasks that are not settled yet
/// @notice A client locks a deposit and a gold bond before anyone works. The epoch that settles the task moves both to
///         the distributor; what the client gets back is a payout leaf like any other.
///         When a lane falls silent for good, anybody can open its tasks for fallback: then the lane's last header proves
///         what each payee's accepted labels are worth at the flat rate, and the rest goes to the client after a window.
/// @dev Decides nothing about who is paid and has no other way back to the client, with one exception: a top-up made after
///      the block an epoch was computed at is not in that epoch's totals, so it stays here for the client to take.
///      Without that, anyone could hold up an epoch by topping up one unit just before it is posted.
///      Escrows are keyed by task id and client together, so nobody can occupy another client's task id.
///      Invariant: the token balance is at least the sum of open deposits, open gold bonds, late top-ups and what
///      fallbacks have not paid yet.
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
        /// Unix time in seconds of the funding.
        uint48 fundedAt;
    }

    /// @dev What is stored per escrow: one word, so that settling a task rewrites a slot instead of filling a new one.
    struct Packed {
        uint96 deposit;
        uint96 goldBond;
        uint24 lane;
        State state;
        /// Unix time in seconds, good until 2106.
        uint32 fundedAt;
    }

    /// @dev Where a task's money is.
    enum State {
        Open,
        /// An epoch took it.
        Settled,
        /// It is paid from here, after proofs from the lane's last header.
        Fallback
    }

    /// @notice A task that is paid without a committee.
    struct Fallback {
        /// Header hash of the lane's last epoch when the fallback was opened; zero when there was none.
        bytes32 headerHash;
        /// Deposit that is not paid yet, in token base units.
        uint128 left;
        /// Unix time in seconds from which on it can be closed; zero when it was never opened.
        uint64 closesAt;
        /// True once the rest went to the client.
        bool closed;
    }

    /// @notice A leaf of the flat-payout tree (see PositionalMerkle) of a task in fallback, with its proof.
    struct FallbackClaim {
        address payee;
        /// What the payee's accepted labels are worth at the flat rate, in token base units.
        uint128 amount;
        /// BLAKE3 hash of the lane's state: the header's state root is keccak256(0x07 || stateHash || flat root).
        bytes32 stateHash;
        uint256 index;
        bytes32[] proof;
    }

    /// @notice The token tasks are paid in.
    IERC20 public immutable token;
    /// @notice The EpochAnchor; only it can release money.
    address public immutable anchor;

    /// @notice Seconds a lane must be silent before its tasks can be opened for fallback, and then seconds in which payees
    ///         can prove their claims before the rest can go to the client.
    uint64 public immutable FALLBACK_SECONDS;

    /// @notice Longest record that can be forced, in bytes.
    uint256 public constant MAX_RECORD_BYTES = 32_768;

    mapping(bytes32 escrowId => Packed) private _escrows;
    mapping(bytes32 escrowId => Fallback) private _fallbacks;
    /// @dev Flat-payout leaves that were paid; a leaf names the task, the client, the payee and the amount.
    mapping(bytes32 leaf => bool) private _flatPaid;
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
    /// @notice The task's lane is silent: what header `headerHash` proves is paid from the deposit, and from `closesAt` (Unix
    ///         seconds) on the rest can go to the client.
    event FallbackOpened(bytes32 indexed taskId, address indexed client, bytes32 headerHash, uint64 closesAt);
    /// @notice `payee` received `amount` of a task in fallback.
    event FallbackClaimed(bytes32 indexed taskId, address indexed client, address indexed payee, uint128 amount);
    /// @notice The rest of a task in fallback, deposit and gold bond together, went to `client`.
    event FallbackClosed(bytes32 indexed taskId, address indexed client, uint256 amount);
    /// @notice Somebody put a signed record about the task on the chain. Every node takes it in at this block, as if the whole
    ///         committee had, if it is valid, in time and awaited.
    event RecordForced(bytes32 indexed taskId, address indexed client, bytes record);

    /// @notice A constructor argument is zero.
    error BadConfiguration();
    /// @notice Only the anchor may call this.
    error OnlyAnchor(address caller);
    /// @notice The network has no such lane, so nobody could ever settle the task.
    error UnknownLane(uint32 lane);
    /// @notice A forced record has 1 to MAX_RECORD_BYTES bytes.
    error BadRecordLength(uint256 given);
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

    /// @notice The lane is not silent for long enough; a fallback can be opened at `possibleAt` if nothing happens until then.
    error LaneActive(uint32 lane, uint256 possibleAt);
    /// @notice The task is in fallback: no epoch can take its money and nobody can add to it.
    error InFallback(bytes32 taskId, address client);
    /// @notice The task is not in fallback, or its fallback is closed.
    error NotInFallback(bytes32 taskId, address client);
    /// @notice This is not the header that was the lane's last when the fallback was opened.
    error WrongHeader(bytes32 expected, bytes32 given);
    /// @notice `stateHash` and the proof do not show this amount for this payee in the header's state root.
    error BadFlatProof(address payee, uint256 index);
    /// @notice This leaf was paid.
    error AlreadyPaid(address payee);
    /// @notice Payees can prove their claims until `closesAt`.
    error FallbackRunning(uint64 closesAt);

    /// @param token_ payment token
    /// @param anchor_ the EpochAnchor, which may be deployed later at this address
    /// @param fallbackSeconds silence of a lane before a fallback, and length of its window, in seconds; more than a stalled
    ///        committee is given and than any lane's activation delay
    constructor(IERC20 token_, address anchor_, uint64 fallbackSeconds) {
        if (address(token_) == address(0) || anchor_ == address(0) || fallbackSeconds == 0) revert BadConfiguration();
        FALLBACK_SECONDS = fallbackSeconds;
        token = token_;
        anchor = anchor_;
    }

    /// @notice Locks the caller's money for a task, once; needs an allowance of `deposit + goldBond`.
    /// @param taskId hash of the manifest
    /// @param lane lane that settles the task
    /// @param deposit base units for labels and fees, not zero, below 2^96 together with later top-ups
    /// @param goldBond base units behind the gold items, may be zero, below 2^96
    function fund(bytes32 taskId, uint32 lane, uint128 deposit, uint128 goldBond) external nonReentrant {
        if (deposit == 0) revert ZeroAmount();
        if (lane >= IAnchorView(anchor).lanes()) revert UnknownLane(lane);
        bytes32 id = escrowId(taskId, msg.sender);
        if (_escrows[id].deposit != 0) revert AlreadyFunded(taskId, msg.sender);
        // Lanes fit: the anchor allows far fewer than 2^24.
        _escrows[id] = Packed(
            uint256(deposit).toUint96(), uint256(goldBond).toUint96(), uint24(lane), State.Open, uint32(block.timestamp)
        );
        token.pullExact(msg.sender, uint256(deposit) + goldBond);
        emit Funded(taskId, msg.sender, lane, deposit, goldBond);
    }

    /// @notice Adds the caller's money to the deposit of an open task; anyone may. Needs an allowance of `amount`.
    function topUp(bytes32 taskId, address client, uint128 amount) external nonReentrant {
        if (amount == 0) revert ZeroAmount();
        bytes32 id = escrowId(taskId, client);
        Packed memory e = _open(id, taskId, client);
        uint96 deposit = (uint256(e.deposit) + amount).toUint96();
        _escrows[id].deposit = deposit;
        Checkpoints.Trace208 storage trace = _topUps[id];
        // slither-disable-next-line unused-return: gives back the sums before and after, which are known.
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
        _escrows[id].state = State.Settled;
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

    /// @notice Puts a signed record about a task on the chain: for whoever the committee gives no receipt. Anyone may call, for
    ///         anyone; the record carries its own signature, which nodes judge. Nothing is kept but the event.
    /// @dev Nodes derive the task's next state from it like from every event, so an epoch without it is not derivable and
    ///      the registry takes it back (see Disputes.overrule).
    /// @param record at most MAX_RECORD_BYTES
    function forceRecord(bytes32 taskId, address client, bytes calldata record) external {
        if (_escrows[escrowId(taskId, client)].deposit == 0) revert NotFunded(taskId, client);
        if (record.length == 0 || record.length > MAX_RECORD_BYTES) revert BadRecordLength(record.length);
        emit RecordForced(taskId, client, record);
    }

    /// @notice Opens a task for fallback when its lane has been silent for FALLBACK_SECONDS since the task was funded; anyone may
    ///         call.
    /// @dev The lane's last header is fixed now. It is older than any dispute window, so it cannot be taken back, and a
    ///      committee that wakes up cannot exchange it.
    function openFallback(bytes32 taskId, address client) external {
        bytes32 id = escrowId(taskId, client);
        Packed memory e = _open(id, taskId, client);
        uint256 since = IAnchorView(anchor).lastActivity(e.lane);
        // A lane without tasks has nothing to post: its silence counts from the funding.
        uint256 possibleAt = (since > e.fundedAt ? since : e.fundedAt) + FALLBACK_SECONDS;
        if (block.timestamp < possibleAt) revert LaneActive(e.lane, possibleAt);
        // slither-disable-next-line unused-return: claims are proven against the header, which its hash names.
        (, bytes32 headerHash,) = IAnchorView(anchor).head(e.lane);
        uint64 closesAt = uint64(block.timestamp) + FALLBACK_SECONDS;
        _escrows[id].state = State.Fallback;
        _fallbacks[id] = Fallback(headerHash, e.deposit, closesAt, false);
        emit FallbackOpened(taskId, client, headerHash, closesAt);
    }

    /// @notice Pays what the lane's last header proves for a payee, as far as the deposit reaches. Anyone may call.
    /// @param header the lane's last header when the fallback was opened
    function claimFallback(
        bytes32 taskId,
        address client,
        EpochHeader calldata header,
        FallbackClaim calldata claim
    ) external nonReentrant {
        Fallback storage f = _running(taskId, client);
        bytes32 hash = EpochHeaders.hash(header);
        if (hash != f.headerHash) revert WrongHeader(f.headerHash, hash);
        bytes32 leaf = PositionalMerkle.flatLeaf(taskId, client, claim.payee, claim.amount);
        bytes32 flatRoot = PositionalMerkle.climb(leaf, claim.index, claim.proof);
        if (
            claim.index >> claim.proof.length != 0
                || header.stateRoot != PositionalMerkle.stateRoot(claim.stateHash, flatRoot)
        ) revert BadFlatProof(claim.payee, claim.index);
        if (_flatPaid[leaf]) revert AlreadyPaid(claim.payee);
        _flatPaid[leaf] = true;
        uint128 paid = claim.amount < f.left ? claim.amount : f.left;
        if (paid == 0) revert ZeroAmount();
        f.left -= paid;
        token.safeTransfer(claim.payee, paid);
        emit FallbackClaimed(taskId, client, claim.payee, paid);
    }

    /// @notice Ends a fallback after its window: the rest of the deposit and the gold bond go to the client. Anyone may call.
    function closeFallback(bytes32 taskId, address client) external nonReentrant {
        Fallback storage f = _running(taskId, client);
        if (block.timestamp < f.closesAt) revert FallbackRunning(f.closesAt);
        uint256 amount = uint256(f.left) + _escrows[escrowId(taskId, client)].goldBond;
        (f.left, f.closed) = (0, true);
        if (amount != 0) token.safeTransfer(client, amount);
        emit FallbackClosed(taskId, client, amount);
    }

    /// @notice The fallback of one task; all zero when it was never opened.
    function fallbacks(bytes32 taskId, address client) external view returns (Fallback memory) {
        return _fallbacks[escrowId(taskId, client)];
    }

    /// @notice The money of one task; all zero when it was never funded by this client.
    function escrows(bytes32 taskId, address client) external view returns (Escrow memory) {
        bytes32 id = escrowId(taskId, client);
        Packed memory e = _escrows[id];
        // slither-disable-next-line unused-return: without a top-up the block is zero; the sum is not shown.
        (, uint48 lastTopUpBlock,) = _topUps[id].latestCheckpoint();
        return Escrow(e.deposit, e.goldBond, e.lane, e.state == State.Settled, lastTopUpBlock, _late[id], e.fundedAt);
    }

    /// @notice Deposit and gold bond together as they stood at the end of block `blockNumber`, for an open task.
    /// @dev Zero when this client has not funded the task or the task is settled or in fallback. Funding itself counts at any block.
    function fundedAt(bytes32 taskId, address client, uint48 blockNumber) external view returns (uint256 amount) {
        bytes32 id = escrowId(taskId, client);
        Packed memory e = _escrows[id];
        if (e.deposit == 0 || e.state != State.Open) return 0;
        return uint256(e.deposit) + e.goldBond - _toppedUpAfter(id, blockNumber);
    }

    /// @notice Storage key of a task's money.
    function escrowId(bytes32 taskId, address client) public pure returns (bytes32) {
        return keccak256(abi.encode(taskId, client));
    }

    /// @dev Sum of the top-ups in blocks after `blockNumber`; never more than the deposit, so it fits 96 bits.
    function _toppedUpAfter(bytes32 id, uint64 blockNumber) private view returns (uint256) {
        Checkpoints.Trace208 storage trace = _topUps[id];
        (bool any, uint48 last, uint208 sum) = trace.latestCheckpoint();
        if (!any || last <= blockNumber) return 0;
        // The cast keeps the value: it is below the 48-bit block `last`.
        return sum - trace.upperLookupRecent(uint48(blockNumber));
    }

    function _open(bytes32 id, bytes32 taskId, address client) private view returns (Packed memory e) {
        e = _escrows[id];
        // slither-disable-start incorrect-equality: booked amounts and states, no balance that others can raise.
        if (e.deposit == 0) revert NotFunded(taskId, client);
        if (e.state == State.Settled) revert AlreadySettled(taskId, client);
        if (e.state == State.Fallback) revert InFallback(taskId, client);
        // slither-disable-end incorrect-equality
    }

    function _running(bytes32 taskId, address client) private view returns (Fallback storage f) {
        f = _fallbacks[escrowId(taskId, client)];
        if (f.closesAt == 0 || f.closed) revert NotInFallback(taskId, client);
    }
}
