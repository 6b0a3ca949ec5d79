"""Pictures: what is drawn, that nothing overlaps, and that nothing half-written is left."""

import errno
import os
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

from minigrad import plot
from minigrad.errors import InputError, MissingExtra

pytest.importorskip("matplotlib")
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb

LABELS = {
    "loss": "loss (mean per sample)",
    "accuracy": "accuracy (share of samples)",
    "lr": "learning rate (per update)",
    "grad_norm": "gradient norm (L2)",
}


@pytest.fixture
def draw(monkeypatch):
    """``draw(function, ...)`` is the figure that the function would save, laid out."""
    figures = []
    monkeypatch.setattr(plot, "save_figure", lambda figure, *_, **__: figures.append(figure))

    def run(function, *arguments, **options):
        function(*arguments, "picture.png", **options)
        FigureCanvasAgg(figures[-1])
        figures[-1].draw_without_rendering()
        return figures[-1]

    return run


def epochs(n, *keys, first=1):
    return [{"epoch": first + i, **dict.fromkeys(keys, 1 / (i + 1))} for i in range(n)]


def table(classes, count=7):
    return np.arange(classes**2).reshape(classes, classes) % count + count * np.eye(
        classes, dtype=int
    )


def boxes(texts):
    return [text.get_window_extent() for text in texts if text.get_text() and text.get_visible()]


def ticks(axis):
    low, high = sorted(axis.get_view_interval())
    return [t.label1 for t in axis.get_major_ticks() if low <= t.get_loc() <= high]


def inside(axes, texts):
    canvas = axes.figure.bbox
    return all(
        canvas.x0 <= b.x0 and b.x1 <= canvas.x1 and canvas.y0 <= b.y0 and b.y1 <= canvas.y1
        for b in boxes(texts)
    )


@pytest.mark.parametrize("n", [1, 2, 50])
@pytest.mark.parametrize("first", [1, 100_001])
def test_curves_have_whole_epochs_that_do_not_overlap(draw, n, first):
    figure = draw(plot.curves, epochs(n, *LABELS, "val_loss", first=first))
    assert [axes.get_ylabel() for axes in figure.axes] == list(LABELS.values())
    for axes in figure.axes:
        shown = ticks(axes.xaxis)
        assert shown
        assert [int(text.get_text()) for text in shown] == [
            text.get_position()[0] for text in shown
        ]
        assert all(left.x1 < right.x0 for left, right in pairwise(boxes(shown)))
        assert axes.get_xlabel() == "epoch"
        assert axes.get_ylim()[0] <= 0 or axes.get_ylabel() in (LABELS["loss"], LABELS["accuracy"])
        assert inside(axes, [*shown, *ticks(axes.yaxis), axes.xaxis.label, axes.yaxis.label])
        for line in axes.lines:
            values = line.get_ydata()
            assert axes.get_ylim()[0] < min(values) <= max(values) < axes.get_ylim()[1]


@pytest.mark.parametrize("keys", [["loss"], ["loss", "lr"], ["accuracy", "lr", "grad_norm"]])
def test_curves_draw_what_is_there(draw, keys):
    figure = draw(plot.curves, epochs(3, *keys, "samples_per_s"))
    assert [axes.get_ylabel() for axes in figure.axes] == [LABELS[key] for key in keys]


def test_curves_have_a_legend_for_two_lines_only(draw):
    one, two = draw(plot.curves, epochs(3, "loss", "accuracy", "val_accuracy")).axes
    assert one.get_legend() is None
    assert [text.get_text() for text in two.get_legend().get_texts()] == ["training", "validation"]


def test_curves_pass_over_gaps_and_count_epochs_themselves(draw):
    history = [{"loss": 3.0, "val_loss": None}, {"loss": 2.0, "val_loss": 5.0}, {"loss": np.nan}]
    training, validation = draw(plot.curves, history).axes[0].lines
    np.testing.assert_array_equal(training.get_xydata(), [[1, 3], [2, 2], [3, np.nan]])
    np.testing.assert_array_equal(validation.get_xydata(), [[2, 5]])


@pytest.mark.parametrize(
    ("classes", "count"), [(2, 7), (2, 10**6), (3, 7), (10, 7), (10, 10**6), (30, 100)]
)
@pytest.mark.parametrize("name", [None, "class number {} with a name that never ends"])
def test_confusion_is_readable(draw, classes, count, name):
    names = None if name is None else np.array([name.format(i) for i in range(classes)])
    matrix = table(classes, count)
    axes, bar = draw(plot.confusion, matrix, names=names).axes
    across, down = boxes(ticks(axes.xaxis)), boxes(ticks(axes.yaxis))
    assert len(across) == len(down) == classes
    assert all(left.x1 < right.x0 for left, right in pairwise(across))
    assert all(lower.y1 < upper.y0 for upper, lower in pairwise(down))
    width = axes.bbox.width / classes
    assert [int(text.get_text()) for text in axes.texts] == matrix.ravel().tolist()
    assert all(box.width < width and box.height < width for box in boxes(axes.texts))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    assert bar.get_ylabel() == "share of the true class"
    accuracy = matrix.trace() / matrix.sum()
    assert axes.get_title() == f"accuracy {accuracy:.4f}, {matrix.sum():,} samples"


def test_confusion_digits_stand_out(draw):
    percent = [*range(0, 101, 10), 71, 72]
    matrix = np.zeros((len(percent), len(percent)), int)
    matrix[:, 0], matrix[:, 1] = percent, 100 - np.array(percent)
    axes = draw(plot.confusion, matrix).axes[0]
    image = axes.images[0]
    for text, share in zip(axes.texts, image.get_array().ravel()):
        dark, light = sorted(map(luminance, (text.get_color(), image.to_rgba(share)[:3])))
        assert (light + 0.05) / (dark + 0.05) > 4.5  # WCAG 2, level AA


def luminance(colour):
    c = np.array(to_rgb(colour))
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ (
        0.2126,
        0.7152,
        0.0722,
    )


def test_confusion_of_many_classes_has_colours_and_no_digits(draw):
    axes = draw(plot.confusion, table(150)).axes[0]
    assert not axes.texts
    down = boxes(ticks(axes.yaxis))
    assert all(lower.y1 < upper.y0 for upper, lower in pairwise(down))


def test_confusion_takes_any_name(draw):
    axes = draw(plot.confusion, table(4), names=["$a_$", "\U0001f984", "tab\there", 7]).axes[0]
    assert [text.get_text() for text in ticks(axes.yaxis)] == ["$a_$", "class 1", "class 2", "7"]


def test_confusion_without_samples(draw):
    assert draw(plot.confusion, np.zeros((2, 2), int)).axes[0].get_title() == "empty"


def test_roc(draw):
    axes = draw(plot.roc, [0, 0, 1], [0, 0.5, 1], 0.75).axes[0]
    model, chance = axes.lines
    np.testing.assert_array_equal(model.get_xydata(), [[0, 0], [0, 0.5], [1, 1]])
    np.testing.assert_array_equal(chance.get_xydata(), [[0, 0], [1, 1]])
    assert axes.get_aspect() == 1
    assert axes.get_legend().get_texts()[0].get_text() == "model, AUC = 0.7500"
    assert inside(
        axes, [*ticks(axes.xaxis), *ticks(axes.yaxis), axes.xaxis.label, axes.yaxis.label]
    )


@pytest.mark.parametrize(
    ("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")]
)
def test_the_suffix_chooses_the_format_and_an_old_picture_is_replaced(tmp_path, suffix, start):
    path = tmp_path / f"curves{suffix}"
    path.write_bytes(b"old")
    plot.curves(epochs(2, "loss"), str(path))
    assert path.read_bytes().startswith(start)
    assert list(tmp_path.iterdir()) == [path]


def test_pictures_have_150_dots_an_inch(tmp_path):
    image = pytest.importorskip("PIL.Image")
    plot.curves(epochs(2, *LABELS), tmp_path / "curves.png")
    plot.confusion(table(3), tmp_path / "confusion.png")
    plot.roc([0, 1], [0, 1], 0.5, tmp_path / "roc.png")
    for path in tmp_path.iterdir():
        with image.open(path) as picture:
            assert picture.info["dpi"] == pytest.approx((150, 150), abs=0.1)
            pixels = np.asarray(picture.convert("L"))
        edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        assert (edge == 255).all()  # nothing is cut off


def test_a_full_disk_leaves_the_old_picture(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "curves.png"
    path.write_bytes(b"old")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match=r"curves\.png could not be written \(No space left"):
        plot.curves(epochs(2, "loss"), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_in_the_way_is_named(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    for name in ("missing/a.png", "file/a.png", "folder.png"):
        with pytest.raises(InputError, match=f"{name} could not be written .* folder that exists"):
            plot.curves(epochs(2, "loss"), tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.png"]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda p: plot.curves([], p), "history of 0 epochs holds no numbers"),
        (lambda p: plot.curves([{"epoch": 1, "los": 2.0}], p), "loss, val_loss, accuracy"),
        (lambda p: plot.curves(epochs(1, "loss"), "a.pgn"), "did you mean '.png'"),
        (lambda p: plot.confusion(np.zeros((2, 3), int), p), r"int64 of shape \(2, 3\)"),
        (lambda p: plot.confusion(np.zeros((2, 2)), p), "whole numbers; this one is float64"),
        (lambda p: plot.confusion(np.zeros((0, 0), int), p), r"shape \(0, 0\)"),
        (lambda p: plot.confusion(table(3), p, names=["a"]), "1 names were given for 3 classes"),
        (lambda p: plot.roc([0, 1], [0, 0.5, 1], 0.5, p), r"fpr has shape \(2,\) and tpr \(3,\)"),
    ],
)
def test_refused_with_a_sentence(tmp_path, call, sentence):
    with pytest.raises(InputError, match=sentence):
        call(tmp_path / "picture.png")
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r"\[viz\]"):
        plot.roc([0, 1], [0, 1], 0.5, tmp_path / "roc.png")


def test_pictures_are_drawn_in_a_thread_without_pyplot_or_display(tmp_path):
    code = """if True:
        import sys, threading
        from minigrad import plot
        assert "matplotlib" not in sys.modules
        draw = threading.Thread(target=plot.roc, args=([0, 1], [0, 1], 0.5, sys.argv[1]))
        draw.start(), draw.join()
        assert "matplotlib.pyplot" not in sys.modules
    """
    path = tmp_path / "roc.png"
    subprocess.run(
        [sys.executable, "-c", code, path], check=True, env={**os.environ, "MPLBACKEND": "TkAgg"}
    )
    assert path.stat().st_size > 1000
