//! Writes ONNX graphs of standard operators, opset 17.

use anyhow::{Context, Result};
use prost::Message;
use std::path::Path;
use tract_onnx::pb::{
    attribute_proto::AttributeType, tensor_proto::DataType, tensor_shape_proto, type_proto,
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto,
};

/// The operator set: the first with LayerNormalization.
const OPSET: i64 = 17;
/// The file format version that goes with it.
const IR_VERSION: i64 = 8;

/// The value of a node's attribute.
#[derive(Debug, Clone)]
pub enum Attr<'a> {
    /// An integer.
    Int(i64),
    /// Integers.
    Ints(&'a [i64]),
    /// A number.
    Float(f32),
    /// A word.
    Text(&'a str),
}

/// A graph under construction. Values are known by name; every node gets the name of its first output.
#[derive(Debug, Default)]
pub struct Graph {
    proto: GraphProto,
    count: usize,
}

impl Graph {
    /// An empty graph called `name`.
    #[must_use]
    pub fn new(name: &str) -> Graph {
        Graph { proto: GraphProto { name: name.into(), ..Default::default() }, count: 0 }
    }

    /// Adds an f32 input of shape `[N, dims..]`.
    pub fn input(&mut self, name: &str, dims: &[usize]) -> String {
        self.proto.input.push(value_info(name, dims));
        name.into()
    }

    /// Makes `value` an output called `name`, f32 of shape `[N, dims..]`.
    pub fn output(&mut self, name: &str, value: &str, dims: &[usize]) {
        self.named_node("Identity", name.into(), &[value], &[]);
        self.proto.output.push(value_info(name, dims));
    }

    /// Adds f32 constants.
    ///
    /// # Panics
    /// When `values` does not have as many values as `dims` asks for.
    pub fn constant(&mut self, name: &str, dims: &[usize], values: &[f32]) -> String {
        assert_eq!(values.len(), dims.iter().product::<usize>(), "{name}");
        let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.initializer(name, dims, DataType::Float, raw)
    }

    /// Adds i64 constants, as shapes and indices are.
    pub fn integers(&mut self, dims: &[usize], values: &[i64]) -> String {
        let name = self.fresh("const");
        let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.initializer(&name, dims, DataType::Int64, raw)
    }

    /// A single f32.
    pub fn scalar(&mut self, value: f32) -> String {
        let name = self.fresh("const");
        self.constant(&name, &[], &[value])
    }

    /// Adds a node with one output.
    pub fn node(&mut self, op: &str, inputs: &[&str], attributes: &[(&str, Attr<'_>)]) -> String {
        let name = self.fresh(op);
        self.named_node(op, name, inputs, attributes)
    }

    /// Adds a node that cuts its input in `parts` along `axis`.
    pub fn split(&mut self, input: &str, axis: i64, parts: &[usize]) -> Vec<String> {
        let sizes: Vec<i64> = parts.iter().map(|p| *p as i64).collect();
        let sizes = self.integers(&[parts.len()], &sizes);
        let outputs: Vec<String> = parts.iter().map(|_| self.fresh("Split")).collect();
        self.proto.node.push(NodeProto {
            name: outputs[0].clone(),
            op_type: "Split".into(),
            input: vec![input.into(), sizes],
            output: outputs.clone(),
            attribute: vec![attribute("axis", &Attr::Int(axis))],
            ..Default::default()
        });
        outputs
    }

    /// `input` in another shape; 0 keeps a dimension, -1 stands for the rest.
    pub fn reshape(&mut self, input: &str, shape: &[i64]) -> String {
        let shape = self.integers(&[shape.len()], shape);
        self.node("Reshape", &[input, &shape], &[])
    }

    /// `input` with its axes in another order.
    pub fn transpose(&mut self, input: &str, order: &[i64]) -> String {
        self.node("Transpose", &[input], &[("perm", Attr::Ints(order))])
    }

    /// `input` times the transpose of the row-major `weight[n][k]`, plus `bias[n]`.
    pub fn linear(
        &mut self,
        name: &str,
        input: &str,
        (n, k): (usize, usize),
        weight: &[f32],
        bias: Option<&[f32]>,
    ) -> String {
        let mut turned = vec![0f32; n * k];
        for (row, values) in weight.chunks_exact(k).enumerate() {
            values.iter().enumerate().for_each(|(col, v)| turned[col * n + row] = *v);
        }
        let weight = self.constant(&format!("{name}.weight"), &[k, n], &turned);
        let product = self.node("MatMul", &[input, &weight], &[]);
        match bias {
            Some(bias) => {
                let bias = self.constant(&format!("{name}.bias"), &[n], bias);
                self.node("Add", &[&product, &bias], &[])
            }
            None => product,
        }
    }

    /// Layer normalisation over the last axis.
    pub fn layer_norm(
        &mut self,
        name: &str,
        input: &str,
        gamma: &[f32],
        beta: &[f32],
        eps: f32,
    ) -> String {
        let gamma = self.constant(&format!("{name}.weight"), &[gamma.len()], gamma);
        let beta = self.constant(&format!("{name}.bias"), &[beta.len()], beta);
        let attributes = [("axis", Attr::Int(-1)), ("epsilon", Attr::Float(eps))];
        self.node("LayerNormalization", &[input, &gamma, &beta], &attributes)
    }

    /// `min(max(input, 0), 6)`.
    pub fn relu6(&mut self, input: &str) -> String {
        let (low, high) = (self.scalar(0.0), self.scalar(6.0));
        self.node("Clip", &[input, &low, &high], &[])
    }

    /// The model's bytes.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        let model = ModelProto {
            ir_version: IR_VERSION,
            producer_name: "keyface-convert".into(),
            producer_version: keyface::VERSION.into(),
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
            graph: Some(self.proto),
            ..Default::default()
        };
        model.encode_to_vec()
    }

    /// Writes the model to a file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(self, path: &Path) -> Result<()> {
        std::fs::write(path, self.encode())
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn initializer(&mut self, name: &str, dims: &[usize], of: DataType, raw: Vec<u8>) -> String {
        self.proto.initializer.push(TensorProto {
            name: name.into(),
            dims: dims.iter().map(|d| *d as i64).collect(),
            data_type: of as i32,
            raw_data: raw,
            ..Default::default()
        });
        name.into()
    }

    fn named_node(
        &mut self,
        op: &str,
        name: String,
        inputs: &[&str],
        attributes: &[(&str, Attr<'_>)],
    ) -> String {
        self.proto.node.push(NodeProto {
            name: name.clone(),
            op_type: op.into(),
            input: inputs.iter().map(|s| (*s).into()).collect(),
            output: vec![name.clone()],
            attribute: attributes.iter().map(|(name, value)| attribute(name, value)).collect(),
            ..Default::default()
        });
        name
    }

    fn fresh(&mut self, what: &str) -> String {
        self.count += 1;
        format!("{what}_{}", self.count)
    }
}

fn attribute(name: &str, value: &Attr<'_>) -> AttributeProto {
    let mut proto = AttributeProto { name: name.into(), ..Default::default() };
    let kind = match value {
        Attr::Int(i) => {
            proto.i = *i;
            AttributeType::Int
        }
        Attr::Ints(values) => {
            proto.ints = values.to_vec();
            AttributeType::Ints
        }
        Attr::Float(f) => {
            proto.f = *f;
            AttributeType::Float
        }
        Attr::Text(text) => {
            proto.s = text.as_bytes().to_vec();
            AttributeType::String
        }
    };
    proto.r#type = kind as i32;
    proto
}

fn value_info(name: &str, dims: &[usize]) -> ValueInfoProto {
    use tensor_shape_proto::{dimension::Value, Dimension};
    let dim = |value| Dimension { value: Some(value), ..Default::default() };
    let batch = dim(Value::DimParam("N".into()));
    let rest = dims.iter().map(|d| dim(Value::DimValue(*d as i64)));
    let shape = TensorShapeProto { dim: std::iter::once(batch).chain(rest).collect() };
    let tensor = type_proto::Tensor { elem_type: DataType::Float as i32, shape: Some(shape) };
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(tensor)),
            ..Default::default()
        }),
        ..Default::default()
    }
}
