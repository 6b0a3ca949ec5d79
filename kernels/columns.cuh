// Loops over tables (rows, columns):
//
//   each_in_columns(rows, m, f, b, p, …)         f(b[j], p[i][j], …) for all i < rows and j < m, in no
//                                                order; a kernel of ELEMENTS
//   block_columns(top, bottom, first, last, s, f)  s[j] = Σ f(i, j) over top ≤ i < bottom, added in
//                                                that order, for the columns first … last−1
#pragma once

#include "common.cuh"

#if ON_GPU

template <class F, class B, class... T>
DEVICE void each_in_columns(i64 rows, i64 m, F f, const B* b, T*... p) {
    const i64 first = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    const i64 stride = (i64)gridDim.x * blockDim.x;
    const bool whole = m % PACK == 0 && aligned(b) && (aligned(p) && ...);
    const i64 packs = whole ? rows * m / PACK : 0;
    for (i64 i = first; i < packs; i += stride) {
        const Pack<B> of_columns = load(b, i % (m / PACK));
        auto on_packs = [&](Pack<typename Bare<T>::type>... x) {
#pragma unroll
            for (int k = 0; k < PACK; ++k) f(of_columns.at[k], x.at[k]...);
            (store(p, i, x), ...);
        };
        on_packs(load(p, i)...);
    }
    for (i64 i = packs * PACK + first; i < rows * m; i += stride) f(b[i % m], p[i]...);
}

template <class T, class F>
DEVICE void block_columns(i64 top, i64 bottom, i64 first, i64 last, T* sums, F f) {
    for (i64 j = first + threadIdx.x; j < last; j += blockDim.x) {
        T sum = 0;
#pragma unroll 4
        for (i64 i = top; i < bottom; ++i) sum += f(i, j);
        sums[j] = sum;
    }
}

#else

template <class F, class B, class... T>
DEVICE void each_in_columns(i64 rows, i64 m, F f, const B* b, T*... p) {
#pragma omp parallel for schedule(static) if (rows * m >= PARALLEL)
    for (i64 i = 0; i < rows; ++i) {
#pragma omp simd
        for (i64 j = 0; j < m; ++j) f(b[j], p[i * m + j]...);
    }
}

template <class T, class F>
DEVICE void block_columns(i64 top, i64 bottom, i64 first, i64 last, T* sums, F f) {
    for (i64 j = first; j < last; ++j) sums[j] = 0;
    for (i64 i = top; i < bottom; ++i) {
#pragma omp simd
        for (i64 j = first; j < last; ++j) sums[j] += f(i, j);
    }
}

#endif
