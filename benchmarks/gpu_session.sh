#!/usr/bin/env bash
# All that needs a GPU, in one go: tests, NVIDIA's checkers, benchmarks, two ranks on the card.
#
#     benchmarks/gpu_session.sh FOLDER [STEP...]     steps: tests memcheck racecheck synccheck
#                                                      initcheck gpu ladder staging doctor
#                                                      ranks
#
# Each step leaves FOLDER/STEP.txt and the benchmarks FOLDER/NAME.json. A step that fails, or takes
# longer than LIMIT seconds (300), does not keep the next from running; the exit code is then 1.
# PYTHON names the interpreter (python3).
set -u
if [ $# -lt 1 ]; then
    sed -n '2,10s/^# \?//p' "$0" >&2
    exit 2
fi
mkdir -p "$1" || exit 2
out=$(cd "$1" && pwd) || exit 2
shift
cd "$(dirname "$0")/.." || exit 2
[ $# -gt 0 ] || set -- tests memcheck racecheck synccheck initcheck gpu ladder staging doctor ranks
python=${PYTHON:-python3}
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
runs=$(mktemp -d) && trap 'rm -rf "$runs"' EXIT
failed=0

tests() {
    "$python" -m pytest -m gpu -p no:cacheprovider -v --durations=10
}

# Without CuPy's pool every array is an allocation of its own, so a step past its end is seen.
checked() {
    compute-sanitizer --tool "$1" --error-exitcode 9 "$python" -c '
import sys, cupy, pytest
cupy.cuda.set_allocator(None)
sys.exit(pytest.main(sys.argv[1:]))' \
        tests/kernels -m gpu -k "not training and not moves_nothing" -p no:cacheprovider -v
}

memcheck() { checked memcheck; }
racecheck() { checked racecheck; }
synccheck() { checked synccheck; }
initcheck() { checked initcheck; }
gpu() { "$python" -m benchmarks gpu --out "$out"; }
ladder() { "$python" -m benchmarks ladder --out "$out"; }
staging() { "$python" -m benchmarks staging --out "$out"; }
doctor() { "$python" -m minigrad doctor; } # which way arrays take: NCCL, CUDA-aware MPI or the host

# `launch` runs the mpirun that belongs to mpi4py, as root too.
ranks() {
    "$python" -m minigrad launch -n 2 train digits --device cuda --epochs 5 --out "$runs/digits"
}

# GNU's timeout runs programs, not functions: so this script once more, for one step.
if [ "${SESSION_STEP:-}" ]; then
    "$SESSION_STEP"
    exit
fi
for step in "$@"; do
    case $step in
        tests | gpu | ladder | staging | doctor | ranks) ;;
        memcheck | racecheck | synccheck | initcheck)
            if ! command -v compute-sanitizer >/dev/null; then
                echo "$step: left out, there is no compute-sanitizer on PATH" | tee "$out/$step.txt"
                continue
            fi
            ;;
        *)
            echo "unknown step '$step'" >&2
            failed=1
            continue
            ;;
    esac
    began=$SECONDS
    SESSION_STEP=$step timeout "${LIMIT:-300}" "$BASH" "benchmarks/${0##*/}" "$out" \
        >"$out/$step.txt" 2>&1 </dev/null
    code=$?
    [ $code -eq 0 ] || failed=1
    echo "$step: exit code $code after $((SECONDS - began)) s" | tee -a "$out/$step.txt"
done
exit $failed
