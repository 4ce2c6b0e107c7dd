// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {IAnchorView} from "./IWiring.sol";
import {PositionalMerkle} from "./PositionalMerkle.sol";

/// @title Pays everybody what the payout trees say, for ever
/// @notice A leaf holds all that a payee was ever owed in a lane; a claim pays what is not paid yet. Anyone may claim
///         for anyone: the money only ever goes to the payee of the leaf. No owner, no pause, no expiry.
/// @dev The last KEPT_ROOTS roots of a lane stay claimable, so that a claim does not race the next epoch.
///      Invariants: a lane never pays more than was released for it; nobody is paid more than their largest leaf;
///      the token balance is at least released minus claimed over all lanes.
contract RewardDistributor is ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using SafeCast for uint256;

    /// @notice A lane's books, in token base units.
    struct LaneAccount {
        /// All that the escrow has moved here for the lane.
        uint128 released;
        /// All that the lane has paid out.
        uint128 claimed;
        /// Sum of the leaves of the newest root.
        uint128 owed;
        /// Epoch of the newest root; zero when there is none.
        uint64 epoch;
    }

    /// @notice A payout root. `activatesAt` is a Unix time in seconds.
    struct PayoutRoot {
        bytes32 root;
        uint64 epoch;
        uint64 activatesAt;
    }

    /// @notice One leaf with its proof, for `claimMany`.
    struct Claim {
        address payee;
        uint128 total;
        uint256 index;
        bytes32[] proof;
    }

    /// @notice Roots of a lane that stay claimable, newest included.
    uint64 public constant KEPT_ROOTS = 16;

    /// @notice The token rewards are paid in.
    IERC20 public immutable token;
    /// @notice The EpochAnchor; only it can activate roots and book releases.
    address public immutable anchor;
    /// @notice Seconds between the posting of a root and the first claim on it.
    uint64 public immutable ACTIVATION_DELAY;

    /// @notice Token base units paid to a payee from a lane so far.
    mapping(uint32 lane => mapping(address payee => uint256)) public paid;

    mapping(uint32 lane => LaneAccount) private _lanes;
    mapping(uint32 lane => PayoutRoot[KEPT_ROOTS]) private _roots;

    /// @notice `amount` went to `payee`, whose leaf in `lane` stands at `total`.
    event Claimed(uint32 indexed lane, address indexed payee, uint256 amount, uint128 total);

    /// @notice A constructor argument is the zero address.
    error BadConfiguration();
    /// @notice Only the anchor may call this.
    error OnlyAnchor(address caller);
    /// @notice Fewer tokens are here than the books of the lane say.
    error ReleaseNotReceived(uint256 booked, uint256 balance);
    /// @notice Epochs of a lane follow each other without gaps.
    error WrongEpoch(uint64 expected, uint64 given);
    /// @notice The root owes more than was released for the lane.
    error OverBudget(uint256 totalOwed, uint256 released);
    /// @notice The root owes less than the root before it.
    error OwedShrinks(uint256 previous, uint256 totalOwed);
    /// @notice Money is owed but the tree is empty.
    error EmptyTree(uint256 totalOwed);
    /// @notice Posting now would leave the lane without an active root; wait until `activatesAt`.
    error ActivationBacklog(uint64 activatesAt);
    /// @notice This epoch's root is empty, unknown or no longer kept; use a newer epoch.
    error UnknownRoot(uint32 lane, uint64 epoch);
    /// @notice Claims on this root start at `activatesAt`.
    error NotActive(uint64 activatesAt);
    /// @notice The proof does not lead from this leaf to the root.
    error BadProof(address payee, uint256 index);
    /// @notice All of this leaf has been paid.
    error NothingDue(address payee, uint256 paid);
    /// @notice The leaves of this root exceed what was released for the lane.
    error LaneExhausted(uint32 lane, uint256 amount, uint256 available);

    /// @param token_ reward token
    /// @param anchor_ the EpochAnchor, which may be deployed later at this address
    /// @param activationDelay seconds between posting and claiming; zero on development networks
    constructor(IERC20 token_, address anchor_, uint64 activationDelay) {
        if (address(token_) == address(0) || anchor_ == address(0)) revert BadConfiguration();
        token = token_;
        anchor = anchor_;
        ACTIVATION_DELAY = activationDelay;
    }

    modifier onlyAnchor() {
        if (msg.sender != anchor) revert OnlyAnchor(msg.sender);
        _;
    }

    /// @notice Books `amount` base units that the escrow has just moved here for `lane`. Anchor only.
    /// @return releasedTotal all that was ever released for the lane
    function noteReleased(uint32 lane, uint256 amount) external onlyAnchor returns (uint256 releasedTotal) {
        LaneAccount storage a = _lanes[lane];
        releasedTotal = a.released + amount;
        if (amount != 0) {
            uint256 booked = releasedTotal - a.claimed;
            uint256 balance = token.balanceOf(address(this));
            if (balance < booked) revert ReleaseNotReceived(booked, balance);
            a.released = releasedTotal.toUint128();
        }
    }

    /// @notice Makes a root claimable after ACTIVATION_DELAY. Anchor only.
    /// @param root root of the payout tree, zero when nothing was ever owed
    /// @param totalOwed_ sum of all leaves, in base units
    /// @param epoch the lane's epoch, one more than the last
    /// @param lane lane the root belongs to
    function activate(bytes32 root, uint256 totalOwed_, uint64 epoch, uint32 lane) external onlyAnchor {
        LaneAccount storage a = _lanes[lane];
        if (epoch != a.epoch + 1) revert WrongEpoch(a.epoch + 1, epoch);
        if (totalOwed_ > a.released) revert OverBudget(totalOwed_, a.released);
        if (totalOwed_ < a.owed) revert OwedShrinks(a.owed, totalOwed_);
        if (root == bytes32(0) && totalOwed_ != 0) revert EmptyTree(totalOwed_);
        if (ACTIVATION_DELAY != 0) {
            // The oldest root that stays after this one; it must be active, or claims would starve.
            uint64 oldest = _roots[lane][(epoch + 1) % KEPT_ROOTS].activatesAt;
            if (block.timestamp < oldest) revert ActivationBacklog(oldest);
        }
        // Fits: bounded by `released`.
        a.owed = uint128(totalOwed_);
        a.epoch = epoch;
        _roots[lane][epoch % KEPT_ROOTS] = PayoutRoot(root, epoch, uint64(block.timestamp) + ACTIVATION_DELAY);
    }

    /// @notice Pays `payee` what its leaf holds beyond what it was paid before. Anyone may call.
    /// @param lane lane of the tree
    /// @param epoch one of the lane's last KEPT_ROOTS epochs
    /// @param payee address in the leaf, which receives the money
    /// @param total all the payee was ever owed, as in the leaf, in base units
    /// @param index position of the leaf
    /// @param proof siblings from the bottom
    function claim(uint32 lane, uint64 epoch, address payee, uint128 total, uint256 index, bytes32[] calldata proof)
        external
        nonReentrant
    {
        bytes32 root = _claimableRoot(lane, epoch);
        if (_claim(root, lane, payee, total, index, proof) == 0) revert NothingDue(payee, paid[lane][payee]);
    }

    /// @notice Claims for many payees on one root. Leaves with nothing due are skipped; a wrong proof reverts the call.
    /// @return amount base units paid in all
    function claimMany(uint32 lane, uint64 epoch, Claim[] calldata claims)
        external
        nonReentrant
        returns (uint256 amount)
    {
        bytes32 root = _claimableRoot(lane, epoch);
        for (uint256 i; i < claims.length; ++i) {
            Claim calldata c = claims[i];
            amount += _claim(root, lane, c.payee, c.total, c.index, c.proof);
        }
    }

    /// @notice The root of a kept epoch.
    /// @return root the payout root, zero when the epoch is unknown or no longer kept
    /// @return activatesAt Unix time in seconds of the first possible claim
    /// @return claimable true when claims on it succeed now
    function roots(uint32 lane, uint64 epoch) external view returns (bytes32 root, uint64 activatesAt, bool claimable) {
        PayoutRoot storage r = _roots[lane][epoch % KEPT_ROOTS];
        if (r.epoch != epoch || epoch == 0) return (bytes32(0), 0, false);
        return (r.root, r.activatesAt, r.root != bytes32(0) && block.timestamp >= r.activatesAt);
    }

    /// @notice The books of one lane.
    function laneAccount(uint32 lane) external view returns (LaneAccount memory) {
        return _lanes[lane];
    }

    /// @notice Sum of the newest roots' leaves over all lanes, in base units.
    function totalOwed() external view returns (uint256 sum) {
        uint32 lanes = IAnchorView(anchor).lanes();
        for (uint32 lane; lane < lanes; ++lane) {
            sum += _lanes[lane].owed;
        }
    }

    /// @notice All that was ever released to this contract, over all lanes, in base units.
    function totalReleased() external view returns (uint256 sum) {
        uint32 lanes = IAnchorView(anchor).lanes();
        for (uint32 lane; lane < lanes; ++lane) {
            sum += _lanes[lane].released;
        }
    }

    /// @notice All that was ever paid out, over all lanes, in base units.
    function totalClaimed() external view returns (uint256 sum) {
        uint32 lanes = IAnchorView(anchor).lanes();
        for (uint32 lane; lane < lanes; ++lane) {
            sum += _lanes[lane].claimed;
        }
    }

    function _claimableRoot(uint32 lane, uint64 epoch) private view returns (bytes32 root) {
        PayoutRoot storage r = _roots[lane][epoch % KEPT_ROOTS];
        root = r.root;
        if (root == bytes32(0) || r.epoch != epoch) revert UnknownRoot(lane, epoch);
        if (block.timestamp < r.activatesAt) revert NotActive(r.activatesAt);
    }

    /// @dev Verifies and pays one leaf; returns the amount, zero when nothing is due.
    function _claim(bytes32 root, uint32 lane, address payee, uint128 total, uint256 index, bytes32[] calldata proof)
        private
        returns (uint256 amount)
    {
        if (!PositionalMerkle.verify(root, PositionalMerkle.payoutLeaf(payee, total), index, proof)) {
            revert BadProof(payee, index);
        }
        uint256 before = paid[lane][payee];
        if (total <= before) return 0;
        amount = total - before;
        LaneAccount storage a = _lanes[lane];
        (uint128 released, uint128 claimed) = (a.released, a.claimed);
        // A quorum that signed a tree larger than its budget can empty its own lane, never another's.
        if (amount > released - claimed) revert LaneExhausted(lane, amount, released - claimed);
        a.claimed = claimed + uint128(amount);
        paid[lane][payee] = total;
        token.safeTransfer(payee, amount);
        emit Claimed(lane, payee, amount, total);
    }
}
