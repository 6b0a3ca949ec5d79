"""Every row once, each rank its share, and the same order whatever the number of ranks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.data import DataLoader
from minigrad.errors import InputError
from minigrad.shares import share


@st.composite
def jobs(draw):
    """``(samples, options)`` that a loader accepts, without ``rank``."""
    size = draw(st.integers(1, 5))
    samples = draw(st.integers(size, 40))
    options = {
        "batch_size": draw(st.integers(size, 45)),
        "seed": draw(st.integers(0, 2**70)),
        "shuffle": draw(st.booleans()),
        "size": size,
    }
    return samples, options


def loader(samples, **options):
    rows = np.arange(samples)
    return DataLoader(rows[:, None] * [1.0, 10.0], rows, **options)


def all_ranks(samples, options, epoch=0, start=0):
    """For each batch of an epoch, the ranks' shares in rank order."""
    loaders = [loader(samples, rank=rank, **options) for rank in range(options["size"])]
    return list(zip(*(one.epoch(epoch, start) for one in loaders), strict=True))


@given(st.integers(0, 200), st.integers(1, 12))
def test_shares_cover_everything_once_and_evenly(total, size):
    parts = [range(*share(total, rank, size)) for rank in range(size)]
    lengths = [len(part) for part in parts]
    assert [item for part in parts for item in part] == list(range(total))
    assert lengths == sorted(lengths, reverse=True)
    assert max(lengths) - min(lengths) <= 1


@given(jobs(), st.integers(0, 9))
def test_an_epoch_visits_each_row_once(job, epoch):
    samples, options = job
    batches = all_ranks(samples, options, epoch)
    visited = [row for shares in batches for batch in shares for row in batch.y.tolist()]
    assert sorted(visited) == list(range(samples))
    assert len(batches) == len(loader(samples, **options))


@given(jobs())
def test_shares_in_rank_order_are_the_global_batch(job):
    samples, options = job
    alone = loader(samples, **options | {"size": 1})
    for whole, shares in zip(alone.epoch(2), all_ranks(samples, options, 2), strict=True):
        np.testing.assert_array_equal(np.concatenate([part.y for part in shares]), whole.y)
        np.testing.assert_array_equal(np.concatenate([part.x for part in shares]), whole.x)
        np.testing.assert_array_equal(whole.x, whole.y[:, None] * [1.0, 10.0])
        for part in shares:
            assert (part.total, part.sample, part.index) == (
                whole.total,
                whole.sample,
                whole.index,
            )
            assert part.count == len(part.x) == len(part.y)
            np.testing.assert_array_equal(whole.y[part.first : part.first + part.count], part.y)


@given(jobs(), st.integers(1, 7))
def test_micro_batches_do_not_depend_on_the_number_of_ranks(job, pieces):
    samples, options = job
    alone = loader(samples, **options | {"size": 1})
    for whole, shares in zip(alone.epoch(0), all_ranks(samples, options), strict=True):
        cuts = [part.split(pieces) for part in shares]
        assert np.concatenate([cut.y for cut in whole.split(pieces)]).tolist() == whole.y.tolist()
        for one, parts in zip(whole.split(pieces), zip(*cuts, strict=True), strict=True):
            assert 0 < one.total == sum(part.count for part in parts)
            np.testing.assert_array_equal(np.concatenate([part.y for part in parts]), one.y)
            for part in parts:
                place = part.sample + part.first - whole.sample
                np.testing.assert_array_equal(whole.y[place : place + part.count], part.y)


@given(jobs(), st.data())
def test_starting_at_a_batch_equals_skipping_to_it(job, data):
    samples, options = job
    start = data.draw(st.integers(0, len(loader(samples, **options))))
    skipped = all_ranks(samples, options, 3)[start:]
    started = all_ranks(samples, options, 3, start)
    assert [[part.y.tolist() for part in shares] for shares in skipped] == [
        [part.y.tolist() for part in shares] for shares in started
    ]
    assert [shares[0].index for shares in started] == [shares[0].index for shares in skipped]


def order(epoch, **options):
    return [row for batch in loader(30, batch_size=7, **options).epoch(epoch) for row in batch.y]


def test_seed_and_epoch_decide_the_order():
    assert order(1, seed=4) == order(1, seed=4)
    assert order(1, seed=4) == np.random.default_rng([4, 1]).permutation(30).tolist()
    assert len({tuple(order(epoch, seed=seed)) for epoch in range(3) for seed in range(3)}) == 9
    assert order(5, shuffle=False) == list(range(30))


def test_the_mean_of_the_batches_gradients_is_the_full_gradient():
    """F2, D2 §3.1: over an epoch of equal batches, for (2/m) Xᵀ(Xθ − y) (F9)."""
    rng = np.random.default_rng(0)
    x, y, theta = rng.normal(size=(24, 3)), rng.normal(size=24), rng.normal(size=3)

    def gradient(x, y):
        return 2 / len(x) * x.T @ (x @ theta - y)

    batches = DataLoader(x, y, batch_size=6).epoch(0)
    mean = np.mean([gradient(batch.x, batch.y) for batch in batches], axis=0)
    np.testing.assert_allclose(mean, gradient(x, y), rtol=1e-12)


@given(jobs(), st.integers(1, 4))
def test_summed_gradients_over_ranks_and_micro_batches_are_one_batchs(job, pieces):
    samples, options = job
    rng = np.random.default_rng(samples)
    x, y, theta = rng.normal(size=(samples, 3)), rng.normal(size=samples), rng.normal(size=3)

    def summed(batch):
        return 2 * batch.x.T @ (batch.x @ theta - batch.y)

    size = options.pop("size")
    ranks = [DataLoader(x, y, rank=rank, size=size, **options).epoch(0) for rank in range(size)]
    for whole, *parts in zip(DataLoader(x, y, **options).epoch(0), *ranks, strict=True):
        total = sum(summed(micro) for part in parts for micro in part.split(pieces))
        np.testing.assert_allclose(
            total / parts[0].total, summed(whole) / whole.count, rtol=1e-9, atol=1e-12
        )


def test_the_last_batch_may_be_left_out():
    kept, left = loader(10, batch_size=4), loader(10, batch_size=4, drop_last=True)
    assert [batch.total for batch in kept.epoch(0)] == [4, 4, 2]
    assert [batch.total for batch in left.epoch(0)] == [4, 4]
    assert (len(kept), len(left)) == (3, 2)


def test_a_share_may_be_empty_and_keeps_its_shape():
    *_, last = loader(5, batch_size=4, rank=3, size=4).epoch(0)
    assert (last.total, last.count, last.first) == (1, 0, 1)
    assert last.x.shape == (0, 2)


@pytest.mark.parametrize("shuffle", [True, False])
def test_rows_are_contiguous_copies_made_once(shuffle):
    x = np.zeros((10, 4), np.float32, order="F")
    batch = next(DataLoader(x, batch_size=5, shuffle=shuffle).epoch(0))
    batch.x[:] = 1
    assert batch.x.flags.c_contiguous
    assert batch.x.dtype == np.float32
    assert batch.x.sum() == 20
    assert x.sum() == 0


@pytest.mark.parametrize(
    ("samples", "options", "message"),
    [
        (5, {"batch_size": 0}, "batch size 0: give at least 1"),
        (5, {"batch_size": 2, "size": 3}, "a batch of 2 is shared among 3 ranks"),
        (2, {"batch_size": 8, "size": 3}, "3 ranks share 2 samples"),
        (5, {"batch_size": 8, "rank": 3, "size": 3}, "rank 3 of 3: ranks go from 0"),
        (5, {"batch_size": 8, "drop_last": True}, "drop_last leaves no batch"),
        (5, {"batch_size": 8, "seed": -1}, "seed -1"),
        (0, {"batch_size": 8}, "arrays of 0, 0 rows"),
    ],
)
def test_what_is_refused(samples, options, message):
    with pytest.raises(InputError, match=message):
        loader(samples, **options)


def test_arrays_of_different_length_are_refused():
    with pytest.raises(InputError, match="arrays of 3, 4 rows"):
        DataLoader(np.zeros(3), np.zeros(4), batch_size=2)
    with pytest.raises(InputError, match="arrays of no rows"):
        DataLoader(batch_size=2)


@pytest.mark.parametrize(("epoch", "start"), [(-1, 0), (0, -1), (0, 4)])
def test_a_place_outside_the_epoch_is_refused_at_once(epoch, start):
    with pytest.raises(InputError, match="epochs count from 0, batches from 0 to 3"):
        loader(10, batch_size=4).epoch(epoch, start)


def test_no_micro_batches_are_refused():
    with pytest.raises(InputError, match="0 micro-batches"):
        next(loader(4, batch_size=4).epoch(0)).split(0)
