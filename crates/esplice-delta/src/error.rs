use thiserror::Error;

/// Reason why a patch was not applied. `E` is the error of the caller's [`Io`](crate::Io).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ApplyError<E> {
    /// Reading the patch, reading the base or writing failed.
    #[error("{0}")]
    Io(E),
    /// These bytes are not a patch, or one of a later version.
    #[error("not a patch of a known version")]
    NotAPatch,
    /// The patch ends before the image is complete.
    #[error("the patch ends too early")]
    Truncated,
    /// The patch breaks a rule of the format.
    #[error("malformed patch: {0}")]
    Malformed(&'static str),
    /// The patch was made for another base.
    #[error("the patch does not fit its base")]
    WrongBase,
    /// The new image is longer than the place for it.
    #[error("the image has {len} bytes, and there is room for {room}")]
    TooLong {
        /// Length of the new image.
        len: u32,
        /// Bytes of the place for it.
        room: u32,
    },
    /// The patch has more operations and corrections than there is memory for.
    #[error("the patch has {count} operations, and there is memory for {room}")]
    TooManyOperations {
        /// Number of operations and corrections.
        count: u32,
        /// Number of words of the caller's memory.
        room: u32,
    },
    /// The image that came out is not the one that the patch was made for.
    #[error("the new image is damaged")]
    WrongImage,
}
