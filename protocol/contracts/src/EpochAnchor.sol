// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

import {CodeBlob} from "./CodeBlob.sol";
import {Committee} from "./Committee.sol";
import {CommitteeDraw} from "./CommitteeDraw.sol";
import {EpochHeader, EpochHeaders, SettledTask} from "./EpochHeader.sol";
import {IBeacon} from "./IBeacon.sol";
import {IDistributor, IEscrow, IRegistryView} from "./IWiring.sol";

/// @title One signed header per lane and epoch
/// @notice Each lane has a committee, drawn from the registry for a term of epochs. A header with the signatures of
///         two thirds of it settles tasks, moves their money to the distributor and activates the payout root.
///         The first valid header is the epoch; headers are linked to their parents and epochs count from 1. An epoch
///         whose fault is shown to the Disputes contract before its root is active is taken back with all after it.
/// @dev Checks signatures, order and budget; it cannot check scores, nodes do that. There is no owner: draws and posts
///      are open to anybody. Invariant: what a lane owes is exactly what was released for it.
contract EpochAnchor is EIP712, ReentrancyGuardTransient {
    struct Lane {
        /// CodeBlob with the committee in office (see Committee); zero when there is none.
        address committee;
        /// Last posted epoch; zero when there is none.
        uint48 epoch;
        /// Unix time in seconds of the last post, draw or rewind.
        uint48 lastActivity;
        /// Header hash of the last epoch.
        bytes32 head;
        /// Epoch count when the committee in office was drawn.
        uint64 termStart;
        /// Term of a dismissed committee, so that terms never repeat; meaningless while a committee is in office.
        uint64 dismissedTerm;
        /// Unix time in seconds of the last draw or rewind that still counts as a sign of life; see `lastActivity`.
        uint48 silentSince;
        /// Epoch count at the last draw or rewind.
        uint48 drawEpoch;
        /// Draws and rewinds since the last post, at most 255.
        uint8 draws;
    }

    /// @dev Why an account may not withdraw its stake yet.
    struct Service {
        /// Committees the account sits in.
        uint32 seats;
        /// Unix time in seconds when it last left one.
        uint64 until;
    }

    struct DrawRequest {
        /// CodeBlob with the candidates at the time of the request; zero when nothing is requested.
        address candidates;
        /// Beacon reference whose value decides.
        uint64 ref;
        /// Block of the request.
        uint48 requestedAt;
    }

    /// @notice Most lanes a network may have.
    uint32 public constant MAX_LANES = 1024;
    /// @notice Age in blocks up to which the chain knows a block's hash.
    uint256 public constant BLOCK_WINDOW = 256;
    /// @notice A committee that posts nothing for this long can be replaced before its term is over, in seconds.
    uint256 public constant STALL_SECONDS = 2 days;
    /// @notice Committees that are drawn after one another without a post before draws stop counting as a sign of life.
    uint8 public constant IDLE_DRAWS = 3;
    /// @notice A draw whose beacon value is still missing after this many blocks can be requested again.
    uint256 public constant DRAW_RETRY_BLOCKS = 1024;

    /// @notice The Registry validators are drawn from.
    IRegistryView public immutable registry;
    /// @notice The TaskEscrow money is released from.
    IEscrow public immutable escrow;
    /// @notice Source of randomness for draws.
    IBeacon public immutable beacon;
    /// @notice The contract that proves faults; only it can take epochs back.
    address public immutable disputes;
    /// @notice Number of lanes; lanes are 0 to lanes - 1.
    uint32 public immutable lanes;
    /// @notice Largest committee.
    uint8 public immutable committeeMax;
    /// @notice Epochs a committee serves before it can be replaced.
    uint64 public immutable termEpochs;

    // slither-disable-next-line uninitialized-state: written through storage pointers; zero is a lane without a committee.
    mapping(uint32 lane => Lane) private _lanes;
    mapping(uint32 lane => DrawRequest) private _draws;
    mapping(address account => Service) private _services;
    uint48 private immutable _deployedAt = uint48(block.timestamp);

    /// @notice The RewardDistributor of each lane, where its money goes and its payout roots are activated.
    IDistributor[] public distributors;

    /// @notice A draw was requested; the beacon value of `ref` decides between `candidates` validators.
    event DrawRequested(uint32 indexed lane, uint64 indexed term, uint64 ref, uint256 candidates);
    /// @notice `members` serve `lane` from now on; a header needs `threshold` signatures.
    event CommitteeDrawn(uint32 indexed lane, uint64 indexed term, address[] members, uint16 threshold);
    /// @notice An epoch was accepted. Bit i of `signers` is set when the committee's member i signed.
    event EpochPosted(
        uint32 indexed lane, uint64 indexed epoch, address indexed poster, EpochHeader header, uint256 signers
    );
    /// @notice Epochs `fromEpoch` to `head` of `lane` were taken back before their roots were active, and the committee was
    ///         dismissed. The lane continues at `fromEpoch`; what was released stays owed.
    event EpochsRevoked(uint32 indexed lane, uint64 fromEpoch, uint64 head);

    /// @notice A constructor argument is zero or out of range.
    error BadConfiguration();
    /// @notice A contract is not wired to this anchor; deploy again with the right predicted address.
    error BadWiring(address component);
    /// @notice There is no such lane.
    error UnknownLane(uint32 lane);
    /// @notice The committee still serves: `epochsLeft` epochs, or until `stalledAt` (Unix seconds) without a post.
    error TermRunning(uint64 epochsLeft, uint256 stalledAt);
    /// @notice The registry holds no validator.
    error NoValidators();
    /// @notice Everybody fits into the committee; call `drawCommittee` directly.
    error DrawNotNeeded();
    /// @notice A draw is pending on beacon reference `ref`.
    error DrawPending(uint64 ref);
    /// @notice There are more validators than seats; call `requestDraw` first.
    error DrawNotRequested(uint32 lane);
    /// @notice The beacon has no value for `ref` yet.
    error BeaconNotReady(uint64 ref);
    /// @notice The lane has no committee; draw one first.
    error NoCommittee(uint32 lane);
    /// @notice Epochs follow each other without gaps.
    error WrongEpoch(uint64 expected, uint64 given);
    /// @notice The header does not continue the last one.
    error WrongParent(bytes32 expected, bytes32 given);
    /// @notice The header was signed by the committee of another term.
    error WrongTerm(uint64 expected, uint64 given);
    /// @notice The header's block is not one of the last 256 or has another hash.
    error StaleBlock(uint64 chainBlock, uint256 current);
    /// @notice The settled tasks are not those of the header.
    error WrongSettledHash(bytes32 expected, bytes32 given);
    /// @notice Only the contract that proves faults may call this.
    error OnlyDisputes(address caller);
    /// @notice Whoever signs must stay until the fault can be shown: the registry's unbonding must last longer than the
    ///         lane's activation delay.
    error UnbondTooShort(uint32 lane, uint256 activationDelay, uint256 unbondSeconds);
    /// @notice The escrow must wait longer than a stalled committee is given and than any epoch can be taken back.
    error FallbackTooEarly(uint256 fallbackSeconds, uint256 mustExceed);

    /// @param registry_ the Registry, wired to this address
    /// @param escrow_ the TaskEscrow, wired to this address
    /// @param distributors_ one RewardDistributor per lane, each wired to this address and the escrow's token
    /// @param beacon_ source of randomness
    /// @param disputes_ the Disputes contract, which is deployed after this one and checks its own wiring
    /// @param committeeMax_ largest committee, at least 1
    /// @param termEpochs_ epochs of a term, at least 1
    constructor(
        address registry_,
        address escrow_,
        address[] memory distributors_,
        address beacon_,
        address disputes_,
        uint8 committeeMax_,
        uint64 termEpochs_
    ) EIP712("Assay", "1") {
        uint256 lanes_ = distributors_.length;
        if (
            beacon_ == address(0) || disputes_ == address(0) || lanes_ == 0 || lanes_ > MAX_LANES || committeeMax_ == 0
                || termEpochs_ == 0
        ) revert BadConfiguration();
        registry = IRegistryView(registry_);
        escrow = IEscrow(escrow_);
        beacon = IBeacon(beacon_);
        disputes = disputes_;
        lanes = uint32(lanes_);
        committeeMax = committeeMax_;
        termEpochs = termEpochs_;
        if (IRegistryView(registry_).anchor() != address(this)) revert BadWiring(registry_);
        if (IEscrow(escrow_).anchor() != address(this)) revert BadWiring(escrow_);
        uint256 unbondSeconds = IRegistryView(registry_).unbondSeconds();
        uint256 fallbackSeconds = IEscrow(escrow_).FALLBACK_SECONDS();
        if (fallbackSeconds <= STALL_SECONDS) revert FallbackTooEarly(fallbackSeconds, STALL_SECONDS);
        for (uint32 lane; lane < lanes_; ++lane) {
            IDistributor d = IDistributor(distributors_[lane]);
            if (d.anchor() != address(this) || d.lane() != lane || d.token() != IEscrow(escrow_).token()) {
                revert BadWiring(address(d));
            }
            uint256 delay = d.ACTIVATION_DELAY();
            if (unbondSeconds <= delay) revert UnbondTooShort(lane, delay, unbondSeconds);
            if (fallbackSeconds <= delay) revert FallbackTooEarly(fallbackSeconds, delay);
            distributors.push(d);
        }
    }

    /// @notice Asks for a new committee when there are more validators than seats. Anyone may, once the term is over.
    /// @dev Candidates and weights are fixed now, before the beacon value is known, so that nobody can register,
    ///      stake or leave with the value in hand.
    function requestDraw(uint32 lane) external {
        Lane storage l = _drawable(lane);
        DrawRequest storage d = _draws[lane];
        if (d.candidates != address(0) && !_expired(d)) revert DrawPending(d.ref);
        (address[] memory candidates, uint128[] memory weights) = registry.validators();
        if (candidates.length == 0) revert NoValidators();
        if (candidates.length <= committeeMax) revert DrawNotNeeded();
        uint64 ref = beacon.refAfter(uint64(block.number));
        d.candidates = CodeBlob.write(CommitteeDraw.pack(candidates, weights));
        d.ref = ref;
        d.requestedAt = uint48(block.number);
        emit DrawRequested(lane, _term(l) + 1, ref, candidates.length);
    }

    /// @notice Installs a new committee: everybody when they fit, else the outcome of the requested draw.
    /// @dev Who was banned or withdrew since the request gets no seat and nobody moves up, so that nobody can choose another
    ///      outcome by giving up a stake. A draw of such candidates only is thrown away.
    function drawCommittee(uint32 lane) external {
        Lane storage l = _drawable(lane);
        DrawRequest storage d = _draws[lane];
        uint64 term = _term(l) + 1;
        // slither-disable-next-line uninitialized-local: stays empty when no draw is pending.
        address[] memory members;
        bool pending = d.candidates != address(0) && !_expired(d);
        if (pending) {
            (bytes32 seed, bool ready) = beacon.valueAt(d.ref);
            if (!ready) revert BeaconNotReady(d.ref);
            members = _bonded(CommitteeDraw.sample(CodeBlob.read(d.candidates), committeeMax, seed, lane, term));
        }
        if (members.length == 0) {
            // slither-disable-next-line unused-return: they serve only when all fit, and then weights do not count.
            (members,) = registry.validators();
            if (members.length > committeeMax) {
                if (!pending) revert DrawNotRequested(lane);
                delete _draws[lane];
                return;
            }
        }
        if (members.length == 0) revert NoValidators();
        delete _draws[lane];
        CommitteeDraw.sort(members);
        uint16 threshold = uint16((2 * members.length + 2) / 3);
        for (uint256 i; i < members.length; ++i) {
            ++_services[members[i]].seats;
        }
        _discharge(l);
        l.termStart = l.epoch;
        l.lastActivity = uint48(block.timestamp);
        _noteDraw(l);
        l.committee = CodeBlob.write(Committee.pack(term, threshold, address(distributors[lane]), members));
        emit CommitteeDrawn(lane, term, members, threshold);
    }

    /// @notice Posts an epoch. Anyone may, with enough signatures.
    /// @param header the signed header
    /// @param settled tasks whose money the epoch takes, hashed in the header
    /// @param signers bit i is set when the committee's member i signed
    /// @param signatures 64 bytes (EIP-2098) per signer, in the order of their seats, over the header's EIP-712 digest
    function post(
        EpochHeader calldata header,
        SettledTask[] calldata settled,
        uint256 signers,
        bytes calldata signatures
    ) external nonReentrant {
        Lane storage l = _lanes[header.lane];
        bytes memory committee_ = _checkContext(l, header);
        bytes32 settledHash = keccak256(abi.encode(settled));
        if (settledHash != header.settledHash) revert WrongSettledHash(settledHash, header.settledHash);
        bytes32 hash = EpochHeaders.hash(header);
        Committee.requireQuorum(committee_, _hashTypedDataV4(hash), signers, signatures);

        l.epoch = uint48(header.epoch);
        l.lastActivity = uint48(block.timestamp);
        l.head = hash;

        _settle(header, settled, Committee.distributor(committee_));
        _emitPosted(header, signers);
    }

    /// @notice Takes back `epoch`, whose header has a proven fault, and all after it, and dismisses the committee. Disputes
    ///         only. The money that moved stays with the distributor and the next header owes it.
    /// @param parent header hash of the epoch before, zero for epoch 1
    /// @return rewound false when the root of `epoch` is active already; then nothing changes
    function rewind(uint32 lane, uint64 epoch, bytes32 parent) external returns (bool rewound) {
        if (msg.sender != disputes) revert OnlyDisputes(msg.sender);
        Lane storage l = _lanes[lane];
        uint64 last = l.epoch;
        // slither-disable-next-line reentrancy-benign,reentrancy-events: a distributor wired at deployment, which calls nobody.
        if (!distributors[lane].revoke(epoch, last)) return false;
        l.dismissedTerm = _term(l);
        _discharge(l);
        l.committee = address(0);
        l.epoch = uint48(epoch - 1);
        l.lastActivity = uint48(block.timestamp);
        l.draws = 0;
        _noteDraw(l);
        l.head = parent;
        // Its candidates may include those who are banned by now.
        delete _draws[lane];
        emit EpochsRevoked(lane, epoch, last);
        return true;
    }

    /// @notice The last epoch of a lane.
    /// @return epoch its number, zero when there is none
    /// @return hash its header hash
    /// @return term term of the committee in office, or of the last one when it was dismissed; zero when there was never one
    function head(uint32 lane) external view returns (uint64 epoch, bytes32 hash, uint64 term) {
        Lane storage l = _lanes[lane];
        return (l.epoch, l.head, _term(l));
    }

    /// @notice Whether `header` is the last one posted in its lane. Everything it anchors can then be proven from it.
    function isHead(EpochHeader calldata header) external view returns (bool) {
        return header.epoch != 0 && EpochHeaders.hash(header) == _lanes[header.lane].head;
    }

    /// @notice Unix time in seconds of the lane's last sign of life: a post, a rewind, or one of the first IDLE_DRAWS draws after
    ///         them; this contract's own deployment when there was none. Further draws do not count, or whoever repeats
    ///         them could keep a lane without a working committee from ever being called silent.
    function lastActivity(uint32 lane) external view returns (uint48) {
        Lane storage l = _lanes[lane];
        if (l.lastActivity == 0) return _deployedAt;
        return l.draws != 0 && l.drawEpoch == l.epoch ? l.silentSince : l.lastActivity;
    }

    /// @notice Whether `account` sits in a committee, and when (Unix seconds) it last left one; zero when it never did.
    function service(address account) external view returns (bool serving, uint64 until) {
        Service storage s = _services[account];
        return (s.seats != 0, s.until);
    }

    /// @notice The committee in office; empty when there is none. Bit i of a post's `signers` is `members[i]`.
    function committee(uint32 lane) external view returns (uint64 term, address[] memory members, uint16 threshold) {
        Lane storage l = _lanes[lane];
        if (l.committee == address(0)) return (0, members, 0);
        bytes memory data = CodeBlob.read(l.committee);
        return (Committee.term(data), Committee.members(data), Committee.threshold(data));
    }

    /// @notice The pending draw of a lane; `ref` is the beacon reference that decides it.
    function pendingDraw(uint32 lane) external view returns (bool pending, uint64 ref, uint48 requestedAt) {
        DrawRequest storage d = _draws[lane];
        return (d.candidates != address(0), d.ref, d.requestedAt);
    }

    /// @notice EIP-712 struct hash of a header.
    function hashHeader(EpochHeader calldata header) external pure returns (bytes32) {
        return EpochHeaders.hash(header);
    }

    /// @notice What committee members sign: the EIP-712 digest of a header for this chain and contract.
    function digest(EpochHeader calldata header) external view returns (bytes32) {
        return _hashTypedDataV4(EpochHeaders.hash(header));
    }

    /// @notice EIP-712 domain separator of this contract.
    function domainSeparator() external view returns (bytes32) {
        return _domainSeparatorV4();
    }

    /// @dev Term of the committee in office or, when it was dismissed, of the last one; zero when there was never one.
    function _term(Lane storage l) private view returns (uint64) {
        return l.committee == address(0) ? l.dismissedTerm : Committee.term(CodeBlob.read(l.committee));
    }

    function _drawable(uint32 lane) private view returns (Lane storage l) {
        if (lane >= lanes) revert UnknownLane(lane);
        l = _lanes[lane];
        if (l.committee == address(0)) return l;
        uint64 served = l.epoch - l.termStart;
        uint256 stalledAt = l.lastActivity + STALL_SECONDS;
        if (served < termEpochs && block.timestamp < stalledAt) revert TermRunning(termEpochs - served, stalledAt);
    }

    /// @dev Counts a draw or rewind since the last post; the first IDLE_DRAWS are signs of life.
    function _noteDraw(Lane storage l) private {
        uint8 draws = l.drawEpoch == l.epoch ? l.draws : 0;
        if (draws != type(uint8).max) ++draws;
        if (draws <= IDLE_DRAWS) l.silentSince = uint48(block.timestamp);
        (l.draws, l.drawEpoch) = (draws, l.epoch);
    }

    /// @dev The committee in office, if any, serves no longer.
    function _discharge(Lane storage l) private {
        if (l.committee == address(0)) return;
        address[] memory members = Committee.members(CodeBlob.read(l.committee));
        for (uint256 i; i < members.length; ++i) {
            Service storage s = _services[members[i]];
            --s.seats;
            s.until = uint64(block.timestamp);
        }
    }

    /// @dev Those of a draw who still have a stake to lose; the seats of the others stay empty.
    function _bonded(address[] memory drawn) private view returns (address[] memory members) {
        members = drawn;
        uint256 count;
        for (uint256 i; i < drawn.length; ++i) {
            if (registry.bonded(drawn[i])) members[count++] = drawn[i];
        }
        assembly ("memory-safe") {
            mstore(members, count)
        }
    }

    /// @dev True when the beacon was never recorded; a value that exists cannot be thrown away by waiting.
    function _expired(DrawRequest storage d) private view returns (bool) {
        if (block.number <= d.requestedAt + DRAW_RETRY_BLOCKS) return false;
        // slither-disable-next-line unused-return: asks whether there is a value, not which.
        (, bool ready) = beacon.valueAt(d.ref);
        return !ready;
    }

    /// @dev `emit EpochPosted(header.lane, header.epoch, msg.sender, header, signers)`, with the header's words copied as
    ///      they came: they are signed by now, so each fits its type.
    function _emitPosted(EpochHeader calldata header, uint256 signers) private {
        bytes32 topic = EpochPosted.selector;
        uint256 lane = header.lane;
        uint256 epoch = header.epoch;
        assembly ("memory-safe") {
            let at := mload(0x40)
            calldatacopy(at, header, 0x220)
            mstore(add(at, 0x220), signers)
            log4(at, 0x240, topic, lane, epoch, caller())
        }
    }

    /// @dev Moves the settled tasks' money and activates the payout root, to the last unit.
    function _settle(EpochHeader calldata header, SettledTask[] calldata settled, address distributor) private {
        // slither-disable-next-line uninitialized-local: a sum that starts at zero.
        uint256 moved;
        for (uint256 i; i < settled.length; ++i) {
            moved += escrow.release(settled[i].taskId, settled[i].client, header.lane, header.chainBlock, distributor);
        }
        IDistributor(distributor).activate(
            header.epoch, header.payoutRoot, header.payoutCount, moved, header.totalOwed
        );
    }

    /// @dev Reverts unless the header continues its lane; returns the committee in office.
    function _checkContext(Lane storage l, EpochHeader calldata header)
        private
        view
        returns (bytes memory committee_)
    {
        if (l.committee == address(0)) {
            if (header.lane >= lanes) revert UnknownLane(header.lane);
            revert NoCommittee(header.lane);
        }
        if (header.epoch != uint256(l.epoch) + 1) revert WrongEpoch(uint64(l.epoch) + 1, header.epoch);
        if (header.parent != l.head) revert WrongParent(l.head, header.parent);
        uint256 chainBlock = header.chainBlock;
        if (
            chainBlock >= block.number || block.number - chainBlock > BLOCK_WINDOW
                || blockhash(chainBlock) != header.chainBlockHash
        ) revert StaleBlock(header.chainBlock, block.number);
        committee_ = CodeBlob.read(l.committee);
        uint64 term = Committee.term(committee_);
        if (header.term != term) revert WrongTerm(term, header.term);
    }
}
