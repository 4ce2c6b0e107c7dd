// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

import {CodeBlob} from "./CodeBlob.sol";
import {CommitteeDraw} from "./CommitteeDraw.sol";
import {IBeacon} from "./IBeacon.sol";
import {IDistributor, IEscrow, IRegistryView} from "./IWiring.sol";

/// @title One signed header per lane and epoch
/// @notice Each lane has a committee, drawn from the registry for a term of epochs. A header with the signatures of
///         two thirds of it settles tasks, moves their money to the distributor and activates the payout root.
///         The first valid header is the epoch; headers are linked to their parents and epochs count from 1.
/// @dev Checks signatures, order and budget; it cannot check scores, nodes do that. There is no owner: draws and posts
///      are open to anybody. Invariant: what a lane owes is exactly what was released for it.
contract EpochAnchor is EIP712, ReentrancyGuardTransient {
    /// @notice A lane's epoch. Field `view_` is called `view` in the EIP-712 type and in the published ABI.
    struct EpochHeader {
        /// Lane the epoch belongs to.
        uint32 lane;
        /// One more than the lane's last epoch.
        uint64 epoch;
        /// Attempt within the epoch; leaders rotate by it.
        uint32 view_;
        /// Term of the committee that signs.
        uint64 term;
        /// Header hash of the previous epoch; zero for epoch 1.
        bytes32 parent;
        /// Block the epoch was computed at.
        uint64 chainBlock;
        /// Hash of that block.
        bytes32 chainBlockHash;
        /// Root over the signed records of the epoch.
        bytes32 recordsRoot;
        /// Root over the states of the lane's tasks.
        bytes32 stateRoot;
        /// Root of the payout tree (see PositionalMerkle).
        bytes32 payoutRoot;
        /// Root of the loss tree (see PositionalMerkle).
        bytes32 lossRoot;
        /// Root over reputations.
        bytes32 reputationRoot;
        /// blake3 hash of the file that lists the payout leaves.
        bytes32 payoutFile;
        /// Sum of all payout leaves, in token base units.
        uint256 totalOwed;
        /// keccak256(abi.encode(settled)).
        bytes32 settledHash;
    }

    /// @notice A task whose money the epoch takes from the escrow.
    struct SettledTask {
        bytes32 taskId;
        address client;
    }

    struct Lane {
        /// Last posted epoch; zero when there is none.
        uint64 epoch;
        /// Term of the current committee; zero when there was never one.
        uint64 term;
        /// Epoch count when the current committee was drawn.
        uint64 termStart;
        /// Signatures a header needs.
        uint16 threshold;
        /// Unix time in seconds of the last post or draw.
        uint48 lastActivity;
        /// CodeBlob with the members, 20 bytes each, ascending.
        address members;
        bytes32 lossRoot;
        bytes32 reputationRoot;
    }

    struct DrawRequest {
        /// CodeBlob with the candidates at the time of the request; zero when nothing is requested.
        address candidates;
        /// Beacon reference whose value decides.
        uint64 ref;
        /// Block of the request.
        uint48 requestedAt;
    }

    /// @notice Type of the signed header; its struct hash is "the header hash".
    bytes32 public constant HEADER_TYPEHASH = keccak256(
        "EpochHeader(uint32 lane,uint64 epoch,uint32 view,uint64 term,bytes32 parent,uint64 chainBlock,bytes32 chainBlockHash,bytes32 recordsRoot,bytes32 stateRoot,bytes32 payoutRoot,bytes32 lossRoot,bytes32 reputationRoot,bytes32 payoutFile,uint256 totalOwed,bytes32 settledHash)"
    );
    /// @notice Most lanes a network may have.
    uint32 public constant MAX_LANES = 1024;
    /// @notice Age in blocks up to which the chain knows a block's hash.
    uint256 public constant BLOCK_WINDOW = 256;
    /// @notice A committee that posts nothing for this long can be replaced before its term is over, in seconds.
    uint256 public constant STALL_SECONDS = 2 days;
    /// @notice A draw whose beacon value is still missing after this many blocks can be requested again.
    uint256 public constant DRAW_RETRY_BLOCKS = 1024;

    /// @notice The Registry validators are drawn from.
    IRegistryView public immutable registry;
    /// @notice The TaskEscrow money is released from.
    IEscrow public immutable escrow;
    /// @notice The RewardDistributor payout roots are activated in.
    IDistributor public immutable distributor;
    /// @notice Source of randomness for draws.
    IBeacon public immutable beacon;
    /// @notice Number of lanes; lanes are 0 to lanes - 1.
    uint32 public immutable lanes;
    /// @notice Largest committee.
    uint8 public immutable committeeMax;
    /// @notice Epochs a committee serves before it can be replaced.
    uint64 public immutable termEpochs;

    mapping(uint32 lane => Lane) private _lanes;
    mapping(uint32 lane => DrawRequest) private _draws;

    /// @notice Header hash of a posted epoch; zero when it was not posted.
    mapping(uint32 lane => mapping(uint64 epoch => bytes32)) public headerHash;

    /// @notice A draw was requested; the beacon value of `ref` decides between `candidates` validators.
    event DrawRequested(uint32 indexed lane, uint64 indexed term, uint64 ref, uint256 candidates);
    /// @notice `members` serve `lane` from now on; a header needs `threshold` signatures.
    event CommitteeDrawn(uint32 indexed lane, uint64 indexed term, address[] members, uint16 threshold);
    /// @notice An epoch was accepted.
    event EpochPosted(
        uint32 indexed lane,
        uint64 indexed epoch,
        bytes32 headerHash,
        EpochHeader header,
        SettledTask[] settled,
        bytes signerIndexes,
        address poster
    );

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
    /// @notice Fewer signatures than the threshold.
    error QuorumTooSmall(uint256 given, uint256 threshold);
    /// @notice `signatures` must hold 64 bytes per signer.
    error BadSignatureLength(uint256 expected, uint256 given);
    /// @notice Signer indexes must rise strictly and stay below the number of members.
    error BadSignerIndex(uint256 position);
    /// @notice The signature at this position is not the named member's.
    error BadSignature(uint256 position);
    /// @notice What the lane owes must be exactly what was released for it.
    error NotConserved(uint256 totalOwed, uint256 released);

    /// @param registry_ the Registry, wired to this address
    /// @param escrow_ the TaskEscrow, wired to this address and the distributor
    /// @param distributor_ the RewardDistributor, wired to this address
    /// @param beacon_ source of randomness
    /// @param lanes_ number of lanes, 1 to MAX_LANES
    /// @param committeeMax_ largest committee, at least 1
    /// @param termEpochs_ epochs of a term, at least 1
    constructor(
        address registry_,
        address escrow_,
        address distributor_,
        address beacon_,
        uint32 lanes_,
        uint8 committeeMax_,
        uint64 termEpochs_
    ) EIP712("Assay", "1") {
        if (beacon_ == address(0) || lanes_ == 0 || lanes_ > MAX_LANES || committeeMax_ == 0 || termEpochs_ == 0) {
            revert BadConfiguration();
        }
        registry = IRegistryView(registry_);
        escrow = IEscrow(escrow_);
        distributor = IDistributor(distributor_);
        beacon = IBeacon(beacon_);
        lanes = lanes_;
        committeeMax = committeeMax_;
        termEpochs = termEpochs_;
        if (IRegistryView(registry_).anchor() != address(this)) revert BadWiring(registry_);
        if (IEscrow(escrow_).anchor() != address(this) || IEscrow(escrow_).distributor() != distributor_) {
            revert BadWiring(escrow_);
        }
        if (
            IDistributor(distributor_).anchor() != address(this)
                || IDistributor(distributor_).token() != IEscrow(escrow_).token()
        ) revert BadWiring(distributor_);
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
        emit DrawRequested(lane, l.term + 1, ref, candidates.length);
    }

    /// @notice Installs a new committee: everybody when they fit, else the outcome of the requested draw.
    function drawCommittee(uint32 lane) external {
        Lane storage l = _drawable(lane);
        DrawRequest storage d = _draws[lane];
        uint64 term = l.term + 1;
        address[] memory members;
        if (d.candidates != address(0) && !_expired(d)) {
            (bytes32 seed, bool ready) = beacon.valueAt(d.ref);
            if (!ready) revert BeaconNotReady(d.ref);
            members = CommitteeDraw.sample(CodeBlob.read(d.candidates), committeeMax, seed, lane, term);
        } else {
            (members,) = registry.validators();
            if (members.length == 0) revert NoValidators();
            if (members.length > committeeMax) revert DrawNotRequested(lane);
        }
        delete _draws[lane];
        CommitteeDraw.sort(members);
        uint16 threshold = uint16((2 * members.length + 2) / 3);
        l.term = term;
        l.termStart = l.epoch;
        l.threshold = threshold;
        l.lastActivity = uint48(block.timestamp);
        l.members = CodeBlob.write(CommitteeDraw.packMembers(members));
        emit CommitteeDrawn(lane, term, members, threshold);
    }

    /// @notice Posts an epoch. Anyone may, with enough signatures.
    /// @param header the signed header
    /// @param settled tasks whose money the epoch takes, hashed in the header
    /// @param signerIndexes one byte per signer: its position in the committee, strictly rising
    /// @param signatures 64 bytes per signer (EIP-2098) over the EIP-712 digest of the header
    function post(
        EpochHeader calldata header,
        SettledTask[] calldata settled,
        bytes calldata signerIndexes,
        bytes calldata signatures
    ) external nonReentrant {
        if (header.lane >= lanes) revert UnknownLane(header.lane);
        Lane storage l = _lanes[header.lane];
        _checkContext(l, header);
        bytes32 settledHash = keccak256(abi.encode(settled));
        if (settledHash != header.settledHash) revert WrongSettledHash(settledHash, header.settledHash);
        bytes32 hash = hashHeader(header);
        _checkQuorum(l, _hashTypedDataV4(hash), signerIndexes, signatures);

        l.epoch = header.epoch;
        l.lastActivity = uint48(block.timestamp);
        l.lossRoot = header.lossRoot;
        l.reputationRoot = header.reputationRoot;
        headerHash[header.lane][header.epoch] = hash;

        _settle(header, settled);
        emit EpochPosted(header.lane, header.epoch, hash, header, settled, signerIndexes, msg.sender);
    }

    /// @notice The last epoch of a lane.
    /// @return epoch its number, zero when there is none
    /// @return hash its header hash
    /// @return term term of the committee in office, zero when there was never one
    function head(uint32 lane) external view returns (uint64 epoch, bytes32 hash, uint64 term) {
        Lane storage l = _lanes[lane];
        return (l.epoch, headerHash[lane][l.epoch], l.term);
    }

    /// @notice The committee in office; empty when none was drawn. Signer indexes are positions in `members`.
    function committee(uint32 lane) external view returns (uint64 term, address[] memory members, uint16 threshold) {
        Lane storage l = _lanes[lane];
        if (l.term == 0) return (0, members, 0);
        return (l.term, CommitteeDraw.unpackMembers(CodeBlob.read(l.members)), l.threshold);
    }

    /// @notice The pending draw of a lane; `ref` is the beacon reference that decides it.
    function pendingDraw(uint32 lane) external view returns (bool pending, uint64 ref, uint48 requestedAt) {
        DrawRequest storage d = _draws[lane];
        return (d.candidates != address(0), d.ref, d.requestedAt);
    }

    /// @notice Root of the latest loss tree of a lane.
    function lossRoot(uint32 lane) external view returns (bytes32) {
        return _lanes[lane].lossRoot;
    }

    /// @notice Root of the latest reputations of a lane.
    function reputationRoot(uint32 lane) external view returns (bytes32) {
        return _lanes[lane].reputationRoot;
    }

    /// @notice EIP-712 struct hash of a header.
    function hashHeader(EpochHeader calldata header) public pure returns (bytes32) {
        return keccak256(abi.encode(HEADER_TYPEHASH, header));
    }

    /// @notice What committee members sign: the EIP-712 digest of a header for this chain and contract.
    function digest(EpochHeader calldata header) external view returns (bytes32) {
        return _hashTypedDataV4(hashHeader(header));
    }

    /// @notice EIP-712 domain separator of this contract.
    function domainSeparator() external view returns (bytes32) {
        return _domainSeparatorV4();
    }

    function _drawable(uint32 lane) private view returns (Lane storage l) {
        if (lane >= lanes) revert UnknownLane(lane);
        l = _lanes[lane];
        if (l.term == 0) return l;
        uint64 served = l.epoch - l.termStart;
        uint256 stalledAt = l.lastActivity + STALL_SECONDS;
        if (served < termEpochs && block.timestamp < stalledAt) revert TermRunning(termEpochs - served, stalledAt);
    }

    /// @dev True when the beacon was never recorded; a value that exists cannot be thrown away by waiting.
    function _expired(DrawRequest storage d) private view returns (bool) {
        if (block.number <= d.requestedAt + DRAW_RETRY_BLOCKS) return false;
        (, bool ready) = beacon.valueAt(d.ref);
        return !ready;
    }

    function _checkContext(Lane storage l, EpochHeader calldata header) private view {
        if (l.term == 0) revert NoCommittee(header.lane);
        if (header.epoch != l.epoch + 1) revert WrongEpoch(l.epoch + 1, header.epoch);
        if (header.term != l.term) revert WrongTerm(l.term, header.term);
        // Epoch 0 does not exist, so its hash reads as the zero parent of epoch 1.
        bytes32 parent = headerHash[header.lane][l.epoch];
        if (header.parent != parent) revert WrongParent(parent, header.parent);
        uint256 chainBlock = header.chainBlock;
        if (
            chainBlock >= block.number || block.number - chainBlock > BLOCK_WINDOW
                || blockhash(chainBlock) != header.chainBlockHash
        ) revert StaleBlock(header.chainBlock, block.number);
    }

    /// @dev Moves the settled tasks' money and activates the payout root, to the last unit.
    function _settle(EpochHeader calldata header, SettledTask[] calldata settled) private {
        uint256 moved;
        for (uint256 i; i < settled.length; ++i) {
            moved += escrow.release(settled[i].taskId, settled[i].client, header.lane, header.chainBlock);
        }
        uint256 released = distributor.noteReleased(header.lane, moved);
        if (header.totalOwed != released) revert NotConserved(header.totalOwed, released);
        distributor.activate(header.payoutRoot, header.totalOwed, header.epoch, header.lane);
    }

    function _checkQuorum(Lane storage l, bytes32 digest_, bytes calldata indexes, bytes calldata signatures)
        private
        view
    {
        uint256 count = indexes.length;
        if (count < l.threshold) revert QuorumTooSmall(count, l.threshold);
        if (signatures.length != count * 64) revert BadSignatureLength(count * 64, signatures.length);
        bytes memory members = CodeBlob.read(l.members);
        uint256 seats = members.length / 20;
        uint256 next;
        for (uint256 i; i < count; ++i) {
            uint256 seat = uint8(indexes[i]);
            if (seat < next || seat >= seats) revert BadSignerIndex(i);
            next = seat + 1;
            bytes32 r = bytes32(signatures[i * 64:]);
            bytes32 vs = bytes32(signatures[i * 64 + 32:]);
            (address signer, ECDSA.RecoverError err,) = ECDSA.tryRecover(digest_, r, vs);
            if (err != ECDSA.RecoverError.NoError || signer != CommitteeDraw.memberAt(members, seat)) {
                revert BadSignature(i);
            }
        }
    }
}
