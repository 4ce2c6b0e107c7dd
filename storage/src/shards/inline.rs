//! Shards kept in the database itself: those too small to be worth a place in a file.

/// Largest shard kept inline, bytes (2 KiB).
pub const INLINE_BYTES_MAX: u64 = 2 << 10;

/// True when a shard of `size` bytes is kept inline.
pub(crate) fn fits(size: u64) -> bool {
    size <= INLINE_BYTES_MAX
}
