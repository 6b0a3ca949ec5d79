"""explain_ranks: each rank's gradient, its weight, and the sum that the reducer made."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import InputError, nn, ops, optim
from minigrad.distributed import DataParallel, Flat, Naive, ZeRO
from minigrad.testing import run_ranks

ROWS = [5, 2, 4]


def data():
    rng = np.random.default_rng(1)
    return rng.normal(size=(sum(ROWS), 3)), rng.integers(0, 2, sum(ROWS))


def network():
    return nn.Sequential(nn.Dense(3, 2, rng=np.random.default_rng(0), dtype="float64"))


def on_ranks(body, reducer=lambda: None, **options):
    def run(comm):
        model = network()
        parallel = DataParallel(model, optim.SGD(model, 0.1), comm, reducer=reducer(), **options)
        start = sum(ROWS[: comm.rank])
        x, t = (part[start : start + ROWS[comm.rank]] for part in data())
        return body(parallel, x, t)

    return run_ranks(len(ROWS), run)


def explained(parallel, x, t):
    losses = ops.cross_entropy(parallel.model(x), t, reduction="none")
    explanation = mg.explain_ranks(parallel, losses, lang="en")
    gradients = {name: p.grad.copy() for name, p in parallel.model.named_parameters().items()}
    parallel.step()
    return explanation, gradients


@pytest.mark.parametrize("options", [{}, {"reducer": Flat}, {"bucket_bytes": 16}])
def test_the_weighted_sum_is_the_gradient_of_one_process(options):
    model, (x, t) = network(), data()
    ops.cross_entropy(model(x), t).backward()
    for explanation, gradients in on_ranks(explained, **options):
        assert explanation.samples == ROWS
        assert explanation.weights == [n / 11 for n in ROWS]
        assert list(explanation) == ["layers.0.weight", "layers.0.bias"]
        for name, one in explanation.items():
            expected = model.named_parameters()[name].grad
            np.testing.assert_array_equal(one.total, gradients[name])
            np.testing.assert_allclose(one.total, expected, rtol=1e-12)
            weighted = sum(w * g for w, g in zip(explanation.weights, one.of_ranks))
            np.testing.assert_allclose(weighted, expected, rtol=1e-12)
            assert one.distance < 1e-12
            assert abs(one.mean_of_means - expected).max() > 1e-3


def test_each_ranks_gradient_is_that_of_its_own_samples():
    x, t = data()
    explanation, _ = on_ranks(explained, reducer=Naive)[0]
    for rank, start in enumerate((0, 5, 7)):
        own = slice(start, start + ROWS[rank])
        model = network()
        ops.cross_entropy(model(x[own]), t[own]).backward()
        of_rank = explanation["layers.0.weight"].of_ranks[rank]
        np.testing.assert_allclose(of_rank, model.layers[0].weight.grad, rtol=1e-12)


def test_the_text_shows_gradient_weight_and_sum():
    explanation, _ = on_ranks(explained)[2]
    text = str(explanation)
    assert "3 ranks, 11 samples" in text
    assert "rank 1, 2 samples, weight 0.181818" in text
    assert "summed over the ranks" in text
    assert "which would be wrong" in text
    with pytest.raises(InputError, match=r"unknown parameter 'layers\.0\.wight'.*did you mean"):
        explanation["layers.0.wight"]


def test_what_it_cannot_show_is_refused():
    def zero(parallel, x, t):
        with pytest.raises(InputError, match=r"which ZeRO.* does not: use Naive"):
            explained(parallel, x, t)

    def scalar(parallel, x, t):
        with pytest.raises(InputError, match="reduction='none'"):
            mg.explain_ranks(parallel, ops.cross_entropy(parallel.model(x), t))

    def nothing(parallel, x, t):
        losses = ops.cross_entropy(parallel.model(x), t, reduction="none")
        with pytest.raises(InputError, match="give every rank a sample"):
            mg.explain_ranks(parallel, losses[: 0 if parallel.comm.rank == 1 else None])

    on_ranks(nothing)
    on_ranks(zero, reducer=lambda: ZeRO(1))
    on_ranks(scalar)
