//! Any bytes as a calibration table: an error, or thresholds that fall as the rate rises.
#![no_main]

use keyface::calibration::Calibration;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(table) = Calibration::parse(data) {
        let mut last = f32::INFINITY;
        for exponent in (0..60).rev() {
            let target = 0.9 * 0.5f64.powi(exponent);
            if let Ok(threshold) = table.threshold_for_fmr(target) {
                assert!(threshold <= last);
                last = threshold;
            }
            let _ = table.threshold_for_fpir(target, data.len() * 1000);
        }
        let bytes = table.to_json().expect("what was read can be written");
        assert_eq!(Calibration::parse(&bytes).as_ref(), Ok(&table));
    }
});
