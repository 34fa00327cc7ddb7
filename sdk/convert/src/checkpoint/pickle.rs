//! A pickle reader that can only build data: the few opcodes of a PyTorch state dict, and nothing that runs code.
//!
//! Unpickling in Python calls whatever the file names. Here a name is a value like any other; the only "calls" are
//! building a tensor description and an ordered dictionary. Everything else is an error that names what was asked for.
//!
//! Containers live in one arena and refer to each other by index: the reader neither recurses nor copies, so a hostile
//! file costs at most about a hundred times its own length, which the caller bounds.

use anyhow::{bail, ensure, Context, Result};
use std::collections::HashMap;

/// Index into [`Machine::containers`].
pub(super) type Handle = usize;

/// A value on the stack.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Text(std::rc::Rc<str>),
    /// `module name`, not resolved to anything.
    Global(Global),
    List(Handle),
    Tuple(Handle),
    Dict(Handle),
    /// A storage of the archive.
    Storage(Handle),
    /// A tensor over a storage.
    Tensor(Handle),
    /// Something irrelevant to a state dict that may occur in it.
    Opaque,
}

/// The names that may occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    RebuildTensor,
    RebuildParameter,
    OrderedDict,
    /// A storage class, by the name of its element type.
    Storage(super::Element),
}

/// What a container holds: a dictionary as keys and values in turn.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Container {
    Items(Vec<Value>),
    Storage { element: super::Element, key: std::rc::Rc<str>, count: u64 },
    Tensor { storage: Handle, offset: u64, shape: Vec<usize>, strides: Vec<u64> },
}

/// The result of reading a pickle: a value and what it refers to.
pub(super) struct Pickle {
    pub(super) root: Value,
    pub(super) containers: Vec<Container>,
}

impl Pickle {
    /// The elements of a list or tuple; keys and values in turn of a dictionary.
    pub(super) fn items(&self, value: &Value) -> &[Value] {
        match value {
            Value::List(h) | Value::Tuple(h) | Value::Dict(h) => match &self.containers[*h] {
                Container::Items(items) => items,
                _ => &[],
            },
            _ => &[],
        }
    }
}

/// Reads one pickle, protocols 2 to 5.
pub(super) fn read(bytes: &[u8]) -> Result<Pickle> {
    let mut machine = Machine {
        bytes,
        at: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        containers: Vec::new(),
    };
    loop {
        let at = machine.at;
        let opcode = machine.u8()?;
        if opcode == b'.' {
            let root = machine.pop()?;
            return Ok(Pickle { root, containers: machine.containers });
        }
        machine.step(opcode).with_context(|| format!("pickle byte {at}"))?;
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<usize, Value>,
    containers: Vec<Container>,
}

impl Machine<'_> {
    fn step(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            0x80 => {
                let version = self.u8()?;
                ensure!((2..=5).contains(&version), "pickle protocol {version}");
            }
            0x95 => {
                self.take(8)?;
            }
            b'N' => self.stack.push(Value::None),
            0x88 => self.stack.push(Value::Bool(true)),
            0x89 => self.stack.push(Value::Bool(false)),
            b'K' => {
                let v = self.u8()?;
                self.stack.push(Value::Int(v.into()));
            }
            b'M' => {
                let v = u16::from_le_bytes(self.array()?);
                self.stack.push(Value::Int(v.into()));
            }
            b'J' => {
                let v = i32::from_le_bytes(self.array()?);
                self.stack.push(Value::Int(v.into()));
            }
            0x8a => {
                let len = self.u8()? as usize;
                ensure!(len <= 8, "an integer of {len} bytes");
                let raw = self.take(len)?;
                let fill = if raw.last().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
                let mut word = [fill; 8];
                word[..len].copy_from_slice(raw);
                self.stack.push(Value::Int(i64::from_le_bytes(word)));
            }
            b'G' => {
                self.take(8)?;
                self.stack.push(Value::Opaque);
            }
            b'X' => {
                let len = u32::from_le_bytes(self.array()?) as usize;
                self.text(len)?;
            }
            0x8c => {
                let len = self.u8()? as usize;
                self.text(len)?;
            }
            b'c' => {
                let module = self.line()?;
                let name = self.line()?;
                self.stack.push(Value::Global(global(&module, &name)?));
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(module), Value::Text(name)) = (module, name) else {
                    bail!("a global without a name");
                };
                self.stack.push(Value::Global(global(&module, &name)?));
            }
            b'(' => self.marks.push(self.stack.len()),
            b'}' => self.container(Value::Dict, Vec::new()),
            b']' => self.container(Value::List, Vec::new()),
            b')' => self.container(Value::Tuple, Vec::new()),
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(opcode - 0x84))?;
                self.container(Value::Tuple, items);
            }
            b't' => {
                let items = self.pop_mark()?;
                self.container(Value::Tuple, items);
            }
            b'a' => {
                let items = self.pop_many(1)?;
                self.extend(items)?;
            }
            b's' => {
                let items = self.pop_many(2)?;
                self.extend(items)?;
            }
            b'e' | b'u' => {
                let items = self.pop_mark()?;
                ensure!(opcode == b'e' || items.len() % 2 == 0, "a key without a value");
                self.extend(items)?;
            }
            b'q' => {
                let slot = self.u8()? as usize;
                self.put(slot)?;
            }
            b'r' => {
                let slot = u32::from_le_bytes(self.array()?) as usize;
                self.put(slot)?;
            }
            0x94 => self.put(self.memo.len())?,
            b'h' => {
                let slot = self.u8()? as usize;
                self.get(slot)?;
            }
            b'j' => {
                let slot = u32::from_le_bytes(self.array()?) as usize;
                self.get(slot)?;
            }
            b'Q' => self.persistent()?,
            b'R' => self.reduce()?,
            b'b' => {
                self.pop()?;
                let object = self.stack.last().context("the stack is empty")?;
                ensure!(
                    matches!(object, Value::Dict(_)),
                    "state is set on something that has none"
                );
            }
            other => bail!("opcode 0x{other:02x} does not belong in a state dict"),
        }
        Ok(())
    }

    fn take(&mut self, len: usize) -> Result<&[u8]> {
        let end = self.at.checked_add(len).filter(|e| *e <= self.bytes.len());
        let end = end.context("the pickle is cut short")?;
        let slice = &self.bytes[self.at..end];
        self.at = end;
        Ok(slice)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into().expect("N bytes"))
    }

    fn u8(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn text(&mut self, len: usize) -> Result<()> {
        let text = std::str::from_utf8(self.take(len)?).context("a text is not UTF-8")?.into();
        self.stack.push(Value::Text(text));
        Ok(())
    }

    fn line(&mut self) -> Result<String> {
        let rest = &self.bytes[self.at..];
        let len = rest.iter().take(256).position(|b| *b == b'\n').context("a name without end")?;
        let line = String::from_utf8_lossy(&rest[..len]).into_owned();
        self.at += len + 1;
        Ok(line)
    }

    fn pop(&mut self) -> Result<Value> {
        ensure!(self.stack.len() > self.marks.last().copied().unwrap_or(0), "the stack is empty");
        Ok(self.stack.pop().expect("not empty"))
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Value>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let start = self.stack.len().checked_sub(count).filter(|s| *s >= floor);
        Ok(self.stack.split_off(start.context("the stack is empty")?))
    }

    fn pop_mark(&mut self) -> Result<Vec<Value>> {
        let mark = self.marks.pop().context("no mark")?;
        Ok(self.stack.split_off(mark))
    }

    fn container(&mut self, kind: fn(Handle) -> Value, items: Vec<Value>) {
        self.push(kind, Container::Items(items));
    }

    fn push(&mut self, kind: fn(Handle) -> Value, container: Container) {
        self.stack.push(kind(self.containers.len()));
        self.containers.push(container);
    }

    fn extend(&mut self, more: Vec<Value>) -> Result<()> {
        match self.stack.last() {
            Some(Value::List(h) | Value::Dict(h)) => match &mut self.containers[*h] {
                Container::Items(items) => items.extend(more),
                _ => bail!("not a container"),
            },
            _ => bail!("something that is no list or dictionary is extended"),
        }
        Ok(())
    }

    fn put(&mut self, slot: usize) -> Result<()> {
        let value = self.stack.last().context("the stack is empty")?.clone();
        self.memo.insert(slot, value);
        Ok(())
    }

    fn get(&mut self, slot: usize) -> Result<()> {
        let value = self.memo.get(&slot).cloned();
        self.stack.push(value.with_context(|| format!("memo slot {slot} is empty"))?);
        Ok(())
    }

    fn tuple(&self, value: &Value) -> Result<&[Value]> {
        match value {
            Value::Tuple(h) => match &self.containers[*h] {
                Container::Items(items) => Ok(items),
                _ => bail!("a tuple is expected"),
            },
            _ => bail!("a tuple is expected"),
        }
    }

    /// `('storage', class, key, device, count)`.
    fn persistent(&mut self) -> Result<()> {
        let id = self.pop()?;
        let [Value::Text(tag), Value::Global(Global::Storage(element)), Value::Text(key), _, Value::Int(count)] =
            self.tuple(&id)?
        else {
            bail!("a persistent id that is no storage");
        };
        ensure!(&**tag == "storage", "a persistent id that is no storage");
        let storage = Container::Storage {
            element: *element,
            key: key.clone(),
            count: u64::try_from(*count).context("a storage of negative size")?,
        };
        self.push(Value::Storage, storage);
        Ok(())
    }

    fn reduce(&mut self) -> Result<()> {
        let (arguments, callee) = (self.pop()?, self.pop()?);
        let Value::Global(callee) = callee else { bail!("something that is no name is called") };
        let arguments = self.tuple(&arguments)?.to_vec();
        match callee {
            Global::OrderedDict => {
                ensure!(arguments.is_empty(), "an ordered dictionary made from arguments");
                self.container(Value::Dict, Vec::new());
            }
            Global::RebuildParameter => match arguments.first() {
                Some(tensor @ Value::Tensor(_)) => self.stack.push(tensor.clone()),
                _ => bail!("a parameter that is no tensor"),
            },
            Global::RebuildTensor => {
                let [Value::Storage(storage), Value::Int(offset), shape, strides, ..] =
                    arguments.as_slice()
                else {
                    bail!("a tensor without storage, offset, shape and strides");
                };
                let tensor = Container::Tensor {
                    storage: *storage,
                    offset: u64::try_from(*offset).context("a negative offset")?,
                    shape: self.sizes(shape)?.into_iter().map(|d| d as usize).collect(),
                    strides: self.sizes(strides)?,
                };
                self.push(Value::Tensor, tensor);
            }
            Global::Storage(_) => bail!("a storage class is called"),
        }
        Ok(())
    }

    fn sizes(&self, value: &Value) -> Result<Vec<u64>> {
        let items = self.tuple(value)?;
        ensure!(items.len() <= 8, "a tensor has more than 8 dimensions");
        items
            .iter()
            .map(|v| match v {
                Value::Int(i) => u64::try_from(*i).context("a negative size"),
                _ => bail!("a size that is no integer"),
            })
            .collect()
    }
}

fn global(module: &str, name: &str) -> Result<Global> {
    use super::Element as E;
    Ok(match (module, name) {
        ("torch._utils", "_rebuild_tensor_v2") => Global::RebuildTensor,
        ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
        ("collections", "OrderedDict") => Global::OrderedDict,
        ("torch", "FloatStorage") => Global::Storage(E::F32),
        ("torch", "DoubleStorage") => Global::Storage(E::F64),
        ("torch", "HalfStorage") => Global::Storage(E::F16),
        ("torch", "BFloat16Storage") => Global::Storage(E::Bf16),
        ("torch", "LongStorage") => Global::Storage(E::Integer(8)),
        ("torch", "IntStorage") => Global::Storage(E::Integer(4)),
        ("torch", "ShortStorage") => Global::Storage(E::Integer(2)),
        ("torch", "ByteStorage" | "CharStorage" | "BoolStorage") => Global::Storage(E::Integer(1)),
        _ => bail!("the pickle asks for {module}.{name}, which is no part of a state dict"),
    })
}
