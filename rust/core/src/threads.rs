//! Thread pools that survive `fork`.
//!
//! A pool's worker threads do not exist in a forked child, where handing work to the inherited pool would wait for
//! ever. Pools are therefore kept with the id of the process that made them, and a process that finds another's
//! id leaves the inherited pools untouched (their locks may have been held at the moment of the fork) and makes its own.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};

struct Pools {
    process: u32,
    by_size: Mutex<HashMap<usize, Arc<ThreadPool>>>,
}

static POOLS: AtomicPtr<Pools> = AtomicPtr::new(std::ptr::null_mut());

/// The number of threads that `None` stands for: the processors this process may use.
pub fn available() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Runs `work` with `threads` workers at its disposal (`None`: every processor this process may use).
///
/// With one thread, `work` runs on the caller and rayon's parallel iterators inside it must not be used; `work` is
/// told the number of threads so that it can choose. Should the system refuse to start threads, it is told 1.
pub fn run<T: Send>(threads: Option<NonZeroUsize>, work: impl FnOnce(usize) -> T + Send) -> T {
    let size = threads.map_or_else(available, NonZeroUsize::get);
    match (size > 1).then(|| pool(size)).flatten() {
        Some(pool) => pool.install(|| work(size)),
        None => work(1),
    }
}

fn pool(size: usize) -> Option<Arc<ThreadPool>> {
    let mut by_size = pools().by_size.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pool) = by_size.get(&size) {
        return Some(Arc::clone(pool));
    }
    let pool = ThreadPoolBuilder::new().num_threads(size).thread_name(|i| format!("rsmooth-{i}")).build().ok()?;
    let pool = Arc::new(pool);
    by_size.insert(size, Arc::clone(&pool));
    Some(pool)
}

fn pools() -> &'static Pools {
    let process = std::process::id();
    let found = POOLS.load(Ordering::Acquire);
    // SAFETY: the pointer is null or came from `Box::into_raw` below and is never freed.
    if let Some(pools) = unsafe { found.as_ref() }
        && pools.process == process
    {
        return pools;
    }
    let fresh = Box::into_raw(Box::new(Pools { process, by_size: Mutex::default() }));
    match POOLS.compare_exchange(found, fresh, Ordering::AcqRel, Ordering::Acquire) {
        // SAFETY: `fresh` was made above and is now reachable by all, hence never freed.
        Ok(_) => unsafe { &*fresh },
        Err(winner) => {
            // SAFETY: `fresh` lost the race, so nothing else has seen it.
            drop(unsafe { Box::from_raw(fresh) });
            // SAFETY: the winner is another thread of this process and put a pointer from `Box::into_raw`.
            unsafe { &*winner }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_runs_in_a_pool_of_the_size_asked_for() {
        for size in [2, 3] {
            let (told, seen) = run(NonZeroUsize::new(size), |told| (told, rayon::current_num_threads()));
            assert_eq!((told, seen), (size, size));
        }
        assert_eq!(run(NonZeroUsize::new(1), |told| told), 1);
    }

    #[test]
    fn a_pool_is_made_once() {
        assert!(Arc::ptr_eq(&pool(2).unwrap(), &pool(2).unwrap()));
    }
}
