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
    #[repr(align(64))]
    struct Block([::core::mem::MaybeUninit<u8>; 16384]);
    static mut BLOCK: Block = Block([::core::mem::MaybeUninit::uninit(); 16384]);
    if !TAKEN.take() {
        return None;
    }
    let block = &raw mut BLOCK;
    // SAFETY: no other code names this static, and it is returned only once.
    let block: &'static mut Block = unsafe { &mut *block };
    Some(&mut block.0)
}

/// The heap: the rest in `dram`, aligned to 16.
///
/// Returned once: `None` from the second call on.
#[allow(dead_code, unsafe_code)]
pub fn r#heap() -> Option<&'static mut [::core::mem::MaybeUninit<u8>]> {
    static TAKEN: Once = Once::new();
    #[repr(align(16))]
    struct Block([::core::mem::MaybeUninit<u8>; 65536]);
    static mut BLOCK: Block = Block([::core::mem::MaybeUninit::uninit(); 65536]);
    if !TAKEN.take() {
        return None;
    }
    let block = &raw mut BLOCK;
    // SAFETY: no other code names this static, and it is returned only once.
    let block: &'static mut Block = unsafe { &mut *block };
    Some(&mut block.0)
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

    #[allow(dead_code)]
    fn take(&self) -> bool {
        !self.0.swap(true, ::core::sync::atomic::Ordering::AcqRel)
    }
}
