//! From checkpoints to Keyface packs: import, quantise, verify, export, calibrate, sign.
//!
//! A workstation tool, never shipped to a device. The binary `keyface-convert` is a thin command line over these
//! modules:
//!
//! | module | what |
//! |---|---|
//! | [`checkpoint`] | named tensors of a `.safetensors`, `.pt` or `.pth` file, read one at a time |
//! | [`config`] | what a checkpoint's tensors cannot say: heads, kind of key-point tables |
//! | [`network`] | the architecture behind the tensors; names what is missing, extra or misshapen |
//! | [`canonical`] | tensors as the engine wants them: batch norms folded, rows in order |
//! | [`assemble`] | canonical tensors to a pack with its model id and golden vectors |
//! | [`quantise`] | int8 weights with a scale per channel |
//! | [`verify`] | an int8 pack against its f32 reference, layer by layer |
//! | [`calibrate`] | the table from score to false-match rate |
//! | [`export`], [`onnx`] | a pack as standard ONNX |
//! | [`dfa`] | the published landmark model as ONNX |
//! | [`defaults`] | the default pack, from what training exports |
//! | [`run`] | a network on stored inputs |
//! | [`npz`] | NumPy archives, for stored inputs and outputs |
//!
//! Errors are [`anyhow::Error`]: a person reads them.

pub mod assemble;
pub mod calibrate;
pub mod canonical;
pub mod checkpoint;
pub mod config;
pub mod defaults;
pub mod dfa;
pub mod export;
pub mod network;
pub mod npz;
pub mod onnx;
pub mod quantise;
pub mod run;
pub mod verify;
