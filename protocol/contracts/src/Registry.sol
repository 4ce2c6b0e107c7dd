// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {EpochHeader} from "./EpochHeader.sol";
import {ExactTransfer} from "./ExactTransfer.sol";
import {IAnchorView} from "./IWiring.sol";
import {PositionalMerkle} from "./PositionalMerkle.sol";

/// @title Accounts, their node keys and their stake
/// @notice An EVM account names the Ed25519 key of its node, the key others seal messages to, the address it is paid
///         at, its roles and its stake. Leaving takes `unbondSeconds`; a labeler's proven losses are burned on exit; who
///         signed a header with a proven fault loses a part of the stake and is out for ever.
/// @dev Knows no tasks and judges no Ed25519 signature: nodes refuse an account whose binding does not verify.
///      Invariant: the token balance is at least the sum of all stakes. There is no owner.
contract Registry is ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using ExactTransfer for IERC20;

    /// @notice One account. `stake` and `burned` are token base units, `readyAt` is a Unix time in seconds.
    struct Account {
        /// Ed25519 public key of the node; zero when not registered.
        bytes32 nodeKey;
        /// X25519 public key for sealed messages.
        bytes32 sealKey;
        /// Where this account wants to be paid.
        address payee;
        /// Bit set of ROLE_*.
        uint8 roles;
        /// When an unbonding account may withdraw; zero while it is active.
        uint64 readyAt;
        /// Locked tokens.
        uint128 stake;
        /// Losses burned so far, over all registrations of this account.
        uint128 burned;
        /// How often this account has registered; the next binding must sign this number.
        uint64 nonce;
        /// Position in the validator list plus one; zero when not in it.
        uint32 validatorSlot;
        /// Block of the registration; zero when not registered.
        uint48 registeredAt;
    }

    /// @notice A leaf of a lane's loss tree with its proof. `account` zero stands for a padding leaf.
    struct LossLeaf {
        address account;
        uint128 lossTotal;
        uint256 index;
        bytes32[] proof;
    }

    /// @notice Role bit: publishes tasks.
    uint8 public constant ROLE_CLIENT = 1;
    /// @notice Role bit: labels items.
    uint8 public constant ROLE_LABELER = 2;
    /// @notice Role bit: may be drawn into committees.
    uint8 public constant ROLE_VALIDATOR = 4;
    /// @notice Most validators at one time, in accounts; keeps a draw within one block and its snapshot within one blob.
    uint256 public constant MAX_VALIDATORS = 600;
    /// @notice A validator's weight in draws is capped at this many minimum stakes.
    uint256 public constant STAKE_CAP_FACTOR = 4;
    /// @notice The whole stake in `slashBps`.
    uint16 public constant ALL_BPS = 10_000;
    /// @notice Where burned losses and slashes go: an address nobody holds a key for.
    address public constant BURN_ADDRESS = 0x000000000000000000000000000000000000dEaD;

    uint8 private constant ALL_ROLES = ROLE_CLIENT | ROLE_LABELER | ROLE_VALIDATOR;
    /// @dev Length of an Ed25519 signature in bytes.
    uint256 private constant BINDING_BYTES = 64;

    /// @notice The token stakes are held in.
    IERC20 public immutable token;
    /// @notice The EpochAnchor whose loss roots bind withdrawals.
    address public immutable anchor;
    /// @notice Least stake of a validator, in token base units.
    uint128 public immutable minValidatorStake;
    /// @notice Least stake of a labeler, in token base units.
    uint128 public immutable minLabelerBond;
    /// @notice Seconds between `requestUnbond` and `withdraw`.
    uint64 public immutable unbondSeconds;

    /// @notice Part of the stake that one proven fault costs, in ten thousandths.
    uint16 public immutable slashBps;

    /// @notice Whether `account` is banned: it can never register again.
    mapping(address account => bool) public banned;
    mapping(address account => Account) private _accounts;
    mapping(bytes32 nodeKey => address account) private _accountOfNodeKey;
    address[] private _validators;

    /// @notice An account registered. `binding` is the node key's signature over (chain id, registry, account, nonce).
    event Registered(
        address indexed account,
        bytes32 nodeKey,
        bytes32 sealKey,
        address payee,
        uint8 roles,
        uint128 stake,
        uint64 nonce,
        bytes binding
    );
    /// @notice `account` added `amount` and now holds `stake`.
    event StakeAdded(address indexed account, uint128 amount, uint128 stake);
    /// @notice `account` is leaving and may withdraw from `readyAt` on.
    event UnbondRequested(address indexed account, uint64 readyAt);
    /// @notice `account` left; `paid` went to it, `burned` was lost.
    event Withdrawn(address indexed account, uint128 paid, uint128 burned);

    /// @notice `account` lost `amount` of its stake: `rewarded` went to `reporter`, the rest was burned.
    event Slashed(address indexed account, address indexed reporter, uint128 amount, uint128 rewarded);
    /// @notice `account` and its node key can never register again. `nodeKey` is zero when it was not registered.
    event Banned(address indexed account, bytes32 indexed nodeKey);

    /// @notice A constructor argument is zero or too large.
    error BadConfiguration();
    /// @notice This account is registered; unbond and withdraw first.
    error AlreadyRegistered(address account);
    /// @notice This account is not registered, or (in `slash`) never was.
    error NotRegistered(address account);
    /// @notice This account signed a header with a proven fault and can never register again.
    error AccountBanned(address account);
    /// @notice Only the contract that proves faults may call this.
    error OnlyDisputes(address caller);
    /// @notice This account sits in a committee; it can withdraw `unbondSeconds` after it was replaced.
    error StillServing(address account);
    /// @notice The node key is zero.
    error ZeroNodeKey();
    /// @notice The node key belongs to `account` already, or did when that account was banned.
    error NodeKeyTaken(bytes32 nodeKey, address account);
    /// @notice The payee is the zero address.
    error ZeroPayee();
    /// @notice `roles` is zero or has unknown bits.
    error BadRoles(uint8 roles);
    /// @notice The binding must be 64 bytes long.
    error BadBindingLength(uint256 length);
    /// @notice The stake is below the minimum of the roles asked for.
    error StakeTooSmall(uint128 stake, uint128 minimum);
    /// @notice The validator list holds MAX_VALIDATORS accounts.
    error ValidatorListFull();
    /// @notice Voter number `position` does not follow the one before it.
    error VotersNotAscending(uint256 position);
    /// @notice Nothing to add.
    error ZeroAmount();
    /// @notice This account is leaving.
    error Unbonding(address account);
    /// @notice This account has not asked to leave.
    error NotUnbonding(address account);
    /// @notice Withdrawal is possible from `readyAt` on.
    error NotReady(uint64 readyAt);
    /// @notice There must be one entry per lane.
    error LaneCountMismatch(uint256 given, uint32 lanes);
    /// @notice This is not the last header of `lane`; a newer epoch may have been posted meanwhile.
    error NotTheHead(uint32 lane);
    /// @notice The proof does not show this account's losses in `lane`.
    error BadLossProof(uint32 lane);

    /// @param token_ stake token
    /// @param minValidatorStake_ least stake of a validator, in base units, not zero
    /// @param minLabelerBond_ least stake of a labeler, in base units
    /// @param unbondSeconds_ seconds between leaving and withdrawing, more than any lane's activation delay
    /// @param slashBps_ part of the stake one proven fault costs, in ten thousandths, 1 to 10,000
    /// @param anchor_ the EpochAnchor, which may be deployed later at this address
    constructor(
        IERC20 token_,
        uint128 minValidatorStake_,
        uint128 minLabelerBond_,
        uint64 unbondSeconds_,
        uint16 slashBps_,
        address anchor_
    ) {
        if (
            address(token_) == address(0) || anchor_ == address(0) || minValidatorStake_ == 0
                || minValidatorStake_ > type(uint128).max / STAKE_CAP_FACTOR || slashBps_ == 0 || slashBps_ > ALL_BPS
        ) revert BadConfiguration();
        token = token_;
        minValidatorStake = minValidatorStake_;
        minLabelerBond = minLabelerBond_;
        unbondSeconds = unbondSeconds_;
        slashBps = slashBps_;
        anchor = anchor_;
    }

    /// @notice Registers the caller; needs an allowance of `stake`.
    /// @param nodeKey Ed25519 public key, unique among registered accounts
    /// @param sealKey X25519 public key
    /// @param payee address rewards go to
    /// @param roles bit set of ROLE_*
    /// @param stake tokens to lock, at least the largest minimum of the roles
    /// @param binding 64-byte Ed25519 signature, judged by nodes only
    function register(
        bytes32 nodeKey,
        bytes32 sealKey,
        address payee,
        uint8 roles,
        uint128 stake,
        bytes calldata binding
    ) external nonReentrant {
        Account storage a = _accounts[msg.sender];
        if (banned[msg.sender]) revert AccountBanned(msg.sender);
        if (a.nodeKey != bytes32(0)) revert AlreadyRegistered(msg.sender);
        if (nodeKey == bytes32(0)) revert ZeroNodeKey();
        if (_accountOfNodeKey[nodeKey] != address(0)) revert NodeKeyTaken(nodeKey, _accountOfNodeKey[nodeKey]);
        if (payee == address(0)) revert ZeroPayee();
        if (roles == 0 || roles & ~ALL_ROLES != 0) revert BadRoles(roles);
        if (binding.length != BINDING_BYTES) revert BadBindingLength(binding.length);
        uint128 minimum = _minimumStake(roles);
        if (stake < minimum) revert StakeTooSmall(stake, minimum);

        uint64 nonce = a.nonce;
        a.nodeKey = nodeKey;
        a.sealKey = sealKey;
        a.payee = payee;
        a.roles = roles;
        a.stake = stake;
        a.nonce = nonce + 1;
        a.registeredAt = uint48(block.number);
        _accountOfNodeKey[nodeKey] = msg.sender;
        if (roles & ROLE_VALIDATOR != 0) {
            if (_validators.length == MAX_VALIDATORS) revert ValidatorListFull();
            _validators.push(msg.sender);
            a.validatorSlot = uint32(_validators.length);
        }
        if (stake != 0) token.pullExact(msg.sender, stake);
        emit Registered(msg.sender, nodeKey, sealKey, payee, roles, stake, nonce, binding);
    }

    /// @notice Adds `amount` base units to the caller's stake; needs an allowance.
    function addStake(uint128 amount) external nonReentrant {
        Account storage a = _active(msg.sender);
        if (amount == 0) revert ZeroAmount();
        uint128 stake = a.stake + amount;
        a.stake = stake;
        token.pullExact(msg.sender, amount);
        emit StakeAdded(msg.sender, amount, stake);
    }

    /// @notice Starts leaving with the whole stake. A validator leaves the list for future draws at once.
    function requestUnbond() external {
        _unbond(msg.sender, _active(msg.sender));
    }

    /// @notice Punishes an account that signed a header with a proven fault: takes `slashBps` of the stake it has now, bans
    ///         it and sends it away. Disputes only. An account without a stake is only banned.
    /// @param account who signed
    /// @param reporter receives half of what is taken; the odd unit and the rest are burned
    function slash(address account, address reporter) external nonReentrant {
        if (msg.sender != IAnchorView(anchor).disputes()) revert OnlyDisputes(msg.sender);
        Account storage a = _accounts[account];
        // A forged signature recovers an address that nobody holds; it must not fill the list of the banned.
        if (a.nonce == 0) revert NotRegistered(account);
        uint128 amount = uint128(uint256(a.stake) * slashBps / ALL_BPS);
        uint128 rewarded = amount / 2;
        a.stake -= amount;
        banned[account] = true;
        if (a.nodeKey != bytes32(0) && a.readyAt == 0) _unbond(account, a);
        emit Slashed(account, reporter, amount, rewarded);
        emit Banned(account, a.nodeKey);
        if (rewarded != 0) token.safeTransfer(reporter, rewarded);
        if (amount != 0) token.safeTransfer(BURN_ADDRESS, amount - rewarded);
    }

    /// @notice Leaves, at the earliest `unbondSeconds` after the last committee the caller sat in was replaced, so that no
    ///         signer of a faulty header is gone before the fault can be shown. A labeler shows what it has lost: per lane its last header and the caller's place in that header's
    ///         loss tree. Accounts without the labeler role pass ([], []).
    /// @param heads the last header of each lane; of a lane without epochs only `lane` counts, everything else is zero
    /// @param perLane per lane one of: nothing (the loss root is zero, or there are no epochs); the caller's own leaf; or proof
    ///        that the caller has no leaf: the neighbours it would stand between, or the one leaf at the edge of the tree
    /// @dev A neighbour on the right may be padding (account zero), which ends the tree.
    function withdraw(EpochHeader[] calldata heads, LossLeaf[][] calldata perLane) external nonReentrant {
        Account storage a = _leaving(msg.sender);
        // slither-disable-next-line uninitialized-local: a sum that starts at zero.
        uint256 losses;
        if (a.roles & ROLE_LABELER != 0) {
            uint32 lanes = IAnchorView(anchor).lanes();
            if (heads.length != lanes) revert LaneCountMismatch(heads.length, lanes);
            if (perLane.length != lanes) revert LaneCountMismatch(perLane.length, lanes);
            for (uint32 lane; lane < lanes; ++lane) {
                losses += _provenLoss(_lossRoot(lane, heads[lane]), lane, perLane[lane]);
            }
        }
        _payOut(a, losses);
    }

    /// @notice Everything known about `account`; all zero except `nonce` and `burned` when it is not registered.
    function accounts(address account) external view returns (Account memory) {
        return _accounts[account];
    }

    /// @notice The registered account behind a node key, or zero.
    function accountOfNodeKey(bytes32 nodeKey) external view returns (address account) {
        account = _accountOfNodeKey[nodeKey];
        // A banned account keeps its node key after it has left.
        if (_accounts[account].nodeKey != nodeKey) return address(0);
    }

    /// @notice Number of validators that can be drawn.
    function validatorCount() external view returns (uint256) {
        return _validators.length;
    }

    /// @notice The validator at position `i`; positions change when a validator leaves.
    function validatorAt(uint256 i) external view returns (address) {
        return _validators[i];
    }

    /// @notice All validators in list order with their weights in draws.
    function validators() external view returns (address[] memory list, uint128[] memory weights) {
        list = _validators;
        weights = new uint128[](list.length);
        for (uint256 i; i < list.length; ++i) {
            weights[i] = _capped(_accounts[list[i]].stake);
        }
    }

    /// @notice Weight of `account` in draws: its stake, at most STAKE_CAP_FACTOR minimum stakes; zero for non-validators.
    function effectiveStake(address account) external view returns (uint128) {
        Account storage a = _accounts[account];
        return a.validatorSlot == 0 ? 0 : _capped(a.stake);
    }

    /// @notice What `voters` weigh in draws together, and what all validators do. Only validators that registered up to block
    ///         `asOf` count on either side, so nobody can join for the sake of a vote.
    /// @param voters accounts in ascending order; who is no validator any more weighs nothing
    function weigh(address[] calldata voters, uint64 asOf) external view returns (uint256 given, uint256 all) {
        address[] memory list = _validators;
        for (uint256 i; i < list.length; ++i) {
            all += _weightSince(list[i], asOf);
        }
        for (uint256 i; i < voters.length; ++i) {
            if (i != 0 && voters[i] <= voters[i - 1]) revert VotersNotAscending(i);
            if (_accounts[voters[i]].validatorSlot != 0) given += _weightSince(voters[i], asOf);
        }
    }

    /// @notice Whether `account` may take a seat it was drawn for: a validator whose stake is still here, leaving or not, and
    ///         who is not banned.
    function bonded(address account) external view returns (bool) {
        return _accounts[account].roles & ROLE_VALIDATOR != 0 && !banned[account];
    }

    function _weightSince(address account, uint64 asOf) private view returns (uint128) {
        Account storage a = _accounts[account];
        return a.registeredAt > asOf ? 0 : _capped(a.stake);
    }

    function _capped(uint128 stake) private view returns (uint128) {
        // Cannot overflow: the constructor bounds minValidatorStake.
        uint128 cap = minValidatorStake * uint128(STAKE_CAP_FACTOR);
        return stake < cap ? stake : cap;
    }

    function _minimumStake(uint8 roles) private view returns (uint128 minimum) {
        if (roles & ROLE_LABELER != 0) minimum = minLabelerBond;
        if (roles & ROLE_VALIDATOR != 0 && minValidatorStake > minimum) minimum = minValidatorStake;
    }

    function _active(address account) private view returns (Account storage a) {
        a = _accounts[account];
        if (a.nodeKey == bytes32(0)) revert NotRegistered(account);
        if (a.readyAt != 0) revert Unbonding(account);
    }

    function _leaving(address account) private view returns (Account storage a) {
        a = _accounts[account];
        if (a.nodeKey == bytes32(0)) revert NotRegistered(account);
        if (a.readyAt == 0) revert NotUnbonding(account);
        if (block.timestamp < a.readyAt) revert NotReady(a.readyAt);
        if (a.roles & ROLE_VALIDATOR == 0) return a;
        (bool serving, uint64 until) = IAnchorView(anchor).service(account);
        if (serving) revert StillServing(account);
        if (block.timestamp < until + unbondSeconds) revert NotReady(until + unbondSeconds);
    }

    function _unbond(address account, Account storage a) private {
        uint64 readyAt = uint64(block.timestamp) + unbondSeconds;
        a.readyAt = readyAt;
        if (a.validatorSlot != 0) _removeValidator(a);
        emit UnbondRequested(account, readyAt);
    }

    function _removeValidator(Account storage a) private {
        uint32 slot = a.validatorSlot;
        address last = _validators[_validators.length - 1];
        _validators[slot - 1] = last;
        _accounts[last].validatorSlot = slot;
        _validators.pop();
        // Written last: the leaver may itself have been the last entry.
        a.validatorSlot = 0;
    }

    /// @dev Loss root of a lane's last epoch, shown by its header; zero when there is no epoch.
    function _lossRoot(uint32 lane, EpochHeader calldata head) private view returns (bytes32) {
        if (head.lane != lane) revert NotTheHead(lane);
        // slither-disable-next-line unused-return: `isHead` compares the hash; the term does not count.
        (uint64 epoch,,) = IAnchorView(anchor).head(lane);
        if (epoch == 0) return bytes32(0);
        if (!IAnchorView(anchor).isHead(head)) revert NotTheHead(lane);
        return head.lossRoot;
    }

    /// @dev The caller's loss in one lane; see `withdraw` for what counts as proof.
    function _provenLoss(bytes32 root, uint32 lane, LossLeaf[] calldata leaves) private view returns (uint256) {
        if (leaves.length == 0) {
            if (root != bytes32(0)) revert BadLossProof(lane);
            return 0;
        }
        if (leaves.length > 2 || !_stands(root, leaves[0])) revert BadLossProof(lane);
        LossLeaf calldata first = leaves[0];
        if (leaves.length == 1) {
            if (first.account == msg.sender) return first.lossTotal;
            bool before = first.index == 0 && first.account > msg.sender;
            bool behind = first.account < msg.sender && first.account != address(0)
                && first.index == (uint256(1) << first.proof.length) - 1;
            if (!before && !behind) revert BadLossProof(lane);
            return 0;
        }
        LossLeaf calldata second = leaves[1];
        bool between = first.account != address(0) && first.account < msg.sender
            && (second.account > msg.sender || second.account == address(0)) && second.index == first.index + 1
            && second.proof.length == first.proof.length && _stands(root, second);
        if (!between) revert BadLossProof(lane);
        return 0;
    }

    /// @dev Padding leaves are the word zero, not a hash, so they cannot be mistaken for a leaf of address zero.
    function _stands(bytes32 root, LossLeaf calldata leaf) private pure returns (bool) {
        bytes32 node = leaf.account == address(0) ? bytes32(0) : PositionalMerkle.lossLeaf(leaf.account, leaf.lossTotal);
        return PositionalMerkle.verify(root, node, leaf.index, leaf.proof);
    }

    /// @dev Ends the registration. Losses burned by an earlier registration are not burned twice; losses beyond the
    ///      stake stay owed and are taken from the next one.
    function _payOut(Account storage a, uint256 losses) private {
        uint128 stake = a.stake;
        uint256 due = losses > a.burned ? losses - a.burned : 0;
        uint128 burned = due < stake ? uint128(due) : stake;
        uint128 paid = stake - burned;

        if (!banned[msg.sender]) delete _accountOfNodeKey[a.nodeKey];
        a.nodeKey = bytes32(0);
        a.sealKey = bytes32(0);
        a.payee = address(0);
        a.roles = 0;
        a.readyAt = 0;
        a.registeredAt = 0;
        a.stake = 0;
        a.burned += burned;

        if (burned != 0) token.safeTransfer(BURN_ADDRESS, burned);
        if (paid != 0) token.safeTransfer(msg.sender, paid);
        emit Withdrawn(msg.sender, paid, burned);
    }
}
