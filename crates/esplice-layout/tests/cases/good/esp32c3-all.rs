// Written by esplice from the memory layout; changes here are lost.

/// Arena `dma`: 16384 bytes in `dram`, aligned to 64. Its contents are undefined.
///
/// Returned once: `None` from the second call on.
///
/// Statics with `#[unsafe(link_section = ".esplice.arena.dma")]` are also in it, but not
/// part of the returned slice.
#[allow(dead_code, unsafe_code)]
pub fn r#dma() -> Option<&'static mut [::core::mem::MaybeUninit<u8>]> {
    static TAKEN: Once = Once::new();
    unsafe extern "C" {
        static mut __esplice_arena_dma_free: u8;
        static mut __esplice_arena_dma_end: u8;
    }
    if !TAKEN.take() {
        return None;
    }
    let start = &raw mut __esplice_arena_dma_free;
    let len = (&raw mut __esplice_arena_dma_end as usize).saturating_sub(start as usize);
    // SAFETY: the linker reserves these bytes for this slice, and it is returned only once.
    Some(unsafe { ::core::slice::from_raw_parts_mut(start.cast::<::core::mem::MaybeUninit<u8>>(), len) })
}

/// Arena `frames`: 33152 bytes in `dram2`, aligned to 16. Its contents are undefined.
///
/// Returned once: `None` from the second call on.
///
/// Statics with `#[unsafe(link_section = ".esplice.arena.frames")]` are also in it, but not
/// part of the returned slice.
#[allow(dead_code, unsafe_code)]
pub fn r#frames() -> Option<&'static mut [::core::mem::MaybeUninit<u8>]> {
    static TAKEN: Once = Once::new();
    unsafe extern "C" {
        static mut __esplice_arena_frames_free: u8;
        static mut __esplice_arena_frames_end: u8;
    }
    if !TAKEN.take() {
        return None;
    }
    let start = &raw mut __esplice_arena_frames_free;
    let len = (&raw mut __esplice_arena_frames_end as usize).saturating_sub(start as usize);
    // SAFETY: the linker reserves these bytes for this slice, and it is returned only once.
    Some(unsafe { ::core::slice::from_raw_parts_mut(start.cast::<::core::mem::MaybeUninit<u8>>(), len) })
}

/// Arena `log`: 1024 bytes in `rtc-fast`, aligned to 16. Its contents outlive a reset; after power-on they are undefined.
///
/// Returned once: `None` from the second call on.
///
/// Statics with `#[unsafe(link_section = ".esplice.arena.log")]` are also in it, but not
/// part of the returned slice.
#[allow(dead_code, unsafe_code)]
pub fn r#log() -> Option<&'static mut [::core::mem::MaybeUninit<u8>]> {
    static TAKEN: Once = Once::new();
    unsafe extern "C" {
        static mut __esplice_arena_log_free: u8;
        static mut __esplice_arena_log_end: u8;
    }
    if !TAKEN.take() {
        return None;
    }
    let start = &raw mut __esplice_arena_log_free;
    let len = (&raw mut __esplice_arena_log_end as usize).saturating_sub(start as usize);
    // SAFETY: the linker reserves these bytes for this slice, and it is returned only once.
    Some(unsafe { ::core::slice::from_raw_parts_mut(start.cast::<::core::mem::MaybeUninit<u8>>(), len) })
}

/// Arena `table`: 512 bytes in `dram`, aligned to 16. Filled with 0xa5.
///
/// Returned once: `None` from the second call on.
///
/// Statics with `#[unsafe(link_section = ".esplice.arena.table")]` are also in it, but not
/// part of the returned slice.
#[allow(dead_code, unsafe_code)]
pub fn r#table() -> Option<&'static mut [u8]> {
    static TAKEN: Once = Once::new();
    unsafe extern "C" {
        static mut __esplice_arena_table_free: u8;
        static mut __esplice_arena_table_end: u8;
    }
    if !TAKEN.take() {
        return None;
    }
    let start = &raw mut __esplice_arena_table_free;
    let len = (&raw mut __esplice_arena_table_end as usize).saturating_sub(start as usize);
    // SAFETY: the linker reserves these bytes for this slice, and it is returned only once.
    Some(unsafe { ::core::slice::from_raw_parts_mut(start.cast::<u8>(), len) })
}

/// The heap: the rest in `dram`, aligned to 16.
///
/// Returned once: `None` from the second call on.
#[allow(dead_code, unsafe_code)]
pub fn r#heap() -> Option<&'static mut [::core::mem::MaybeUninit<u8>]> {
    static TAKEN: Once = Once::new();
    unsafe extern "C" {
        static mut __esplice_heap_start: u8;
        static mut __esplice_heap_end: u8;
    }
    if !TAKEN.take() {
        return None;
    }
    let start = &raw mut __esplice_heap_start;
    let len = (&raw mut __esplice_heap_end as usize).saturating_sub(start as usize);
    // SAFETY: the linker reserves these bytes for this slice, and it is returned only once.
    Some(unsafe { ::core::slice::from_raw_parts_mut(start.cast::<::core::mem::MaybeUninit<u8>>(), len) })
}

/// Adds the result of [`heap`] to esp-alloc's heap:
/// `layout::add_heap_to_esp_alloc!(layout::heap())`. Returns its length in bytes, or `None` if the
/// heap was already taken.
#[allow(unused_macros)]
macro_rules! add_heap_to_esp_alloc {
    ($heap:expr) => {
        $heap.map(|heap| {
            let len = heap.len();
            let region = unsafe {
                // SAFETY: the heap is returned once, for good.
                ::esp_alloc::HeapRegion::new(
                    heap.as_mut_ptr().cast(),
                    len,
                    ::esp_alloc::MemoryCapability::Internal.into(),
                )
            };
            // SAFETY: as above.
            unsafe { ::esp_alloc::HEAP.add_region(region) };
            len
        })
    };
}
#[allow(unused_imports)]
pub(crate) use add_heap_to_esp_alloc;

/// Returns true once.
struct Once(::core::sync::atomic::AtomicBool);

impl Once {
    const fn new() -> Once {
        Once(::core::sync::atomic::AtomicBool::new(false))
    }

    #[allow(dead_code, unsafe_code)]
    #[cfg(target_has_atomic = "8")]
    fn take(&self) -> bool {
        !self.0.swap(true, ::core::sync::atomic::Ordering::AcqRel)
    }

    #[allow(dead_code, unsafe_code)]
    #[cfg(not(target_has_atomic = "8"))]
    fn take(&self) -> bool {
        use ::core::sync::atomic::Ordering::Relaxed;
        let status: usize;
        // SAFETY: disables interrupts; they are enabled again below if they were enabled.
        unsafe { ::core::arch::asm!("csrrci {0}, mstatus, 8", out(reg) status) };
        let free = !self.0.load(Relaxed);
        self.0.store(true, Relaxed);
        if status & 8 != 0 {
            unsafe { ::core::arch::asm!("csrsi mstatus, 8") };
        }
        free
    }
}
