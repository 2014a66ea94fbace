//! The C ABI: caller's pointers, and a wall that no panic crosses.

use std::ffi::{CStr, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Answer, Code};

/// A pointer through which the caller gets a value.
///
/// `repr(transparent)`: in a C signature it is `T *`.
#[repr(transparent)]
pub(crate) struct Out<T>(*mut T);

impl<T: Copy> Out<T> {
    /// The pointer at an address that a C caller passed as a number.
    pub(crate) fn at(address: usize) -> Self {
        Self(std::ptr::with_exposed_provenance_mut(address))
    }

    /// Gives the caller the value.
    pub(crate) fn put(&self, value: T) -> Answer<()> {
        if self.0.is_null() {
            return Err(Code::INVALID_ARGUMENT);
        }
        // SAFETY: not null, and NVML's contract is that it points to a T that may be written. The caller's C
        // compiler need not have aligned it as Rust would.
        unsafe { self.0.write_unaligned(value) };
        Ok(())
    }

    /// The value that the caller has put there.
    pub(crate) fn get(&self) -> Answer<T> {
        if self.0.is_null() {
            return Err(Code::INVALID_ARGUMENT);
        }
        // SAFETY: not null, and NVML's contract is that such an argument points to a T that holds a value.
        Ok(unsafe { self.0.read_unaligned() })
    }

    /// Whether the caller passed NULL.
    pub(crate) fn is_null(&self) -> bool {
        self.0.is_null()
    }

    /// The same pointer to another struct, where NVML lets the caller choose one by its version.
    pub(crate) fn cast<U>(&self) -> Out<U> {
        Out(self.0.cast())
    }

    /// Puts a value at a place of the array that the caller says has `length` places.
    pub(crate) fn put_at(&self, index: usize, length: usize, value: T) -> Answer<()> {
        if self.0.is_null() || index >= length {
            return Err(Code::INVALID_ARGUMENT);
        }
        // SAFETY: not null, and the place is within the array that the caller told of.
        unsafe { self.0.add(index).write_unaligned(value) };
        Ok(())
    }

    /// The value at a place of the array that the caller says has `length` places.
    pub(crate) fn get_at(&self, index: usize, length: usize) -> Answer<T> {
        if self.0.is_null() || index >= length {
            return Err(Code::INVALID_ARGUMENT);
        }
        // SAFETY: not null, and the place is within the array that the caller told of.
        Ok(unsafe { self.0.add(index).read_unaligned() })
    }

    /// Gives the caller a list in NVML's way: `count` holds the room there is and gets the number of values. Too
    /// little room is an error that tells how much is needed.
    pub(crate) fn put_list(&self, count: &Out<u32>, values: &[T]) -> Answer<()> {
        let room = count.get()? as usize;
        count.put(u32::try_from(values.len()).unwrap_or(u32::MAX))?;
        if values.len() > room {
            return Err(Code::INSUFFICIENT_SIZE);
        }
        values
            .iter()
            .enumerate()
            .try_for_each(|(index, value)| self.put_at(index, room, *value))
    }
}

/// A buffer in which the caller gets a C string.
#[repr(transparent)]
pub(crate) struct Text(Out<c_char>);

impl Text {
    /// Gives the caller the text, when it fits with its NUL.
    pub(crate) fn put(&self, length: u32, text: &str) -> Answer<()> {
        if self.0.is_null() {
            return Err(Code::INVALID_ARGUMENT);
        }
        let length = length as usize;
        if text.len() >= length {
            return Err(Code::INSUFFICIENT_SIZE);
        }
        let mut bytes = text.bytes().chain([0]).enumerate();
        bytes.try_for_each(|(index, byte)| self.0.put_at(index, length, byte as c_char))
    }
}

/// A C string that the caller passes.
#[repr(transparent)]
pub(crate) struct CText(*const c_char);

impl CText {
    /// The string at an address that a C caller passed as a number.
    pub(crate) fn at(address: usize) -> Self {
        Self(std::ptr::with_exposed_provenance(address))
    }

    /// The text.
    pub(crate) fn get(&self) -> Answer<String> {
        if self.0.is_null() {
            return Err(Code::INVALID_ARGUMENT);
        }
        // SAFETY: not null, and NVML's contract is that it points to a string that ends with NUL.
        let text = unsafe { CStr::from_ptr(self.0) };
        Ok(text.to_string_lossy().into_owned())
    }
}

/// A text as a fixed C array, cut where it does not fit.
pub(crate) fn fixed<const N: usize>(text: &str) -> [c_char; N] {
    let mut array = [0; N];
    text.bytes()
        .take(N.saturating_sub(1))
        .zip(&mut array)
        .for_each(|(byte, place)| *place = byte as c_char);
    array
}

/// Runs the body of an exported function: its error becomes the return code, and so does a panic.
pub(crate) fn call(body: impl FnOnce() -> Answer<()>) -> u32 {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => Code::SUCCESS.0,
        Ok(Err(code)) => code.0,
        Err(_) => Code::UNKNOWN.0,
    }
}

/// Exports functions that give one value of a device: `name: type = |device| answer;`.
macro_rules! device_values {
    ($($name:ident: $type:ty = $answer:expr;)*) => { $(
        #[unsafe(no_mangle)]
        extern "C" fn $name(device: $crate::handle::Handle, out: $crate::abi::Out<$type>) -> u32 {
            $crate::abi::call(|| {
                let answer: fn(&$crate::device::Device) -> $crate::error::Answer<$type> = $answer;
                out.put(answer(&$crate::device::Device::open(device)?)?)
            })
        }
    )* };
}

/// Exports functions that give two values of a device: `name: type = |device| answer;` where the answer is a pair.
macro_rules! device_pairs {
    ($($name:ident: $type:ty = $answer:expr;)*) => { $(
        #[unsafe(no_mangle)]
        extern "C" fn $name(
            device: $crate::handle::Handle,
            first: $crate::abi::Out<$type>,
            second: $crate::abi::Out<$type>,
        ) -> u32 {
            $crate::abi::call(|| {
                let answer: fn(&$crate::device::Device) -> $crate::error::Answer<($type, $type)> = $answer;
                let values = answer(&$crate::device::Device::open(device)?)?;
                first.put(values.0)?;
                second.put(values.1)
            })
        }
    )* };
}

/// Exports functions that give a text of a device: `name = |device| answer;`.
macro_rules! device_texts {
    ($($name:ident = $answer:expr;)*) => { $(
        #[unsafe(no_mangle)]
        extern "C" fn $name(device: $crate::handle::Handle, text: $crate::abi::Text, length: u32) -> u32 {
            $crate::abi::call(|| {
                let answer: fn(&$crate::device::Device) -> $crate::error::Answer<String> = $answer;
                text.put(length, &answer(&$crate::device::Device::open(device)?)?)
            })
        }
    )* };
}
