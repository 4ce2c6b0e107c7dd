// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

import {PositionalMerkle} from "./PositionalMerkle.sol";

/// @title Pays everybody in one lane what the payout trees say, for ever
/// @notice A leaf holds all that a payee was ever owed in the lane; a claim pays what is not paid yet. Anyone may claim
///         for anyone: the money only ever goes to the payee of the leaf. No owner, no pause, no expiry.
/// @dev A lane has a distributor of its own, so a committee that signs a tree larger than its budget can empty its own
///      lane and no other, without a slot of books that every claim would have to write.
///      The last KEPT_ROOTS roots stay claimable, so that a claim does not race the next epoch.
///      What is paid is booked before the token is called and nothing is read after it, so a token that calls back finds
///      nothing left to take.
///      Invariants: never more is paid than was released here; nobody is paid more than their largest leaf.
contract RewardDistributor {
    using SafeERC20 for IERC20;

    /// @notice One leaf with its proof, for `claimMany`.
    struct Claim {
        address payee;
        uint128 total;
        uint256 index;
        bytes32[] proof;
    }

    /// @notice Roots that stay claimable, newest included.
    uint64 public constant KEPT_ROOTS = 16;
    /// @dev Bytes of one leaf in `claimSubtree`: payee (20) and total (16, big endian).
    uint256 private constant LEAF_BYTES = 36;
    /// @notice Most leaves of one `claimSubtree`.
    uint256 public constant MAX_SUBTREE = 1024;

    /// @notice The token rewards are paid in.
    IERC20 public immutable token;
    /// @notice The EpochAnchor; only it can activate roots and book releases.
    address public immutable anchor;
    /// @notice The lane this distributor pays for.
    uint32 public immutable lane;
    /// @notice Seconds between the posting of a root and the first claim on it.
    uint48 public immutable ACTIVATION_DELAY;

    /// @notice All that the escrow has moved here, in token base units. The newest tree owes exactly that.
    uint256 public totalReleased;
    /// @notice Token base units paid to a payee so far.
    mapping(address payee => uint256) public paid;

    /// @dev One word per root: its first 24 bytes || activatesAt (6, Unix seconds) || depth (1) || generation (1), the low byte of
    ///      epoch / KEPT_ROOTS, which tells the epochs that share a slot apart.
    ///      192 bits of the root are compared: a second tree for a given root is 2^192 work, and two trees of one's own
    ///      making are of use only to those who sign the root, who can sign any tree.
    uint256[KEPT_ROOTS] private _roots;

    /// @notice `amount` went to `payee`.
    event Claimed(address indexed payee, uint256 amount);
    /// @notice `amount` in all went to the payees of `count` neighbouring leaves; the token's own events name each.
    event SubtreeClaimed(uint64 indexed epoch, uint256 first, uint256 count, uint256 amount);

    /// @notice The roots of epochs `from` to `to` were taken back before they were active; a newer epoch owes their money.
    event RootsRevoked(uint64 from, uint64 to);

    /// @notice A constructor argument is the zero address.
    error BadConfiguration();
    /// @notice Only the anchor may call this.
    error OnlyAnchor(address caller);
    /// @notice What the newest tree owes must be exactly what was ever released here.
    error NotConserved(uint256 totalOwed, uint256 released);
    /// @notice Money is owed but the tree is empty, or the other way round.
    error EmptyTree(uint256 totalOwed);
    /// @notice Posting now could leave no active root; wait until `notBefore`.
    error ActivationBacklog(uint256 notBefore);
    /// @notice This epoch's root is empty, unknown or no longer kept; use a newer epoch.
    error UnknownRoot(uint64 epoch);
    /// @notice Claims on this root start at `activatesAt`.
    error NotActive(uint256 activatesAt);
    /// @notice The proof does not lead from this leaf to the root.
    error BadProof(address payee, uint256 index);
    /// @notice `leaves` is no whole subtree: 36 bytes for each of 2^n leaves, the first at a multiple of 2^n, at most 1,024.
    error BadSubtree(uint256 first, uint256 bytesGiven);
    /// @notice All of this leaf has been paid.
    error NothingDue(address payee, uint256 paid);

    /// @param token_ reward token
    /// @param anchor_ the EpochAnchor, which may be deployed later at this address
    /// @param lane_ lane this distributor pays for
    /// @param activationDelay seconds between posting and claiming; zero on development networks
    constructor(IERC20 token_, address anchor_, uint32 lane_, uint48 activationDelay) {
        if (address(token_) == address(0) || anchor_ == address(0)) revert BadConfiguration();
        token = token_;
        anchor = anchor_;
        lane = lane_;
        ACTIVATION_DELAY = activationDelay;
    }

    /// @notice Books `moved` base units that the escrow has just moved here, and makes a root claimable after
    ///         ACTIVATION_DELAY. Anchor only; the anchor keeps epochs in order.
    /// @param epoch the lane's epoch
    /// @param root root of the payout tree, zero when nothing was ever owed
    /// @param count number of its leaves
    /// @param moved base units that arrived with this epoch
    /// @param totalOwed sum of all leaves, in base units
    function activate(uint64 epoch, bytes32 root, uint32 count, uint256 moved, uint256 totalOwed) external {
        if (msg.sender != anchor) revert OnlyAnchor(msg.sender);
        uint256 released = totalReleased + moved;
        if (totalOwed != released) revert NotConserved(totalOwed, released);
        if ((bytes24(root) == 0) != (totalOwed == 0) || (count == 0) != (totalOwed == 0)) revert EmptyTree(totalOwed);
        if (moved != 0) totalReleased = released;
        if (ACTIVATION_DELAY != 0) {
            // The oldest root that stays after this one; it must be active, or claims would starve.
            uint256 oldest = _activatesAt(_roots[(epoch + 1) % KEPT_ROOTS]);
            if (block.timestamp < oldest) revert ActivationBacklog(oldest);
        }
        _roots[epoch % KEPT_ROOTS] = uint256(bytes32(bytes24(root))) | (block.timestamp + ACTIVATION_DELAY) << 16
            | PositionalMerkle.depthOf(count) << 8 | uint8(epoch / KEPT_ROOTS);
    }

    /// @notice Forgets the roots of epochs `from` to `to` (the newest) unless the first of them is active already. Anchor only.
    ///         What was released stays here: the next tree owes it.
    /// @dev Epochs follow each other in time and at most KEPT_ROOTS - 1 roots wait for activation, so when the first waits,
    ///      all of them are kept, and those older than KEPT_ROOTS keep their slots.
    /// @return revoked false when the first root is active or no longer kept; then nothing changes
    function revoke(uint64 from, uint64 to) external returns (bool revoked) {
        if (msg.sender != anchor) revert OnlyAnchor(msg.sender);
        if (to - from >= KEPT_ROOTS) return false;
        uint256 kept = _roots[from % KEPT_ROOTS];
        if (uint8(kept) != uint8(from / KEPT_ROOTS) || block.timestamp >= _activatesAt(kept)) return false;
        for (uint64 epoch = from; epoch <= to; ++epoch) {
            _roots[epoch % KEPT_ROOTS] = 0;
        }
        emit RootsRevoked(from, to);
        return true;
    }

    /// @notice Pays `payee` what its leaf holds beyond what it was paid before. Anyone may call.
    /// @param epoch one of the lane's last KEPT_ROOTS epochs
    /// @param payee address in the leaf, which receives the money
    /// @param total all the payee was ever owed, as in the leaf, in base units
    /// @param index position of the leaf
    /// @param proof siblings from the bottom
    function claim(uint64 epoch, address payee, uint128 total, uint256 index, bytes32[] calldata proof)
        external
    {
        if (_claim(_claimable(epoch), payee, total, index, proof) == 0) revert NothingDue(payee, paid[payee]);
    }

    /// @notice Claims for many payees on one root. Leaves with nothing due are skipped; a wrong proof reverts the call.
    /// @return amount base units paid in all
    function claimMany(uint64 epoch, Claim[] calldata claims) external returns (uint256 amount) {
        uint256 kept = _claimable(epoch);
        for (uint256 i; i < claims.length; ++i) {
            Claim calldata c = claims[i];
            amount += _claim(kept, c.payee, c.total, c.index, c.proof);
        }
    }

    /// @notice Claims for all payees of a whole subtree with one proof: the cheapest way to pay many.
    /// @param epoch one of the lane's last KEPT_ROOTS epochs
    /// @param first position of the first leaf, a multiple of the number of leaves
    /// @param leaves payee (20 bytes) and total (16, big endian) of each leaf; their number is a power of two; a place
    ///        beyond the last leaf of the tree is 36 zero bytes
    /// @param proof siblings from the subtree's root upwards
    /// @return amount base units paid in all; leaves with nothing due are skipped
    function claimSubtree(uint64 epoch, uint256 first, bytes calldata leaves, bytes32[] calldata proof)
        external
        returns (uint256 amount)
    {
        uint256 kept = _claimable(epoch);
        // slither-disable-next-line divide-before-multiply: a length that is no multiple is refused below.
        uint256 count = leaves.length / LEAF_BYTES;
        if (
            count == 0 || count > MAX_SUBTREE || count & (count - 1) != 0 || count * LEAF_BYTES != leaves.length
                || first % count != 0
        ) revert BadSubtree(first, leaves.length);
        uint256 height = PositionalMerkle.depthOf(count);
        bytes32 root = PositionalMerkle.climb(PositionalMerkle.fold(_row(leaves, count)), first / count, proof);
        if (!_matches(kept, root, height + proof.length) || (first / count) >> proof.length != 0) {
            revert BadProof(address(0), first);
        }
        for (uint256 i; i < count; ++i) {
            (address payee, uint128 total) = _leafAt(leaves, i);
            if (payee != address(0)) amount += _pay(payee, total);
        }
        emit SubtreeClaimed(epoch, first, count, amount);
    }

    /// @notice The root of a kept epoch.
    /// @return root first 24 bytes of the payout root, zero when the epoch is unknown or no longer kept
    /// @return activatesAt Unix time in seconds of the first possible claim
    /// @return claimable true when claims on it succeed now
    function roots(uint64 epoch) external view returns (bytes24 root, uint48 activatesAt, bool claimable) {
        uint256 kept = _roots[epoch % KEPT_ROOTS];
        if (!_isOf(kept, epoch)) return (0, 0, false);
        return (bytes24(bytes32(kept)), uint48(_activatesAt(kept)), block.timestamp >= _activatesAt(kept));
    }

    function _activatesAt(uint256 kept) private pure returns (uint256) {
        return (kept >> 16) & type(uint48).max;
    }

    /// @dev Whether a slot holds a root with money, and that of this epoch.
    function _isOf(uint256 kept, uint64 epoch) private pure returns (bool) {
        // slither-disable-next-line incorrect-equality: a marker that is either this epoch's or another's.
        return kept >> 64 != 0 && uint8(kept) == uint8(epoch / KEPT_ROOTS);
    }

    function _matches(uint256 kept, bytes32 root, uint256 depth) private pure returns (bool) {
        // slither-disable-next-line incorrect-equality: a hash and a depth, equal or not.
        return (kept ^ uint256(root)) >> 64 == 0 && uint8(kept >> 8) == depth;
    }

    function _claimable(uint64 epoch) private view returns (uint256 kept) {
        kept = _roots[epoch % KEPT_ROOTS];
        if (!_isOf(kept, epoch)) revert UnknownRoot(epoch);
        if (block.timestamp < _activatesAt(kept)) revert NotActive(_activatesAt(kept));
    }

    /// @dev Verifies and pays one leaf; returns the amount, zero when nothing is due.
    function _claim(uint256 kept, address payee, uint128 total, uint256 index, bytes32[] calldata proof)
        private
        returns (uint256 amount)
    {
        bytes32 root = PositionalMerkle.climb(PositionalMerkle.payoutLeaf(payee, total), index, proof);
        if (!_matches(kept, root, proof.length) || index >> proof.length != 0) revert BadProof(payee, index);
        amount = _pay(payee, total);
        if (amount != 0) emit Claimed(payee, amount);
    }

    /// @dev Pays what is not paid yet of a proven leaf.
    function _pay(address payee, uint128 total) private returns (uint256 amount) {
        uint256 before = paid[payee];
        if (total <= before) return 0;
        amount = total - before;
        paid[payee] = total;
        token.safeTransfer(payee, amount);
    }

    /// @dev Payee and total of a packed leaf; the caller keeps `i` in range.
    function _leafAt(bytes calldata leaves, uint256 i) private pure returns (address payee, uint128 total) {
        assembly ("memory-safe") {
            let from := add(leaves.offset, mul(i, 36))
            payee := shr(96, calldataload(from))
            total := shr(128, calldataload(add(from, 20)))
        }
    }

    /// @dev Leaf hashes of a subtree; places without a leaf are the zero word.
    function _row(bytes calldata leaves, uint256 count) private pure returns (bytes32[] memory row) {
        row = new bytes32[](count);
        assembly ("memory-safe") {
            // 0x00 || payee || total, hashed above the free memory.
            let at := mload(0x40)
            mstore8(at, 0x00)
            let from := leaves.offset
            let to := add(row, 0x20)
            for { let end := add(to, shl(5, count)) } lt(to, end) { to := add(to, 0x20) } {
                calldatacopy(add(at, 0x01), from, 36)
                if shr(96, calldataload(from)) { mstore(to, keccak256(at, 37)) }
                from := add(from, 36)
            }
        }
    }
}
