"""What is saved comes back; what was damaged, cut or foreign never does."""

import errno
import json
import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigrad import checkpoint
from minigrad.errors import InputError, MissingExtra

DTYPES = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", ">f4", ">i8"]
TENSORS = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "step": np.array(7)}
META = {"epoch": 3, "name": "digits"}


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Nothing here waits for the disk; that a sync is asked for, and may fail, is tested below."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture
def path(tmp_path):
    return tmp_path / "last.safetensors"


@pytest.fixture
def saved(path):
    checkpoint.save(path, TENSORS, META)
    return path


def alone(path):
    """Nothing lies beside the checkpoint."""
    return os.listdir(path.parent) == [path.name]


def check_comes_back(path, tensors, meta):
    checkpoint.save(path, tensors, meta)
    loaded, loaded_meta = checkpoint.load(path)
    assert loaded_meta == meta
    assert loaded.keys() == tensors.keys()
    for name, array in tensors.items():
        assert loaded[name].dtype == array.dtype.newbyteorder("=")
        assert loaded[name].shape == array.shape
        assert loaded[name].tobytes() == array.astype(array.dtype.newbyteorder("<")).tobytes()


arrays = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0))
)
metas = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(
    st.dictionaries(names, arrays, max_size=4),
    st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), metas, max_size=4),
)
def test_everything_comes_back_bit_for_bit(tmp_path_factory, tensors, meta):
    check_comes_back(tmp_path_factory.mktemp("any") / "one", tensors, meta)


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a.T,
        lambda a: a[::2],
        lambda a: a[:, ::-1],
        lambda a: a[1:, 1:],
        lambda a: np.broadcast_to(a[0], (5, 6)),
        np.asfortranarray,
        lambda a: a[:, 0],
    ],
)
def test_arrays_need_not_be_contiguous(path, view):
    check_comes_back(path, {"w": view(np.arange(24.0).reshape(4, 6))}, {})


def test_loaded_arrays_can_be_written_to(saved):
    checkpoint.load(saved)[0]["w"][:] = 0


def test_the_same_contents_are_the_same_bytes(saved, tmp_path):
    other = tmp_path / "other"
    checkpoint.save(other, dict(reversed(TENSORS.items())), META)
    assert saved.read_bytes() == other.read_bytes()


def test_any_reader_of_safetensors_can_open_it(saved):
    from safetensors.numpy import load_file

    np.testing.assert_array_equal(load_file(saved)["w"], TENSORS["w"])


@pytest.mark.parametrize("bits", ["PCG64", "PCG64DXSM", "Philox", "SFC64", "MT19937"])
def test_a_random_generator_goes_on_where_it_was(path, bits):
    kind = getattr(np.random, bits)
    one, other = np.random.Generator(kind(3)), np.random.Generator(kind(4))
    one.integers(9, size=5, dtype=np.uint32)
    checkpoint.save(path, {}, {"random": one.bit_generator.state})
    other.bit_generator.state = checkpoint.load(path)[1]["random"]
    np.testing.assert_array_equal(one.normal(size=20), other.normal(size=20))


def test_numpy_values_and_tuples_in_meta_become_plain(path):
    meta = {"a": np.float32(0.5), "b": (1, np.int8(2)), "c": np.array([1, 2]), "d": np.True_}
    checkpoint.save(path, {}, meta)
    assert checkpoint.load(path)[1] == {"a": 0.5, "b": [1, 2], "c": [1, 2], "d": True}


@pytest.mark.parametrize(
    ("tensors", "meta", "message"),
    [
        ({}, {"loss": float("nan")}, r"meta\['loss'\] is nan, which JSON cannot hold"),
        ({}, {"best": [0.5, -np.inf]}, r"meta\['best'\]\[1\] is -inf"),
        ({}, {"best": np.float32("nan")}, r"meta\['best'\] is nan"),
        ({}, {"when": {"a": {1, 2}}}, r"meta\['when'\]\['a'\] is \{1, 2\}"),
        ({}, {"steps": {1: "a"}}, r"meta\['steps'\] is \{1: 'a'\}"),
        ({}, [("a", b"x")], r"meta\[0\]\[1\] is b'x'"),
        ({"w": np.array([None])}, {}, "tensor 'w' is of dtype object"),
        ({"w": np.array(["a"])}, {}, "tensor 'w' is of dtype <U1"),
        ({"w": np.zeros(2, "M8[s]")}, {}, "tensor 'w' is of dtype datetime64"),
        ({"__metadata__": np.zeros(2)}, {}, "no tensor can be called '__metadata__'"),
    ],
)
def test_what_cannot_be_written_leaves_the_old_file(saved, tensors, meta, message):
    before = saved.read_bytes()
    with pytest.raises(InputError, match=message):
        checkpoint.save(saved, tensors, meta)
    assert saved.read_bytes() == before
    assert alone(saved)


def test_one_flipped_bit_anywhere_is_found(saved):
    """Every bit of the file, one after another."""
    good = saved.read_bytes()
    for position in range(len(good)):
        for bit in range(8):
            bad = bytearray(good)
            bad[position] ^= 1 << bit
            saved.write_bytes(bad)
            with pytest.raises(InputError):
                checkpoint.load(saved)


@given(data=st.data())
def test_any_other_damage_is_found(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "one"
    checkpoint.save(path, TENSORS, META)
    good = path.read_bytes()
    start = data.draw(st.integers(0, len(good)))
    stop = data.draw(st.integers(start, len(good)))
    bad = good[:start] + data.draw(st.binary(max_size=9)) + good[stop:]
    path.write_bytes(bad)
    if bad != good:
        with pytest.raises(InputError, match="one"):
            checkpoint.load(path)


@given(st.binary(max_size=200))
def test_whatever_a_file_holds_the_answer_is_a_sentence(tmp_path_factory, raw):
    path = tmp_path_factory.mktemp("any") / "one"
    path.write_bytes(raw)
    with pytest.raises(InputError, match="one"):
        checkpoint.load(path)


def zipped(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("data.pkl", "x")


def foreign(path):
    from safetensors.numpy import save_file

    save_file(TENSORS, path, {"format": "pt"})


def version_nine(path):
    checkpoint.save(path, TENSORS, META)
    path.write_bytes(path.read_bytes().replace(rb"\"version\":1", rb"\"version\":9", 1))


def shorten(path):
    checkpoint.save(path, TENSORS, META)
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, r"cannot be read \(No such file"),
        (lambda path: path.mkdir(), r"cannot be read \(Is a directory"),
        (lambda path: path.touch(), "is empty"),
        (lambda path: path.write_text("hello"), "is no checkpoint of minigrad"),
        (lambda path: path.write_bytes(pickle.dumps([1])), "pickle.*never loads one"),
        (zipped, "pickle.*never loads one"),
        (foreign, "a safetensors file but no checkpoint of minigrad"),
        (version_nine, "has format version 9, and this minigrad reads version 1"),
        (shorten, "is damaged: it was cut short or altered"),
    ],
)
def test_what_is_no_checkpoint(path, make, message):
    make(path)
    with pytest.raises(InputError, match=message) as caught:
        checkpoint.load(path)
    assert str(path) in str(caught.value)


def no_space(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def interrupt(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("name", "failure", "error"),
    [
        ("os.fsync", no_space, InputError),
        ("pathlib.Path.replace", no_space, InputError),
        ("os.fsync", interrupt, KeyboardInterrupt),
    ],
)
def test_a_failed_write_leaves_the_old_file(saved, monkeypatch, name, failure, error):
    before = saved.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(name, failure)
        with pytest.raises(error) as caught:
            checkpoint.save(saved, {"w": np.zeros(3)}, {})
    if error is InputError:
        assert "could not be written (No space left on device)" in str(caught.value)
    assert saved.read_bytes() == before
    assert alone(saved)


FULL = """
import resource, sys, numpy as np
from minigrad import checkpoint
from minigrad.errors import InputError
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    checkpoint.save(sys.argv[1], {"w": np.zeros(100_000)}, {})
except InputError as error:
    print(error)
"""


def test_a_file_that_outgrows_its_place_leaves_the_old_one(saved):
    pytest.importorskip("resource")
    before = saved.read_bytes()
    run = subprocess.run(
        [sys.executable, "-c", FULL, str(saved)], capture_output=True, text=True, check=True
    )
    assert "could not be written (File too large)" in run.stdout
    assert saved.read_bytes() == before
    assert alone(saved)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"could not be written \(No such file"):
        checkpoint.save(tmp_path / "gone" / "last", TENSORS, META)


def test_a_folder_in_the_files_place(tmp_path):
    place = tmp_path / "last"
    place.mkdir()
    with pytest.raises(InputError, match="could not be written"):
        checkpoint.save(place, TENSORS, META)
    assert alone(place)


def test_a_folder_that_cannot_be_synced_is_no_failure(path, monkeypatch):
    real = os.open
    refuse = [path.parent]

    def open_(name, *options, **more):
        return no_space() if name in refuse else real(name, *options, **more)

    monkeypatch.setattr(os, "open", open_)
    check_comes_back(path, TENSORS, META)


def test_permissions_are_those_of_any_new_file(saved, tmp_path):
    other = tmp_path / "other"
    other.touch()
    assert saved.stat().st_mode == other.stat().st_mode


def test_without_safetensors_the_extra_is_named(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(MissingExtra, match=r"needs safetensors.*\[checkpoint\]"):
        checkpoint.save(path, TENSORS, META)


def test_the_header_says_what_it_is(saved):
    raw = saved.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    entry = json.loads(header["__metadata__"]["minigrad"])
    assert entry["version"] == checkpoint.FORMAT_VERSION
    assert entry["meta"] == META
