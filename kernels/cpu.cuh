// What common.cuh promises, on a CPU: functions, and loops that OpenMP spreads over cores and vectors.
#pragma once

#include <cmath>
#include <cstring>

using std::fabs;
using std::sqrt;

#define DEVICE inline __attribute__((always_inline))
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
#pragma omp parallel for simd schedule(static) if (parallel : n >= PARALLEL) // simd always
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

// f(b[j], p[i][j], q[i][j], …) for all rows i < rows and columns j < m, in no order. What a product
// has just left in one core's cache takes more than PARALLEL elements to be worth a second.
template <class F, class B, class... T>
DEVICE void each_in_columns(i64 rows, i64 m, F f, const B* b, T*... p) {
#pragma omp parallel for schedule(static) if (rows * m >= 4 * PARALLEL)
    for (i64 i = 0; i < rows; ++i) {
#pragma omp simd
        for (i64 j = 0; j < m; ++j) f(b[j], p[i * m + j]...);
    }
}

// sums[j] = Σ f(i, j) over top ≤ i < bottom, added in that order, for the columns first … last−1.
template <class T, class F>
DEVICE void block_columns(i64 top, i64 bottom, i64 first, i64 last, T* sums, F f) {
    for (i64 j = first; j < last; ++j) sums[j] = 0;
    for (i64 i = top; i < bottom; ++i) {
#pragma omp simd
        for (i64 j = first; j < last; ++j) sums[j] += f(i, j);
    }
}

using std::log;

// What only a GPU has to fetch.
template <class T> DEVICE T from_lane(T x, int) { return x; }

// Rows of `width` elements: spread over cores where there is enough to do.
#define FOR_ROWS(r, rows, width)                                                                   \
    PRAGMA(omp parallel for schedule(static) if ((rows) > 1 && (rows) * (width) >= PARALLEL))      \
    for (i64 r = 0; r < (rows); ++r)

// A part of a row that stays in the first cache while it is looked at twice. Its folds are written
// out for the lanes of a vector, the last ones being masked: compilers make neither of a maximum.
constexpr i64 TILE = 2048;
template <class T> struct Tile {
    const T* x;
    i64 first, last;

    template <class F, class Join> DEVICE T fold(T start, F f, Join join) const {
        constexpr int LANES = __BIGGEST_ALIGNMENT__ / sizeof(T);
        T lane[LANES];
        for (int k = 0; k < LANES; ++k) lane[k] = start;
        for (i64 i = first; i < last; i += LANES) {
            const int left = last - i < LANES ? last - i : LANES;
#pragma omp simd
            for (int k = 0; k < LANES; ++k) lane[k] = k < left ? f(lane[k], x[i + k]) : lane[k];
        }
        for (int half = LANES / 2; half > 0; half /= 2) {
            for (int k = 0; k < half; ++k) lane[k] = join(lane[k], lane[k + half]);
        }
        return lane[0];
    }
    DEVICE T max(T top) const {
        auto larger = [](T a, T b) { return b > a ? b : a; };
        return fold(top, larger, larger);
    }
    template <class F> DEVICE T sum(F f) const {
        return fold(T(0), [=](T a, T x) { return a + f(x); }, [](T a, T b) { return a + b; });
    }
    template <class F> DEVICE void each(F f) const {
#pragma omp simd
        for (i64 i = first; i < last; ++i) f(x[i], i);
    }
};
template <class T, class F> DEVICE void block_tiles(const T* x, i64 n, F f) {
    for (i64 i = 0; i < n; i += TILE) f(Tile<T>{x, i, i + TILE < n ? i + TILE : n});
}

// a·b + c, in one rounding where the processor has an instruction for it.
template <class T> DEVICE T multiply_add(T a, T b, T c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    return std::fma(a, b, c);
#else
    return a * b + c;
#endif
}

// eˣ within one unit in the last place, without a branch or a call, so that loops of it become
// vector instructions: x = n·ln 2 + r with |r| ≤ ½ ln 2, then 2ⁿ·Σ rʲ/j! up to j = 7 (13 in double),
// 2ⁿ being added to the exponent's bits. Results below the smallest normal number are 0.
template <int K> constexpr double factorial = K * factorial<K - 1>;
template <> constexpr double factorial<0> = 1;

template <class T, int J = 0> DEVICE T exp_series(T r) {
    if constexpr (J == (sizeof(T) == 4 ? 7 : 13)) return T(1 / factorial<J>);
    else return multiply_add(r, exp_series<T, J + 1>(r), T(1 / factorial<J>));
}
template <class Bits, int MANTISSA, class T> DEVICE T exp_of(T x, T low, T high, T ln2, T rest) {
    const T magic = T(3ull << (MANTISSA - 1)); // adding it rounds to an integer, in the lowest bits
    const T shifted = multiply_add(x, T(1.4426950408889634), magic);
    const T n = shifted - magic;
    T y = exp_series(multiply_add(-n, rest, multiply_add(-n, ln2, x)));
    Bits bits, power;
    memcpy(&bits, &y, sizeof y);
    memcpy(&power, &shifted, sizeof y);
    bits += power << MANTISSA;
    memcpy(&y, &bits, sizeof y);
    y = x < low ? T(0) : y;
    return x <= high ? y : x + T(HUGE_VAL); // NaN stays
}
DEVICE float exp_(float x) {
    return exp_of<u32, 23>(x, -87.33654f, 88.72283f, 0.693359375f, -2.12194440e-4f);
}
DEVICE double exp_(double x) {
    return exp_of<u64, 52>(x, -708.3964185322641, 709.782712893384, 0.6931471803691238,
                           1.9082149292705877e-10);
}

#define FOR_THREADS(i, first, last) for (i64 i = (first); i < (last); ++i)
#define COUNT(counts, i) ++(counts)[i]
#define BARRIER

// A thread's part of first … last−1: all of it, and nothing before.
struct Part { i64 first, last; };
DEVICE Part thread_part(i64 first, i64 last) { return {first, last}; }
template <class T> DEVICE T block_before(T) { return 0; }

// What each of COUNT threads keeps from one FOR_THREADS to the next.
template <class T, int COUNT> struct PerThread {
    T all[COUNT];
    T& operator[](i64 t) { return all[t]; }
};
