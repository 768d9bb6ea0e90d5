//! [`prefetch`]: memory that will be looked at soon.

/// Bytes of a line of the processor's cache.
const LINE: usize = 64;

/// Begins to load `values` into the processor's cache, and waits for nothing: for searches that go side by side, so
/// that one waits for memory while others do. A hint only, and none on processors other than x86-64.
///
/// # Cost
/// An instruction for each 64 bytes.
#[inline]
pub fn prefetch<T>(values: &[T]) {
    for offset in (0..size_of_val(values)).step_by(LINE) {
        prefetch_line(values.as_ptr().cast::<i8>().wrapping_add(offset));
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline]
#[expect(
    unsafe_code,
    reason = "a load would do, but the processor waits for it: many searches side by side gain nothing then"
)]
fn prefetch_line(place: *const i8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

    // SAFETY: it is no access: it changes nothing but the cache, and does not fault whatever the address is. Every
    // x86-64 processor has it.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(place) }
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
#[inline]
fn prefetch_line(_place: *const i8) {}
