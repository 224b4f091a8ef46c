//! Macros that return the blocks of a memory layout. The generated module calls them.

#![allow(unsafe_code, reason = "the macros contain it so that their callers need not")]

/// A flag that can be taken once. Only the macros may use it.
#[doc(hidden)]
#[derive(Debug)]
pub struct Once(core::sync::atomic::AtomicBool);

impl Once {
    #[doc(hidden)]
    pub const fn new() -> Once {
        Once(core::sync::atomic::AtomicBool::new(false))
    }

    /// Returns true on the first call.
    #[doc(hidden)]
    #[cfg(target_has_atomic = "8")]
    pub fn take(&self) -> bool {
        !self.0.swap(true, core::sync::atomic::Ordering::AcqRel)
    }

    /// Returns true on the first call.
    #[doc(hidden)]
    #[cfg(not(target_has_atomic = "8"))]
    pub fn take(&self) -> bool {
        use core::sync::atomic::Ordering::Relaxed;
        without_interrupts(|| {
            let free = !self.0.load(Relaxed);
            self.0.store(true, Relaxed);
            free
        })
    }
}

/// Calls a function while interrupts are off.
///
/// Chips without atomic read-modify-write instructions have one core, so nothing can run in between
/// (RISC-V Privileged Architecture, mstatus: MIE is bit 3).
#[cfg(not(target_has_atomic = "8"))]
pub(crate) fn without_interrupts<R>(call: impl FnOnce() -> R) -> R {
    let status: usize;
    // SAFETY: turns interrupts off; the code below turns them on again if they were on.
    unsafe { core::arch::asm!("csrrci {0}, mstatus, 8", out(reg) status) };
    let result = call();
    if status & 8 != 0 {
        // SAFETY: as above.
        unsafe { core::arch::asm!("csrsi mstatus, 8") };
    }
    result
}

/// Defines a function that returns the memory between two linker symbols, once.
#[doc(hidden)]
#[macro_export]
macro_rules! block {
    ($(#[$about:meta])* $name:ident: $item:ty, $start:ident, $end:ident) => {
        $(#[$about])*
        #[allow(dead_code)]
        pub fn $name() -> Option<&'static mut [$item]> {
            static TAKEN: $crate::Once = $crate::Once::new();
            unsafe extern "C" {
                static mut $start: u8;
                static mut $end: u8;
            }
            if !TAKEN.take() {
                return None;
            }
            let start = &raw mut $start;
            let len = (&raw mut $end as usize).saturating_sub(start as usize);
            // SAFETY: the linker reserved these bytes for this function, which returns them only
            // once.
            Some(unsafe { ::core::slice::from_raw_parts_mut(start.cast::<$item>(), len) })
        }
    };
}

/// Defines the same function on a host, backed by a static.
#[doc(hidden)]
#[macro_export]
macro_rules! host_block {
    ($(#[$about:meta])* $name:ident: $item:ty, $size:literal, $align:literal, $fill:expr) => {
        $(#[$about])*
        #[allow(dead_code)]
        pub fn $name() -> Option<&'static mut [$item]> {
            #[repr(align($align))]
            struct Block([$item; $size]);
            static TAKEN: $crate::Once = $crate::Once::new();
            static mut BLOCK: Block = Block([$fill; $size]);
            if !TAKEN.take() {
                return None;
            }
            let block = &raw mut BLOCK;
            // SAFETY: nothing else refers to this static, and it is returned only once.
            let block: &'static mut Block = unsafe { &mut *block };
            Some(&mut block.0)
        }
    };
}

/// Adds the heap returned by the layout's module to esp-alloc's heap. Evaluates to its length in
/// bytes, or `None` if the heap was already taken.
#[macro_export]
macro_rules! add_heap_to_esp_alloc {
    ($heap:expr) => {
        match $heap {
            Some(heap) => {
                let heap: &'static mut [::core::mem::MaybeUninit<u8>] = heap;
                let len = heap.len();
                // SAFETY: the slice is borrowed for `'static`, so nothing else uses its memory.
                let region = unsafe {
                    ::esp_alloc::HeapRegion::new(
                        heap.as_mut_ptr().cast(),
                        len,
                        ::esp_alloc::MemoryCapability::Internal.into(),
                    )
                };
                // SAFETY: as above.
                unsafe { ::esp_alloc::HEAP.add_region(region) };
                Some(len)
            }
            None => None,
        }
    };
}

#[cfg(test)]
mod tests {
    host_block!(#[doc = "Some."] bytes: u8, 16, 64, 0xa5);

    #[test]
    fn a_block_is_given_away_once() {
        let given = bytes().unwrap();
        assert_eq!(given, [0xa5; 16]);
        assert!((given.as_ptr() as usize).is_multiple_of(64));
        assert!(bytes().is_none());
    }
}
