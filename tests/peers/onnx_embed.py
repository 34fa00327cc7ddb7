"""The peer's half of `tests/peers/compare`: `python onnx_embed.py MODEL.onnx THREADS`, the same protocol as `embed.rs`."""
import sys
import time

import numpy as np
import onnxruntime

model, threads = sys.argv[1], int(sys.argv[2])
# TEMPLATE_112 in 0..1 of the crop, as `keyface::sample::normalised` has it.
points = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
keypoints = (points / 112).astype(np.float32)[None]
pixels = (np.arange(3 * 112 * 112) * 37 % 251).astype(np.float32).reshape(1, 3, 112, 112)
feed = {"image": (pixels / np.float32(255) - np.float32(0.5)) / np.float32(0.5), "keypoints": keypoints}
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads
options.inter_op_num_threads = 1
print("ready", flush=True)
if not sys.stdin.readline():
    sys.exit(0)
start = time.perf_counter()
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
feed = {i.name: feed[i.name] for i in session.get_inputs()}
embedding = session.run(["embedding"], feed)[0]
print((time.perf_counter() - start) * 1e3, *embedding.ravel().tolist(), flush=True)
for line in sys.stdin:
    start = time.perf_counter()
    for _ in range(int(line)):
        session.run(["embedding"], feed)
    print((time.perf_counter() - start) * 1e3, flush=True)
