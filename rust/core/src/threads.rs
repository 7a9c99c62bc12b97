//! Thread pools that survive `fork`.
//!
//! A pool's worker threads do not exist in a forked child, where handing work to the inherited pool would wait for
//! ever. Pools are therefore kept with the id of the process that made them, and a process that finds another's
//! id leaves the inherited pools untouched (their locks may have been held at the moment of the fork) and makes its own.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;
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

/// Calls `work` on every item, with `threads` threads (`None`: every processor this process may use), and returns the error
/// of the first item, in their order, that has one.
///
/// A single thread is the caller's own; so it is where there is one item, or where the system refuses to start threads.
/// After an error, later items may or may not be worked on.
pub fn for_each<I: Send, E: Send>(
    threads: Option<NonZeroUsize>,
    items: impl ExactSizeIterator<Item = I>,
    work: impl Fn(I) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let size = threads.map_or_else(available, NonZeroUsize::get);
    let mut items = items;
    match (size > 1 && items.len() > 1).then(|| pool(size)).flatten() {
        Some(pool) => {
            let items: Vec<I> = items.collect();
            pool.install(|| items.into_par_iter().map(&work).find_first(Result::is_err).unwrap_or(Ok(())))
        }
        None => items.try_for_each(work),
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
            let done = for_each(NonZeroUsize::new(size), 0..100, |_| match rayon::current_num_threads() {
                seen if seen == size => Ok(()),
                other => Err(other),
            });
            assert_eq!(done, Ok(()));
        }
    }

    #[test]
    fn a_single_thread_is_the_callers_own() {
        let caller = std::thread::current().id();
        let at_caller = |_| if std::thread::current().id() == caller { Ok(()) } else { Err(()) };
        assert_eq!(for_each(NonZeroUsize::new(1), 0..100, at_caller), Ok(()));
        assert_eq!(for_each(NonZeroUsize::new(2), 0..1, at_caller), Ok(()));
    }

    #[test]
    fn the_first_error_is_returned_whatever_the_threads() {
        for threads in [1, 2, 3] {
            let done = for_each(NonZeroUsize::new(threads), 0..1000, |i| if i % 100 == 77 { Err(i) } else { Ok(()) });
            assert_eq!(done, Err(77));
        }
    }

    #[test]
    fn a_pool_is_made_once() {
        assert!(Arc::ptr_eq(&pool(2).unwrap(), &pool(2).unwrap()));
    }
}
