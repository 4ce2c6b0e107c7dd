// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {ERC2981} from "@openzeppelin/contracts/token/common/ERC2981.sol";

import {IVersions, RevenueSplitter} from "./RevenueSplitter.sol";
import {ShareTree} from "./ShareTree.sol";

/// @title Data sets and who has a part in them
/// @notice A data set is a token, published by the client of its task. It has versions, and each version fixes for ever what
///         is in it, on which terms it may be used, and who shares its income by which weight. The holder of the token
///         adds versions; nobody can change one.
/// @dev The token id binds the publisher, so nobody can occupy the data set of another client. Royalties on sales of the
///      token (ERC-2981) go to the till of version 1: a rule that followed the newest version would let a seller add a
///      version of its own first and pay the royalty to itself. No owner.
///      The contract keeps what is published; it cannot know whether a share tree names everybody who worked. That is
///      checked by recomputing the tree from the data set's public records before buying or working for a share.
contract DatasetShares is ERC721, ERC2981, IVersions {
    /// @notice What a version fixes.
    struct Version {
        /// Root or hash of the data set's content.
        bytes32 content;
        /// blake3 hash of the licence terms' text.
        bytes32 licence;
        /// Who shares the income, by which weight.
        ShareTree.Shares shares;
    }

    /// @notice Where income goes and is drawn from.
    RevenueSplitter public immutable splitter;

    mapping(uint256 dataset => Version[]) private _versions;

    /// @notice `publisher` published the data set of its task `taskId`.
    event Published(uint256 indexed dataset, address indexed publisher, bytes32 indexed taskId, uint96 royaltyBps);
    /// @notice A version was added; income for it goes to `till`.
    event VersionAdded(uint256 indexed dataset, uint32 indexed version, Version what, address till);

    /// @notice This account has published this task's data set already; use `addVersion`.
    error AlreadyPublished(uint256 dataset);
    /// @notice Only the holder of the data set's token may add versions.
    error OnlyHolder(address holder, address caller);
    /// @notice Content, licence, share root, total weight and number of shares must all be given.
    error IncompleteVersion();
    /// @notice There is no such version.
    error UnknownVersion(uint256 dataset, uint32 version);

    constructor() ERC721("Assay Data Set", "ADS") {
        splitter = new RevenueSplitter(this);
    }

    /// @notice Publishes the data set of the caller's task, with its first version; the caller receives the token.
    /// @param taskId hash of the manifest
    /// @param royaltyBps part of a sale of the token that goes to the contributors of version 1, in 1/10,000
    /// @param first the first version
    /// @return dataset the token id, `datasetId(taskId, caller)`
    function publish(bytes32 taskId, uint96 royaltyBps, Version calldata first) external returns (uint256 dataset) {
        dataset = datasetId(taskId, msg.sender);
        if (_versions[dataset].length != 0) revert AlreadyPublished(dataset);
        // Not the "safe" mint: the caller asked for the token, and nothing is called back.
        _mint(msg.sender, dataset);
        emit Published(dataset, msg.sender, taskId, royaltyBps);
        _setTokenRoyalty(dataset, _add(dataset, first), royaltyBps);
    }

    /// @notice Adds a version. Its income is its own; what earlier versions earn stays with their contributors.
    /// @return version its number
    function addVersion(uint256 dataset, Version calldata next) external returns (uint32 version) {
        address holder = ownerOf(dataset);
        if (msg.sender != holder) revert OnlyHolder(holder, msg.sender);
        _add(dataset, next);
        return versions(dataset);
    }

    /// @notice Number of versions; they count from 1.
    function versions(uint256 dataset) public view returns (uint32) {
        return uint32(_versions[dataset].length);
    }

    /// @notice What a version fixes.
    function versionOf(uint256 dataset, uint32 version) external view returns (Version memory) {
        if (version == 0 || version > _versions[dataset].length) revert UnknownVersion(dataset, version);
        return _versions[dataset][version - 1];
    }

    /// @inheritdoc IVersions
    function sharesOf(uint256 dataset, uint32 version) external view returns (ShareTree.Shares memory shares) {
        if (version == 0 || version > _versions[dataset].length) return shares;
        return _versions[dataset][version - 1].shares;
    }

    /// @notice Token id of the data set of a client's task: the key of the task's money in the escrow, as a number.
    function datasetId(bytes32 taskId, address publisher) public pure returns (uint256) {
        return uint256(keccak256(abi.encode(taskId, publisher)));
    }

    /// @notice ERC-165: ERC-721 and ERC-2981.
    function supportsInterface(bytes4 interfaceId) public view override(ERC721, ERC2981) returns (bool) {
        return super.supportsInterface(interfaceId);
    }

    function _add(uint256 dataset, Version calldata next) private returns (address till) {
        if (next.content == bytes32(0) || next.licence == bytes32(0) || !ShareTree.isUsable(next.shares)) {
            revert IncompleteVersion();
        }
        _versions[dataset].push(next);
        uint32 version = versions(dataset);
        // slither-disable-next-line reentrancy-events: the splitter fixed at deployment; its new till calls nobody.
        till = splitter.open(dataset, version);
        emit VersionAdded(dataset, version, next, till);
    }
}
