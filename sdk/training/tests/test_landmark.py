"""The landmark recipe on tiny synthetic data: no picture of a person, no file outside the test's folder."""
import csv
import io
import json
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from PIL import Image, ImageDraw  # noqa: E402

from landmark import data as D  # noqa: E402
from landmark import evaluate as E  # noqa: E402
from landmark import export as X  # noqa: E402
from landmark import int8 as I  # noqa: E402
from landmark import train as T  # noqa: E402
from landmark.model import LandmarkNet, cells, count_macs, count_parameters, decode  # noqa: E402

torch.set_num_threads(1)


def drawn_face(rng: np.random.Generator, size: int) -> tuple[Image.Image, np.ndarray]:
    """A smiley of 144 px scaled to `size`, and its five points."""
    img = Image.fromarray(rng.integers(0, 90, (144, 144, 3), dtype=np.uint8))
    d = ImageDraw.Draw(img)
    d.ellipse([31, 24, 113, 136], fill=(220, 180, 150))
    pts = D.TEMPLATE + 16
    for x, y in pts[:2]:
        d.ellipse([x - 5, y - 4, x + 5, y + 4], fill=(20, 20, 30))
    d.line([tuple(pts[3]), tuple(pts[4])], fill=(150, 30, 30), width=5)
    d.polygon([(72, 70), (66, 90), (78, 90)], fill=(180, 120, 100))
    return img.resize((size, size), Image.BILINEAR), pts * size / 144


def write_tar(path: Path, files: dict[str, Image.Image]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, img in files.items():
            buf = io.BytesIO()
            img.save(buf, "JPEG", quality=95)
            info = tarfile.TarInfo(f"{name}.jpg")
            info.size = buf.tell()
            buf.seek(0)
            tar.addfile(info, buf)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A miniature of shared/data with drawn faces."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(1)
    index, rows = [], []
    for part in ("celeba", "lfw", "mask"):
        files = {}
        for i in range(12):
            face, pts = drawn_face(rng, 100)
            img = D.nothing(rng, 160, 200)
            img.paste(face, (20, 40))
            pts = pts + [20, 40]
            x0, y0, x1, y1 = D.box_from_points(pts)
            files[f"{part}_{i:05d}"] = img
            index.append({"id": f"{part}_{i:05d}", "width": 160, "height": 200, "faces": [
                {"box": [x0, y0, x1 - x0, y1 - y0], "points": pts.tolist(), "score": 0.9},
                {"box": [140, 180, 8, 8], "points": [[141, 181]] * 5, "score": 0.3}]})
        write_tar(root / "scenes" / f"{part}.tar", files)
    (root / "scenes" / "index.json").write_text(json.dumps(index))
    head = ["id", "set", "identity", "detector_score", "crop_scale"]
    head += [p + k + a for p in ("", "manual_") for k in D.KEYS for a in ("_x", "_y")]
    for part in ("celeba", "utk", "net2", "fiw"):
        files = {}
        for i in range(25):
            files[f"{part}_{i:06d}"], pts = drawn_face(rng, 144)
            hand = (pts + [0.5, 1.0]).ravel().round(2).tolist() if part == "net2" else [""] * 10
            rows.append([f"{part}_{i:06d}", part, "", 0.9, 1.0, *pts.ravel().round(2).tolist(), *hand])
        write_tar(root / "faces" / f"{part}.tar", files)
    with open(root / "faces" / "index.csv", "w", newline="") as fh:
        csv.writer(fh).writerows([head, *rows])
    return root


@pytest.fixture(scope="module")
def canvases(root: Path) -> D.Canvases:
    return D.Canvases(D.load_scenes(root), D.load_crops(root, ("celeba", "utk", "net2", "fiw")), 320, 7)


def test_budget() -> None:
    net = LandmarkNet()
    assert count_parameters(net.folded()) <= 300_000
    assert count_macs(net) <= 150e6


def test_export_equals_pytorch(tmp_path: Path) -> None:
    ort = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    net = LandmarkNet().train()
    for _ in range(3):                                      # batch-norm statistics worth folding
        net(torch.randn(2, 3, 96, 96) * 0.7 + 0.2)
    net.eval()
    X.export(net, tmp_path, 7, {}, {})
    run = ort.InferenceSession(str(tmp_path / "landmark.onnx"))
    vec = np.load(tmp_path / "landmark_vectors.npz")
    for i in range(4):
        x = torch.from_numpy(vec[f"image{i}"])
        got = run.run(None, {"image": vec[f"image{i}"]})[0]
        assert got.shape == (1, x.shape[2] * x.shape[3] * 21 // 1024, 15)
        with torch.no_grad():
            assert np.abs(got - net(x).numpy()).max() < 1e-5
        assert np.abs(got - vec[f"pred{i}"]).max() < 1e-5
    meta = json.loads((tmp_path / "landmark.json").read_text())
    assert meta["strides"] == [8, 16, 32] and meta["point_scale"] == 2.0


def test_layer_list_is_the_network() -> None:
    """What the exported list says, computed from the exported tensors, is what PyTorch computes."""
    torch.manual_seed(5)
    net = LandmarkNet().eval().folded()
    layers, outputs = X.layers(net)
    state = X.tensors(net)
    x = torch.randn(1, 3, 64, 96)
    value = {"image": x}
    for layer in layers:
        w, b = (state[f"{layer['name']}.{leaf}"] for leaf in ("weight", "bias"))
        assert w.shape == (layer["outputs"], layer["inputs"], layer["kernel"], layer["kernel"])
        y = torch.nn.functional.conv2d(value[layer["input"]], w, b, layer["stride"], layer["kernel"] // 2)
        if "add" in layer:
            other = value[layer["add"]]
            y = y + (other.repeat_interleave(2, 2).repeat_interleave(2, 3) if layer.get("enlarge") else other)
        value[layer["name"]] = y.clamp(min=0) if layer.get("relu") else y
    with torch.no_grad():
        for name, want in zip(outputs, net.levels(x), strict=True):
            torch.testing.assert_close(value[name], want, atol=1e-5, rtol=1e-5)
    assert set(state) == {f"{layer['name']}.{leaf}" for layer in layers for leaf in ("weight", "bias")}


def test_int8_stays_near_f32(tmp_path: Path) -> None:
    torch.manual_seed(3)
    net = LandmarkNet().eval()
    X.export(net, tmp_path, 7, {}, {})
    again = I.load_export(tmp_path)
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        want, exact, got = net(x), again(x), I.quantised(again)(x)
    torch.testing.assert_close(exact, want, atol=1e-5, rtol=1e-5)
    assert 0 < (got - want).abs().max() < 0.05


def test_split_is_a_tenth_and_stable() -> None:
    out = [D.held_out(f"net_{i:06d}") for i in range(5000)]
    assert 0.085 < np.mean(out) < 0.115
    assert D.held_out("net_000000", 7) == D.held_out("net_000000", 7)
    assert [D.held_out(f"x{i}", 8) for i in range(99)] != [D.held_out(f"x{i}", 9) for i in range(99)]


def test_training_canvases_hold_no_held_out_picture(canvases: D.Canvases) -> None:
    used = {canvases.crops.ids[i] for i in (*canvases.hand, *canvases.other)} | {s.ident for s in canvases.scenes}
    assert used and not any(D.held_out(i) for i in used)


def test_canvases_are_seeded_and_points_fall_on_the_face(canvases: D.Canvases) -> None:
    a, fa = canvases.draw(5)
    b, fb = canvases.draw(5)
    assert np.array_equal(a, b) and len(fa) == len(fb)
    n = 0
    for i in range(40):
        for f in canvases.draw(i)[1]:
            if f.ignore:
                continue
            n += 1
            mid = f.points.mean(0)
            assert (f.box[:2] < mid).all() and (mid < f.box[2:]).all()
            assert D.similarity(f.points)[0] > 0            # never mirrored: left stays left after a flip
    assert n > 30


def test_detector_bias_is_what_was_put_in(canvases: D.Canvases) -> None:
    iod = 35.24
    assert np.allclose(canvases.bias, np.array([-0.5, -1.0]) / iod, atol=2e-3)


def test_box_rule_follows_rotation() -> None:
    for angle in (0.0, 0.5):
        c, s = np.cos(angle), np.sin(angle)
        pts = D.TEMPLATE @ np.array([[c, s], [-s, c]]) * 2 + 50
        box = D.box_from_points(pts)
        w, h = box[2:] - box[:2]
        assert w == pytest.approx(2 * np.hypot(82 * c, 111.5 * s), rel=1e-6)
        assert h == pytest.approx(2 * np.hypot(82 * s, 111.5 * c), rel=1e-6)


def test_targets_decode_back() -> None:
    targets = T.Targets(320)
    centres, strides = cells(320, 320)
    face = D.Face(D.TEMPLATE.copy(), D.box_from_points(D.TEMPLATE))
    small = D.Face(D.TEMPLATE * 0.2 + 200, D.box_from_points(D.TEMPLATE * 0.2 + 200))
    skip = D.Face(D.TEMPLATE * 0.2 + 250, D.box_from_points(D.TEMPLATE * 0.2 + 250), ignore=True)
    owner, counts = targets.assign([face, small, skip])
    assert set(owner) == {-1, 0, 1} and not counts.all()
    assert set(targets.stride[owner == 1]) == {8.0} and set(targets.stride[owner == 0]) == {16.0}
    pred = torch.zeros(len(centres), 15)
    i = int(np.flatnonzero(owner == 0)[0])
    mid, size = (face.box[:2] + face.box[2:]) / 2, face.box[2:] - face.box[:2]
    s, c = strides[i].item(), centres[i].numpy()
    pred[i, 1:3] = torch.from_numpy(mid / s - c)
    pred[i, 3:5] = torch.from_numpy(np.log(size / s))
    pred[i, 5:] = torch.from_numpy(((face.points / s - c) / 2).ravel())
    _, box, points = decode(pred, centres, strides)
    assert np.allclose(box[i], face.box, atol=1e-3) and np.allclose(points[i], face.points, atol=1e-3)


def test_nms_and_matching() -> None:
    box = np.array([[0, 0, 40, 40], [2, 2, 42, 42], [100, 100, 140, 140], [200, 0, 240, 40]], float)
    assert E.nms(np.array([0.9, 0.8, 0.7, 0.6]), box) == [0, 2, 3]
    faces = [D.Face(np.zeros((5, 2)), box[0]), D.Face(np.zeros((5, 2)), box[2], ignore=True)]
    found = E.Found(np.array([0.9, 0.7, 0.6]), box[[0, 2, 3]], np.zeros((3, 5, 2)))
    hits, judged, _ = E.match(found, faces)
    assert hits == [0.9] and judged == [(0.9, False), (0.6, True)]


def test_a_few_steps_train_and_resume(root: Path, tmp_path: Path) -> None:
    args = ["--data", str(root), "--out", str(tmp_path), "--batch", "2", "--size", "160", "--steps", "8"]
    T.main([*args, "--max-steps", "3"])
    assert torch.load(tmp_path / "last.pt", weights_only=True)["step"] == 3
    T.main(args)
    net, info = E.load_average(tmp_path / "last.pt")
    assert info["step"] == 8 and all(torch.isfinite(v).all() for v in net.state_dict().values())
    lines = [json.loads(x) for x in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[0]["seed"] == 7 and lines[0]["held_scenes"] > 0
