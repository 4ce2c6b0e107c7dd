// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

import {EpochHeader, EpochHeaders} from "./EpochHeader.sol";
import {IAnchorView, IRegistryView} from "./IWiring.sol";
import {PositionalMerkle} from "./PositionalMerkle.sol";

/// @title Faults of signed headers that anybody can show
/// @notice A proof is right or wrong, so there is no bond and no waiting. Whoever signed a header with a proven
///         fault loses a part of the stake and is banned; half of what is lost goes to the reporter. While the header's
///         payout root is not active, the lane goes back to the epoch before it.
/// @dev Wrong scores, and content that nobody hands out, show in no leaf: there the whole registry is asked. Validators
///      who recompute every epoch say that they cannot derive the header, and more than half of all weight takes it back.
///      Saying nothing keeps the header, so nobody has to act for an honest one. Every fault of a tree is shown by one or two of its leaves: the payout leaves ascend by payee, the audit tree
///      repeats them with the sum of all before each, and the header names their number and the sum of all. An honest
///      tree has no such leaves, so no proof against it exists. Holds no money and no right but to slash and rewind.
contract Disputes {
    /// @notice What was wrong with a header.
    enum Fault {
        /// Two payout leaves do not ascend by payee, or name the same one.
        Disorder,
        /// A place below the number of leaves is empty, or one beyond it is not.
        Place,
        /// The header owes money and has no audit tree.
        NoAudit,
        /// A payout leaf is not the one its audit leaf repeats.
        Mismatch,
        /// The sums of the audit tree do not start at zero, do not continue, or do not end at what the header owes.
        Sum,
        /// A payee is owed less than in the epoch before.
        Shrunk,
        /// A payee of the epoch before is missing.
        Omitted,
        /// Most of the registry cannot derive the header from the epoch's records.
        Overruled
    }

    /// @notice Which header is accused, of whom, by whom.
    struct Evidence {
        /// All headers from the accused one to the lane's last, each the parent of the next.
        EpochHeader[] chain;
        /// Signatures of the accused header's digest, 64 bytes (EIP-2098) each, in any order. Those left out can be
        /// handed in later with `punish`.
        bytes signatures;
        /// Receives half of what the signers lose.
        address reporter;
    }

    /// @notice A leaf of a payout tree with its proof.
    struct PayoutLeaf {
        address payee;
        uint128 total;
        uint256 index;
        bytes32[] proof;
    }

    /// @notice A leaf of an audit tree with its proof.
    struct AuditLeaf {
        address payee;
        uint128 total;
        uint128 before;
        uint256 index;
        bytes32[] proof;
    }

    /// @dev What a validator signs who cannot derive a header; in the anchor's EIP-712 domain.
    bytes32 private constant OVERRULE_TYPEHASH = keccak256("Overrule(bytes32 header)");
    /// @dev Bytes of one signature.
    uint256 private constant SIGNATURE_BYTES = 64;

    /// @notice The EpochAnchor whose headers are judged.
    IAnchorView public immutable anchor;
    /// @notice The Registry that holds the stakes.
    IRegistryView public immutable registry;

    /// @notice Whether a fault of the header with this hash was proven.
    mapping(bytes32 headerHash => bool) public faulty;
    /// @notice Whether an account was punished for an offence: the hash of a faulty header, or for two headers
    ///         keccak256(abi.encode(lane, epoch, view, term)).
    mapping(bytes32 offence => mapping(address account => bool)) public punished;

    /// @notice The header of `epoch` in `lane` has a fault. `rewound` tells whether the lane went back to the epoch before.
    event FaultProven(
        uint32 indexed lane, uint64 indexed epoch, bytes32 indexed headerHash, Fault fault, bool rewound, address reporter
    );
    /// @notice `account` signed two headers for one view of one epoch.
    event Equivocated(
        uint32 indexed lane, uint64 indexed epoch, address indexed account, bytes32 first, bytes32 second
    );

    /// @notice The anchor or the registry is not wired to this contract; deploy again with the right predicted address.
    error BadWiring(address component);
    /// @notice The reporter is the zero address.
    error ZeroReporter();
    /// @notice Header `position` of the chain is not the child of the one before it.
    error BrokenChain(uint256 position);
    /// @notice The last header of the chain is not the last one of its lane; a newer epoch may have been posted meanwhile.
    error NotTheHead(uint32 lane);
    /// @notice The given header is not the parent of the accused one.
    error NotTheParent(bytes32 expected, bytes32 given);
    /// @notice A leaf does not stand at this place of its tree.
    error BadLeaf(uint256 index);
    /// @notice These leaves are as they should be and show no fault.
    error NoFault();
    /// @notice There must be one or two neighbours.
    error BadNeighbours(uint256 given);
    /// @notice `signatures` must hold 64 bytes for every signer.
    error BadSignatureLength(uint256 given);
    /// @notice Signature number `position` recovers nobody.
    error BadSignature(uint256 position);
    /// @notice The two headers must differ and be of the same lane, epoch, view and term.
    error NotTwoHeaders();
    /// @notice Signature number `position` is not of the same account under both headers.
    error DifferentSigners(uint256 position);
    /// @notice The voters weigh `given`; it takes more than half of `all`.
    error NoMajority(uint256 given, uint256 all);
    /// @notice The root of this header is active, or no longer kept; it can only be overruled before.
    error TooLate(bytes32 headerHash);
    /// @notice No fault of this header was proven.
    error NotFaulty(bytes32 headerHash);

    /// @param anchor_ the EpochAnchor, wired to this address
    constructor(address anchor_) {
        anchor = IAnchorView(anchor_);
        registry = IRegistryView(IAnchorView(anchor_).registry());
        if (IAnchorView(anchor_).disputes() != address(this)) revert BadWiring(anchor_);
        if (registry.anchor() != anchor_) revert BadWiring(address(registry));
    }

    /// @notice Two payout leaves, the first before the second in the tree, whose payees do not ascend.
    function proveDisorder(Evidence calldata e, PayoutLeaf calldata first, PayoutLeaf calldata second) external {
        bytes32 hash = _accused(e);
        EpochHeader calldata h = e.chain[0];
        _requireLeaf(h, first);
        _requireLeaf(h, second);
        if (first.index >= second.index || first.payee < second.payee) revert NoFault();
        _convict(e, hash, Fault.Disorder);
    }

    /// @notice A place of the payout tree, or of the audit tree, that is empty (`node` zero) below the number of leaves, or
    ///         not empty beyond it.
    function provePlace(Evidence calldata e, bool audit, bytes32 node, uint256 index, bytes32[] calldata proof)
        external
    {
        bytes32 hash = _accused(e);
        EpochHeader calldata h = e.chain[0];
        _requireNode(audit ? h.auditRoot : h.payoutRoot, h.payoutCount, node, index, proof);
        if ((index < h.payoutCount) != (node == bytes32(0))) revert NoFault();
        _convict(e, hash, Fault.Place);
    }

    /// @notice A header with payout leaves and without an audit tree.
    function proveNoAudit(Evidence calldata e) external {
        bytes32 hash = _accused(e);
        EpochHeader calldata h = e.chain[0];
        if (h.payoutCount == 0 || h.auditRoot != bytes32(0)) revert NoFault();
        _convict(e, hash, Fault.NoAudit);
    }

    /// @notice An audit leaf, and what stands in its place in the payout tree: another payout leaf, or anything else.
    function proveMismatch(
        Evidence calldata e,
        AuditLeaf calldata audit,
        bytes32 payoutNode,
        bytes32[] calldata payoutProof
    ) external {
        bytes32 hash = _accused(e);
        EpochHeader calldata h = e.chain[0];
        _requireAudit(h, audit);
        _requireNode(h.payoutRoot, h.payoutCount, payoutNode, audit.index, payoutProof);
        if (payoutNode == PositionalMerkle.payoutLeaf(audit.payee, audit.total)) revert NoFault();
        _convict(e, hash, Fault.Mismatch);
    }

    /// @notice The first audit leaf when its sum is not zero, or the last one when its sum and total are not what is owed.
    function proveEdge(Evidence calldata e, AuditLeaf calldata leaf) external {
        bytes32 hash = _accused(e);
        EpochHeader calldata h = e.chain[0];
        _requireAudit(h, leaf);
        bool badStart = leaf.index == 0 && leaf.before != 0;
        bool badEnd = leaf.index + 1 == h.payoutCount && _after(leaf) != h.totalOwed;
        if (!badStart && !badEnd) revert NoFault();
        _convict(e, hash, Fault.Sum);
    }

    /// @notice Two neighbouring audit leaves, the second of which does not continue the sum of the first.
    function proveSum(Evidence calldata e, AuditLeaf calldata first, AuditLeaf calldata second) external {
        bytes32 hash = _accused(e);
        EpochHeader calldata h = e.chain[0];
        _requireAudit(h, first);
        _requireAudit(h, second);
        if (first.index + 1 != second.index || second.before == _after(first)) revert NoFault();
        _convict(e, hash, Fault.Sum);
    }

    /// @notice One payee's leaves in the epoch before and in the accused one, the second smaller.
    /// @param parent header of the epoch before
    function proveShrunk(
        Evidence calldata e,
        EpochHeader calldata parent,
        PayoutLeaf calldata earlier,
        PayoutLeaf calldata now_
    ) external {
        bytes32 hash = _accused(e);
        EpochHeader calldata h = e.chain[0];
        _requireParent(h, parent);
        _requireLeaf(parent, earlier);
        _requireLeaf(h, now_);
        if (earlier.payee != now_.payee || now_.total >= earlier.total) revert NoFault();
        _convict(e, hash, Fault.Shrunk);
    }

    /// @notice A payee's leaf in the epoch before, and the leaves of the accused tree it would stand between: two neighbours,
    ///         or only the first leaf or only the last when it would stand before or behind all.
    /// @param parent header of the epoch before
    function proveOmitted(
        Evidence calldata e,
        EpochHeader calldata parent,
        PayoutLeaf calldata earlier,
        PayoutLeaf[] calldata around
    ) external {
        bytes32 hash = _accused(e);
        EpochHeader calldata h = e.chain[0];
        _requireParent(h, parent);
        _requireLeaf(parent, earlier);
        if (around.length != 1 && around.length != 2) revert BadNeighbours(around.length);
        PayoutLeaf calldata first = around[0];
        _requireLeaf(h, first);
        bool missing;
        if (around.length == 1) {
            missing = first.index == 0 && earlier.payee < first.payee
                || first.index + 1 == h.payoutCount && earlier.payee > first.payee;
        } else {
            PayoutLeaf calldata second = around[1];
            _requireLeaf(h, second);
            missing = first.index + 1 == second.index && first.payee < earlier.payee && earlier.payee < second.payee;
        }
        // A leaf of nothing may be left out.
        if (!missing || earlier.total == 0) revert NoFault();
        _convict(e, hash, Fault.Omitted);
    }

    /// @notice Two headers for one lane, epoch, view and term that the same accounts signed. Neither has to be posted, and
    ///         the lane does not go back: what was posted may be right.
    /// @param firstSignatures signatures of the first header's digest, 64 bytes (EIP-2098) each
    /// @param secondSignatures those of the second header's digest, by the same accounts in the same order
    function proveEquivocation(
        EpochHeader calldata first,
        EpochHeader calldata second,
        bytes calldata firstSignatures,
        bytes calldata secondSignatures,
        address reporter
    ) external {
        if (reporter == address(0)) revert ZeroReporter();
        (bytes32 a, bytes32 b) = (EpochHeaders.hash(first), EpochHeaders.hash(second));
        bytes32 offence = keccak256(abi.encode(first.lane, first.epoch, first.view_, first.term));
        if (a == b || offence != keccak256(abi.encode(second.lane, second.epoch, second.view_, second.term))) {
            revert NotTwoHeaders();
        }
        address[] memory signers = _recoverAll(_headerDigest(a), firstSignatures);
        address[] memory again = _recoverAll(_headerDigest(b), secondSignatures);
        if (signers.length != again.length) revert BadSignatureLength(secondSignatures.length);
        for (uint256 i; i < signers.length; ++i) {
            if (signers[i] != again[i]) revert DifferentSigners(i);
            // slither-disable-next-line reentrancy-events: the wired registry, and the punishment is booked before.
            if (_punish(offence, signers[i], reporter)) {
                emit Equivocated(first.lane, first.epoch, signers[i], a, b);
            }
        }
    }

    /// @notice Takes a header back that most of the registry cannot derive, before its root is active: the last instance for
    ///         everything that no proof can show.
    /// @dev The weights of now count, of validators that had registered by the block the header was computed at.
    /// @param votes signatures of `overruleDigest`, 64 bytes (EIP-2098) each, ascending by account; more than half of all weight
    function overrule(Evidence calldata e, bytes calldata votes) external {
        bytes32 hash = _accused(e);
        address[] memory voters = _recoverAll(overruleDigest(hash), votes);
        (uint256 given, uint256 all) = registry.weigh(voters, e.chain[0].chainBlock);
        if (2 * given <= all) revert NoMajority(given, all);
        if (!_convict(e, hash, Fault.Overruled)) revert TooLate(hash);
    }

    /// @notice What a validator signs to overrule the header with this hash.
    function overruleDigest(bytes32 headerHash) public view returns (bytes32) {
        bytes32 structHash = keccak256(abi.encode(OVERRULE_TYPEHASH, headerHash));
        return MessageHashUtils.toTypedDataHash(anchor.domainSeparator(), structHash);
    }

    /// @notice Punishes more signers of a header whose fault was proven before, also when the lane went back since.
    /// @param signatures signatures of the header's digest, 64 bytes (EIP-2098) each
    function punish(bytes32 headerHash, bytes calldata signatures, address reporter) external {
        if (!faulty[headerHash]) revert NotFaulty(headerHash);
        _punishAll(headerHash, signatures, reporter);
    }

    /// @dev Hash of the accused header, which the chain shows to be posted.
    function _accused(Evidence calldata e) private view returns (bytes32 accused) {
        uint256 length = e.chain.length;
        if (length == 0) revert BrokenChain(0);
        accused = EpochHeaders.hash(e.chain[0]);
        bytes32 hash = accused;
        for (uint256 i = 1; i < length; ++i) {
            if (e.chain[i].parent != hash) revert BrokenChain(i);
            hash = EpochHeaders.hash(e.chain[i]);
        }
        EpochHeader calldata head = e.chain[length - 1];
        if (!anchor.isHead(head)) revert NotTheHead(head.lane);
    }

    /// @dev The lane goes back when it still can, and the signers pay.
    function _convict(Evidence calldata e, bytes32 hash, Fault fault) private returns (bool rewound) {
        EpochHeader calldata h = e.chain[0];
        faulty[hash] = true;
        // slither-disable-next-line reentrancy-events: the anchor this contract is wired to.
        rewound = anchor.rewind(h.lane, h.epoch, h.parent);
        emit FaultProven(h.lane, h.epoch, hash, fault, rewound, e.reporter);
        _punishAll(hash, e.signatures, e.reporter);
    }

    function _punishAll(bytes32 hash, bytes calldata signatures, address reporter) private {
        if (reporter == address(0)) revert ZeroReporter();
        address[] memory signers = _recoverAll(_headerDigest(hash), signatures);
        for (uint256 i; i < signers.length; ++i) {
            _punish(hash, signers[i], reporter);
        }
    }

    /// @dev Punishes once per offence; false when that has happened before.
    function _punish(bytes32 offence, address account, address reporter) private returns (bool) {
        if (punished[offence][account]) return false;
        punished[offence][account] = true;
        registry.slash(account, reporter);
        return true;
    }

    /// @dev What a committee member signs for the header with this hash.
    function _headerDigest(bytes32 hash) private view returns (bytes32) {
        return MessageHashUtils.toTypedDataHash(anchor.domainSeparator(), hash);
    }

    /// @dev Who signed a digest.
    function _recoverAll(bytes32 digest, bytes calldata signatures) private pure returns (address[] memory signers) {
        if (signatures.length % SIGNATURE_BYTES != 0) revert BadSignatureLength(signatures.length);
        signers = new address[](signatures.length / SIGNATURE_BYTES);
        for (uint256 i; i < signers.length; ++i) {
            bytes calldata s = signatures[i * SIGNATURE_BYTES:(i + 1) * SIGNATURE_BYTES];
            // slither-disable-next-line unused-return: the third value only details the error.
            (address signer, ECDSA.RecoverError error_,) = ECDSA.tryRecover(digest, bytes32(s[:32]), bytes32(s[32:]));
            if (error_ != ECDSA.RecoverError.NoError) revert BadSignature(i);
            signers[i] = signer;
        }
    }

    /// @dev Sum up to and with a leaf.
    function _after(AuditLeaf calldata leaf) private pure returns (uint256) {
        return uint256(leaf.before) + leaf.total;
    }

    function _requireParent(EpochHeader calldata h, EpochHeader calldata parent) private pure {
        bytes32 hash = EpochHeaders.hash(parent);
        if (hash != h.parent) revert NotTheParent(h.parent, hash);
    }

    function _requireLeaf(EpochHeader calldata h, PayoutLeaf calldata leaf) private pure {
        bytes32 node = PositionalMerkle.payoutLeaf(leaf.payee, leaf.total);
        _requireNode(h.payoutRoot, h.payoutCount, node, leaf.index, leaf.proof);
    }

    function _requireAudit(EpochHeader calldata h, AuditLeaf calldata leaf) private pure {
        bytes32 node = PositionalMerkle.auditLeaf(leaf.payee, leaf.total, leaf.before);
        _requireNode(h.auditRoot, h.payoutCount, node, leaf.index, leaf.proof);
    }

    /// @dev Only whole proofs count: the depth follows from the number of leaves, so no inner node passes for a place.
    function _requireNode(bytes32 root, uint256 count, bytes32 node, uint256 index, bytes32[] calldata proof)
        private
        pure
    {
        if (proof.length != PositionalMerkle.depthOf(count) || !PositionalMerkle.verify(root, node, index, proof)) {
            revert BadLeaf(index);
        }
    }
}
