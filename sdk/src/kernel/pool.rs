//! A small fixed pool of threads for splitting the rows or channels of one layer.
//!
//! Threads start once, in [`Pool::new`], spin for a few microseconds between the phases of a layer and then park on a
//! condition variable: an idle pool uses no CPU time. The result of a kernel never depends on the number of threads,
//! because a chunk's work is the same whoever does it and chunks write disjoint outputs.

use std::any::Any;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::scratch::Scratch;
use crate::error::{Error, ErrorKind, Result};

/// Polls before a waiting thread parks: long enough to bridge the gap between two layers, short enough to cost nothing
/// once a frame is done.
const SPINS: u32 = 4000;

/// `f(chunk, scratch)`.
type Work<'a> = dyn Fn(usize, &mut Scratch) + Sync + 'a;

#[derive(Clone, Copy)]
struct Job {
    /// Its real lifetime is that of the call of `Pool::run`.
    work: *const Work<'static>,
    chunks: usize,
}
// SAFETY: the pointer is only followed between the start and the end of `Pool::run`, which keeps the referent alive,
// and the referent is `Sync`.
unsafe impl Send for Job {}

#[derive(Default)]
struct State {
    job: Option<Job>,
    /// Workers that have not yet finished the current job.
    pending: usize,
    panic: Option<Box<dyn Any + Send>>,
    shutdown: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    done: Condvar,
    /// Counts jobs; a worker waits until it moves on.
    epoch: AtomicUsize,
    /// Mirror of `State::pending` for spinning.
    pending: AtomicUsize,
    /// The next chunk that nobody has taken.
    next: AtomicUsize,
}

/// A fixed number of threads, the calling one included.
///
/// Sharing one pool between threads is allowed: their layers then take turns. Dropping it joins its threads.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Memory of the layer in progress, and its lock: one layer at a time.
    layer: Mutex<LayerScratch>,
}

/// What the calling thread of a layer owns.
#[derive(Default)]
pub(super) struct LayerScratch {
    /// Read by all chunks: quantised activations.
    pub(super) common: Scratch,
    /// The calling thread's own.
    pub(super) own: Scratch,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("threads", &self.threads()).finish_non_exhaustive()
    }
}

impl Pool {
    /// A pool of `threads` threads (the caller counts as one), lowered to the CPUs that this process may use
    /// (`sched_getaffinity` and the control group's quota). 1 starts no thread.
    ///
    /// # Errors
    /// `InvalidArgument` for 0, `Io` when the system refuses a thread.
    pub fn new(threads: usize) -> Result<Pool> {
        if threads == 0 {
            return Err(Error::new(ErrorKind::InvalidArgument, "a pool needs at least one thread"));
        }
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Pool::with_exactly(threads.min(cpus))
    }

    /// As [`Pool::new`] without the limit of CPUs: tests show that results do not depend on the number.
    ///
    /// # Errors
    /// `Io` when the system refuses a thread.
    pub fn with_exactly(threads: usize) -> Result<Pool> {
        let shared = Arc::new(Shared::default());
        let mut pool = Pool { shared, workers: Vec::new(), layer: Mutex::default() };
        for _ in 1..threads {
            let shared = Arc::clone(&pool.shared);
            let worker = std::thread::Builder::new()
                .name("keyface-kernel".into())
                .spawn(move || worker(&shared))
                .map_err(|e| Error::io("start a kernel thread", &e))?;
            pool.workers.push(worker);
        }
        Ok(pool)
    }

    /// How many threads work on a layer, the calling one included.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Begins a layer; others wait until the guard is dropped.
    pub(super) fn layer(&self) -> MutexGuard<'_, LayerScratch> {
        self.layer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `work(chunk, scratch)` once for every chunk in `0..chunks`, in any order, on any thread of the pool, and
    /// returns when all are done. `own` is the calling thread's scratch, from [`Pool::layer`].
    ///
    /// # Panics
    /// With the first panic of `work`, after all threads have let go of it.
    pub(super) fn run(&self, own: &mut Scratch, chunks: usize, work: &Work<'_>) {
        if self.workers.is_empty() || chunks <= 1 {
            (0..chunks).for_each(|chunk| work(chunk, own));
            return;
        }
        // SAFETY: only the lifetime changes. The job is taken back below before this function returns or unwinds, and
        // no worker touches it after counting itself out of `pending`.
        let erased = unsafe {
            std::mem::transmute::<*const Work<'_>, *const Work<'static>>(std::ptr::from_ref(work))
        };
        let shared = &*self.shared;
        {
            let mut state = lock(&shared.state);
            state.job = Some(Job { work: erased, chunks });
            state.pending = self.workers.len();
            shared.pending.store(self.workers.len(), Ordering::Release);
            shared.next.store(0, Ordering::Release);
            shared.epoch.fetch_add(1, Ordering::Release);
        }
        shared.wake.notify_all();
        let mine = catch_unwind(AssertUnwindSafe(|| drain(shared, chunks, work, own)));
        for _ in 0..SPINS {
            if shared.pending.load(Ordering::Acquire) == 0 {
                break;
            }
            std::hint::spin_loop();
        }
        let mut state = lock(&shared.state);
        while state.pending > 0 {
            state = shared.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.job = None;
        let theirs = state.panic.take();
        drop(state);
        if let Some(panic) = mine.err().or(theirs) {
            resume_unwind(panic);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        lock(&self.shared.state).shutdown = true;
        self.shared.epoch.fetch_add(1, Ordering::Release);
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            // A worker hands its panics to `run`, so it has none of its own.
            let _ = worker.join();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn drain(shared: &Shared, chunks: usize, work: &Work<'_>, scratch: &mut Scratch) {
    loop {
        let chunk = shared.next.fetch_add(1, Ordering::AcqRel);
        if chunk >= chunks {
            return;
        }
        work(chunk, scratch);
    }
}

fn worker(shared: &Shared) {
    let mut scratch = Scratch::default();
    let mut seen = 0;
    loop {
        for _ in 0..SPINS {
            if shared.epoch.load(Ordering::Acquire) != seen {
                break;
            }
            std::hint::spin_loop();
        }
        let job = {
            let mut state = lock(&shared.state);
            while !state.shutdown && shared.epoch.load(Ordering::Acquire) == seen {
                state = shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.shutdown {
                return;
            }
            seen = shared.epoch.load(Ordering::Acquire);
            state.job
        };
        let Some(job) = job else { continue };
        // SAFETY: `run` waits for this worker to count itself out below before the closure dies.
        let work = unsafe { &*job.work };
        let result =
            catch_unwind(AssertUnwindSafe(|| drain(shared, job.chunks, work, &mut scratch)));
        let mut state = lock(&shared.state);
        if let Err(panic) = result {
            state.panic.get_or_insert(panic);
        }
        state.pending -= 1;
        shared.pending.store(state.pending, Ordering::Release);
        if state.pending == 0 {
            shared.done.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    fn run(pool: &Pool, chunks: usize, work: &(dyn Fn(usize, &mut Scratch) + Sync)) {
        pool.run(&mut pool.layer().own, chunks, work);
    }

    #[test]
    fn every_chunk_runs_once() {
        for threads in [1, 2, 4] {
            let pool = Pool::with_exactly(threads).unwrap();
            assert_eq!(pool.threads(), threads);
            for chunks in [0, 1, 2, 3, 7, 100] {
                for _ in 0..20 {
                    let counts: Vec<AtomicU32> = (0..chunks).map(|_| AtomicU32::new(0)).collect();
                    run(&pool, chunks, &|i, _| {
                        counts[i].fetch_add(1, Ordering::Relaxed);
                    });
                    assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1));
                }
            }
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_survives() {
        let pool = Pool::with_exactly(3).unwrap();
        for bad in [0, 5, 63] {
            let result = catch_unwind(AssertUnwindSafe(|| {
                run(&pool, 64, &|i, _| assert!(i != bad, "chunk"))
            }));
            assert!(result.is_err());
            let count = AtomicU32::new(0);
            run(&pool, 64, &|_, _| {
                count.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(count.load(Ordering::Relaxed), 64);
        }
    }

    #[test]
    fn the_number_of_threads_is_bounded() {
        assert!(Pool::new(0).is_err());
        let cpus = std::thread::available_parallelism().unwrap().get();
        assert_eq!(Pool::new(1000).unwrap().threads(), cpus);
    }

    #[test]
    fn two_callers_take_turns() {
        let pool = Pool::with_exactly(2).unwrap();
        let count = AtomicU32::new(0);
        std::thread::scope(|s| {
            for _ in 0..3 {
                s.spawn(|| {
                    for _ in 0..50 {
                        run(&pool, 8, &|_, _| {
                            count.fetch_add(1, Ordering::Relaxed);
                        });
                    }
                });
            }
        });
        assert_eq!(count.load(Ordering::Relaxed), 3 * 50 * 8);
    }
}
