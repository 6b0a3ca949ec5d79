// A row read in parts that stay in registers (GPU) or in the first cache (CPU), so that it can be
// looked at twice for one trip to memory.
#pragma once

#include "common.cuh"

#if ON_GPU

// A thread's share of a part of a row: all its loads are under way before the first is needed.
// Neighbours go to neighbouring threads, so that rows may begin anywhere.
constexpr int SHARE = 8;
template <class T, bool WHOLE> struct Tile {
    i64 first, last; // first is this thread's
    T at[SHARE];

    DEVICE i64 index(int k) const { return first + k * (i64)blockDim.x; }
    DEVICE bool has(int k) const { return WHOLE || index(k) < last; }
    DEVICE Tile(const T* x, i64 first, i64 last) : first(first), last(last) {
#pragma unroll
        for (int k = 0; k < SHARE; ++k) at[k] = has(k) ? x[index(k)] : T(0);
    }
    DEVICE T max(T top) const {
        each([&](T x, i64) { top = x > top ? x : top; });
        return top;
    }
    template <class F> DEVICE T sum(F f) const {
        T sum = 0;
        each([&](T x, i64) { sum += f(x); });
        return sum;
    }
    template <class F> DEVICE void each(F f) const {
#pragma unroll
        for (int k = 0; k < SHARE; ++k) {
            if (has(k)) f(at[k], index(k));
        }
    }
};
template <class T, class F> DEVICE void block_tiles(const T* x, i64 n, F f) {
    const i64 whole = SHARE * (i64)blockDim.x;
    i64 begin = 0;
    for (; begin + whole <= n; begin += whole) f(Tile<T, true>(x, begin + threadIdx.x, n));
    if (begin < n) f(Tile<T, false>(x, begin + threadIdx.x, n));
}

#else

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

#endif
