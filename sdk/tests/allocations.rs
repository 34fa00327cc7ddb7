//! Our stages allocate nothing per frame once they are warm; what tract allocates is counted and pinned.
//!
//! The counts depend on the graph of the default pack, not on its weights.

use keyface::align::align;
use keyface::detect::Detection;
use keyface::frame::{Frame, Plane};
use keyface::geometry::{Rect, Similarity, TEMPLATE_112};
use keyface::pack::{Pack, Trust};
use keyface::pipeline::{Model, Options, Pipeline};
use keyface::quality::{assess, QualityLimits};
use keyface::sample::{downscale_bytes_into, Crop, Fit};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// The standard library offers no other way to count allocations than a global allocator.
#[allow(unsafe_code)]
// SAFETY: every call is handed to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|c| c.set(c.get() + 1));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.with(|c| c.set(c.get() + 1));
        // SAFETY: the caller's promise.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of this thread while `work` runs.
fn allocations(work: impl FnOnce()) -> usize {
    let before = COUNT.with(Cell::get);
    work();
    COUNT.with(Cell::get) - before
}

#[test]
fn a_warm_pipeline_allocates_only_inside_tract() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/models/default.kfpack");
    let pack = Pack::open(path.as_ref(), Trust::Anyone).expect("the default pack");
    let model = Model::load(pack).expect("a sound pack");
    let mut pipeline = Pipeline::new(&model, &Options::default()).expect("a pipeline");
    let (luma, chroma) = (vec![120u8; 640 * 480], vec![128u8; 640 * 240]);
    let plane = |data| Plane { data, stride: 640 };
    let frame = Frame::nv12(plane(&luma), plane(&chroma), 640, 480).expect("a sound frame");
    let place = Similarity::new(1.5, 0.1, 200.0, 150.0).expect("a sound transform");
    let face = Detection {
        rect: Rect::new(200.0, 150.0, 170.0, 170.0),
        points: place.apply5(&TEMPLATE_112),
        score: 0.9,
    };

    // Sampling, alignment, quality: nothing at all.
    let mut crop = Crop::new();
    let fit = Fit::long_side((640, 480), 320, 32).expect("a sound size");
    let mut input = vec![0; 3 * fit.network_size().0 * fit.network_size().1];
    let ours = allocations(|| {
        downscale_bytes_into(&frame, &fit, &mut input).expect("sampling");
        let alignment = align(&frame, &face.points, &mut crop).expect("a face");
        let limits = QualityLimits::default();
        std::hint::black_box(assess(
            &frame,
            &face.points,
            0.9,
            alignment.to_crop(),
            &crop,
            &limits,
        ));
    });
    assert_eq!(ours, 0, "our stages");

    // Detection and embedding: what tract allocates, the same on every frame.
    let mut counts = Vec::new();
    for _ in 0..4 {
        let detect = allocations(|| {
            pipeline.detect(&frame).expect("detection");
        });
        let describe = allocations(|| {
            pipeline.describe(&frame, &face).expect("embedding");
        });
        counts.push((detect, describe));
    }
    println!("allocations per frame inside tract: detect {}, embed {}", counts[3].0, counts[3].1);
    assert_eq!(counts[2], counts[3], "a warm pipeline is steady");
    assert!(
        counts[3].0 <= DETECT && counts[3].1 <= EMBED,
        "tract allocates more than before: {counts:?}"
    );
}

/// Pinned: what tract 0.23.9 allocates for the landmark network and for the recogniser's plan.
const DETECT: usize = 42;
const EMBED: usize = 88;
