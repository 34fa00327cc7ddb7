//! A small fixed pool of threads for splitting the rows or channels of one layer.
//!
//! Threads start once, in [`Pool::new`]. Between two layers they poll for some microseconds, then park: an idle pool uses no
//! CPU time. A thread that is not running when a layer begins, because others hold its CPU, costs the layer nothing: the
//! work is shared out chunk by chunk among those that come, and only they are waited for. The result of a kernel never
//! depends on the number of threads, because a chunk's work is the same whoever does it and chunks write disjoint outputs.

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, Thread};

use super::scratch::Scratch;
use crate::error::{Error, ErrorKind, Result};

/// Most polls of a waiting thread before it parks: ten to thirty microseconds, which bridges the gap between two layers.
const MOST_SPINS: u32 = 800;
/// Fewest polls. A thread that parked in vain polls half as long the next time, one that did not twice as long.
const FEWEST_SPINS: u32 = 25;

/// `f(chunk, scratch)`.
type Work<'a> = dyn Fn(usize, &mut Scratch) + Sync + 'a;

#[derive(Clone)]
struct Job {
    /// Its real lifetime is that of the call of `Pool::run`.
    work: *const Work<'static>,
    chunks: usize,
    caller: Thread,
}

/// Bits of [`Shared::gate`] that count the workers inside the job.
const INSIDE: usize = 0xff;
/// Set while workers may enter.
const OPEN: usize = 0x100;
/// What the number of the job counts in.
const NUMBER: usize = 0x200;

#[derive(Default)]
struct Shared {
    /// The job's number, [`OPEN`], and how many workers are [`INSIDE`]. Only the caller of `Pool::run` opens and closes it.
    gate: AtomicUsize,
    /// Written while the gate is closed and nobody inside, read by those inside.
    job: UnsafeCell<Option<Job>>,
    /// The next chunk that nobody has taken.
    next: AtomicUsize,
    /// The first panic of a worker in this job.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Set from the beginning of `Pool::run` to its end.
    running: AtomicBool,
    shutdown: AtomicBool,
}

// SAFETY: `job` is written by the one running caller of `Pool::run` while the gate is closed and nobody inside, and read by
// workers that entered through the open gate; entering acquires what opening released, and the caller waits for all inside.
// The pointer in it is only followed inside, while `Pool::run` keeps the referent alive, and the referent is `Sync`.
unsafe impl Sync for Shared {}
// SAFETY: as above.
unsafe impl Send for Shared {}

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

    /// As [`Pool::new`] without the limit of CPUs (but at most 256): tests show that results do not depend on the number.
    ///
    /// # Errors
    /// `Io` when the system refuses a thread.
    pub fn with_exactly(threads: usize) -> Result<Pool> {
        let shared = Arc::new(Shared::default());
        let mut pool = Pool { shared, workers: Vec::new(), layer: Mutex::default() };
        for _ in 1..threads.min(INSIDE + 1) {
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
        let shared = &*self.shared;
        // The layer's lock sees to it; the job's soundness does not rest on every caller having taken it.
        assert!(!shared.running.swap(true, Ordering::Acquire), "a pool runs one job at a time");
        // SAFETY: only the lifetime changes. No worker touches the job after it left, and all have left before this
        // function returns or unwinds.
        let erased = unsafe {
            std::mem::transmute::<*const Work<'_>, *const Work<'static>>(std::ptr::from_ref(work))
        };
        let job = Job { work: erased, chunks, caller: std::thread::current() };
        // SAFETY: the gate is closed and nobody inside, and `running` keeps other callers away.
        unsafe { *shared.job.get() = Some(job) };
        shared.next.store(0, Ordering::Relaxed);
        let number = shared.gate.load(Ordering::Relaxed).wrapping_add(NUMBER);
        shared.gate.store(number | OPEN, Ordering::Release);
        // No system call for those that are polling.
        self.workers.iter().for_each(|worker| worker.thread().unpark());
        let mine = catch_unwind(AssertUnwindSafe(|| drain(shared, chunks, work, own)));
        shared.gate.fetch_and(!OPEN, Ordering::AcqRel);
        let mut spins = 0;
        while shared.gate.load(Ordering::Acquire) & INSIDE != 0 {
            if spins < MOST_SPINS {
                spins += 1;
                std::hint::spin_loop();
            } else {
                // The last worker inside wakes this thread.
                std::thread::park();
            }
        }
        let theirs = lock(&shared.panic).take();
        shared.running.store(false, Ordering::Release);
        if let Some(panic) = mine.err().or(theirs) {
            resume_unwind(panic);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.shutdown.store(true, Ordering::Release);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker hands its panics to `run`, so it has none of its own.
            let _ = worker.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn drain(shared: &Shared, chunks: usize, work: &Work<'_>, scratch: &mut Scratch) {
    loop {
        let chunk = shared.next.fetch_add(1, Ordering::Relaxed);
        if chunk >= chunks {
            return;
        }
        work(chunk, scratch);
    }
}

/// What a worker remembers between jobs.
struct Waiting {
    /// Number of the last job it took part in.
    seen: usize,
    /// Polls before it parks.
    spins: u32,
}

/// Waits for a job that this worker has not been in and enters it; `None` when the pool ends.
fn enter(shared: &Shared, waiting: &mut Waiting) -> Option<Job> {
    let mut spins = 0;
    loop {
        let gate = shared.gate.load(Ordering::Relaxed);
        if gate & OPEN != 0 && gate / NUMBER != waiting.seen {
            let entered = shared.gate.compare_exchange_weak(
                gate,
                gate + 1,
                Ordering::Acquire,
                Ordering::Relaxed,
            );
            if entered.is_ok() {
                waiting.seen = gate / NUMBER;
                waiting.spins = match spins < waiting.spins {
                    true => (waiting.spins * 2).min(MOST_SPINS),
                    false => (waiting.spins / 2).max(FEWEST_SPINS),
                };
                // SAFETY: this worker is inside: nobody writes the job before it leaves.
                return unsafe { (*shared.job.get()).clone() };
            }
        } else if shared.shutdown.load(Ordering::Acquire) {
            return None;
        } else if spins < waiting.spins {
            spins += 1;
            std::hint::spin_loop();
        } else {
            std::thread::park();
        }
    }
}

fn worker(shared: &Shared) {
    let mut scratch = Scratch::default();
    let mut waiting = Waiting { seen: 0, spins: FEWEST_SPINS };
    while let Some(job) = enter(shared, &mut waiting) {
        // SAFETY: `run` waits for this worker to leave below before the closure dies.
        let work = unsafe { &*job.work };
        let result =
            catch_unwind(AssertUnwindSafe(|| drain(shared, job.chunks, work, &mut scratch)));
        if let Err(panic) = result {
            lock(&shared.panic).get_or_insert(panic);
        }
        // The last to leave a closed gate.
        if shared.gate.fetch_sub(1, Ordering::AcqRel) & (OPEN | INSIDE) == 1 {
            job.caller.unpark();
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
    #[cfg(target_os = "linux")]
    fn the_number_of_threads_is_bounded_by_affinity() {
        // A thread's own mask, and what this pool's threads inherit; other tests keep theirs.
        std::thread::spawn(|| {
            // SAFETY: the set is plain data of the size that is passed; both calls only touch it and this thread's mask.
            unsafe {
                let mut set: libc::cpu_set_t = std::mem::zeroed();
                let size = size_of::<libc::cpu_set_t>();
                assert_eq!(libc::sched_getaffinity(0, size, &raw mut set), 0);
                let first = (0..8 * size).find(|&cpu| libc::CPU_ISSET(cpu, &set)).unwrap();
                libc::CPU_ZERO(&mut set);
                libc::CPU_SET(first, &mut set);
                assert_eq!(libc::sched_setaffinity(0, size, &raw const set), 0);
            }
            assert_eq!(Pool::new(8).unwrap().threads(), 1);
            // Four threads on one CPU: whoever comes late finds the gate closed, and nobody waits for him.
            let pool = Pool::with_exactly(4).unwrap();
            let count = AtomicU32::new(0);
            for _ in 0..500 {
                run(&pool, 8, &|_, _| {
                    count.fetch_add(1, Ordering::Relaxed);
                });
            }
            assert_eq!(count.load(Ordering::Relaxed), 500 * 8);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn jobs_in_a_job_are_refused() {
        let pool = Pool::with_exactly(2).unwrap();
        let nested = || run_in(&pool, &mut Scratch::default());
        let outer = catch_unwind(AssertUnwindSafe(|| run(&pool, 4, &|_, _| nested())));
        assert!(outer.is_err());
        run(&pool, 4, &|_, _| {});
    }

    fn run_in(pool: &Pool, own: &mut Scratch) {
        pool.run(own, 4, &|_, _| {});
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
