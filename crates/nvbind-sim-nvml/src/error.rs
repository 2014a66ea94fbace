//! NVML's return codes.

use std::ffi::{CStr, c_char};

use nvbind_sim::Error;
use nvbind_sim::mig::MigRefusal;

/// An `nvmlReturn_t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Code(pub(crate) u32);

/// What the body of an exported function gives.
pub(crate) type Answer<T> = Result<T, Code>;

/// Defines the codes and their texts, which are NVML's own.
macro_rules! codes {
    ($($name:ident = $code:literal, $text:literal;)*) => {
        impl Code {
            $(pub(crate) const $name: Self = Self($code);)*
        }

        fn text(code: u32) -> &'static CStr {
            match code {
                $($code => $text,)*
                _ => c"Unknown Error",
            }
        }
    };
}

codes! {
    SUCCESS = 0, c"Success";
    UNINITIALIZED = 1, c"Uninitialized";
    INVALID_ARGUMENT = 2, c"Invalid Argument";
    NOT_SUPPORTED = 3, c"Not Supported";
    NO_PERMISSION = 4, c"Insufficient Permissions";
    NOT_FOUND = 6, c"Not Found";
    INSUFFICIENT_SIZE = 7, c"Insufficient Size";
    DRIVER_NOT_LOADED = 9, c"Driver Not Loaded";
    TIMEOUT = 10, c"Timeout";
    GPU_IS_LOST = 15, c"GPU is lost";
    IN_USE = 19, c"In use by another client";
    INSUFFICIENT_RESOURCES = 23, c"Insufficient Resources";
    VERSION_MISMATCH = 25, c"Argument version mismatch";
    UNKNOWN = 999, c"Unknown Error";
}

impl From<Error> for Code {
    /// The driver's answer to a request that the simulated machine refuses.
    fn from(error: Error) -> Self {
        match error {
            Error::Io { source, .. } if source.raw_os_error() == Some(libc::EROFS) => Self::NO_PERMISSION,
            Error::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => Self::NO_PERMISSION,
            Error::BadValue { .. } => Self::INVALID_ARGUMENT,
            Error::Mig { kind, .. } => Self::from(kind),
            _ => Self::UNKNOWN,
        }
    }
}

impl From<MigRefusal> for Code {
    fn from(kind: MigRefusal) -> Self {
        match kind {
            MigRefusal::NotSupported => Self::NOT_SUPPORTED,
            MigRefusal::BadPlacement => Self::INVALID_ARGUMENT,
            MigRefusal::NoRoom => Self::INSUFFICIENT_RESOURCES,
            MigRefusal::InUse => Self::IN_USE,
            MigRefusal::NotFound => Self::NOT_FOUND,
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn nvmlErrorString(result: u32) -> *const c_char {
    text(result).as_ptr()
}
