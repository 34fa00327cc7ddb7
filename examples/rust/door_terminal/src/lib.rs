//! A door terminal on [`keyface`] and [`keyface_boards`]: camera, recognition, decision, relay. It is an example to start a product
//! from, written to run unattended for years.
//!
//! | module | what |
//! |---|---|
//! | [`config`] | the configuration file |
//! | [`output`] | a wire: GPIO line, LED, or a log where there is no hardware |
//! | [`relay`] | a thread that bounds every pulse |
//! | [`notify`] | systemd's readiness and watchdog |
//! | [`counters`] | what is counted, as Prometheus text |
//! | [`record`] | a thread that writes audit log, counters and LED, behind a queue of fixed length |
//! | [`observe`] | frame to observation |
//! | [`page`] | the installers' page, off by default: live view, hints, last decisions, enrolment |
//! | [`terminal`] | the main loop |
//!
//! Three threads: the main loop waits for frames, looks, decides; `relay` switches; `record` writes. The page has threads of its own. The door opens only if the decision
//! is ALLOW *and* it is in the audit log; every error, a lost camera, a full disk, a panic and the end of the program shut it.
//! What this program cannot shut is a line whose process was killed during a pulse: `door_terminal --release`, which the
//! systemd unit runs after every end, does.

pub mod config;
pub mod counters;
pub mod notify;
pub mod observe;
pub mod output;
pub mod page;
pub mod record;
pub mod relay;
pub mod terminal;
