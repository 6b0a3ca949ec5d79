"""D2 §8.3: the same weights as text, as npz and as a checkpoint: bytes, and seconds."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minigrad import checkpoint
from minigrad.ask.answer import Answer
from minigrad.ask.common import COLOURS, borne_out, network, quickest
from minigrad.errors import require
from minigrad.figure import new_figure
from minigrad.files import write_whole

__all__ = ["answer"]

_Arrays = dict[str, np.ndarray[Any, Any]]


class _Form(NamedTuple):
    """How arrays become a file and come back."""

    write: Callable[[Path, _Arrays], None]
    read: Callable[[Path], Any]


def answer(quick: bool = False) -> Answer:
    """Write and read the weights of a network in four formats, and one layer without the rest."""
    width, times = (64, 1) if quick else (512, 3)
    weights = network(*[width] * 9).state_dict()
    size = sum(array.nbytes for array in weights.values())
    rows: dict[str, tuple[float, float, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, form in _FORMS.items():
            path = Path(folder, name.replace(" ", "-"))
            often = 1 if name == "text" else times  # text takes seconds
            write = 1e3 * quickest(partial(form.write, path, weights), often)
            read = 1e3 * quickest(partial(form.read, path), often)
            rows[name] = path.stat().st_size / 1e6, write, read
        stored = Path(folder, "checkpoint")
        last = max(weights)
        one = 1e3 * quickest(lambda: _one(stored, last), times)
        exact = bool((_one(stored, last) == weights[last]).all())
    return _tell(rows, one, size / 1e6, exact)


def _tell(
    rows: dict[str, tuple[float, float, float]], one: float, size: float, exact: bool
) -> Answer:
    assert exact
    n = {
        f"{name} {what}": value
        for name in ("text", "npz", "checkpoint")
        for what, value in zip(("MB", "write ms", "read ms"), rows[name])
    } | {"compressed MB": rows["npz, compressed"][0], "one layer ms": one, "MB": size}
    s = {name: f"{value:,.2f}" for name, value in n.items()}
    smaller = n["checkpoint MB"] < n["text MB"]
    faster = all(n[f"checkpoint {do} ms"] < n[f"text {do} ms"] for do in ("write", "read"))
    less = f"{1 - n['compressed MB'] / n['npz MB']:.0%}"
    return Answer(
        numbers=n,
        en=(
            f"Weights of {s['MB']} MB in memory become {s['text MB']} MB as text, written in "
            f"{s['text write ms']} ms and read in {s['text read ms']} ms; as a checkpoint "
            f"(safetensors) {s['checkpoint MB']} MB, {s['checkpoint write ms']} ms and "
            f"{s['checkpoint read ms']} ms, its SHA-256 included.",
            f"NumPy's npz takes {s['npz MB']} MB, {s['npz write ms']} ms and "
            f"{s['npz read ms']} ms, compressed {s['compressed MB']} MB, {less} less; one layer of "
            f"the checkpoint, mapped into memory, is read in {s['one layer ms']} ms.",
            "Beside text, what the article says of efficient storage is "
            f"{borne_out(smaller)} for space and {borne_out(faster)} for time, in files of one "
            "computer; that it raises accuracy, too, is not tested, nor are HDFS, GlusterFS and "
            "Ceph, which it names and which spread files over many computers.",
        ),
        zh=(
            f"内存中 {s['MB']} MB 的权重存为文本需 {s['text MB']} MB，"
            f"写入 {s['text write ms']} 毫秒、读取 {s['text read ms']} 毫秒；"
            f"存为检查点（safetensors）需 {s['checkpoint MB']} MB，"
            f"写入 {s['checkpoint write ms']} 毫秒、读取 {s['checkpoint read ms']} 毫秒，"
            "含 SHA-256 校验。",
            f"NumPy 的 npz 需 {s['npz MB']} MB，写入 {s['npz write ms']} 毫秒、"
            f"读取 {s['npz read ms']} 毫秒；压缩后为 {s['compressed MB']} MB，"
            f"少 {less}；用内存映射只读取检查点中的一层，需 {s['one layer ms']} 毫秒。",
            "对单机文件而言，与文本相比，文章关于高效存储的说法在空间上"
            f"{borne_out(smaller, 'zh')}，在时间上{borne_out(faster, 'zh')}；"
            "它还说高效存储能提高准确性，此处没有检验；"
            "它提到的 HDFS、GlusterFS 与 Ceph 把文件分布在多台机器上，也没有试验。",
        ),
        figure=_draw(rows),
    )


def _one(path: Path, name: str) -> np.ndarray[Any, Any]:
    """One array of a checkpoint; the pages of the others are not read."""
    with require("safetensors", "checkpoint").safe_open(path, "numpy") as file:
        found: np.ndarray[Any, Any] = file.get_tensor(name)
    return found


def _packed(save: Callable[..., None]) -> Callable[[Path, _Arrays], None]:
    def write(path: Path, arrays: _Arrays) -> None:
        file = BytesIO()
        save(file, **arrays)
        write_whole(path, file.getvalue())

    return write


def _unpack(path: Path) -> _Arrays:
    with np.load(BytesIO(path.read_bytes())) as file:
        return {name: file[name] for name in file.files}


def _write_text(path: Path, arrays: _Arrays) -> None:
    lines = (" ".join(map(repr, array.ravel().tolist())) for array in arrays.values())
    write_whole(path, "\n".join(lines).encode())


def _read_text(path: Path) -> list[np.ndarray[Any, Any]]:
    lines = path.read_text().split("\n")
    return [np.array(line.split(" "), np.float64).astype(np.float32) for line in lines]


_FORMS = {
    "text": _Form(_write_text, _read_text),
    "npz": _Form(_packed(np.savez), _unpack),
    "npz, compressed": _Form(_packed(np.savez_compressed), _unpack),
    "checkpoint": _Form(lambda path, arrays: checkpoint.save(path, arrays, {}), checkpoint.load),
}
"""All are written whole, and synced."""


def _draw(rows: dict[str, tuple[float, float, float]]) -> Any:
    figure = new_figure(9.6, 3.6)
    names = [name.replace(", ", ",\n") for name in rows]
    titles = ("size (MB)", "time to write (ms)", "time to read (ms)")
    for axes, title, values in zip(figure.subplots(1, 3, sharey=True), titles, zip(*rows.values())):
        bars = axes.barh(names, values, color=COLOURS[: len(names)])
        axes.bar_label(bars, [f"{value:,.1f}" for value in values], fontsize=9, padding=3)
        axes.set(title=title)
        if "time" in title:
            axes.set(xscale="log", xlim=(min(values) / 3, max(values) * 6))
        else:
            axes.margins(x=0.25)
        axes.grid(axis="x", alpha=0.3)
        axes.set_axisbelow(True)
    figure.axes[0].invert_yaxis()
    return figure
