//! The memory estimate against what is really allocated.

use keyface::frame::Frame;
use keyface::pack::{Pack, Trust};
use keyface::pipeline::{estimate_memory, Model, Options, Pipeline};
use keyface::ErrorKind;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn add(bytes: usize) {
    let live = LIVE.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(live, Ordering::Relaxed);
}

// The standard library offers no other way to count allocations than a global allocator.
#[allow(unsafe_code)]
// SAFETY: every call is handed to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The highest number of bytes that `work` holds at once beyond what is live now.
fn peak<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let result = work();
    (result, (PEAK.load(Ordering::Relaxed) - before) as u64)
}

fn pack() -> Arc<Pack> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/models/default.kfpack");
    Pack::open(path.as_ref(), Trust::Anyone).expect("the default pack")
}

#[test]
fn estimates_are_above_the_truth_and_not_far() {
    let pack = pack();
    let (model, loaded) = peak(|| Model::load(pack.clone()).expect("a sound pack"));
    for (threads, long_side) in [(1, 320), (2, 640)] {
        let options = Options { threads, long_side, ..Options::default() };
        let estimate = estimate_memory(&pack, &options).expect("both networks");
        let picture = vec![90; 3 * long_side * long_side];
        let ((), used) = peak(|| {
            let mut pipeline = Pipeline::new(&model, &options).expect("a pipeline");
            let frame = Frame::rgb8(&picture, long_side, long_side).expect("a frame");
            pipeline.detect(&frame).expect("detection");
            let aligned = Frame::rgb8(&picture[..3 * 112 * 112], 112, 112).expect("a frame");
            pipeline.embed_aligned(&aligned, None).expect("an embedding");
        });
        println!(
            "model {loaded} of {}, pipeline of {threads} threads at {long_side}: {used} of {}",
            estimate.model, estimate.pipeline
        );
        assert!(loaded <= estimate.model && used <= estimate.pipeline, "too low");
        assert!(used * 4 >= estimate.pipeline, "far too high");
    }
}

#[test]
fn a_limit_holds_for_a_model_and_all_its_pipelines() {
    let (pack, options) = (pack(), Options::default());
    let need = estimate_memory(&pack, &options).expect("both networks");
    let refused = Model::load_within(pack.clone(), need.model - 1).err().map(|e| e.kind());
    assert_eq!(refused, Some(ErrorKind::MemoryLimit));
    let model = Model::load_within(pack, need.model + need.pipeline).expect("room for one");
    let first = Pipeline::new(&model, &options).expect("room for one");
    let second = Pipeline::new(&model, &options).err().map(|e| e.kind());
    assert_eq!(second, Some(ErrorKind::MemoryLimit));
    drop(first);
    Pipeline::new(&model, &options).expect("room again");
}
