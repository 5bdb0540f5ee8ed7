//! What the tests of several modules use.

use proptest::test_runner::Config;

/// Makes a value in the heap. The kernel's structures are statics of some megabytes, more than a test thread's stack
/// holds, so another thread makes it.
pub fn in_heap<T: Send + 'static>(make: fn() -> T) -> Box<T> {
    let maker = std::thread::Builder::new().stack_size(64 << 20).spawn(move || Box::new(make()));
    maker.expect("a thread can be started").join().expect("the value is made")
}

/// `cases` cases each; a failure is turned into a test of its own, not into a file of seeds.
pub fn cases(cases: u32) -> Config {
    Config { cases, max_shrink_iters: 400, failure_persistence: None, ..Config::default() }
}
