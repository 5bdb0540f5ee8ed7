//! What the tests of several modules use.

use proptest::test_runner::Config;

/// Makes a value in the heap. The kernel's structures are statics of some megabytes, more than a test thread's stack
/// holds, so another thread makes it.
pub fn in_heap<T: Send + 'static>(make: fn() -> T) -> Box<T> {
    let maker = std::thread::Builder::new().stack_size(64 << 20).spawn(move || Box::new(make()));
    maker.expect("a thread can be started").join().expect("the value is made")
}

/// `cases` cases, or `PROPTEST_CASES` if that is set. A failure is turned into a test of its own, not into a file of
/// seeds.
pub fn cases(cases: u32) -> Config {
    let known = Config::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { known.cases } else { cases };
    Config { cases, max_shrink_iters: 2000, failure_persistence: None, ..known }
}
