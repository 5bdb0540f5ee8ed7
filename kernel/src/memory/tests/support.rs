//! Helpers for the tests of several modules.

use proptest::test_runner::Config;

/// Creates a value on the heap. The kernel's structures have some megabytes, more than the stack of a test thread, so a
/// thread with a larger stack creates it.
pub fn in_heap<T: Send + 'static>(make: fn() -> T) -> Box<T> {
    let maker = std::thread::Builder::new().stack_size(64 << 20).spawn(move || Box::new(make()));
    maker.expect("a thread can be started").join().expect("the value is made")
}

/// `cases` cases, or `PROPTEST_CASES` if that is set. No file of seeds is written: a failure should become a test.
pub fn cases(cases: u32) -> Config {
    let known = Config::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { known.cases } else { cases };
    Config { cases, max_shrink_iters: 2000, failure_persistence: None, ..known }
}
