"""Metrics against scikit-learn, brute force, and themselves over batches and ranks."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from minigrad import metrics
from minigrad.backend import device_count
from minigrad.distributed.threads import run_ranks
from minigrad.errors import InputError

oracle = pytest.importorskip("sklearn.metrics")

AVERAGES = ("macro", "micro", "weighted", None)
SCORES = (st.integers(-2, 2).map(float), st.floats(-1e6, 1e6))  # with many ties and with few


@st.composite
def tables(draw, most=6):
    """(labels, predictions, classes); often imbalanced, often with absent classes."""
    k = draw(st.integers(2, most))
    numbers = st.one_of(st.integers(0, k - 1), st.just(draw(st.integers(0, k - 1))))
    n = draw(st.integers(1, 40))
    return (
        draw(arrays(np.int64, n, elements=numbers)),
        draw(arrays(np.int64, n, elements=numbers)),
        k,
    )


@st.composite
def rankings(draw):
    """(labels, scores) of two classes, both of which occur."""
    n = draw(st.integers(2, 40))
    labels = draw(arrays(np.int64, n, elements=st.integers(0, 1)))
    assume(labels.min() != labels.max())
    return labels, draw(arrays(np.float64, n, elements=draw(st.sampled_from(SCORES))))


@st.composite
def classified(draw, fewest=2):
    """(labels, scores, classes): rows of scores with ties; every class occurs."""
    k = draw(st.integers(fewest, 5))
    labels = np.append(
        np.arange(k),
        draw(arrays(np.int64, draw(st.integers(0, 25)), elements=st.integers(0, k - 1))),
    )
    scores = draw(arrays(np.float64, (len(labels), k), elements=st.integers(1, 4).map(float)))
    return labels, scores / scores.sum(axis=1, keepdims=True), k


def cuts(draw_from, n, parts):
    """``parts`` slices that cover n samples in order; some are empty."""
    ends = sorted(
        draw_from.draw(st.lists(st.integers(0, n), min_size=parts - 1, max_size=parts - 1))
    )
    return [slice(a, b) for a, b in zip([0, *ends], [*ends, n])]


@given(tables())
def test_counts_equal_scikit_learn(table):
    labels, predictions, k = table
    matrix = metrics.confusion_matrix(labels, predictions, k)
    assert matrix.dtype == np.int64
    np.testing.assert_array_equal(
        matrix, oracle.confusion_matrix(labels, predictions, labels=range(k))
    )
    expected = oracle.accuracy_score(labels, predictions)
    assert metrics.accuracy(labels, predictions) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", ["precision", "recall", "f1"])
@pytest.mark.parametrize("average", AVERAGES)
@settings(max_examples=30)
@given(table=tables())
def test_averages_equal_scikit_learn(name, average, table):
    labels, predictions, k = table
    options = {"average": average, "zero_division": 0}
    if average is None:
        options["labels"] = range(k)
    expected = getattr(oracle, f"{name}_score")(labels, predictions, **options)
    actual = getattr(metrics, name)(labels, predictions, average, classes=k)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)
    assert isinstance(actual, np.ndarray if average is None else float)


@pytest.mark.parametrize("name", ["precision", "recall", "f1"])
@settings(max_examples=30)
@given(table=tables(most=2))
def test_binary_equals_scikit_learn(name, table):
    labels, predictions, _ = table
    expected = getattr(oracle, f"{name}_score")(labels, predictions, zero_division=0)
    assert getattr(metrics, name)(labels, predictions) == pytest.approx(expected, abs=1e-12)


@given(rankings())
def test_roc_and_auc_equal_scikit_learn(ranking):
    expected = oracle.roc_curve(*ranking, drop_intermediate=False)
    for actual, wanted in zip(metrics.roc_curve(*ranking), expected):
        np.testing.assert_allclose(actual, wanted, rtol=0, atol=1e-12)
    area = metrics.auc(*ranking)
    assert isinstance(area, float)
    assert area == pytest.approx(oracle.roc_auc_score(*ranking), abs=1e-12)


@pytest.mark.parametrize("average", ["macro", "weighted", None])
@settings(max_examples=30)
@given(sample=classified(fewest=3))
def test_one_vs_rest_equals_scikit_learn(average, sample):
    labels, scores, _ = sample
    expected = oracle.roc_auc_score(labels, scores, multi_class="ovr", average=average)
    actual = metrics.one_vs_rest_auc(labels, scores, average)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


@given(classified(fewest=3), st.data())
def test_top_k_equals_scikit_learn(sample, data):
    labels, scores, k = sample
    top = data.draw(st.integers(1, k - 1))
    # scikit-learn puts the higher class first among ties, argmax and minigrad the lower
    expected = oracle.top_k_accuracy_score(k - 1 - labels, scores[:, ::-1], k=top, labels=range(k))
    assert metrics.top_k_accuracy(labels, scores, top) == pytest.approx(expected, abs=1e-12)


@given(classified())
def test_top_1_is_the_accuracy_and_top_all_is_1(sample):
    labels, scores, k = sample
    assert metrics.top_k_accuracy(labels, scores, 1) == metrics.accuracy(
        labels, scores.argmax(axis=1)
    )
    assert metrics.top_k_accuracy(labels, scores, k) == 1.0


@given(rankings())
def test_auc_is_the_probability_that_a_positive_ranks_higher(ranking):
    labels, scores = ranking
    positive, negative = scores[labels == 1][:, None], scores[labels == 0]
    probability = np.mean((positive > negative) + 0.5 * (positive == negative))
    assert metrics.auc(labels, scores) == pytest.approx(probability, abs=1e-12)


@given(rankings())
def test_auc_depends_on_order_alone(ranking):
    labels, scores = ranking
    area = metrics.auc(labels, scores)
    ranks = np.unique(scores, return_inverse=True)[1]
    assert metrics.auc(labels, np.exp(ranks / 10)) == area  # strictly increasing, also in floats
    assert metrics.auc(labels, -scores) == pytest.approx(1 - area, abs=1e-15)
    assert metrics.auc(1 - labels, scores) == pytest.approx(1 - area, abs=1e-15)
    backwards = np.arange(len(labels))[::-1]
    assert metrics.auc(labels[backwards], scores[backwards]) == area


@given(rankings())
def test_auc_is_the_area_under_the_curve(ranking):
    fpr, tpr, thresholds = metrics.roc_curve(*ranking)
    assert metrics.auc(*ranking) == pytest.approx(np.trapezoid(tpr, fpr), abs=1e-12)
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    assert (np.diff(thresholds) < 0).all()


@given(tables())
def test_f1_is_the_harmonic_mean(table):
    labels, predictions, k = table
    p = metrics.precision(labels, predictions, None, k)
    r = metrics.recall(labels, predictions, None, k)
    harmonic = np.where(p + r > 0, 2 * p * r / np.where(p + r > 0, p + r, 1), 0)
    np.testing.assert_allclose(metrics.f1(labels, predictions, None, k), harmonic, atol=1e-12)


@given(tables())
def test_micro_averages_are_the_accuracy(table):
    labels, predictions, _ = table
    for measure in (metrics.precision, metrics.recall, metrics.f1):
        assert measure(labels, predictions, "micro") == metrics.accuracy(labels, predictions)


@settings(max_examples=30)
@given(tables(), st.integers(1, 4), st.data())
def test_counts_merge_exactly(table, ranks, data):
    labels, predictions, k = table
    shares = cuts(data, len(labels), ranks)

    def one_rank(comm):
        mine = metrics.ConfusionMatrix(k)
        for half in np.array_split(np.arange(len(labels))[shares[comm.rank]], 2):
            mine.update(labels[half], predictions[half])
        before = mine.matrix.copy()
        merged = mine.merge(comm)
        np.testing.assert_array_equal(mine.matrix, before)
        return merged

    whole = metrics.confusion_matrix(labels, predictions, k)
    for merged in run_ranks(ranks, one_rank):
        np.testing.assert_array_equal(merged.matrix, whole)


@pytest.mark.parametrize("columns", [True, False])
@settings(max_examples=30)
@given(sample=classified(), ranks=st.integers(1, 4), data=st.data())
def test_scores_merge_exactly(columns, sample, ranks, data):
    labels, scores, k = sample
    if not columns:
        labels, scores, k = np.minimum(labels, 1), scores[:, 0], 2
    shares = cuts(data, len(labels), ranks)

    def one_rank(comm):
        mine = metrics.Scores(k)
        for half in np.array_split(np.arange(len(labels))[shares[comm.rank]], 2):
            mine.update(labels[half], scores[half])
        return mine.merge(comm)

    for merged in run_ranks(ranks, one_rank):
        if columns:
            assert merged.top_k_accuracy(1) == metrics.top_k_accuracy(labels, scores, 1)
            assert merged.one_vs_rest_auc() == metrics.one_vs_rest_auc(labels, scores)
        else:
            assert merged.auc() == metrics.auc(labels, scores)
            np.testing.assert_array_equal(merged.roc_curve(), metrics.roc_curve(labels, scores))


def test_auc_of_parts_does_not_average_to_the_auc():
    labels, scores = np.array([0, 1, 0, 1]), np.array([0.1, 0.2, 0.8, 0.9])
    assert metrics.auc(labels[:2], scores[:2]) == metrics.auc(labels[2:], scores[2:]) == 1.0
    assert metrics.auc(labels, scores) == 0.75


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.uint64])
def test_labels_of_any_whole_type(dtype):
    labels, predictions = np.array([0, 1, 1, 0], dtype), np.array([0, 1, 0, 1], dtype)
    np.testing.assert_array_equal(metrics.confusion_matrix(labels, predictions, 300)[:2, :2], 1)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int32])
def test_scores_of_any_type(dtype):
    assert metrics.auc(np.array([0, 1, 1, 0]), np.array([1, 3, 2, 2], dtype)) == 0.875


def test_infinite_scores_have_an_order():
    assert metrics.auc(np.array([0, 1, 0, 1]), np.array([-np.inf, np.inf, 0, np.inf])) == 1.0


def test_scores_are_copied():
    labels, scores = np.array([0, 1]), np.array([0.0, 1.0])
    kept = metrics.Scores(2)
    kept.update(labels, scores)
    labels[:], scores[:] = 0, 0
    assert kept.auc() == 1.0


def test_nothing_predicted_positive_gives_0():
    labels, predictions = np.array([1, 0, 1]), np.zeros(3, int)
    assert metrics.precision(labels, predictions) == 0.0
    assert metrics.recall(labels, predictions) == 0.0
    assert metrics.f1(labels, predictions) == 0.0


def test_a_refused_batch_leaves_no_trace():
    counts, scores = metrics.ConfusionMatrix(3), metrics.Scores(2)
    with pytest.raises(InputError):
        counts.update(np.array([0, 1]), np.array([0, 3]))
    with pytest.raises(InputError):
        scores.update(np.array([0, 1]), np.array([0, np.nan]))
    assert counts.matrix.sum() == 0
    with pytest.raises(InputError, match="no samples"):
        scores.auc()


def mixed():
    kept = metrics.Scores(2)
    kept.update(ONES, np.zeros(2))
    kept.update(ONES, np.zeros((2, 2)))


ONES, NONE = np.ones(2, int), np.zeros(0, int)
REFUSED = [
    (lambda: metrics.accuracy(NONE, NONE), "no samples"),
    (lambda: metrics.f1([], []), "no samples"),
    (lambda: metrics.confusion_matrix(NONE, NONE, 3), "no samples"),
    (lambda: metrics.auc(NONE, np.zeros(0)), "no samples"),
    (lambda: metrics.top_k_accuracy(NONE, np.zeros((0, 3)), 1), "no samples"),
    (lambda: metrics.ConfusionMatrix(3).accuracy(), "no samples"),
    (lambda: metrics.Scores(3).one_vs_rest_auc(), "no samples"),
    (lambda: metrics.accuracy(ONES, np.ones(3, int)), "2 labels came with 3 predictions"),
    (lambda: metrics.auc(ONES, np.ones(3)), "2 labels came with 3 scores"),
    (
        lambda: metrics.confusion_matrix(np.array([0, 2, 9, 7]), np.zeros(4, int), 3),
        "labels contain 9 at index 2, and the 3 classes are numbered 0 to 2",
    ),
    (lambda: metrics.recall(ONES, -ONES), "predictions contain -1 at index 0"),
    (lambda: metrics.accuracy(np.array([0.0, 1.0]), ONES), "labels are float64"),
    (lambda: metrics.accuracy(np.eye(2, dtype=int), ONES), r"labels have shape \(2, 2\).*argmax"),
    (lambda: metrics.accuracy(ONES * 10**12, ONES), "would not fit in memory"),
    (lambda: metrics.ConfusionMatrix(1), "classes is 1"),
    (lambda: metrics.Scores(0), "classes is 0"),
    (lambda: metrics.f1(2 * ONES, ONES), "'binary' is for 2 classes, and there are 3"),
    (lambda: metrics.f1(ONES, ONES, "makro"), "did you mean 'macro'"),
    (lambda: metrics.auc(ONES, np.zeros(2)), "all labels are 1, .* samples of class 0"),
    (lambda: metrics.roc_curve(0 * ONES, np.zeros(2)), "all labels are 0, .* samples of class 1"),
    (lambda: metrics.auc(2 * ONES, np.zeros(2)), "labels contain 2 at index 0"),
    (lambda: metrics.auc(ONES, np.array([0, np.nan])), "score of sample 1 in this batch is NaN"),
    (lambda: metrics.auc(ONES, np.zeros((2, 2))), "one_vs_rest_auc"),
    (lambda: metrics.auc(ONES, np.zeros((2, 1))), r"shape \(2, 1\)"),
    (lambda: metrics.auc(ONES, np.float64(1)), r"shape \(\)"),
    (lambda: metrics.Scores(3).update(ONES, np.zeros(2)), r"need shape \(n, 3\)$"),
    (lambda: metrics.one_vs_rest_auc(ONES, np.zeros(2)), r"shape \(n, 2\)"),
    (lambda: metrics.one_vs_rest_auc(ONES, np.zeros((2, 3))), "no sample has label 0"),
    (
        lambda: metrics.one_vs_rest_auc(np.arange(2), np.zeros((2, 2)), "micro"),
        "unknown average 'micro'",
    ),
    (lambda: metrics.top_k_accuracy(ONES, np.zeros((2, 3)), 0), "k is 0; .* choose 1 to 3"),
    (lambda: metrics.top_k_accuracy(ONES, np.zeros((2, 3)), 4), "k is 4"),
    (mixed, r"keep to either \(n,\) or \(n, 2\)"),
]


@pytest.mark.parametrize(("call", "sentence"), REFUSED)
def test_refused_with_a_sentence(call, sentence):
    with pytest.raises(InputError, match=sentence):
        call()


@pytest.mark.gpu
@pytest.mark.skipif(not device_count(), reason="needs a CUDA device and CuPy")
def test_arrays_on_the_gpu_give_the_same():
    cupy = pytest.importorskip("cupy")
    labels, scores = np.array([0, 1, 1, 0]), np.array([0.1, 0.4, 0.3, 0.3], np.float32)
    there = cupy.asarray(labels), cupy.asarray(scores)
    assert metrics.auc(*there) == metrics.auc(labels, scores)
    assert metrics.f1(there[0], there[1] > 0.2) == metrics.f1(labels, scores > 0.2)
