//! Takes frames out of a stream that comes in pieces.

use bytes::{Buf, BytesMut};

use super::frame::{self, Frame, FrameError, MAGIC};

/// What has come and is not used yet.
#[derive(Debug, Default)]
pub struct Reader {
    pending: BytesMut,
    /// The stream's beginning was seen and is one of ours.
    begun: bool,
    /// Bytes used so far.
    offset: u64,
}

impl Reader {
    /// The place to put more bytes.
    pub fn space(&mut self) -> &mut BytesMut {
        &mut self.pending
    }

    /// Bytes of the stream used so far: where an error is.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes that are not a whole frame yet.
    #[must_use]
    pub fn unused(&self) -> usize {
        self.pending.len()
    }

    /// Hands over the next frame. `None`: more bytes are needed.
    ///
    /// # Errors
    /// If what comes is no frame: nothing behind it can be read.
    pub fn next<T>(&mut self, use_frame: impl FnOnce(Frame<'_>) -> T) -> Result<Option<T>, FrameError> {
        if !self.begun {
            if frame::check_magic(&self.pending)?.is_none() {
                return Ok(None);
            }
            self.advance(MAGIC.len());
            self.begun = true;
        }
        let Some(read) = frame::read(&self.pending)? else { return Ok(None) };
        let bytes = read.bytes;
        let used = use_frame(read.frame);
        self.advance(bytes);
        Ok(Some(used))
    }

    fn advance(&mut self, bytes: usize) {
        self.pending.advance(bytes);
        self.offset += bytes as u64;
    }
}
