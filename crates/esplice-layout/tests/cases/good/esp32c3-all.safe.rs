// Written by esplice from the memory layout; changes here are lost.
::esplice_rt::block! {
    /// Arena `dma`: 16384 bytes in `dram`, aligned to 64. Its contents are undefined.
    ///
    /// Returned once: `None` from the second call on.
    ///
    /// Statics with `#[unsafe(link_section = ".esplice.arena.dma")]` are also in it, but not
    /// part of the returned slice.
    r#dma: ::core::mem::MaybeUninit<u8>, __esplice_arena_dma_free, __esplice_arena_dma_end
}
::esplice_rt::block! {
    /// Arena `frames`: 33152 bytes in `dram2`, aligned to 16. Its contents are undefined.
    ///
    /// Returned once: `None` from the second call on.
    ///
    /// Statics with `#[unsafe(link_section = ".esplice.arena.frames")]` are also in it, but not
    /// part of the returned slice.
    r#frames: ::core::mem::MaybeUninit<u8>, __esplice_arena_frames_free, __esplice_arena_frames_end
}
::esplice_rt::block! {
    /// Arena `log`: 1024 bytes in `rtc-fast`, aligned to 16. Its contents outlive a reset; after power-on they are undefined.
    ///
    /// Returned once: `None` from the second call on.
    ///
    /// Statics with `#[unsafe(link_section = ".esplice.arena.log")]` are also in it, but not
    /// part of the returned slice.
    r#log: ::core::mem::MaybeUninit<u8>, __esplice_arena_log_free, __esplice_arena_log_end
}
::esplice_rt::block! {
    /// Arena `table`: 512 bytes in `dram`, aligned to 16. Filled with 0xa5.
    ///
    /// Returned once: `None` from the second call on.
    ///
    /// Statics with `#[unsafe(link_section = ".esplice.arena.table")]` are also in it, but not
    /// part of the returned slice.
    r#table: u8, __esplice_arena_table_free, __esplice_arena_table_end
}
::esplice_rt::block! {
    /// The heap: the rest in `dram`, aligned to 16.
    ///
    /// Returned once: `None` from the second call on.
    r#heap: ::core::mem::MaybeUninit<u8>, __esplice_heap_start, __esplice_heap_end
}

#[allow(unused_imports)]
pub(crate) use ::esplice_rt::add_heap_to_esp_alloc;
