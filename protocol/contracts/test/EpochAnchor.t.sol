// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {DevToken} from "../src/DevToken.sol";
import {Committee} from "../src/Committee.sol";
import {EpochAnchor} from "../src/EpochAnchor.sol";
import {EpochHeader, EpochHeaders, SettledTask} from "../src/EpochHeader.sol";
import {Registry} from "../src/Registry.sol";
import {RewardDistributor} from "../src/RewardDistributor.sol";
import {TaskEscrow} from "../src/TaskEscrow.sol";
import {Trees} from "./Trees.sol";
import {World} from "./World.sol";

contract EpochAnchorTest is World {
    address private constant CLIENT = address(0xC11E);
    bytes32 private constant TASK = keccak256("task");

    event EpochPosted(
        uint32 indexed lane, uint64 indexed epoch, address indexed poster, EpochHeader header, uint256 signers
    );

    function setUp() public {
        _deploy(2, 21);
        _validators(7);
        anchor.drawCommittee(0);
        // Headers are computed at a block that already holds the deployment.
        vm.roll(vm.getBlockNumber() + 10);
    }

    function _refused(bytes memory why, EpochHeader memory h, SettledTask[] memory s) private {
        (uint256 signers, bytes memory signatures) = _quorum(0, anchor.digest(h), 5);
        vm.expectRevert(why);
        anchor.post(h, s, signers, signatures);
    }

    // ---- hashing -------------------------------------------------------------------------------------------------

    /// @dev The constants were computed from the written definition by another program.
    function test_published_vectors_hold() public view {
        EpochHeader memory h = EpochHeader(
            1,
            2,
            3,
            4,
            bytes32(uint256(5)),
            6,
            bytes32(uint256(7)),
            bytes32(uint256(8)),
            bytes32(uint256(9)),
            bytes32(uint256(10)),
            bytes32(uint256(11)),
            12,
            bytes32(uint256(13)),
            bytes32(uint256(14)),
            bytes32(uint256(15)),
            16,
            bytes32(uint256(17))
        );
        bytes32 structHash = 0x5fe66f6322c402a552390ca3f6b725a4740f8b7e70e90dd0c59b4a34ffa1436e;
        eq(
            EpochHeaders.TYPEHASH,
            bytes32(0x562aba789361b6432f60f6b8e078d1c41de5b80444bd90200f885db399994234),
            "type hash"
        );
        eq(anchor.hashHeader(h), structHash, "struct hash");
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Assay"),
                keccak256("1"),
                block.chainid,
                address(anchor)
            )
        );
        eq(anchor.domainSeparator(), domain, "domain");
        eq(anchor.digest(h), keccak256(bytes.concat(hex"1901", domain, structHash)), "digest");
    }

    // ---- posting -------------------------------------------------------------------------------------------------

    /// @dev Posts and requires the event with everything in it.
    function _postAs(address poster, EpochHeader memory h, SettledTask[] memory settled)
        private
    {
        (uint256 signers, bytes memory signatures) = _quorum(0, anchor.digest(h), 5);
        vm.expectEmit();
        emit EpochPosted(0, h.epoch, poster, h, signers);
        vm.prank(poster);
        anchor.post(h, settled, signers, signatures);
    }

    function test_an_epoch_settles_tasks_and_its_tree_pays() public {
        _fund(CLIENT, TASK, 0, 90, 10);
        vm.roll(vm.getBlockNumber() + 1);
        address[] memory payees = new address[](2);
        uint128[] memory totals = new uint128[](2);
        (payees[0], totals[0], payees[1], totals[1]) = (address(0xAA), 70, CLIENT, 30);
        bytes32[] memory leaves = Trees.payoutLeaves(payees, totals);
        SettledTask[] memory settled = _one(TASK, CLIENT);
        EpochHeader memory h = _next(0, settled);
        h.payoutRoot = Trees.root(leaves);
        h.payoutCount = 2;
        h.lossRoot = keccak256("losses");
        h.reputationRoot = keccak256("reputations");
        h.view_ = 3;
        _postAs(address(0xB0), h, settled);
        bytes32 hash = anchor.hashHeader(h);

        (uint64 epoch, bytes32 stored, uint64 term) = anchor.head(0);
        eq(epoch, 1, "epoch");
        eq(stored, hash, "head");
        eq(term, 1, "term");
        yes(anchor.isHead(h), "shown by the header");
        h.lossRoot = keccak256("other losses");
        yes(!anchor.isHead(h), "and by no other");
        eq(token.balanceOf(address(escrow)), 0, "escrow is empty");
        distributor.claim(1, address(0xAA), 70, 0, Trees.proof(leaves, 0));
        distributor.claim(1, CLIENT, 30, 1, Trees.proof(leaves, 1));
        eq(token.balanceOf(address(0xAA)), 70, "labeler");
        eq(token.balanceOf(CLIENT), 30, "client's remainder");
        eq(token.balanceOf(address(distributor)), 0, "all paid");
    }

    function test_epochs_link_to_their_parents() public {
        EpochHeader memory h = _next(0, _none());
        _post(h, _none());
        vm.roll(vm.getBlockNumber() + 1);
        h = _next(0, _none());
        bytes32 parent = h.parent;
        h.parent = keccak256("fork");
        _refused(abi.encodeWithSelector(EpochAnchor.WrongParent.selector, parent, h.parent), h, _none());
        h.parent = parent;
        _post(h, _none());
        (, bytes32 head,) = anchor.head(0);
        eq(head, anchor.hashHeader(h), "link");
    }

    function test_epoch_one_has_no_parent() public {
        EpochHeader memory h = _next(0, _none());
        h.parent = keccak256("x");
        _refused(abi.encodeWithSelector(EpochAnchor.WrongParent.selector, 0, h.parent), h, _none());
    }

    function test_epochs_are_neither_skipped_nor_repeated() public {
        EpochHeader memory h = _next(0, _none());
        h.epoch = 2;
        _refused(abi.encodeWithSelector(EpochAnchor.WrongEpoch.selector, 1, 2), h, _none());
        h.epoch = 1;
        _post(h, _none());
        _refused(abi.encodeWithSelector(EpochAnchor.WrongEpoch.selector, 2, 1), h, _none());
    }

    function test_nobody_posts_without_a_committee() public {
        EpochHeader memory h = _next(1, _none());
        vm.expectRevert(abi.encodeWithSelector(EpochAnchor.NoCommittee.selector, 1));
        anchor.post(h, _none(), 0, "");
        h.lane = 2;
        vm.expectRevert(abi.encodeWithSelector(EpochAnchor.UnknownLane.selector, 2));
        anchor.post(h, _none(), 0, "");
    }

    /// @dev Read through a call: within one, the compiler takes what the chain says for constant.
    function blockHash(uint256 number) external view returns (bytes32) {
        return blockhash(number);
    }

    function chainId() external view returns (uint256) {
        return block.chainid;
    }

    function test_the_chain_block_must_be_recent_and_true() public {
        EpochHeader memory h = _next(0, _none());
        uint64 current = uint64(vm.getBlockNumber());
        bytes memory stale = abi.encodeWithSelector(EpochAnchor.StaleBlock.selector, h.chainBlock, current);
        bytes32 trueHash = h.chainBlockHash;
        h.chainBlockHash = keccak256("other chain");
        _refused(stale, h, _none());
        h.chainBlockHash = 0;
        _refused(stale, h, _none());
        h.chainBlock = current;
        h.chainBlockHash = this.blockHash(current);
        _refused(abi.encodeWithSelector(EpochAnchor.StaleBlock.selector, current, current), h, _none());
        h.chainBlock = current - 1;
        h.chainBlockHash = trueHash;
        vm.roll(uint256(current) + 256);
        h.chainBlockHash = this.blockHash(h.chainBlock);
        _refused(abi.encodeWithSelector(EpochAnchor.StaleBlock.selector, h.chainBlock, current + 256), h, _none());
        // Exactly 256 blocks old still counts.
        h.chainBlock = current;
        h.chainBlockHash = this.blockHash(current);
        _post(h, _none());
    }

    // ---- quorum --------------------------------------------------------------------------------------------------

    function testFuzz_any_quorum_of_the_committee_is_enough_and_less_is_not(uint256 seats) public {
        EpochHeader memory h = _next(0, _none());
        bytes32 digest = anchor.digest(h);
        (, address[] memory members, uint16 threshold) = anchor.committee(0);
        eq(threshold, 5, "ceil(14/3)");
        bytes memory signatures;
        uint256 count;
        seats &= 0x7f;
        for (uint256 i; i < 7; ++i) {
            if ((seats >> i) & 1 == 0) continue;
            signatures = bytes.concat(signatures, _sign(keyOf[members[i]], digest));
            ++count;
        }
        if (count < 5) vm.expectRevert(abi.encodeWithSelector(Committee.QuorumTooSmall.selector, count, 5));
        anchor.post(h, _none(), seats, signatures);
    }

    function testFuzz_one_forged_signature_spoils_the_quorum(uint256 position, uint256 key) public {
        position = position % 5;
        // Keys of other members count as forgeries too: the signature must be the named member's.
        key = within(key, 1, 1000);
        EpochHeader memory h = _next(0, _none());
        bytes32 digest = anchor.digest(h);
        (, address[] memory members,) = anchor.committee(0);
        if (key == keyOf[members[position]]) ++key;
        (uint256 signers, bytes memory signatures) = _quorum(0, digest, 5);
        bytes memory forged = _sign(key, digest);
        for (uint256 i; i < 64; ++i) {
            signatures[position * 64 + i] = forged[i];
        }
        vm.expectRevert(abi.encodeWithSelector(Committee.BadSignature.selector, position));
        anchor.post(h, _none(), signers, signatures);
    }

    function testFuzz_a_changed_header_invalidates_the_signatures(uint256 field, bytes32 value) public {
        EpochHeader memory h = _next(0, _none());
        (uint256 signers, bytes memory signatures) = _quorum(0, anchor.digest(h), 5);
        bytes32 before = anchor.hashHeader(h);
        field = field % 8;
        if (field == 0) h.recordsRoot = value;
        if (field == 1) h.stateRoot = value;
        if (field == 2) h.lossRoot = value;
        if (field == 3) h.reputationRoot = value;
        if (field == 4) h.payoutFile = value;
        if (field == 5) h.view_ = uint32(uint256(value));
        if (field == 6) h.auditRoot = value;
        if (field == 7) h.payoutCount = uint32(uint256(value));
        if (anchor.hashHeader(h) == before) return;
        vm.expectRevert(abi.encodeWithSelector(Committee.BadSignature.selector, 0));
        anchor.post(h, _none(), signers, signatures);
    }

    function test_a_signer_counts_once() public {
        EpochHeader memory h = _next(0, _none());
        (uint256 signers, bytes memory signatures) = _quorum(0, anchor.digest(h), 5);
        // The fourth member's signature again, in the fifth seat or beside the others.
        for (uint256 i; i < 64; ++i) {
            signatures[256 + i] = signatures[192 + i];
        }
        vm.expectRevert(abi.encodeWithSelector(Committee.BadSignature.selector, 4));
        anchor.post(h, _none(), signers, signatures);
        vm.expectRevert(abi.encodeWithSelector(Committee.BadSignatureLength.selector, 256, 320));
        anchor.post(h, _none(), 0xf, signatures);
        // In another order than the seats.
        (signers, signatures) = _quorum(0, anchor.digest(h), 5);
        for (uint256 i; i < 64; ++i) {
            (signatures[i], signatures[64 + i]) = (signatures[64 + i], signatures[i]);
        }
        vm.expectRevert(abi.encodeWithSelector(Committee.BadSignature.selector, 0));
        anchor.post(h, _none(), signers, signatures);
    }

    function testFuzz_bits_beyond_the_committee_are_refused(uint256 signers) public {
        EpochHeader memory h = _next(0, _none());
        (, bytes memory signatures) = _quorum(0, anchor.digest(h), 5);
        signers |= 1 << (7 + signers % 249);
        vm.expectRevert(abi.encodeWithSelector(Committee.UnknownSigner.selector, signers, 7));
        anchor.post(h, _none(), signers, signatures);
    }

    function testFuzz_every_bit_needs_its_own_signature(uint256 seats) public {
        EpochHeader memory h = _next(0, _none());
        (, bytes memory signatures) = _quorum(0, anchor.digest(h), 5);
        // The five signatures belong to seats 0 to 4, so every other set of bits must fail.
        seats &= 0x7f;
        if (seats == 0x1f) seats = 0x3f;
        (bool ok,) = address(anchor).call(abi.encodeCall(anchor.post, (h, _none(), seats, signatures)));
        yes(!ok, "refused");
        anchor.post(h, _none(), 0x1f, signatures);
    }

    function test_signatures_have_one_form_and_one_length() public {
        EpochHeader memory h = _next(0, _none());
        (uint256 signers, bytes memory signatures) = _quorum(0, anchor.digest(h), 5);
        vm.expectRevert(abi.encodeWithSelector(Committee.BadSignatureLength.selector, 320, 321));
        anchor.post(h, _none(), signers, bytes.concat(signatures, hex"00"));
        // Zero r and s recover nobody; nobody is no member.
        bytes memory blank = new bytes(320);
        vm.expectRevert(abi.encodeWithSelector(Committee.BadSignature.selector, 0));
        anchor.post(h, _none(), signers, blank);
        // An s in the upper half is refused: 2^255 - 1 is above half the group order.
        for (uint256 i = 32; i < 64; ++i) {
            signatures[i] = 0xff;
        }
        vm.expectRevert(abi.encodeWithSelector(Committee.BadSignature.selector, 0));
        anchor.post(h, _none(), signers, signatures);
    }

    function test_signatures_for_another_chain_or_contract_do_not_count() public {
        EpochHeader memory h = _next(0, _none());
        uint256 home = this.chainId();
        vm.chainId(home + 1);
        bytes32 elsewhere = anchor.digest(h);
        vm.chainId(home);
        (uint256 signers, bytes memory signatures) = _quorum(0, elsewhere, 5);
        vm.expectRevert(abi.encodeWithSelector(Committee.BadSignature.selector, 0));
        anchor.post(h, _none(), signers, signatures);

        EpochAnchor first = anchor;
        address predicted = vm.computeCreateAddress(address(this), vm.getNonce(address(this)) + 3);
        Registry r = new Registry(token, MIN, BOND, UNBOND, SLASH, predicted);
        address[] memory lanes = new address[](1);
        lanes[0] = address(new RewardDistributor(token, predicted, 0, 0));
        TaskEscrow e = new TaskEscrow(token, predicted, FALLBACK);
        EpochAnchor second = new EpochAnchor(address(r), address(e), lanes, address(beacon), address(disputes), 21, TERM);
        (signers, signatures) = _quorum(0, second.digest(h), 5);
        vm.expectRevert(abi.encodeWithSelector(Committee.BadSignature.selector, 0));
        first.post(h, _none(), signers, signatures);
        // The bare struct hash is not what members sign either.
        (signers, signatures) = _quorum(0, first.hashHeader(h), 5);
        vm.expectRevert(abi.encodeWithSelector(Committee.BadSignature.selector, 0));
        first.post(h, _none(), signers, signatures);
    }

    // ---- money ---------------------------------------------------------------------------------------------------

    function testFuzz_an_epoch_owes_exactly_what_was_released(uint256 owed) public {
        _fund(CLIENT, TASK, 0, 90, 10);
        vm.roll(vm.getBlockNumber() + 1);
        EpochHeader memory h = _next(0, _one(TASK, CLIENT));
        eq(h.totalOwed, 100, "released");
        if (owed == 100) ++owed;
        h.totalOwed = owed;
        _refused(abi.encodeWithSelector(RewardDistributor.NotConserved.selector, owed, 100), h, _one(TASK, CLIENT));
        eq(token.balanceOf(address(escrow)), 100, "nothing moved");
    }

    function test_the_settled_tasks_must_be_those_of_the_header() public {
        _fund(CLIENT, TASK, 0, 90, 10);
        vm.roll(vm.getBlockNumber() + 1);
        EpochHeader memory h = _next(0, _one(TASK, CLIENT));
        bytes32 other = keccak256(abi.encode(_none()));
        _refused(abi.encodeWithSelector(EpochAnchor.WrongSettledHash.selector, other, h.settledHash), h, _none());
    }

    function test_a_task_is_settled_once_even_within_one_epoch() public {
        _fund(CLIENT, TASK, 0, 90, 10);
        vm.roll(vm.getBlockNumber() + 1);
        SettledTask[] memory twice = new SettledTask[](2);
        (twice[0], twice[1]) = (SettledTask(TASK, CLIENT), SettledTask(TASK, CLIENT));
        EpochHeader memory h = _next(0, twice);
        _refused(abi.encodeWithSelector(TaskEscrow.AlreadySettled.selector, TASK, CLIENT), h, twice);
    }

    function test_a_lane_cannot_settle_another_lanes_task() public {
        _fund(CLIENT, TASK, 1, 90, 10);
        vm.roll(vm.getBlockNumber() + 1);
        EpochHeader memory h = _next(0, _one(TASK, CLIENT));
        _refused(abi.encodeWithSelector(TaskEscrow.WrongLane.selector, 1, 0), h, _one(TASK, CLIENT));
    }

    function test_a_last_minute_top_up_cannot_hold_up_an_epoch() public {
        _fund(CLIENT, TASK, 0, 90, 10);
        vm.roll(vm.getBlockNumber() + 1);
        EpochHeader memory h = _next(0, _one(TASK, CLIENT));
        token.mint(address(this), 1);
        token.approve(address(escrow), 1);
        escrow.topUp(TASK, CLIENT, 1);
        _post(h, _one(TASK, CLIENT));
        eq(distributor.totalReleased(), 100, "as signed");
        escrow.returnLateTopUp(TASK, CLIENT);
        eq(token.balanceOf(CLIENT), 1, "the late unit goes to the client");
    }

    function test_money_sent_to_the_distributor_directly_changes_nothing() public {
        token.mint(address(distributor), 5);
        EpochHeader memory h = _next(0, _none());
        h.totalOwed = 5;
        (h.payoutRoot, h.payoutCount) = (keccak256("tree"), 1);
        _refused(abi.encodeWithSelector(RewardDistributor.NotConserved.selector, 5, 0), h, _none());
    }

    // ---- committees ----------------------------------------------------------------------------------------------

    /// forge-config: default.fuzz.runs = 100
    function testFuzz_everybody_serves_when_they_fit(uint256 size) public {
        uint256 n = within(size, 1, 21);
        _deploy(1, 21);
        _validators(n);
        anchor.drawCommittee(0);
        (uint64 term, address[] memory members, uint16 threshold) = anchor.committee(0);
        eq(term, 1, "term");
        eq(members.length, n, "members");
        // ceil(2n/3), written another way.
        eq(threshold, n - n / 3, "threshold");
        for (uint256 i; i < n; ++i) {
            yes(keyOf[members[i]] != 0 && keyOf[members[i]] <= n, "a validator");
            if (i > 0) yes(members[i] > members[i - 1], "ascending");
        }
    }

    function test_no_validators_no_committee() public {
        _deploy(1, 21);
        vm.expectRevert(EpochAnchor.NoValidators.selector);
        anchor.drawCommittee(0);
        vm.expectRevert(EpochAnchor.NoValidators.selector);
        anchor.requestDraw(0);
        (uint64 term, address[] memory members, uint16 threshold) = anchor.committee(0);
        yes(term == 0 && members.length == 0 && threshold == 0, "empty");
        vm.expectRevert(abi.encodeWithSelector(EpochAnchor.UnknownLane.selector, 1));
        anchor.drawCommittee(1);
    }

    function test_a_committee_serves_its_term() public {
        uint256 stalledAt = vm.getBlockTimestamp() + 2 days;
        vm.expectRevert(abi.encodeWithSelector(EpochAnchor.TermRunning.selector, TERM, stalledAt));
        anchor.drawCommittee(0);
        for (uint256 i; i < TERM; ++i) {
            _post(_next(0, _none()), _none());
            vm.roll(vm.getBlockNumber() + 1);
        }
        EpochHeader memory old = _next(0, _none());
        (uint256 signers, bytes memory signatures) = _quorum(0, anchor.digest(old), 5);
        _validator(8, MIN);
        anchor.drawCommittee(0);
        (uint64 term, address[] memory members,) = anchor.committee(0);
        eq(term, 2, "next term");
        eq(members.length, 8, "with the newcomer");
        vm.expectRevert(abi.encodeWithSelector(EpochAnchor.WrongTerm.selector, 2, 1));
        anchor.post(old, _none(), signers, signatures);
        vm.expectRevert(abi.encodeWithSelector(EpochAnchor.TermRunning.selector, TERM, stalledAt));
        anchor.drawCommittee(0);
    }

    function test_a_committee_goes_on_after_its_term_until_it_is_replaced() public {
        for (uint256 i; i < TERM + 2; ++i) {
            _post(_next(0, _none()), _none());
            vm.roll(vm.getBlockNumber() + 1);
        }
        (uint64 epoch,,) = anchor.head(0);
        eq(epoch, TERM + 2, "still posting");
    }

    function test_a_silent_committee_can_be_replaced() public {
        vm.warp(vm.getBlockTimestamp() + 2 days - 1);
        _post(_next(0, _none()), _none());
        vm.warp(vm.getBlockTimestamp() + 2 days - 1);
        vm.expectRevert(abi.encodeWithSelector(EpochAnchor.TermRunning.selector, TERM - 1, vm.getBlockTimestamp() + 1));
        anchor.drawCommittee(0);
        vm.warp(vm.getBlockTimestamp() + 1);
        anchor.drawCommittee(0);
        (uint64 term,,) = anchor.committee(0);
        eq(term, 2, "replaced");
    }

    // ---- draws ---------------------------------------------------------------------------------------------------

    /// @dev The written rule, with other data structures: remove picked candidates from a shrinking list of tickets.
    function _reference(address[] memory list, uint256[] memory weights, uint256 seats, bytes32 seed, uint64 term)
        private
        pure
        returns (address[] memory drawn)
    {
        drawn = new address[](seats);
        for (uint32 i; i < seats; ++i) {
            uint256 sum;
            for (uint256 j; j < weights.length; ++j) {
                sum += weights[j];
            }
            uint256 r = uint256(keccak256(bytes.concat(seed, bytes4(0), bytes8(term), bytes4(i)))) % sum;
            uint256 upTo;
            for (uint256 j; j < weights.length; ++j) {
                upTo += weights[j];
                if (r < upTo) {
                    drawn[i] = list[j];
                    weights[j] = 0;
                    break;
                }
            }
        }
        Trees.sort(drawn);
    }

    /// forge-config: default.fuzz.runs = 300
    function testFuzz_draws_follow_the_written_rule(uint256 size, uint256 stakes, bytes32 seed) public {
        uint256 n = within(size, 6, 14);
        _deploy(1, 5);
        for (uint256 key = 1; key <= n; ++key) {
            _validator(key, uint128(MIN + uint256(keccak256(abi.encode(stakes, key))) % (6 * MIN)));
        }
        address[] memory list = new address[](n);
        uint256[] memory weights = new uint256[](n);
        for (uint256 i; i < n; ++i) {
            list[i] = registry.validatorAt(i);
            weights[i] = registry.effectiveStake(list[i]);
        }
        anchor.requestDraw(0);
        (bool pending, uint64 ref,) = anchor.pendingDraw(0);
        yes(pending, "pending");
        if (seed == 0) seed = bytes32(uint256(1));
        beacon.set(ref, seed);
        anchor.drawCommittee(0);
        (, address[] memory members, uint16 threshold) = anchor.committee(0);
        address[] memory expected = _reference(list, weights, 5, seed, 1);
        eq(threshold, 4, "ceil(10/3)");
        for (uint256 i; i < 5; ++i) {
            eq(members[i], expected[i], "member");
            if (i > 0) yes(members[i] > members[i - 1], "distinct and ascending");
        }
        (pending,,) = anchor.pendingDraw(0);
        yes(!pending, "done");
    }

    function test_joining_leaving_and_staking_after_the_request_change_nothing() public {
        _deploy(1, 5);
        _validators(9);
        address[] memory list = new address[](9);
        uint256[] memory weights = new uint256[](9);
        for (uint256 i; i < 9; ++i) {
            (list[i], weights[i]) = (vm.addr(i + 1), MIN);
        }
        anchor.requestDraw(0);
        (, uint64 ref,) = anchor.pendingDraw(0);
        beacon.set(ref, keccak256("seed"));
        vm.prank(list[0]);
        registry.requestUnbond();
        _validator(10, 4 * MIN);
        token.mint(list[3], MIN);
        vm.prank(list[3]);
        token.approve(address(registry), MIN);
        vm.prank(list[3]);
        registry.addStake(MIN);
        anchor.drawCommittee(0);
        (, address[] memory members,) = anchor.committee(0);
        address[] memory expected = _reference(list, weights, 5, keccak256("seed"), 1);
        for (uint256 i; i < 5; ++i) {
            eq(members[i], expected[i], "as requested");
        }
    }

    function test_who_withdrew_before_the_draw_gets_no_seat() public {
        _deploy(1, 5);
        _validators(6);
        anchor.requestDraw(0);
        (, uint64 ref,) = anchor.pendingDraw(0);
        beacon.set(ref, keccak256("seed"));
        for (uint256 key = 1; key <= 3; ++key) {
            vm.prank(vm.addr(key));
            registry.requestUnbond();
        }
        vm.warp(vm.getBlockTimestamp() + UNBOND);
        for (uint256 key = 1; key <= 2; ++key) {
            vm.prank(vm.addr(key));
            registry.withdraw(new EpochHeader[](0), new Registry.LossLeaf[][](0));
        }
        anchor.drawCommittee(0);
        (, address[] memory members, uint16 threshold) = anchor.committee(0);
        // Five of six were drawn, so at least three of the four who stayed; who only asked to leave serves.
        yes(members.length == 3 || members.length == 4, "those with a stake");
        eq(threshold, (2 * members.length + 2) / 3, "two thirds of them");
        for (uint256 i; i < members.length; ++i) {
            yes(registry.accounts(members[i]).stake != 0, "a stake to lose");
        }
    }

    function test_shrinking_to_fit_does_not_dodge_a_pending_draw() public {
        _deploy(1, 5);
        _validators(6);
        anchor.requestDraw(0);
        (, uint64 ref,) = anchor.pendingDraw(0);
        vm.prank(vm.addr(6));
        registry.requestUnbond();
        vm.expectRevert(abi.encodeWithSelector(EpochAnchor.BeaconNotReady.selector, ref));
        anchor.drawCommittee(0);
    }

    function test_a_draw_waits_for_its_beacon_value() public {
        _deploy(1, 5);
        _validators(5);
        vm.expectRevert(EpochAnchor.DrawNotNeeded.selector);
        anchor.requestDraw(0);
        _validator(6, MIN);
        vm.expectRevert(abi.encodeWithSelector(EpochAnchor.DrawNotRequested.selector, 0));
        anchor.drawCommittee(0);
        anchor.requestDraw(0);
        (, uint64 ref, uint48 requestedAt) = anchor.pendingDraw(0);
        eq(ref, vm.getBlockNumber() + 1, "after the request");
        vm.expectRevert(abi.encodeWithSelector(EpochAnchor.BeaconNotReady.selector, ref));
        anchor.drawCommittee(0);
        vm.expectRevert(abi.encodeWithSelector(EpochAnchor.DrawPending.selector, ref));
        anchor.requestDraw(0);
        vm.roll(uint256(requestedAt) + 1024);
        vm.expectRevert(abi.encodeWithSelector(EpochAnchor.DrawPending.selector, ref));
        anchor.requestDraw(0);
    }

    function test_a_draw_whose_value_never_came_can_be_requested_again() public {
        _deploy(1, 5);
        _validators(6);
        anchor.requestDraw(0);
        (, uint64 first, uint48 requestedAt) = anchor.pendingDraw(0);
        vm.roll(uint256(requestedAt) + 1025);
        vm.expectRevert(abi.encodeWithSelector(EpochAnchor.DrawNotRequested.selector, 0));
        anchor.drawCommittee(0);
        anchor.requestDraw(0);
        (, uint64 second,) = anchor.pendingDraw(0);
        yes(second > first, "a new reference");
    }

    function test_a_known_value_cannot_be_thrown_away_by_waiting() public {
        _deploy(1, 5);
        _validators(6);
        anchor.requestDraw(0);
        (, uint64 ref, uint48 requestedAt) = anchor.pendingDraw(0);
        beacon.set(ref, keccak256("seed"));
        vm.roll(uint256(requestedAt) + 5000);
        vm.expectRevert(abi.encodeWithSelector(EpochAnchor.DrawPending.selector, ref));
        anchor.requestDraw(0);
        anchor.drawCommittee(0);
    }

    function test_the_largest_draw_fits_into_a_block() public {
        _deploy(1, 21);
        for (uint256 key = 1; key <= 600; ++key) {
            address who = address(uint160(uint256(keccak256(abi.encode(key)))));
            token.mint(who, MIN);
            vm.prank(who);
            token.approve(address(registry), MIN);
            vm.prank(who);
            registry.register(bytes32(key), 0, who, 4, MIN, new bytes(64));
        }
        uint256 before = gasleft();
        anchor.requestDraw(0);
        uint256 request = before - gasleft();
        (, uint64 ref,) = anchor.pendingDraw(0);
        beacon.set(ref, keccak256("seed"));
        before = gasleft();
        anchor.drawCommittee(0);
        uint256 draw = before - gasleft();
        yes(request < 15_000_000 && draw < 15_000_000, "half of a 30M block each");
        (, address[] memory members,) = anchor.committee(0);
        eq(members.length, 21, "members");
    }

    // ---- deployment ----------------------------------------------------------------------------------------------

    /// @dev One part at a time is wired wrongly; the others name the address the anchor is about to get.
    function test_contracts_that_are_not_wired_to_the_anchor_are_refused() public {
        for (uint256 wrong; wrong < 5; ++wrong) {
            address next = vm.computeCreateAddress(address(this), vm.getNonce(address(this)) + 5);
            DevToken other = new DevToken();
            Registry r = new Registry(token, MIN, BOND, UNBOND, SLASH, wrong == 0 ? address(1) : next);
            address[] memory lanes = new address[](2);
            lanes[0] = address(new RewardDistributor(token, next, 0, 0));
            lanes[1] = address(
                new RewardDistributor(
                    wrong == 1 ? other : token, wrong == 2 ? address(1) : next, wrong == 3 ? 0 : 1, 0
                )
            );
            TaskEscrow e = new TaskEscrow(token, wrong == 4 ? address(1) : next, FALLBACK);
            address guilty = wrong == 0 ? address(r) : wrong <= 3 ? lanes[1] : address(e);
            vm.expectRevert(abi.encodeWithSelector(EpochAnchor.BadWiring.selector, guilty));
            new EpochAnchor(address(r), address(e), lanes, address(beacon), address(disputes), 21, TERM);
        }
    }

    function test_bad_configurations_are_refused() public {
        address[4] memory parts = [address(registry), address(escrow), address(beacon), address(disputes)];
        vm.expectRevert(EpochAnchor.BadConfiguration.selector);
        new EpochAnchor(parts[0], parts[1], distributors, address(0), parts[3], 21, TERM);
        vm.expectRevert(EpochAnchor.BadConfiguration.selector);
        new EpochAnchor(parts[0], parts[1], distributors, parts[2], address(0), 21, TERM);
        vm.expectRevert(EpochAnchor.BadConfiguration.selector);
        new EpochAnchor(parts[0], parts[1], new address[](0), parts[2], parts[3], 21, TERM);
        vm.expectRevert(EpochAnchor.BadConfiguration.selector);
        new EpochAnchor(parts[0], parts[1], new address[](1025), parts[2], parts[3], 21, TERM);
        vm.expectRevert(EpochAnchor.BadConfiguration.selector);
        new EpochAnchor(parts[0], parts[1], distributors, parts[2], parts[3], 0, TERM);
        vm.expectRevert(EpochAnchor.BadConfiguration.selector);
        new EpochAnchor(parts[0], parts[1], distributors, parts[2], parts[3], 21, 0);
    }

    /// @dev Unbonding longer than the dispute window, fallback later than that and than a stalled committee is given.
    function test_times_that_do_not_fit_together_are_refused() public {
        _refusedTimes(1 days, 1 days, FALLBACK, abi.encodeWithSelector(EpochAnchor.UnbondTooShort.selector, 0, 1 days, 1 days));
        _refusedTimes(0, 0, FALLBACK, abi.encodeWithSelector(EpochAnchor.UnbondTooShort.selector, 0, 0, 0));
        _refusedTimes(
            0, 1, 2 days, abi.encodeWithSelector(EpochAnchor.FallbackTooEarly.selector, 2 days, 2 days)
        );
        _refusedTimes(
            14 days, 15 days, 14 days, abi.encodeWithSelector(EpochAnchor.FallbackTooEarly.selector, 14 days, 14 days)
        );
        _refusedTimes(2 days, 2 days + 1, 2 days + 1, "");
    }

    function _refusedTimes(uint48 delay, uint64 unbond, uint64 silence, bytes memory why) private {
        address next = vm.computeCreateAddress(address(this), vm.getNonce(address(this)) + 3);
        Registry r = new Registry(token, MIN, BOND, unbond, SLASH, next);
        address[] memory lanes = new address[](1);
        lanes[0] = address(new RewardDistributor(token, next, 0, delay));
        TaskEscrow e = new TaskEscrow(token, next, silence);
        if (why.length != 0) vm.expectRevert(why);
        new EpochAnchor(address(r), address(e), lanes, address(beacon), address(disputes), 21, TERM);
    }

    // ---- service -------------------------------------------------------------------------------------------------

    function _serves(address who, bool serving, uint256 until) private view {
        (bool s, uint64 u) = anchor.service(who);
        yes(s == serving, "serving");
        eq(u, until, "until");
    }

    function test_service_lasts_until_the_last_committee_is_replaced() public {
        anchor.drawCommittee(1);
        _serves(vm.addr(1), true, 0);
        _serves(address(this), false, 0);
        vm.prank(vm.addr(1));
        registry.requestUnbond();
        vm.warp(vm.getBlockTimestamp() + 2 days);
        anchor.drawCommittee(0);
        _serves(vm.addr(1), true, vm.getBlockTimestamp());
        _serves(vm.addr(2), true, vm.getBlockTimestamp());
        vm.warp(vm.getBlockTimestamp() + 1 days);
        uint256 end = vm.getBlockTimestamp();
        anchor.drawCommittee(1);
        _serves(vm.addr(1), false, end);
        _serves(vm.addr(2), true, end);
    }

    function test_activity_counts_from_the_deployment_until_something_happens() public {
        uint256 start = vm.getBlockTimestamp();
        eq(anchor.lastActivity(0), start, "drawn");
        vm.warp(start + 1 days);
        eq(anchor.lastActivity(1), start, "never drawn");
        anchor.drawCommittee(1);
        eq(anchor.lastActivity(1), start + 1 days, "a draw");
        _post(_next(0, _none()), _none());
        eq(anchor.lastActivity(0), start + 1 days, "a post");
    }

    function test_committees_that_never_post_cannot_keep_a_lane_from_being_silent() public {
        _post(_next(0, _none()), _none());
        uint256 last;
        for (uint256 i; i < 6; ++i) {
            vm.warp(vm.getBlockTimestamp() + 2 days);
            anchor.drawCommittee(0);
            if (i < anchor.IDLE_DRAWS()) last = vm.getBlockTimestamp();
            eq(anchor.lastActivity(0), last, "only the first draws count");
        }
        vm.roll(vm.getBlockNumber() + 1);
        _post(_next(0, _none()), _none());
        eq(anchor.lastActivity(0), vm.getBlockTimestamp(), "a post counts again");
        vm.warp(vm.getBlockTimestamp() + 2 days);
        anchor.drawCommittee(0);
        eq(anchor.lastActivity(0), vm.getBlockTimestamp(), "and so do the draws after it");
    }
}
