//! Runs inside the VM of `tests/vm/run` and checks the product against real kernel drivers: `vm_checks` alone runs everything. Prints a line
//! per check and `N passed, N failed`; exits with 0 if none failed.

mod bridge;
mod checks;
mod door;
mod pictures;
mod usb;
mod uvc;
mod vivid;

use checks::Checks;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

/// What a part's name in the arguments chooses.
fn wants(part: &str) -> bool {
    let mut names = std::env::args().skip(1).peekable();
    names.peek().is_none() || names.any(|name| name == part)
}

fn usb(c: &mut Checks) -> Result<(), Box<dyn std::error::Error>> {
    let small = pictures::codings(&pictures::load(Path::new(door::KNOWN), 320, 240)?)?;
    let large = pictures::codings(&pictures::load(Path::new(door::KNOWN), 640, 480)?)?;
    if wants("usb") {
        usb::odd_name(c, small.clone());
        let camera = Arc::new(Mutex::new(uvc::Camera::new("Keyface test camera", small.clone())));
        if let Some(plug) = usb::all(c, &camera, &small, uvc::Plug::new(&camera)?) {
            plug.pull();
            c.check(checks::wait(checks::s(10), || usb::node().is_none()), "it is unplugged");
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
    }
    if wants("door") {
        let camera = Arc::new(Mutex::new(uvc::Camera::new("Keyface test camera", large)));
        let plug = uvc::Plug::new(&camera)?;
        door::all(c, &camera);
        plug.pull();
    }
    Ok(())
}

fn main() -> ExitCode {
    let mut c = Checks::default();
    let parts = [
        ("negotiation", vivid::negotiation as fn(&mut Checks)),
        ("faults", vivid::faults),
        ("exact", vivid::exact),
        ("planar", vivid::multi_planar),
        ("bridge", bridge::all),
    ];
    for (name, part) in parts.into_iter().filter(|(name, _)| wants(name)) {
        println!("== {name}");
        part(&mut c);
    }
    println!("== usb and door");
    if let Err(e) = usb(&mut c) {
        c.check(false, e);
    }
    ExitCode::from(u8::from(!c.close()))
}
