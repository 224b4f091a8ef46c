// Written by esplice from the memory layout; changes here are lost.
::esplice_rt::block! {
    /// Arena `slow`: 2048 bytes in `rtc-slow`, aligned to 16. Its contents are undefined.
    ///
    /// Returned once: `None` from the second call on.
    ///
    /// Statics with `#[unsafe(link_section = ".esplice.arena.slow")]` are also in it, but not
    /// part of the returned slice.
    r#slow: ::core::mem::MaybeUninit<u8>, __esplice_arena_slow_free, __esplice_arena_slow_end
}
::esplice_rt::block! {
    /// The heap: 98304 bytes in `dram`, aligned to 16.
    ///
    /// Returned once: `None` from the second call on.
    r#heap: ::core::mem::MaybeUninit<u8>, __esplice_heap_start, __esplice_heap_end
}

#[allow(unused_imports)]
pub(crate) use ::esplice_rt::add_heap_to_esp_alloc;
