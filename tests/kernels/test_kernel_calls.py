"""What a kernel is given is checked first: errors name kernel and argument, and nothing moves."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from minigrad.errors import InputError
from minigrad.kernels import build, kernel, launch, reference, source, switched_off
from minigrad.kernels.launch import CPUKernel, GPUKernel, Kernel
from minigrad.kernels.source import find

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="needs a C++ compiler")

FIELDS = {"hyper": len(find("adam").structs["Adam"]), "norm": len(find("adam").structs["Norm"])}


def adam() -> CPUKernel:
    found = kernel("adam", like=np.empty(0, np.float32))
    assert isinstance(found, CPUKernel)
    return found


def arguments() -> dict[str, Any]:
    """What adam takes: it would change all of theta, m and v."""
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        name: rng.random(8).astype(np.float32) for name in ("theta", "g", "m", "v")
    }
    hyper, norm = np.full(FIELDS["hyper"], 0.5), np.zeros(FIELDS["norm"])
    norm[source.find("adam").structs["Norm"].index("scale")] = 1
    return arrays | {"hyper": hyper, "norm": norm}


class OnGPU:
    """An array as CuPy's look: a device, a pointer, and a way to the host."""

    def __init__(self, like: Any, device: int = 0, address: int = 4096) -> None:
        self.dtype, self.shape, self.size, self.nbytes = (
            like.dtype, like.shape, like.size, like.nbytes,
        )  # fmt: skip
        self.flags = types.SimpleNamespace(c_contiguous=True)
        self.device = types.SimpleNamespace(id=device)
        self.data = types.SimpleNamespace(ptr=address)

    def get(self) -> None:
        raise AssertionError("nothing is to be copied")


def other(name: str, make: Any) -> Any:
    """A change of one argument to what ``make`` makes of it."""
    return lambda given: given | {name: make(given[name])}


def read_only(x: Any) -> Any:
    x.flags.writeable = False
    return x


def amid(x: Any) -> Any:
    return np.frombuffer(bytearray(x.nbytes + 1), np.uint8)[1:].view(x.dtype)


WRONG = {
    "shorter": (other("m", lambda x: x[:7]), "'m' has 7 along 'n', but theta has 8"),
    "longer": (other("v", lambda x: np.append(x, x)), "'v' has 16 along 'n', but theta has 8"),
    "two axes": (other("g", lambda x: x.reshape(2, 4)), r"'g' has shape \(2, 4\)"),
    "too few numbers": (
        other("hyper", lambda x: x[:3]),
        f"'hyper' has 3 numbers, but struct Adam has {FIELDS['hyper']}$",
    ),
    "device": (other("g", OnGPU), "'g' lives on cuda:0, but this kernel on cpu"),
    "dtype": (other("m", lambda x: x.astype(np.float64)), "'m' has dtype float64, .* float32"),
    "byte order": (other("m", lambda x: x.astype(">f4")), "'m' has dtype >f4, .* float32"),
    "gaps": (other("v", lambda x: np.repeat(x, 2)[::2]), "'v' is a view with gaps"),
    "backwards": (other("v", lambda x: x[::-1]), "'v' is a view with gaps or in another order"),
    "amid": (other("v", amid), "'v' begins amid a float32 in memory"),
    "read-only": (other("theta", read_only), "'theta' is read-only"),
    "None": (other("v", lambda x: None), "'v' is NoneType, but must be an array"),
    "a list": (other("v", list), "'v' is list, but must be an array"),
    "a number": (other("v", lambda x: 1.0), "'v' is float, but must be an array"),
    "the same": (lambda given: given | {"m": given["theta"]}, "'theta' shares memory with 'm'"),
    "overlap": (
        lambda given: given | dict(zip(("theta", "v"), overlapping(8, 3))),
        "'theta' shares memory with 'v'",
    ),
    "overlap with what is read": (
        lambda given: given | {"hyper": given["norm"].repeat(99)[: FIELDS["hyper"]]} |
        {"theta": (shared := np.zeros(FIELDS["hyper"])).view(np.float32)[:8], "hyper": shared},
        "'theta' shares memory with 'hyper'",
    ),
}  # fmt: skip


def overlapping(n: int, by: int) -> tuple[Any, Any]:
    whole = np.ones(2 * n, np.float32)
    return whole[:n], whole[n - by : 2 * n - by]


@pytest.mark.parametrize("bound", [False, True])
@pytest.mark.parametrize("wrong", WRONG)
def test_bad_arguments(wrong: str, bound: bool) -> None:
    change, says = WRONG[wrong]
    given = change(arguments())
    arrays = [x for x in given.values() if isinstance(x, np.ndarray)]
    before = [x.tobytes() for x in arrays]
    with pytest.raises(InputError, match=f"kernel adam: its argument {says}"):
        (adam().bind if bound else adam())(*given.values())
    assert [x.tobytes() for x in arrays] == before


@pytest.mark.parametrize("count", [0, 5, 7])
def test_too_few_and_too_many_arguments(count: int) -> None:
    given = [*arguments().values(), np.zeros(1)][:count]
    says = rf"kernel adam takes \(theta, g, m, v, hyper, norm\), but {count} arguments were given"
    with pytest.raises(InputError, match=says):
        adam()(*given)


def top_k_digit(**changed: Any) -> None:
    found = kernel("top_k_digit", like=np.empty(0, np.float32))
    assert found is not None
    chosen = np.array([0, 1], np.uint64)
    given = {"counts": np.ones((2, 2048), np.uint32), "chosen": chosen, "shift": 0, "one": 1}
    found(*(given | changed).values())
    assert not changed or chosen[0] == 2047


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"one": -1}, "'one' is -1, but must be 0 or above"),
        ({"one": -(2**63)}, "'one' is -9223372036854775808, but must be 0 or above"),
        ({"one": 2**63}, "'one' is 9223372036854775808"),
        ({"one": 1.5}, "'one' is 1.5, but must be a whole number"),
        ({"one": "1"}, "'one' is '1', but must be a whole number"),
        ({"one": np.ones(2)}, "'one' is .*, but must be a whole number"),
        ({"shift": -1}, "'shift' is -1, but must be from 0 to 4294967295"),
        ({"shift": 2**32}, "'shift' is 4294967296, but must be from 0 to 4294967295"),
        ({"shift": None}, "'shift' is None, but must be a whole number"),
        ({"counts": np.ones((2, 2047), np.uint32)}, "'counts' has 2047 along '2048'"),
    ],
)
def test_bad_numbers(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=f"kernel top_k_digit: its argument {says}"):
        top_k_digit(**changed)


@pytest.mark.parametrize("one", [1, np.int64(1), np.uint8(1), True])
def test_whole_numbers_of_any_kind(one: Any) -> None:
    top_k_digit(one=one)


@pytest.mark.parametrize(
    ("scale", "result"),
    [(2, 2.0), (-2.0, -2.0), (np.float32(0.5), 0.5), (np.int8(3), 3.0), (float("nan"), np.nan),
     (1e300, np.inf)],
)  # fmt: skip
def test_numbers_of_any_kind(scale: Any, result: float) -> None:
    x, y = np.ones(3, np.float32), np.zeros(3, np.float16)
    to_half = kernel("to_half", like=x)
    assert to_half is not None
    calls: list[Callable[[], None]] = [
        lambda: to_half(x, y, scale),
        to_half.bind(x, y, scale),
    ]
    for call in calls:
        y[:] = 7
        call()
        np.testing.assert_array_equal(y, np.full(3, result).astype(np.float16))


def test_what_is_only_read_may_be_shared_and_read_only() -> None:
    x, y = read_only(np.ones(3, np.float32)), np.zeros(3, np.float16)
    to_half = kernel("to_half", like=x)
    assert to_half is not None
    to_half(x, y, 2.0)
    assert y.tolist() == [2, 2, 2]


def test_nothing_to_do_is_done() -> None:
    to_half = kernel("to_half", like=np.empty(0, np.float32))
    assert to_half is not None
    to_half(np.empty(0, np.float32), np.empty(0, np.float16), 1.0)


def test_a_bound_call_keeps_its_arrays_and_sees_what_is_in_them() -> None:
    given = arguments()
    call = adam().bind(*given.values())
    theta = given["theta"]
    again = {name: x.copy() for name, x in given.items()}
    del given
    for _ in range(3):
        call()
        adam()(*again.values())
    assert theta.tobytes() == again["theta"].tobytes()


def test_unknown_names_and_dtypes_without_a_kernel() -> None:
    with pytest.raises(InputError, match="unknown kernel 'adma': did you mean 'adam'"):
        kernel("adma", like=np.ones(1))
    assert kernel("adam", like=np.ones(1, np.int64)) is None
    assert kernel("adam", like=np.ones(1, np.int64), dtype=np.dtype("float64")) is not None
    with reference():
        assert kernel("adam", like=np.ones(1)) is None


@pytest.mark.parametrize("like", [[1.0], 1.0, None])
def test_like_is_an_array(like: Any) -> None:
    with pytest.raises(InputError, match=f"kernel adam: like is {type(like).__name__}, but must"):
        kernel("adam", like=like)


@pytest.mark.parametrize(
    ("given", "off"),
    [("0", True), ("off", True), ("False", True), ("no ", True), ("1", False), ("on", False),
     ("TRUE", False), ("yes", False), ("", False), (None, False)],
)  # fmt: skip
def test_the_switch(given: str | None, off: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MINIGRAD_CPU_KERNELS", raising=False)
    if given is not None:
        monkeypatch.setenv("MINIGRAD_CPU_KERNELS", given)
    assert switched_off() is off


@pytest.mark.parametrize("given", ["2", "maybe", "-1", "01"])
def test_the_switch_knows_no_other_word(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIGRAD_CPU_KERNELS", given)
    with pytest.raises(InputError, match=f"MINIGRAD_CPU_KERNELS is '{given}', but must be 1"):
        switched_off()


class FakeGPU:
    """What launch.py and build.py see of CuPy; launches are written down."""

    def __init__(self, capability: str) -> None:
        self.capability = capability
        self.launches: list[Any] = []
        self.cuda = types.SimpleNamespace(Device=self.device)

    def device(self, index: int) -> Any:
        here = types.SimpleNamespace(compute_capability=self.capability, id=index)
        return type("Device", (), {"__enter__": lambda s: s, "__exit__": lambda s, *e: None,
                                   **vars(here)})()  # fmt: skip

    def get_function(self, name: str) -> Any:
        return lambda grid, block, raw: self.launches.append((name, grid, block, raw))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeGPU:
    fake = FakeGPU("90")
    for module in (launch, build):
        monkeypatch.setattr(module, "module_for", lambda device: fake)
    return fake


def to_half_on(gpu: Any, device: str = "cuda:0") -> Kernel:
    file = find("to_half")
    return GPUKernel(file, file.entries["to_half"], "float32", device, gpu)


@pytest.mark.parametrize(("capability", "shown"), [("70", "7.0"), ("61", "6.1")])
def test_an_old_gpu_is_refused(gpu: FakeGPU, capability: str, shown: str) -> None:
    gpu.capability = capability
    says = rf": cuda:0 has compute capability {shown}, but at least 7\.5"
    with pytest.raises(InputError, match=f"kernels to_half, to_float, scale_half{says}"):
        build.gpu_module.__wrapped__(find("to_half"), "float32", 0)
    with pytest.raises(InputError, match=f"kernel to_float{says}"):
        kernel("to_float", like=OnGPU(np.empty(8, np.float32)))


def test_a_launch_on_a_gpu(gpu: FakeGPU, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "array_module", lambda x: None)
    x, y = OnGPU(np.empty(5000, np.float32)), OnGPU(np.empty(5000, np.float16), address=65536)
    to_half_on(gpu)(x, y, 2.0, threads=128)
    ((name, grid, block, raw),) = gpu.launches
    assert (name, grid, block) == ("to_half", (10,), (128,))
    assert raw == (x, y, 2.0, 5000)
    assert [type(value) for value in raw[2:]] == [np.float64, np.int64]


@pytest.mark.parametrize("threads", [0, 16, 17, 33, 1056, 64.0, None])
def test_odd_blocks_are_refused_on_a_gpu_and_on_a_cpu(gpu: FakeGPU, threads: Any) -> None:
    x, y = np.ones(3, np.float32), np.zeros(3, np.float16)
    on_cpu = kernel("to_half", like=x)
    assert on_cpu is not None
    for call in (to_half_on(gpu), on_cpu, on_cpu.bind):
        with pytest.raises(InputError, match=f"kernel to_half: a block of {threads} threads"):
            call(x, y, 1.0, threads=threads)
    assert not y.any()
    on_cpu(x, y, 1.0, threads=64)
    assert y.all()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"x": np.empty(8, np.float32)}, "'x' lives on cpu, but this kernel on cuda:0"),
        ({"y": OnGPU(np.empty(8, np.float16), device=1)}, "'y' lives on cuda:1"),
        ({"y": OnGPU(np.empty(9, np.float16), address=1 << 20)}, "'y' has 9 along 'n'"),
        ({"y": OnGPU(np.empty(8, np.float16), address=4096 + 30)}, "'x' shares memory with 'y'"),
    ],
)
def test_bad_arguments_on_a_gpu(
    gpu: FakeGPU, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], says: str
) -> None:
    monkeypatch.setattr(launch, "array_module", lambda x: None)
    given = {"x": OnGPU(np.empty(8, np.float32)),
             "y": OnGPU(np.empty(8, np.float16), address=1 << 20)} | change  # fmt: skip
    with pytest.raises(InputError, match=f"kernel to_half: its argument {says}"):
        to_half_on(gpu)(*given.values(), 1.0)
    assert gpu.launches == []
