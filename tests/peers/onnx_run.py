"""Runs an ONNX model with ONNX Runtime: `python onnx_run.py MODEL.onnx IN.npz OUT.npz`.

`image` (uint8 [N,3,H,W]) is fed as (x/255-0.5)/0.5, once as a batch and once picture by picture, which must agree; an input
`keypoints` is fed if the model has one. Refuses models that use any but standard operators.
"""
import sys

import numpy as np
import onnxruntime

model, source, target = sys.argv[1:]
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
stored = np.load(source)
feed = {"image": (stored["image"].astype(np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.5)}
names = [i.name for i in session.get_inputs()]
if "keypoints" in names:
    feed["keypoints"] = stored["keypoints"]
assert sorted(names) == sorted(feed), names
assert all(isinstance(i.shape[0], str) for i in session.get_inputs()), "the batch size is fixed"
outputs = [o.name for o in session.get_outputs()]
batch = session.run(outputs, feed)
single = [session.run(outputs, {k: v[i : i + 1] for k, v in feed.items()}) for i in range(len(feed["image"]))]
for i, name in enumerate(outputs):
    apart = np.abs(batch[i] - np.concatenate([s[i] for s in single])).max()
    assert apart < 1e-4, f"{name}: a batch and its pictures one by one differ by {apart}"
np.savez(target, **dict(zip(outputs, batch)))
