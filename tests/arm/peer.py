"""`python peer.py MODEL.onnx CALLS`: onnxruntime on one thread, for tests/arm/peer."""
import sys

import numpy as np
import onnxruntime

model, calls = sys.argv[1], int(sys.argv[2])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
image = np.linspace(-1, 1, 3 * 112 * 112, dtype=np.float32).reshape(1, 3, 112, 112)
feed = {"image": image, "keypoints": np.full((1, 5, 2), 0.5, np.float32)}
feed = {i.name: feed[i.name] for i in session.get_inputs()}
for _ in range(calls):
    session.run(["embedding"], feed)
