"""ONNX Runtime's own quantisation: `python onnx_quantise.py dynamic|static MODEL.onnx OUT.onnx`.

Weights are int8 per channel with reduced range: without it, CPUs that lack VNNI saturate and the result is wrong.
"""
import sys

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

way, model, target = sys.argv[1:]


class Pictures(CalibrationDataReader):
    """Four random pictures and faces."""

    def __init__(self):
        g = np.random.default_rng(0)
        image = lambda: g.uniform(-1, 1, (1, 3, 112, 112)).astype(np.float32)
        points = lambda: g.uniform(0.2, 0.8, (1, 5, 2)).astype(np.float32)
        self.feeds = iter([{"image": image(), "keypoints": points()} for _ in range(4)])

    def get_next(self):
        return next(self.feeds, None)


# The products alone: the peer's AArch64 build of today's tests/arm/peer has no integer convolution.
products = ["MatMul", "Gemm"]
if way == "dynamic":
    quantize_dynamic(
        model, target, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True, op_types_to_quantize=products,
    )
else:
    quantize_static(
        model, target, Pictures(), quant_format=QuantFormat.QDQ, per_channel=True, reduce_range=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, op_types_to_quantize=products,
    )
