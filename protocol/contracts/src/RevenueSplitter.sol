// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {ShareLedger} from "./ShareLedger.sol";
import {ShareTree} from "./ShareTree.sol";

/// @title What the splitter asks of the data sets
interface IVersions {
    /// @notice The share tree of a version; all zero when there is no such version.
    function sharesOf(uint256 dataset, uint32 version) external view returns (ShareTree.Shares memory);
}

/// @title Income of data sets, to those who made them
/// @notice Each version of a data set has a till of its own. Whoever uses the version pays into it, with `pay` or by a plain
///         transfer of any ERC-20 or of the chain's own coin; its contributors draw their parts, and anyone may draw them
///         for them. What a version earns is shared by its own tree for ever: later versions have other tills.
/// @dev No owner, no pause, no expiry, no way back to who paid. See ShareLedger for how money is counted.
contract RevenueSplitter is ShareLedger {
    /// @notice The data sets, DatasetShares.
    IVersions public immutable shares;

    /// @notice `buyer` paid for a version and `received` base units arrived. This event is the receipt.
    event Paid(
        uint256 indexed dataset, uint32 indexed version, address indexed buyer, address token, uint256 received
    );
    /// @notice A version has its till; `account` names it in the events of ledgers.
    event Opened(uint256 indexed dataset, uint32 indexed version, bytes32 indexed account, address till);

    /// @notice Only the data sets may call this.
    error OnlyShares(address caller);
    /// @notice There is no such version.
    error UnknownVersion(uint256 dataset, uint32 version);

    /// @param shares_ DatasetShares, which creates this contract
    constructor(IVersions shares_) {
        if (address(shares_) == address(0)) revert BadConfiguration();
        shares = shares_;
    }

    /// @notice Creates the till of a new version. Data sets only.
    function open(uint256 dataset, uint32 version) external returns (address till_) {
        if (msg.sender != address(shares)) revert OnlyShares(msg.sender);
        bytes32 account = accountOf(dataset, version);
        till_ = _open(account);
        emit Opened(dataset, version, account, till_);
    }

    /// @notice Pays for a version. Needs an allowance of `amount` for this contract.
    /// @param dataset token id in DatasetShares
    /// @param version version that is used, from 1
    /// @param token any ERC-20
    /// @param amount base units
    /// @return received base units that arrived, less than `amount` when the token takes a fee
    function pay(uint256 dataset, uint32 version, IERC20 token, uint256 amount)
        external
        nonReentrant
        returns (uint256 received)
    {
        _shares(dataset, version);
        received = _pull(accountOf(dataset, version), token, amount);
        emit Paid(dataset, version, msg.sender, address(token), received);
    }

    /// @notice Books what was sent to a version's till by plain transfer, such as royalties. Claims do so by themselves.
    /// @param token an ERC-20, or the zero address for the chain's own coin
    /// @return fresh base units that had not been booked
    function collect(uint256 dataset, uint32 version, address token) external nonReentrant returns (uint256 fresh) {
        _shares(dataset, version);
        return _collect(accountOf(dataset, version), token);
    }

    /// @notice Pays a contributor what its leaf has earned beyond what it was paid. Anyone may call.
    /// @param token an ERC-20, or the zero address for the chain's own coin
    /// @return amount base units sent
    function claim(uint256 dataset, uint32 version, address token, Claim calldata leaf)
        external
        nonReentrant
        returns (uint256 amount)
    {
        return _claim(accountOf(dataset, version), token, _shares(dataset, version), leaf);
    }

    /// @notice Pays many contributors of one version. Leaves with nothing due are skipped; a wrong proof reverts the call.
    /// @return amount base units sent in all
    function claimMany(uint256 dataset, uint32 version, address token, Claim[] calldata leaves)
        external
        nonReentrant
        returns (uint256 amount)
    {
        return _claimMany(accountOf(dataset, version), token, _shares(dataset, version), leaves);
    }

    /// @notice Base units that a claim would send now to the leaf at `index` with `weight`, if there is one.
    function due(uint256 dataset, uint32 version, address token, uint128 weight, uint256 index)
        external
        view
        returns (uint256)
    {
        return _due(accountOf(dataset, version), token, _shares(dataset, version), weight, index);
    }

    /// @notice Books of one token of one version.
    function ledger(uint256 dataset, uint32 version, address token) external view returns (Ledger memory) {
        return _ledgers[accountOf(dataset, version)][token];
    }

    /// @notice Base units paid so far for the leaf at `index`.
    function claimed(uint256 dataset, uint32 version, address token, uint256 index) external view returns (uint256) {
        return _claimed[accountOf(dataset, version)][token][index];
    }

    /// @notice Where a version's money lies. It is known before the version exists.
    function till(uint256 dataset, uint32 version) external view returns (address) {
        return _till(accountOf(dataset, version));
    }

    /// @notice Name of a version's account in the events of ledgers.
    function accountOf(uint256 dataset, uint32 version) public pure returns (bytes32) {
        return keccak256(abi.encode(dataset, version));
    }

    function _shares(uint256 dataset, uint32 version) private view returns (ShareTree.Shares memory tree) {
        tree = shares.sharesOf(dataset, version);
        if (tree.count == 0) revert UnknownVersion(dataset, version);
    }
}
