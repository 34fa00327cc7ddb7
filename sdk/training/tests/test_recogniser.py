"""The recogniser's recipe on tiny data. `cd sdk/training && python -m pytest tests/test_recogniser.py`"""
import csv
import importlib.util
import io
import json
import math
import pathlib
import subprocess
import sys
import tarfile
import threading
import types

import numpy as np
import pytest
import torch
from PIL import Image

HERE = pathlib.Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[1]))

from ahead import ahead  # noqa: E402
from recogniser import data, evaluate, experiment, export, train  # noqa: E402
from recogniser.model import CTX_TYPES, Config, Recogniser, bucket_ids, irpe, kprpe, load_tensors, macs, normalise  # noqa: E402

GOLDEN = HERE.parents[4] / "shared" / "golden"
REDUCED = [
    "vit", "irpe_k", "kprpe_keypoint", "kprpe_rel_keypoint", "kprpe_rel_keypoint_splithead",
    "kprpe_rel_keypoint_unshared", "kprpe_rel_keypoint_splithead_unshared", "kprpe_2keypoints", "kprpe_3keypoints",
    "kprpe_4keypoints", "kprpe_patch8",
]
torch.set_num_threads(1)


def tiny(**more) -> Config:
    return Config(**{**dict(embed_dim=32, depth=2, num_heads=2, stem_channels=[8, 8, 16, 32], head_hidden=16), **more})


def lively(cfg: Config, seed: int = 0) -> Recogniser:
    """A network whose every tensor matters."""
    torch.manual_seed(seed)
    return export.enliven(Recogniser(cfg).eval())


@pytest.fixture(scope="module")
def tiny_data(tmp_path_factory):
    """Six noise pictures in the layout of shared/data."""
    root = tmp_path_factory.mktemp("data")
    (root / "faces").mkdir()
    (root / "lfw_dev").mkdir()
    g = np.random.default_rng(0)

    def tar(path, names, side):
        with tarfile.open(path, "w") as out:
            for name in names:
                raw = io.BytesIO()
                Image.fromarray(g.integers(0, 255, (side, side, 3), np.uint8)).save(raw, "JPEG")
                info = tarfile.TarInfo(name)
                info.size = raw.tell()
                raw.seek(0)
                out.addfile(info, raw)

    points = [f"{p}_{c}" for p in ("le", "re", "n", "lm", "rm") for c in "xy"]
    with open(root / "faces" / "index.csv", "w", newline="") as f:
        out = csv.writer(f)
        out.writerow(["id", "set", "identity", *points])
        for name in ("celeba", "utk", "net2", "fiw"):
            ids = [f"{name}_{i:06}" for i in range(2)]
            tar(root / "faces" / f"{name}.tar", [f"{i}.jpg" for i in ids], data.CROP)
            for i in ids:
                out.writerow([i, name, "", *(data.TEMPLATE + data.OFFSET).ravel()])
    np.save(root / "faces" / "teacher_int8.npy", g.integers(-90, 90, (8, 192)).astype(np.int8))
    tar(root / "lfw_dev" / "aligned.tar", [f"p{i}.jpg" for i in range(8)], data.SIZE)
    (root / "lfw_dev" / "pairs.txt").write_text("".join(f"p{i}.jpg p{(i + 1) % 8}.jpg {i % 2}\n" for i in range(8)))
    return root


@pytest.mark.skipif(not GOLDEN.exists(), reason="golden vectors are not part of the tree")
@pytest.mark.parametrize("kind", REDUCED)
def test_golden(kind):
    spec = importlib.util.spec_from_file_location("make_checkpoint", GOLDEN / "make_checkpoint.py")
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    want = np.load(GOLDEN / "expected" / f"{kind}.npz")
    model = Recogniser(Config.from_dict(json.loads((GOLDEN / "expected" / f"{kind}.json").read_text())["config"])).eval()
    load_tensors(model, maker.checkpoint(kind))
    trace = []
    with torch.no_grad():
        got = model(normalise(torch.from_numpy(want["image"])), torch.from_numpy(want["keypoints"]).float(), trace)
    np.testing.assert_allclose(got.numpy(), want["embedding"], atol=2e-5)
    np.testing.assert_allclose(torch.stack(trace).numpy(), want["block_out"], atol=1e-5)


def test_buckets_are_a_product_of_rows_and_columns():
    ids = bucket_ids(7)
    assert ids[24, 24] == 3 * 7 + 3 and ids.min() == 0 and ids.max() == 48
    assert ids[24, 25] == ids[24, 24] - 1                   # key one column to the right
    assert ids[24, 31] == ids[24, 24] - 7                   # key one row below
    assert ids[0, 6] == ids[0, 4] == 3 * 7                  # far offsets share the last bucket


@pytest.mark.parametrize("rpe", [None, irpe(), *(kprpe(c) for c in CTX_TYPES), *(kprpe(num_keypoints=k) for k in (2, 3, 4))])
def test_every_encoding_trains(rpe):
    model = Recogniser(tiny(rpe_config=rpe)).train()
    x, k = torch.randn(4, 3, 112, 112), torch.rand(4, 5, 2)
    model(x, k).square().sum().backward()
    inert = {"keypoint_linear"} if rpe and rpe.get("ctx_type") == "keypoint" else set()
    for name, p in model.named_parameters():
        assert p.grad is not None or any(i in name for i in inert), name


def test_key_points_matter_only_with_kprpe():
    x, a, b = torch.randn(2, 3, 112, 112), torch.rand(2, 5, 2), torch.rand(2, 5, 2)
    with torch.no_grad():
        with_points, without = lively(tiny()), lively(tiny(rpe_config=None))
        assert (with_points(x, a) - with_points(x, b)).abs().max() > 1e-3
        assert torch.equal(without(x, a), without(x, b))


def test_default_network_is_within_its_limits():
    cfg = Config()
    assert macs(cfg) <= 400e6
    assert sum(p.numel() for p in Recogniser(cfg).parameters()) <= 8e6


def test_warp_moves_points_with_the_picture():
    image, at = torch.zeros(1, 3, data.CROP, data.CROP), (80, 61)           # a dot and a point upon it
    image[0, :, at[1] - 2 : at[1] + 3, at[0] - 2 : at[0] + 3] = 1
    gen = torch.Generator().manual_seed(3)
    for _ in range(5):
        matrix, shift, _ = data.affine(1, gen, 1.0)
        out, points = data.warp(image, torch.tensor([[[at[0] + 0.5, at[1] + 0.5]]]), matrix, shift)
        weight = out[0, 0]
        y, x = torch.meshgrid(torch.arange(112) + 0.5, torch.arange(112) + 0.5, indexing="ij")
        centre = torch.stack([(weight * x).sum(), (weight * y).sum()]) / weight.sum()
        assert (centre - points[0, 0]).abs().max() < 0.3


def test_without_change_the_crop_is_the_centre():
    image = torch.rand(2, 3, data.CROP, data.CROP)
    points = torch.from_numpy(data.TEMPLATE).expand(2, 5, 2) + data.OFFSET
    out, moved = data.warp(image, points, torch.eye(2).expand(2, 2, 2), torch.zeros(2, 2))
    inner = slice(data.OFFSET, data.OFFSET + data.SIZE)
    assert torch.allclose(out, image[:, :, inner, inner], atol=1e-4)
    assert torch.allclose(moved, points - data.OFFSET, atol=1e-4)


def test_batches_repeat_and_stay_in_range(tiny_data, tmp_path):
    faces = data.Faces(tiny_data / "faces", tmp_path / "faces.npy")
    one, two = data.Batches(faces, 4, seed=5), data.Batches(faces, 4, seed=5)
    one.batch(0, 0.5)
    for a, b in zip(one.batch(7, 0.5), two.batch(7, 0.5)):
        assert torch.equal(a, b)
    x, points, target = two.batch(8, 0.5)
    assert x.shape == (4, 3, 112, 112) and points.shape == (4, 5, 2) and x.abs().max() < 2
    assert torch.allclose(target.norm(dim=1), torch.ones(4), atol=1e-5)


def test_batches_ahead_end_with_their_reader(tiny_data, tmp_path):
    batches = data.Batches(data.Faces(tiny_data / "faces", tmp_path / "faces.npy"), 4, seed=5)
    stream = ahead(lambda step: batches.batch(step, 0.5), 0)
    before = set(threading.enumerate())
    next(stream)
    (thread,) = set(threading.enumerate()) - before
    stream.close()
    thread.join(60)
    assert not thread.is_alive()


def test_a_picture_that_is_missing_is_named(tiny_data, tmp_path):
    root = tmp_path / "faces"
    root.mkdir()
    for f in (tiny_data / "faces").iterdir():
        (root / f.name).write_bytes(f.read_bytes())
    (root / "fiw.tar").unlink()
    tarfile.open(root / "fiw.tar", "w").close()
    with pytest.raises(ValueError, match="fiw_000000"):
        data.Faces(root, tmp_path / "faces.npy")


def test_thresholds_and_rates():
    same = np.array([True] * 50 + [False] * 50)
    score = np.concatenate([np.linspace(0.5, 1, 50), np.linspace(-0.5, 0.4, 50)])
    folds = evaluate.lfw_folds(same)
    assert evaluate.accuracy(score, same, folds) == 1 and 0.4 < evaluate.best_threshold(score, same) < 0.5
    assert evaluate.tar_at_far(score, same, 0.02) == 1
    low, high = evaluate.wilson(0.95, 1200)
    assert low < 0.95 < high and math.isclose(high - low, 0.025, abs_tol=0.003)


TINY_RUN = [
    "--batch", "4", "--width", "32", "--depth", "2", "--heads", "2", "--stem-channels", "8,8,16,32", "--head-hidden", "16",
    "--warmup", "1",
]


def test_two_workers_share_a_batch(tiny_data, tmp_path):
    faces = data.Faces(tiny_data / "faces", tmp_path / "faces.npy")
    halves = [data.Batches(faces, 8, seed=5, worker=w, workers=2).batch(3, 0.5)[2] for w in (0, 1)]
    together = torch.cat(halves)
    assert together.unique(dim=0).shape[0] == 8                 # every face once
    command = [sys.executable, "-m", "recogniser.train", "--data", str(tiny_data), "--out", str(tmp_path / "run"), "--steps", "2"]
    subprocess.run([*command, *TINY_RUN, "--workers", "2"], cwd=HERE.parents[1], check=True, timeout=240)
    assert train.load_ema(tmp_path / "run" / "last.pt")[1]["samples"] == 8


def test_train_resume_export(tiny_data, tmp_path):
    """Three steps, two more after a restart, and the export computes what PyTorch computes."""
    common = ["--data", str(tiny_data), "--out", str(tmp_path / "run"), *TINY_RUN]
    train.main([*common, "--steps", "3"])
    train.main([*common, "--steps", "5", "--resume"])
    model, state = train.load_ema(tmp_path / "run" / "last.pt")
    assert state["step"] == 5 and state["samples"] == 20
    events = [json.loads(line).get("event") for line in open(tmp_path / "run" / "log.jsonl")]
    assert events == ["start", "end", "start", "end"]

    rounded = export.export(model, tmp_path / "out", {"note": "test"})
    vectors = np.load(tmp_path / "out" / "recogniser_vectors.npz")
    facts = json.loads((tmp_path / "out" / "recogniser.json").read_text())
    again = Recogniser(Config.from_dict(facts["config"])).eval()
    load_tensors(again, export.load_file(tmp_path / "out" / "recogniser.safetensors"))
    image, points = torch.from_numpy(vectors["image"]), torch.from_numpy(vectors["keypoints"])
    with torch.no_grad():
        got = again(normalise(image), points)
        full = model(normalise(image), points)
    np.testing.assert_allclose(got.numpy(), vectors["embedding"], atol=1e-5)
    assert vectors["block_out"].shape == (2, 8, 49, 32)
    cosine = torch.nn.functional.cosine_similarity(got, full)
    assert cosine.min() > 0.9999 and sum(p.numel() for p in rounded.parameters()) == facts["parameters"]


def test_lost_points_come_back_from_the_others():
    template = torch.from_numpy(data.TEMPLATE)
    turn = torch.tensor([[0.8, -0.3], [0.3, 0.8]])
    points = (template @ turn.T + torch.tensor([9.0, -4.0]))[None].repeat(2, 1, 1)
    for lost in ([2], [3, 4], [0, 1, 2]):
        back = experiment.without(points, None, lost, fill=True)
        assert torch.allclose(back, points, atol=1e-3)
        left = experiment.without(points, None, lost, fill=False)
        assert torch.equal(left[:, lost], template[lost].expand(2, -1, -1))


def test_the_report_says_where_the_claim_holds():
    rng = np.random.default_rng(0)
    run = lambda p: {level: rng.random(1200) < p for level in experiment.LEVELS}
    better = run(0.9) | {told: rng.random(1200) < 0.8 for told in experiment.TOLD}
    found = {"ViT": [run(0.7)], "ViT + iRPE": [run(0.7)], "ViT + KP-RPE": [better], "2 key points": [run(0.8)]}
    args = types.SimpleNamespace(samples=1000, seeds="1")
    text = experiment.report(args, found)
    assert f"ViT + KP-RPE against ViT: better on {', '.join(experiment.LEVELS)}." in text
    assert "ViT + iRPE against ViT: undecided on" in text and "2 key points" in text and "nose lost" in text
    assert experiment.plot(found).count("<circle") == 3 * len(experiment.LEVELS)


def test_one_variant_trains_and_is_measured(tiny_data, tmp_path):
    args = types.SimpleNamespace(out=tmp_path, data=tiny_data, cache=tmp_path / "faces.npy", samples=96)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "NETWORK", "--stem-channels 8,8,16,32 --width 32 --depth 2 --heads 2 --head-hidden 16".split())
        patch.setattr(experiment, "RECIPE", "--batch 4 --strong 0 --blind 0".split())
        last = experiment.run(args, "ViT + KP-RPE", 1)
        before = last.stat().st_mtime
        assert experiment.run(args, "ViT + KP-RPE", 1) == last and last.stat().st_mtime == before
    pairs = evaluate.Pairs(tiny_data / "lfw_dev")
    right = experiment.measured(last, pairs)
    assert set(right) == set(experiment.LEVELS) | set(experiment.TOLD)
    assert all(v.shape == pairs.same.shape for v in right.values())
