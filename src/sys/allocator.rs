//! The C library's allocator, kept small.

/// `#define M_ARENA_MAX -8` (malloc.h)
const M_ARENA_MAX: nix::libc::c_int = -8;

/// Limits malloc to `arenas` arenas: one per thread of the blocking pool would multiply the
/// resident memory of an idle agent. Call it before the first thread starts (mallopt(3)).
#[expect(unsafe_code, reason = "mallopt has no safe wrapper")]
pub fn limit_arenas(arenas: u8) {
    // SAFETY: mallopt only changes a tuning value of the allocator and takes no pointers.
    unsafe { nix::libc::mallopt(M_ARENA_MAX, arenas.into()) };
}

/// Gives freed memory back to the kernel (malloc_trim(3)).
#[expect(unsafe_code, reason = "malloc_trim has no safe wrapper")]
pub fn trim() {
    // SAFETY: malloc_trim only releases free pages of the allocator.
    unsafe { nix::libc::malloc_trim(0) };
}
