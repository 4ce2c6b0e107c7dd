// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {EpochHeader, EpochHeaders} from "./EpochHeader.sol";
import {IAnchorView} from "./IWiring.sol";
import {PositionalMerkle} from "./PositionalMerkle.sol";
import {ShareLedger} from "./ShareLedger.sol";
import {ShareTree} from "./ShareTree.sol";
import {TaskEscrow} from "./TaskEscrow.sol";

/// @title What the pool asks of the anchor
interface IAnchorLanes is IAnchorView {
    /// @notice The RewardDistributor of a lane.
    function distributors(uint256 lane) external view returns (address);
}

/// @title What the pool asks of a lane's distributor
interface IRoots {
    /// @notice A kept epoch's root. Once it is claimable, its epoch can no longer be revoked.
    function roots(uint64 epoch) external view returns (bytes24 root, uint48 activatesAt, bool claimable);
}

/// @title Bonus in partner tokens, beside the main reward
/// @notice A client locks any token for a task that stands funded in the escrow. How it is shared, a header of the task's
///         lane says; after that everybody draws a part, and anyone may draw it for them. No other contract calls this one,
///         so the main reward is paid whatever a partner token does.
/// @dev A split names weights and not amounts, so it is right for every token, whatever fees it takes and whenever money
///      arrives. Its leaf stands in the tree of PositionalMerkle whose root the header's state root names beside the state:
///        bonus leaf = keccak256(0x0a || task id (32 bytes) || client (20) || scored (1) || shares root (32)
///                     || total weight (16) || number of shares (4))
///      The weights are base units of the main reward: what the task pays each payee for labels, and for the client what
///      is left of the price of all labels it could have bought. So a label earns the same part of the bonus however many
///      others were made, and a cancelled task's leaf names the client alone, which is the refund.
///      The epoch that settles a task holds its leaf with scored = 1, no later one does. The header of every epoch holds a
///      leaf with scored = 0 for each open task with accepted labels, at the flat rate; it counts when the escrow has opened
///      the task for fallback, and only in the very header that pays the main reward then.
///      A split is recorded once and claims never expire. Money goes back to the client without one in two cases:
///      the fallback's window is over, or the task is settled and nobody showed its split for NOTICE_SECONDS after a
///      public request.
contract BonusPool is ShareLedger {
    /// @notice A task's bonus.
    struct Bonus {
        /// How it is shared; all zero until a split is recorded.
        ShareTree.Shares shares;
        /// True once something was locked.
        bool locked;
        /// Unix time in seconds from which on the client can be refunded if there is no split; zero when not requested.
        uint48 refundAt;
    }

    /// @notice A bonus leaf, and its way to the state root.
    struct Split {
        /// BLAKE3 hash of the lane's state.
        bytes32 state;
        /// True when the task was settled by its scores, false when the weights are those of the flat rate.
        bool scored;
        /// How the bonus is shared.
        ShareTree.Shares shares;
        /// Position of the leaf in the tree that the state root names beside the state.
        uint256 index;
        /// Siblings from the bottom.
        bytes32[] proof;
    }

    /// @notice From the request of a refund until it is possible.
    uint256 public constant NOTICE_SECONDS = 365 days;
    /// @dev Roots that a lane's distributor keeps (RewardDistributor.KEPT_ROOTS).
    uint256 private constant KEPT_ROOTS = 16;

    /// @notice The EpochAnchor.
    IAnchorLanes public immutable anchor;
    /// @notice The TaskEscrow with the main reward.
    TaskEscrow public immutable escrow;

    mapping(bytes32 account => Bonus) private _bonuses;

    /// @notice `received` base units of `token` were locked for a task; they lie in `till`.
    event Locked(
        bytes32 indexed taskId, address indexed client, address indexed token, uint256 received, address till
    );
    /// @notice From now on payees can claim.
    event SplitRecorded(
        bytes32 indexed taskId, address indexed client, uint32 lane, uint64 epoch, bool scored, ShareTree.Shares shares
    );
    /// @notice Unless somebody records a split before `refundAt`, the client can take the bonus back.
    event RefundRequested(bytes32 indexed taskId, address indexed client, uint48 refundAt);
    /// @notice `amount` went back to `client`.
    event Refunded(bytes32 indexed taskId, address indexed client, address indexed token, uint256 amount);

    /// @notice The caller has not funded this task in the escrow.
    error NotFunded(bytes32 taskId, address client);
    /// @notice The task is settled; a bonus has to be locked before.
    error AlreadySettled(bytes32 taskId, address client);
    /// @notice Nothing was ever locked for this task by this client.
    error NothingLocked(bytes32 taskId, address client);
    /// @notice The split is recorded; claim.
    error AlreadySplit(bytes32 taskId, address client);
    /// @notice No split is recorded yet; show a header with `recordSplit`.
    error NoSplit(bytes32 taskId, address client);
    /// @notice A refund was requested; it is possible from `refundAt` on unless a split is recorded before.
    error AlreadyRequested(uint48 refundAt);
    /// @notice Not before this Unix time in seconds; zero: a refund has to be requested first.
    error TooEarly(uint256 notBefore);
    /// @notice The task belongs to another lane.
    error WrongLane(uint32 expected, uint32 given);
    /// @notice The headers are not linked, or the last one is not the lane's head. Show all from the one that proves to the
    ///         head; for a flat split, the one header that the escrow's fallback names.
    error NotCanonical();
    /// @notice This epoch could still be revoked; wait until its payout root is claimable.
    error NotFinal(uint32 lane, uint64 epoch);
    /// @notice A scored split, and the request of a refund, need a task that an epoch has settled.
    error NotSettled(bytes32 taskId, address client);
    /// @notice Root, total weight and number of shares must not be zero.
    error EmptySplit();
    /// @notice The header's state root does not hold this split.
    error BadSplit(bytes32 taskId, address client);
    /// @notice There is nothing to send back.
    error NothingLeft(address token);

    /// @param anchor_ the EpochAnchor
    /// @param escrow_ the TaskEscrow of the same network
    constructor(IAnchorLanes anchor_, TaskEscrow escrow_) {
        if (address(anchor_) == address(0) || address(escrow_) == address(0)) revert BadConfiguration();
        anchor = anchor_;
        escrow = escrow_;
    }

    /// @notice Locks the caller's money for a task it has funded in the escrow; as often as it likes, in as many tokens as
    ///         it likes, until the task is settled. Needs an allowance of `amount`. Afterwards anyone can add to the
    ///         bonus by sending tokens to its till.
    /// @param taskId hash of the manifest
    /// @param token any ERC-20
    /// @param amount base units
    /// @return received base units that arrived
    function lock(bytes32 taskId, IERC20 token, uint256 amount) external nonReentrant returns (uint256 received) {
        TaskEscrow.Escrow memory e = escrow.escrows(taskId, msg.sender);
        if (e.deposit == 0) revert NotFunded(taskId, msg.sender);
        if (e.settled) revert AlreadySettled(taskId, msg.sender);
        bytes32 account = accountOf(taskId, msg.sender);
        Bonus storage b = _bonuses[account];
        if (b.shares.count != 0) revert AlreadySplit(taskId, msg.sender);
        if (!b.locked) {
            b.locked = true;
            _open(account);
        }
        received = _pull(account, token, amount);
        emit Locked(taskId, msg.sender, address(token), received, _till(account));
    }

    /// @notice Records how a task's bonus is shared. Anyone may, once a header that says so can no longer be revoked.
    /// @param taskId hash of the manifest
    /// @param client who locked
    /// @param headers scored split: linked headers of the task's lane, the one that settled it and all after it up to the
    ///        lane's head; flat split: the header that the escrow's fallback names, alone
    /// @param split the leaf and its way to the state root of `headers[0]`
    function recordSplit(bytes32 taskId, address client, EpochHeader[] calldata headers, Split calldata split)
        external
    {
        Bonus storage b = _bonuses[accountOf(taskId, client)];
        if (!b.locked) revert NothingLocked(taskId, client);
        if (b.shares.count != 0) revert AlreadySplit(taskId, client);
        if (!ShareTree.isUsable(split.shares)) revert EmptySplit();
        if (headers.length == 0) revert NotCanonical();
        EpochHeader calldata header = headers[0];
        if (split.scored) {
            TaskEscrow.Escrow memory e = escrow.escrows(taskId, client);
            // Another lane's committee has no say in this task.
            if (e.lane != header.lane) revert WrongLane(e.lane, header.lane);
            if (!e.settled) revert NotSettled(taskId, client);
            _checkFinal(headers);
        } else if (headers.length != 1 || EpochHeaders.hash(header) != escrow.fallbacks(taskId, client).headerHash) {
            revert NotCanonical();
        }
        if (header.stateRoot != _stateRoot(taskId, client, split)) revert BadSplit(taskId, client);
        b.shares = split.shares;
        emit SplitRecorded(taskId, client, header.lane, header.epoch, split.scored, split.shares);
    }

    /// @notice Pays a payee its part of what has arrived, less what it was paid. Anyone may call.
    /// @param token an ERC-20, or the zero address for the chain's own coin
    /// @return amount base units sent
    function claim(bytes32 taskId, address client, address token, Claim calldata leaf)
        external
        nonReentrant
        returns (uint256 amount)
    {
        return _claim(accountOf(taskId, client), token, _shares(taskId, client), leaf);
    }

    /// @notice Pays many payees of one task. Leaves with nothing due are skipped; a wrong proof reverts the call.
    /// @return amount base units sent in all
    function claimMany(bytes32 taskId, address client, address token, Claim[] calldata leaves)
        external
        nonReentrant
        returns (uint256 amount)
    {
        return _claimMany(accountOf(taskId, client), token, _shares(taskId, client), leaves);
    }

    /// @notice Announces that the client may take back the bonus of a settled task that nobody has recorded a split for.
    ///         Anyone may call.
    function requestRefund(bytes32 taskId, address client) external {
        Bonus storage b = _bonuses[accountOf(taskId, client)];
        if (!b.locked) revert NothingLocked(taskId, client);
        if (b.shares.count != 0) revert AlreadySplit(taskId, client);
        if (b.refundAt != 0) revert AlreadyRequested(b.refundAt);
        if (!escrow.escrows(taskId, client).settled) revert NotSettled(taskId, client);
        b.refundAt = uint48(block.timestamp + NOTICE_SECONDS);
        emit RefundRequested(taskId, client, b.refundAt);
    }

    /// @notice Sends one token of a bonus without a split to its client, after the notice or the fallback's window. Anyone may
    ///         call, again for every token and for what arrives later.
    /// @param token an ERC-20, or the zero address for the chain's own coin
    /// @return amount base units sent
    function refund(bytes32 taskId, address client, address token) external nonReentrant returns (uint256 amount) {
        bytes32 account = accountOf(taskId, client);
        Bonus storage b = _bonuses[account];
        if (b.shares.count != 0) revert AlreadySplit(taskId, client);
        // A task in fallback is never settled, so at most one of the two is set.
        uint256 notBefore = b.refundAt != 0 ? b.refundAt : escrow.fallbacks(taskId, client).closesAt;
        if (notBefore == 0 || block.timestamp < notBefore) revert TooEarly(notBefore);
        amount = _balance(_till(account), token);
        // slither-disable-next-line incorrect-equality: whoever sends the till a unit has it sent to the client.
        if (amount == 0) revert NothingLeft(token);
        // Nothing was ever claimed here. The books start again, so that a split recorded after all shares only what comes later.
        delete _ledgers[account][token];
        _send(account, token, client, amount);
        emit Refunded(taskId, client, token, amount);
    }

    /// @notice A task's bonus: its split, and when what is possible.
    function bonusOf(bytes32 taskId, address client) external view returns (Bonus memory) {
        return _bonuses[accountOf(taskId, client)];
    }

    /// @notice Base units that a claim would send now to the leaf at `index` with `weight`, if there is one.
    function due(bytes32 taskId, address client, address token, uint128 weight, uint256 index)
        external
        view
        returns (uint256)
    {
        return _due(accountOf(taskId, client), token, _shares(taskId, client), weight, index);
    }

    /// @notice Books of one token of one task's bonus.
    function ledger(bytes32 taskId, address client, address token) external view returns (Ledger memory) {
        return _ledgers[accountOf(taskId, client)][token];
    }

    /// @notice Base units paid so far for the leaf at `index`.
    function claimed(bytes32 taskId, address client, address token, uint256 index) external view returns (uint256) {
        return _claimed[accountOf(taskId, client)][token][index];
    }

    /// @notice Where a task's bonus lies.
    function till(bytes32 taskId, address client) external view returns (address) {
        return _till(accountOf(taskId, client));
    }

    /// @notice Name of a task's bonus in the events of ledgers: the key of the task's money in the escrow.
    function accountOf(bytes32 taskId, address client) public pure returns (bytes32) {
        return keccak256(abi.encode(taskId, client));
    }

    function _shares(bytes32 taskId, address client) private view returns (ShareTree.Shares memory shares) {
        shares = _bonuses[accountOf(taskId, client)].shares;
        if (shares.count == 0) revert NoSplit(taskId, client);
    }

    /// @dev Reverts unless the first header is an ancestor of the lane's head, or the head, and beyond revocation.
    function _checkFinal(EpochHeader[] calldata headers) private view {
        uint256 count = headers.length;
        for (uint256 i = 1; i < count; ++i) {
            if (headers[i].parent != EpochHeaders.hash(headers[i - 1])) revert NotCanonical();
        }
        if (!anchor.isHead(headers[count - 1])) revert NotCanonical();
        // Linked headers are of one lane, because the anchor only takes a header whose parent is its own lane's head. Only the
        // last KEPT_ROOTS epochs can be asked for; when one of them is final, so are all before it.
        EpochHeader calldata asked = headers[count > KEPT_ROOTS ? count - KEPT_ROOTS : 0];
        // slither-disable-next-line unused-return: an epoch is final when it can be claimed, whatever its root.
        (,, bool claimable) = IRoots(anchor.distributors(asked.lane)).roots(asked.epoch);
        if (!claimable) revert NotFinal(asked.lane, asked.epoch);
    }

    function _stateRoot(bytes32 taskId, address client, Split calldata split) private pure returns (bytes32) {
        uint256 depth = split.proof.length;
        if (depth > PositionalMerkle.MAX_DEPTH || split.index >> depth != 0) revert BadSplit(taskId, client);
        bytes32 leaf = keccak256(
            abi.encodePacked(
                uint8(0x0a),
                taskId,
                client,
                split.scored,
                split.shares.root,
                split.shares.totalWeight,
                split.shares.count
            )
        );
        return PositionalMerkle.stateRoot(split.state, PositionalMerkle.climb(leaf, split.index, split.proof));
    }
}
