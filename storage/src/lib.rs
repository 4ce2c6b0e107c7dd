//! Durable records and content-addressed shards of an Assay node.
//!
//! One data directory holds a record database (small values in families, committed in batches)
//! and the shards (immutable blobs named by their BLAKE3 hash). [`Store`] is the handle to both:
//! cheap to clone, usable from any thread, and blocking, so asynchronous callers run it on blocking
//! threads. What a crash leaves behind is specified in `DESIGN.md` beside this crate.
//!
//! This crate does not interpret records, talk to peers, read a clock or decide what to keep.
//!
//! Invariants:
//! - a batch is applied whole or not at all, and is durable when `commit` returns;
//! - a shard is readable only after its hash and size were checked and its bytes are durable;
//! - after a failed write the handle answers [`StoreError::Failed`]; what was accepted before it
//!   is there when the directory is opened again;
//! - one process at a time uses a directory, and a directory belongs to one network.
//!
//! ```
//! use assay_storage::{Batch, Family, Store, StoreOptions};
//!
//! let home = tempfile::tempdir()?;
//! let store = Store::open(home.path(), StoreOptions::new("dev"))?;
//! let mut batch = Batch::new();
//! batch.put(Family::Announce, *b"task-1", *b"labeling")?;
//! store.commit(&batch)?;
//! assert_eq!(store.get(Family::Announce, b"task-1")?.as_deref(), Some(&b"labeling"[..]));
//!
//! let hash = store.shards().put(b"an image")?;
//! assert_eq!(store.shards().read_range(&hash, 3, 5)?, b"image");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod batch;
pub mod disk;
mod engine;
pub mod error;
pub mod family;
mod format;
mod lock;
mod records;
pub mod shards;
mod store;

pub use batch::{BATCH_BYTES_MAX, BATCH_OPS_MAX, Batch, KEY_BYTES_MAX, Op, VALUE_BYTES_MAX};
pub use disk::{DiskHook, DiskStep};
pub use error::StoreError;
pub use family::Family;
pub use format::{FORMAT_VERSION, NETWORK_NAME_MAX};
pub use records::{SCAN_BYTES_MAX, SCAN_ROWS_MAX, Scan, View};
pub use shards::{ShardHash, ShardWriter, Shards};
pub use store::{CACHE_BYTES_DEFAULT, Store, StoreOptions};
