// What common.cuh promises, on a CPU: functions, and loops that OpenMP spreads over cores and vectors.
#pragma once

#include <cmath>
#include <cstring>

using std::fabs;
using std::sqrt;

#define DEVICE static inline __attribute__((always_inline))
#define ELEMENTS(name, ...) extern "C" void name(__VA_ARGS__)
#define BLOCKS(name, ...) extern "C" void name(__VA_ARGS__)
#define SHARED(type, name, count) type name[count]
#define LEADER true
#define PRAGMA(text) _Pragma(#text)
#define FOR_BLOCKS(b, count)                                                                       \
    PRAGMA(omp parallel for schedule(static) if ((count) > 1))                                     \
    for (i64 b = 0; b < (count); ++b)

typedef _Float16 half;

// Below so many elements a second core costs more than it brings.
constexpr i64 PARALLEL = 1 << 16;

template <class F, class... T> DEVICE void each(i64 n, F f, T*... p) {
#pragma omp parallel for simd schedule(static) if (n >= PARALLEL)
    for (i64 i = 0; i < n; ++i) f(p[i]...);
}

template <class F> DEVICE void block_each(i64 first, i64 last, F f) {
#pragma omp simd
    for (i64 i = first; i < last; ++i) f(i);
}

template <class T, class Join> DEVICE T block_join(T x, Join) { return x; }

template <class T, class F> DEVICE T block_sum(i64 first, i64 last, F f) {
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (i64 i = first; i < last; ++i) sum += f(i);
    return sum;
}
