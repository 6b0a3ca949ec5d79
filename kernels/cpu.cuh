// What common.cuh promises, on a CPU: functions, and loops that OpenMP spreads over cores and vectors.
#pragma once

#define ON_GPU 0

#include <cmath>
#include <cstring>

using std::exp; // of float and of double, as on a GPU; but exp.cuh's exp_ is the quick one
using std::expm1;
using std::fabs;
using std::log;
using std::log1p;
using std::sqrt;
using std::tanh;

#define DEVICE inline __attribute__((always_inline))
#define ELEMENTS(name, ...) extern "C" void name(__VA_ARGS__)
#define BLOCKS(name, ...) extern "C" void name(__VA_ARGS__)
#define SHARED(type, name, count) type name[count]
#define LEADER true
#define PRAGMA(text) _Pragma(#text)
#define FOR_BLOCKS(b, count, size)                                                                 \
    PRAGMA(omp parallel for schedule(static) if ((count) > 1 && (count) * (size) >= PARALLEL))     \
    for (i64 b = 0; b < (count); ++b)

#ifdef __FLT16_MAX__ // older compilers have none: they cannot compile cast.cu
typedef _Float16 half;
#endif

// Below so many elements a second core costs more than it brings, above all where others use it too.
constexpr i64 PARALLEL = 1 << 17;

template <class T> DEVICE void store(T* p, i64 i, T x) { p[i] = x; }
template <class T> DEVICE void store(const T*, i64, T) {} // what is const is only read

// f works on copies. In place, every result would be written before the next is computed, since a
// compiler must think of two arrays that are one.
template <class F, class... T> DEVICE void each(i64 n, F f, T*... p) {
#pragma omp parallel for simd schedule(static) if (parallel : n >= PARALLEL) // simd always
    for (i64 i = 0; i < n; ++i) {
        auto on_copies = [&](typename Bare<T>::type... x) __attribute__((always_inline)) {
            f(x...);
            (store(p, i, x), ...);
        };
        on_copies(p[i]...);
    }
}

template <class F> DEVICE void block_each(i64 first, i64 last, F f) {
#pragma omp simd
    for (i64 i = first; i < last; ++i) f(i);
}

template <class T, class Join> DEVICE T block_reduce(T x, Join) { return x; }

// As many sums side by side on every processor, whatever its vectors hold: so their order, and the
// last bit of what they come to, is the same on all.
template <class T, class F> DEVICE T block_sum(i64 first, i64 last, F f) {
    constexpr int LANES = 32;
    T sum[LANES] = {};
    i64 i = first;
    for (; i + LANES <= last; i += LANES) {
#pragma omp simd
        for (int k = 0; k < LANES; ++k) sum[k] += f(i + k);
    }
    for (int k = 0; i + k < last; ++k) sum[k] += f(i + k);
    for (int half = LANES / 2; half > 0; half /= 2) {
        for (int k = 0; k < half; ++k) sum[k] += sum[k + half];
    }
    return sum[0];
}

// What only a GPU has to fetch.
template <class T> DEVICE T shuffle_xor(T x, int) { return x; }

// a·b + c, in one rounding where the processor has an instruction for it.
template <class T> DEVICE T multiply_add(T a, T b, T c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    return std::fma(a, b, c);
#else
    return a * b + c;
#endif
}
