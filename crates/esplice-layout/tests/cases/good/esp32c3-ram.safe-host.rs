// Written by esplice from the memory layout; changes here are lost.
::esplice_rt::host_block! {
    /// Arena `dma`: 16384 bytes in `dram`, aligned to 64. Its contents are undefined.
    ///
    /// Returned once: `None` from the second call on.
    ///
    /// Statics with `#[unsafe(link_section = ".esplice.arena.dma")]` are also in it, but not
    /// part of the returned slice.
    r#dma: ::core::mem::MaybeUninit<u8>, 16384, 64, ::core::mem::MaybeUninit::uninit()
}
::esplice_rt::host_block! {
    /// The heap: the rest in `dram`, aligned to 16.
    ///
    /// Returned once: `None` from the second call on.
    r#heap: ::core::mem::MaybeUninit<u8>, 65536, 16, ::core::mem::MaybeUninit::uninit()
}

#[allow(unused_imports)]
pub(crate) use ::esplice_rt::add_heap_to_esp_alloc;
