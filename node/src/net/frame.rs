//! Requests and responses on the wire: a four-byte big-endian length, then that many bytes, nothing after.
//!
//! ```text
//!   requester: | length | request  | close --->
//!                                    <--- | length | response | close
//! ```
//!
//! A length is a claim of a stranger, so memory is taken only as bytes arrive, never more than twice what has
//! arrived plus [`STEP_BYTES`], out of a budget shared by all exchanges of the node. Who finds the budget empty is
//! refused at once: waiting for memory while holding some could block every exchange.

use std::io;
use std::sync::Arc;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{StreamProtocol, request_response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Memory is taken from the budget in steps of this many bytes.
pub(super) const STEP_BYTES: usize = 16 * 1024;
/// Bytes of the length prefix.
const PREFIX_BYTES: usize = 4;

/// Why a frame was not read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    /// The announced length is over the limit.
    #[error("announced {bytes} bytes, the limit is {limit}")]
    TooLarge { bytes: usize, limit: usize },
    /// All memory for exchanges is in use.
    #[error("no memory left for this exchange; too many are under way")]
    NoMemory,
    /// Bytes follow the frame.
    #[error("bytes follow the frame")]
    Trailing,
}

impl From<FrameError> for io::Error {
    fn from(error: FrameError) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}

/// The memory all requests, or all responses, of a node may hold; counted in steps.
#[derive(Clone, Debug)]
pub(super) struct Budget(Arc<Semaphore>);

impl Budget {
    /// A budget of `bytes`, rounded up to whole steps.
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes.div_ceil(STEP_BYTES))))
    }

    fn take(&self, bytes: usize, share: &mut Share) -> Result<(), FrameError> {
        let steps = u32::try_from(bytes.div_ceil(STEP_BYTES)).map_err(|_| FrameError::NoMemory)?;
        let permit = Arc::clone(&self.0)
            .try_acquire_many_owned(steps)
            .map_err(|_| FrameError::NoMemory)?;
        match &mut share.0 {
            Some(held) => held.merge(permit),
            None => share.0 = Some(permit),
        }
        Ok(())
    }
}

/// A part of the budget, given back when dropped.
#[derive(Debug, Default)]
pub(super) struct Share(Option<OwnedSemaphorePermit>);

/// The bytes of one request or response, with the memory they were charged for.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) bytes: Vec<u8>,
    pub(super) share: Share,
}

impl Frame {
    /// A frame to send; its memory belongs to whoever made the bytes.
    pub(super) fn outgoing(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            share: Share::default(),
        }
    }
}

/// Reads and writes frames within limits.
#[derive(Clone, Debug)]
pub(super) struct FrameCodec {
    pub(super) request_bytes_max: usize,
    pub(super) response_bytes_max: usize,
    /// For arriving requests, which strangers send.
    pub(super) request_budget: Budget,
    /// For arriving responses, which this node asked for; apart, so that strangers cannot use it up.
    pub(super) response_budget: Budget,
}

impl request_response::Codec for FrameCodec {
    type Protocol = StreamProtocol;
    type Request = Frame;
    type Response = Frame;

    async fn read_request<T>(&mut self, _: &Self::Protocol, io: &mut T) -> io::Result<Frame>
    where
        T: AsyncRead + Unpin + Send,
    {
        read_frame(io, self.request_bytes_max, &self.request_budget).await
    }

    async fn read_response<T>(&mut self, _: &Self::Protocol, io: &mut T) -> io::Result<Frame>
    where
        T: AsyncRead + Unpin + Send,
    {
        read_frame(io, self.response_bytes_max, &self.response_budget).await
    }

    async fn write_request<T>(
        &mut self,
        _: &Self::Protocol,
        io: &mut T,
        frame: Frame,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(io, &frame.bytes, self.request_bytes_max).await
    }

    async fn write_response<T>(
        &mut self,
        _: &Self::Protocol,
        io: &mut T,
        frame: Frame,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(io, &frame.bytes, self.response_bytes_max).await
    }
}

async fn read_frame<T>(io: &mut T, limit: usize, budget: &Budget) -> io::Result<Frame>
where
    T: AsyncRead + Unpin + Send,
{
    let mut prefix = [0; PREFIX_BYTES];
    io.read_exact(&mut prefix).await?;
    let announced = usize::try_from(u32::from_be_bytes(prefix)).unwrap_or(usize::MAX);
    if announced > limit {
        let bytes = announced;
        return Err(FrameError::TooLarge { bytes, limit }.into());
    }
    let mut share = Share::default();
    let mut bytes = Vec::new();
    while bytes.len() < announced {
        let start = bytes.len();
        let step = (announced - start).min(start.max(STEP_BYTES));
        budget.take(step, &mut share)?;
        bytes.reserve_exact(step);
        bytes.resize(start + step, 0);
        io.read_exact(&mut bytes[start..]).await?;
    }
    if io.read(&mut [0]).await? != 0 {
        return Err(FrameError::Trailing.into());
    }
    Ok(Frame { bytes, share })
}

async fn write_frame<T>(io: &mut T, bytes: &[u8], limit: usize) -> io::Result<()>
where
    T: AsyncWrite + Unpin + Send,
{
    let too_large = FrameError::TooLarge {
        bytes: bytes.len(),
        limit,
    };
    let length = match u32::try_from(bytes.len()) {
        Ok(length) if bytes.len() <= limit => length,
        _ => return Err(too_large.into()),
    };
    io.write_all(&length.to_be_bytes()).await?;
    io.write_all(bytes).await?;
    io.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use futures::io::Cursor;
    use proptest::prelude::*;

    const LIMIT: usize = 8 * STEP_BYTES;

    fn read(bytes: &[u8], budget: &Budget) -> Result<Frame, io::Error> {
        block_on(read_frame(&mut Cursor::new(bytes), LIMIT, budget))
    }

    fn framed(bytes: &[u8]) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        block_on(write_frame(&mut out, bytes, LIMIT)).unwrap();
        out.into_inner()
    }

    fn frame_error(error: &io::Error) -> Option<&FrameError> {
        error.get_ref()?.downcast_ref()
    }

    #[test]
    fn an_oversize_length_is_refused_before_any_memory_is_taken() {
        let budget = Budget::new(0);
        for announced in [LIMIT as u32 + 1, u32::MAX] {
            let error = read(&announced.to_be_bytes(), &budget).unwrap_err();
            let expected = FrameError::TooLarge {
                bytes: announced as usize,
                limit: LIMIT,
            };
            assert_eq!(frame_error(&error), Some(&expected));
        }
    }

    #[test]
    fn a_lying_length_costs_no_more_memory_than_twice_what_arrived() {
        // Four steps in the budget: enough for twice what arrives, not for the eight announced.
        let budget = Budget::new(4 * STEP_BYTES);
        let mut bytes = (LIMIT as u32).to_be_bytes().to_vec();
        bytes.extend(vec![7; 2 * STEP_BYTES]);
        let error = read(&bytes, &budget).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(budget.0.available_permits(), 4, "memory was not given back");
    }

    #[test]
    fn an_empty_budget_refuses_instead_of_waiting() {
        let budget = Budget::new(STEP_BYTES);
        let held = read(&framed(&[1]), &budget).unwrap();
        let error = read(&framed(&[2]), &budget).unwrap_err();
        assert_eq!(frame_error(&error), Some(&FrameError::NoMemory));
        drop(held);
        assert_eq!(read(&framed(&[3]), &budget).unwrap().bytes, [3]);
    }

    #[test]
    fn bytes_after_the_frame_are_refused() {
        let mut bytes = framed(b"abc");
        bytes.push(0);
        let error = read(&bytes, &Budget::new(LIMIT)).unwrap_err();
        assert_eq!(frame_error(&error), Some(&FrameError::Trailing));
    }

    #[test]
    fn an_oversize_frame_is_not_written() {
        let mut out = Cursor::new(Vec::new());
        let error = block_on(write_frame(&mut out, &vec![0; LIMIT + 1], LIMIT)).unwrap_err();
        assert!(matches!(
            frame_error(&error),
            Some(FrameError::TooLarge { .. })
        ));
        assert!(out.into_inner().is_empty());
    }

    proptest! {
        #[test]
        fn frames_survive_the_wire(bytes in proptest::collection::vec(any::<u8>(), 0..LIMIT)) {
            let budget = Budget::new(LIMIT);
            prop_assert_eq!(read(&framed(&bytes), &budget).unwrap().bytes, bytes);
            prop_assert_eq!(budget.0.available_permits(), LIMIT / STEP_BYTES);
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_never_keep_memory(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let budget = Budget::new(LIMIT);
            let _ = read(&bytes, &budget);
            prop_assert_eq!(budget.0.available_permits(), LIMIT / STEP_BYTES);
        }
    }
}
