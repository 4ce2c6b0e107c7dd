//! The journal: reopening, torn tails, damage, foreign files, idle chains.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    super::{
        DevChainError,
        chain::Core,
        journal::{FILE_NAME, Journal},
        record::Genesis,
    },
    *,
};

/// Offsets of all records of a journal.
fn offsets(dir: &Path) -> Vec<u64> {
    let mut found = Vec::new();
    Journal::open(dir, false, Vec::new, |_, offset, _| {
        found.push(offset);
        Ok(())
    })
    .unwrap();
    found
}

/// A folder whose journal holds these bytes.
fn folder_with(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    fs::write(&path, bytes).unwrap();
    (dir, path)
}

/// A journal with a deployment, two counts, a balance and a payment.
fn written_journal() -> (Sender, Vec<u8>, Vec<u64>, Vec<Value>) {
    let dir = tempfile::tempdir().unwrap();
    let mut alice = Sender::new("alice");
    let chain = DevChain::open(in_folder(&alice, dir.path())).unwrap();
    let contract = alice.deploy(&chain);
    alice.send(&chain, TxKind::Call(contract), U256::ZERO, Bytes::new());
    chain.ask("dev_setBalance", json!([Address::repeat_byte(9), "0x7"]));
    alice.send(&chain, TxKind::Call(contract), U256::ZERO, Bytes::new());
    alice.pay(&chain, Address::repeat_byte(9), 3);
    let blocks = (0..=chain.number()).map(|n| chain.block(n)).collect();
    drop(chain);
    (
        alice,
        fs::read(dir.path().join(FILE_NAME)).unwrap(),
        offsets(dir.path()),
        blocks,
    )
}

#[test]
fn reopening_gives_the_same_head_balances_receipts_and_logs() {
    let dir = tempfile::tempdir().unwrap();
    let mut alice = Sender::new("alice");
    let cfg = DevChainConfig {
        fsync: true,
        ..in_folder(&alice, dir.path())
    };
    let bob = Address::repeat_byte(0xb);
    let chain = DevChain::open(cfg.clone()).unwrap();
    let contract = alice.deploy(&chain);
    chain.ask("dev_increaseTime", json!([500]));
    chain.ask("dev_mine", json!([3]));
    let mut hashes = vec![alice.pay(&chain, bob, 12)];
    hashes.push(alice.send(&chain, TxKind::Call(contract), U256::ZERO, Bytes::new()));
    chain.ask("dev_setBalance", json!([Address::repeat_byte(9), "0x7"]));
    let all = |chain: &DevChain| {
        let mut out = vec![
            chain.ask("eth_getBlockByNumber", json!(["latest", true])),
            chain.ask("eth_getBalance", json!([bob])),
            chain.ask("eth_getBalance", json!([alice.address()])),
            chain.ask("eth_getBalance", json!([Address::repeat_byte(9)])),
            chain.ask("eth_getCode", json!([contract])),
            chain.ask("eth_getStorageAt", json!([contract, "0x0"])),
            chain.ask(
                "eth_getLogs",
                json!([{"fromBlock": "0x0", "topics": [counted_topic()]}]),
            ),
            chain.ask("eth_feeHistory", json!(["0x6", "latest", [50.0]])),
        ];
        out.extend(
            hashes
                .iter()
                .map(|h| chain.ask("eth_getTransactionReceipt", json!([h]))),
        );
        out.extend((0..=chain.number()).map(|n| chain.block(n)));
        out
    };
    let before = all(&chain);
    assert_eq!(before[1], json!("0xc"));
    assert_eq!(before[6].as_array().unwrap().len(), 1);
    drop(chain);
    let chain = DevChain::open(cfg).unwrap();
    assert_eq!(all(&chain), before);
    let ahead = chain.ask("dev_increaseTime", json!([0]));
    assert_eq!(ahead, json!("0x1f4"), "the clock is journaled too");
}

#[test]
fn a_tail_torn_at_any_byte_opens_with_the_previous_block() {
    let (alice, bytes, offsets, blocks) = written_journal();
    let last = usize::try_from(*offsets.last().unwrap()).unwrap();
    for cut in last..bytes.len() {
        let (dir, path) = folder_with(&bytes[..cut]);
        let chain = DevChain::open(in_folder(&alice, dir.path())).unwrap();
        assert_eq!(chain.number(), 3, "cut at byte {cut}");
        assert_eq!(chain.block(3), blocks[3]);
        assert_eq!(
            chain.ask("eth_getBalance", json!([Address::repeat_byte(9)])),
            json!("0x7")
        );
        assert_eq!(
            fs::metadata(path).unwrap().len(),
            last as u64,
            "the tail is cut"
        );
    }
    // A loss of power can leave the right length with unwritten bytes.
    for zeroed_from in [last, last + 6, last + 40, bytes.len() - 1] {
        let mut torn = bytes.clone();
        torn[zeroed_from..].fill(0);
        if torn == bytes {
            continue;
        }
        let (dir, _) = folder_with(&torn);
        assert_eq!(
            DevChain::open(in_folder(&alice, dir.path()))
                .unwrap()
                .number(),
            3
        );
    }
}

#[test]
fn the_chain_goes_on_after_a_cut_tail() {
    let (mut alice, bytes, _, _) = written_journal();
    let (dir, _) = folder_with(&bytes[..bytes.len() - 5]);
    let chain = DevChain::open(in_folder(&alice, dir.path())).unwrap();
    alice.nonce = 3;
    alice.pay(&chain, Address::repeat_byte(9), 4);
    let head = chain.block(4);
    drop(chain);
    let chain = DevChain::open(in_folder(&alice, dir.path())).unwrap();
    assert_eq!(chain.block(4), head);
    assert_eq!(
        chain.ask("eth_getBalance", json!([Address::repeat_byte(9)])),
        json!("0xb")
    );
}

#[test]
fn any_changed_byte_before_the_last_record_is_refused_and_located() {
    let (alice, bytes, offsets, _) = written_journal();
    let last = usize::try_from(*offsets.last().unwrap()).unwrap();
    for at in 0..last {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x40;
        let (dir, path) = folder_with(&damaged);
        let record = *offsets.iter().rev().find(|o| **o <= at as u64).unwrap();
        match DevChain::open(in_folder(&alice, dir.path())) {
            Err(DevChainError::Corrupt {
                path: named,
                offset,
                ..
            }) => {
                assert_eq!((named, offset), (path.clone(), record), "byte {at}");
            }
            other => panic!("byte {at}: {other:?}"),
        }
        assert_eq!(
            fs::read(path).unwrap(),
            damaged,
            "a refused journal is left alone"
        );
    }
}

#[test]
fn a_record_missing_or_doubled_in_the_middle_is_refused() {
    let (alice, bytes, offsets, _) = written_journal();
    let (from, to) = (
        usize::try_from(offsets[2]).unwrap(),
        usize::try_from(offsets[3]).unwrap(),
    );
    let missing = [&bytes[..from], &bytes[to..]].concat();
    let doubled = [&bytes[..to], &bytes[from..]].concat();
    for (bytes, at) in [(missing, offsets[2]), (doubled, offsets[3])] {
        let (dir, _) = folder_with(&bytes);
        match DevChain::open(in_folder(&alice, dir.path())) {
            Err(DevChainError::Replay { offset, .. }) => assert_eq!(offset, at),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn records_of_another_journal_are_not_taken_for_ours() {
    let (alice, bytes, offsets, _) = written_journal();
    let last = usize::try_from(*offsets.last().unwrap()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let other = DevChainConfig {
        genesis: vec![(alice.address(), U256::from(1))],
        ..in_folder(&alice, dir.path())
    };
    drop(DevChain::open(other.clone()).unwrap());
    let path = dir.path().join(FILE_NAME);
    let own = fs::read(&path).unwrap();
    fs::write(&path, [&own, &bytes[last..]].concat()).unwrap();
    assert_eq!(DevChain::open(other).unwrap().number(), 0);
    assert_eq!(fs::read(&path).unwrap(), own);
}

#[test]
fn an_interrupted_creation_is_started_again() {
    let (alice, bytes, offsets, _) = written_journal();
    for cut in [0, 8, 9, usize::try_from(offsets[1]).unwrap() - 1] {
        let (dir, _) = folder_with(&bytes[..cut]);
        let chain = DevChain::open(in_folder(&alice, dir.path())).unwrap();
        assert_eq!(chain.number(), 0);
        assert_eq!(
            chain.ask("eth_getBalance", json!([alice.address()])),
            json!(format!("{:#x}", 1_000 * ETHER))
        );
    }
}

#[test]
fn after_a_failed_write_nothing_is_shown_and_nothing_more_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let mut alice = Sender::new("alice");
    let cfg = in_folder(&alice, dir.path());
    let chain = DevChain::open(cfg.clone()).unwrap();
    alice.pay(&chain, Address::repeat_byte(9), 1);
    chain.shared.core.write().unwrap().break_journal();
    let (hash, raw) = alice.sign(
        1,
        TxKind::Call(Address::repeat_byte(9)),
        U256::from(1),
        Bytes::new(),
    );
    assert_eq!(
        chain.refuse("eth_sendRawTransaction", json!([raw])).code,
        -32603
    );
    assert!(
        chain
            .ask("eth_getTransactionReceipt", json!([hash]))
            .is_null()
    );
    assert_eq!(chain.number(), 1);
    for (method, params) in [
        ("dev_mine", json!([1])),
        ("eth_sendRawTransaction", json!([raw])),
    ] {
        assert!(
            chain
                .refuse(method, params)
                .message
                .contains("stopped accepting changes")
        );
    }
    drop(chain);
    let chain = DevChain::open(cfg).unwrap();
    assert_eq!(
        chain.ask("eth_sendRawTransaction", json!([raw])),
        json!(hash)
    );
}

#[test]
fn a_foreign_a_newer_and_another_chains_journal_are_refused() {
    let (alice, bytes, _, _) = written_journal();
    let (dir, _) = folder_with(b"not a journal at all, but long enough to hold a frame");
    assert!(matches!(
        DevChain::open(in_folder(&alice, dir.path())),
        Err(DevChainError::Corrupt { offset: 0, .. })
    ));

    let (dir, _) = folder_with(&bytes);
    let other = DevChainConfig {
        chain_id: 1,
        ..in_folder(&alice, dir.path())
    };
    assert!(matches!(
        DevChain::open(other),
        Err(DevChainError::OtherChain {
            found: 31337,
            expected: 1,
            ..
        })
    ));
    let richer = DevChainConfig {
        genesis: vec![(Address::ZERO, U256::from(1))],
        ..in_folder(&alice, dir.path())
    };
    assert!(matches!(
        DevChain::open(richer),
        Err(DevChainError::OtherGenesis { .. })
    ));
    let any = DevChainConfig {
        genesis: vec![],
        ..in_folder(&alice, dir.path())
    };
    assert_eq!(DevChain::open(any).unwrap().number(), 4);

    let dir = tempfile::tempdir().unwrap();
    let mut header = Genesis {
        chain_id: 31337,
        gas_limit: 1,
        base_fee: 1,
        timestamp: 1,
        balances: vec![],
    }
    .encode();
    header[10] += 1;
    Journal::open(dir.path(), false, || header, |_, _, _| Ok(())).unwrap();
    assert!(matches!(
        DevChain::open(in_folder(&alice, dir.path())),
        Err(DevChainError::NewerFormat {
            found: 2,
            supported: 1,
            ..
        })
    ));
}

#[test]
fn a_second_owner_is_refused_until_the_first_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let alice = Sender::new("alice");
    let chain = DevChain::open(in_folder(&alice, dir.path())).unwrap();
    assert!(matches!(
        DevChain::open(in_folder(&alice, dir.path())),
        Err(DevChainError::Locked { .. })
    ));
    drop(chain);
    DevChain::open(in_folder(&alice, dir.path())).unwrap();
}

/// An idle chain driven by a made-up clock.
fn idle_config(dir: &Path) -> DevChainConfig {
    DevChainConfig {
        block_interval: Some(Duration::from_millis(200)),
        ..in_folder(&Sender::new("alice"), dir)
    }
}

#[test]
fn an_idle_chain_stays_small_in_the_journal_and_in_memory() {
    const BLOCKS: u64 = 36_000;
    let dir = tempfile::tempdir().unwrap();
    let cfg = idle_config(dir.path());
    let start = 1_700_000_000_000;
    let mut core = Core::open(&cfg, start).unwrap();
    for block in 1..=BLOCKS {
        // Ticks are a little late, by up to 90 ms.
        core.tick(start + block * 200 + block % 7 * 15).unwrap();
    }
    let head = *core.ledger.head();
    assert_eq!(head.number, BLOCKS);
    assert!(
        head.timestamp.abs_diff((start + BLOCKS * 200) / 1000) <= 1,
        "the schedule follows the clock"
    );
    let runs = BLOCKS.div_ceil(256);
    assert_eq!(core.ledger.entries(), (0, usize::try_from(runs).unwrap()));
    assert!(
        core.journal_len() < runs * 128 + 256,
        "{} bytes for {BLOCKS} empty blocks",
        core.journal_len()
    );
    let sample = core.ledger.header_at(20_000);
    drop(core);
    let core = Core::open(&cfg, start + BLOCKS * 200 + 3_600_000).unwrap();
    assert_eq!(
        *core.ledger.head(),
        head,
        "a clean stop leaves no gap and adds no block"
    );
    assert_eq!(core.ledger.header_at(20_000), sample);
}

#[test]
fn empty_blocks_shown_before_a_crash_come_back_with_the_same_hashes() {
    let start = 1_700_000_000_000;
    for shown in [1u64, 2, 255, 256, 257, 600] {
        let dir = tempfile::tempdir().unwrap();
        let cfg = idle_config(dir.path());
        let mut core = Core::open(&cfg, start).unwrap();
        for block in 1..=shown {
            core.tick(start + block * 200).unwrap();
        }
        let seen: Vec<_> = (0..=shown).map(|n| core.ledger.hash_at(n)).collect();
        // The journal as a crash leaves it: without the seal of a clean stop.
        let (crashed, _) = folder_with(&fs::read(dir.path().join(FILE_NAME)).unwrap());
        let reopened = Core::open(&idle_config(crashed.path()), start + shown * 200 + 1).unwrap();
        assert_eq!(reopened.ledger.head().number, shown);
        let again: Vec<_> = (0..=shown).map(|n| reopened.ledger.hash_at(n)).collect();
        assert_eq!(again, seen);
    }
}

#[test]
fn transactions_between_empty_blocks_replay_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let mut alice = Sender::new("alice");
    let cfg = in_folder(&alice, dir.path());
    let chain = DevChain::open(cfg.clone()).unwrap();
    let contract = alice.deploy(&chain);
    for round in 0..5 {
        chain.ask("dev_mine", json!([100 * round + 1]));
        alice.send(&chain, TxKind::Call(contract), U256::ZERO, Bytes::new());
    }
    let blocks: Vec<Value> = (0..=chain.number()).map(|n| chain.block(n)).collect();
    drop(chain);
    let chain = DevChain::open(cfg).unwrap();
    assert_eq!(chain.number() as usize + 1, blocks.len());
    for (number, block) in (0..).zip(&blocks) {
        assert_eq!(chain.block(number), *block);
    }
    assert_eq!(
        chain.ask("eth_getStorageAt", json!([contract, "0x0"])),
        json!(B256::with_last_byte(5))
    );
}
