//! The allocator of the C library, which Rust, SQLite and usearch share.

/// Asks it to give freed pages back to the system, after work that has left many. glibc keeps those that lie below others
/// in its heaps; elsewhere nothing is done.
pub fn give_pages_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn malloc_trim(pad: usize) -> std::ffi::c_int;
        }
        // SAFETY: the signature is that of <malloc.h> in every glibc; it may be called from any thread at any time.
        unsafe { malloc_trim(0) };
    }
}
