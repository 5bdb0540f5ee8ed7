//! Helpers for the tests of several modules.

use proptest::test_runner::Config;

/// Creates a value on the heap. The kernel's structures have some megabytes, more than the stack of a test thread, so a
/// thread with a larger stack creates it.
pub fn in_heap<T: Send + 'static>(make: fn() -> T) -> Box<T> {
    let maker = std::thread::Builder::new().stack_size(64 << 20).spawn(move || Box::new(make()));
    maker.expect("a thread can be started").join().expect("the value is made")
}

/// `cases` cases, and 2000 attempts to simplify one that fails, or `PROPTEST_CASES` and `PROPTEST_MAX_SHRINK_ITERS` if
/// those are set. No file of seeds is written: a failure should become a test.
pub fn cases(cases: u32) -> Config {
    let known = Config::default();
    let is_set = |name| std::env::var_os(name).is_some();
    let cases = if cfg!(miri) { 1 } else { cases };
    let cases = if is_set("PROPTEST_CASES") { known.cases } else { cases };
    let max_shrink_iters = if is_set("PROPTEST_MAX_SHRINK_ITERS") { known.max_shrink_iters } else { 2000 };
    Config { cases, max_shrink_iters, failure_persistence: None, ..known }
}
