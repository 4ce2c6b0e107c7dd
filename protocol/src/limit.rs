//! Every bound of the protocol in one file: one sentence each, the unit in the name.

/// Largest gossip message in bytes (gossipsub's own default; tasks carry hashes, never data).
pub const GOSSIP_BYTES_MAX: usize = 64 * 1024;
/// Largest direct request in bytes: a reveal of about 100,000 answers.
pub const REQUEST_BYTES_MAX: usize = 1024 * 1024;
/// Largest direct response in bytes: one shard chunk or one page of records.
pub const RESPONSE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Largest manifest in bytes, so that its announcement fits a gossip message.
pub const MANIFEST_BYTES_MAX: usize = 60 * 1024;
/// Largest record body in bytes.
pub const BODY_BYTES_MAX: usize = 1000 * 1024;
/// Bytes of one shard chunk in a response.
pub const SHARD_CHUNK_BYTES: u64 = 1024 * 1024;
/// Largest shard in bytes.
pub const SHARD_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Shards of one task.
pub const SHARDS_MAX: usize = 1_000;
/// Bytes of shards that a committee member holds for tasks nobody has funded yet.
pub const UNFUNDED_SHARD_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Unfunded task announcements that a node remembers.
pub const UNFUNDED_TASKS_MAX: usize = 256;
/// Seconds of chain time after which an announcement that nobody funded is forgotten.
pub const UNFUNDED_SECS_MAX: u64 = 600;
/// Items of one task.
pub const ITEMS_MAX: u32 = 1_000_000;
/// Labels of a class schema.
pub const CLASSES_MAX: usize = 256;
/// Characters of one label name.
pub const LABEL_CHARS_MAX: usize = 64;
/// Characters of a title.
pub const TITLE_CHARS_MAX: usize = 200;
/// Bytes of one guideline text.
pub const GUIDELINE_BYTES_MAX: usize = 16 * 1024;
/// Guideline languages of one task.
pub const GUIDELINES_MAX: usize = 8;
/// Waves of one task.
pub const WAVES_MAX: usize = 8;
/// Labels per item, over all waves.
pub const REDUNDANCY_MAX: u16 = 255;
/// Labelers of one task.
pub const LABELERS_MAX: u32 = 10_000;
/// Answers in one reveal.
pub const ANSWERS_MAX: usize = 100_000;
/// Shortest and longest deadline of a phase in seconds of chain time.
pub const PHASE_SECS: std::ops::RangeInclusive<u32> = 1..=30 * 24 * 3600;
/// Open tasks of one lane.
pub const TASKS_OPEN_MAX: usize = 1_000;
/// Records that a committee member keeps waiting for an epoch.
pub const POOL_RECORDS_MAX: usize = 65_536;
/// Bytes of a record that can be put on the chain (`TaskEscrow.MAX_RECORD_BYTES`).
pub const FORCED_BYTES_MAX: usize = 32 * 1024;
/// Signed proposals of one epoch that a member keeps as evidence.
pub const PROPOSALS_KEPT_MAX: usize = 1_024;
/// Records named in one epoch.
pub const EPOCH_RECORDS_MAX: usize = 16_384;
/// Records asked for in one request.
pub const RECORDS_ASKED_MAX: usize = 256;
/// Bytes of records answered to one request (at least one record is always given).
pub const RECORDS_BYTES_MAX: usize = 1_500 * 1024;
/// Chain blocks beyond the last epoch that a node remembers; older ones it folds into its state.
pub const BLOCKS_KEPT_MAX: usize = 4_096;
/// Members of a committee: one byte names a signer on chain.
pub const COMMITTEE_MAX: usize = 64;
/// Direct requests of the core under way at once.
pub const REQUESTS_MAX: usize = 4_096;
/// Epoch bodies kept ready for peers that catch up.
pub const EPOCHS_CACHED_MAX: usize = 64;
/// Milliseconds after which a direct request is given up.
pub const REQUEST_TIMEOUT_MS: u64 = 5_000;
/// Milliseconds between two tries of an unanswered submission.
pub const RETRY_MS: u64 = 700;
/// Levels of the largest subtree that is claimed at once: 1,024 payees.
pub const SUBTREE_HEIGHT_MAX: u8 = 10;
