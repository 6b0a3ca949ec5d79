// What common.cuh promises, on a GPU.
#pragma once

#define DEVICE __device__ __forceinline__
#define LEADER (threadIdx.x == 0)
#define FOR_BLOCKS(b, count) for (i64 b = blockIdx.x; b < (count); b += gridDim.x)

constexpr int WARP = 32;
constexpr u32 ALL_LANES = 0xffffffffu;

// Four neighbours, which move in instructions of up to 16 bytes.
constexpr int PACK = 4;
template <class T> struct alignas(sizeof(T) * PACK < 16 ? sizeof(T) * PACK : 16) Pack { T at[PACK]; };
template <class T> struct Bare { typedef T type; };
template <class T> struct Bare<const T> { typedef T type; };

template <class T> DEVICE bool aligned(const T* p) { return (u64)p % alignof(Pack<T>) == 0; }
template <class T> DEVICE Pack<typename Bare<T>::type> take(T* p, i64 i) {
    return ((const Pack<typename Bare<T>::type>*)p)[i];
}
template <class T> DEVICE void put(T* p, i64 i, const Pack<T>& x) { ((Pack<T>*)p)[i] = x; }
template <class T> DEVICE void put(const T*, i64, const Pack<T>&) {} // what is const is only read

// f(p[i], q[i], …) for all i < n, in no order. Arrays that do not all begin at a multiple of a
// pack's size are taken one by one.
template <class F, class... T> DEVICE void each(i64 n, F f, T*... p) {
    const i64 first = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    const i64 stride = (i64)gridDim.x * blockDim.x;
    const i64 packs = (aligned(p) && ...) ? n / PACK : 0;
    for (i64 i = first; i < packs; i += stride) {
        auto on_packs = [&](Pack<typename Bare<T>::type>... x) {
#pragma unroll
            for (int k = 0; k < PACK; ++k) f(x.at[k]...);
            (put(p, i, x), ...);
        };
        on_packs(take(p, i)...);
    }
    for (i64 i = packs * PACK + first; i < n; i += stride) f(p[i]...);
}

template <class F> DEVICE void block_each(i64 first, i64 last, F f) {
    for (i64 i = first + threadIdx.x; i < last; i += blockDim.x) f(i);
}

// What lane (this XOR distance) of the warp has. Types of several words have their own overload.
template <class T> DEVICE T from_lane(T x, int distance) {
    return __shfl_xor_sync(ALL_LANES, x, distance);
}

// join(x of thread 0, x of thread 1, …), in one order whatever runs first; all threads are given it.
// Blocks have whole warps.
template <class T, class Join> DEVICE T block_join(T x, Join join) {
    SHARED(T, of_warp, WARP);
    for (int distance = WARP / 2; distance > 0; distance /= 2) {
        x = join(x, from_lane(x, distance));
    }
    if (threadIdx.x % WARP == 0) of_warp[threadIdx.x / WARP] = x;
    __syncthreads();
    x = of_warp[0];
    for (int warp = 1; warp < (int)blockDim.x / WARP; ++warp) x = join(x, of_warp[warp]);
    __syncthreads(); // of_warp is written again by the next call
    return x;
}

template <class T, class F> DEVICE T block_sum(i64 first, i64 last, F f) {
    T sum = 0;
    for (i64 i = first + threadIdx.x; i < last; i += blockDim.x) sum += f(i);
    return block_join(sum, [](T a, T b) { return a + b; });
}

// f(b[j], p[i][j], q[i][j], …) for all rows i < rows and columns j < m, in no order.
template <class F, class B, class... T>
DEVICE void each_in_columns(i64 rows, i64 m, F f, const B* b, T*... p) {
    const i64 first = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    const i64 stride = (i64)gridDim.x * blockDim.x;
    const bool whole = m % PACK == 0 && aligned(b) && (aligned(p) && ...);
    const i64 packs = whole ? rows * m / PACK : 0;
    for (i64 i = first; i < packs; i += stride) {
        const Pack<B> of_columns = take(b, i % (m / PACK));
        auto on_packs = [&](Pack<typename Bare<T>::type>... x) {
#pragma unroll
            for (int k = 0; k < PACK; ++k) f(of_columns.at[k], x.at[k]...);
            (put(p, i, x), ...);
        };
        on_packs(take(p, i)...);
    }
    for (i64 i = packs * PACK + first; i < rows * m; i += stride) f(b[i % m], p[i]...);
}

// sums[j] = Σ f(i, j) over top ≤ i < bottom, added in that order, for the columns first … last−1.
template <class T, class F>
DEVICE void block_columns(i64 top, i64 bottom, i64 first, i64 last, T* sums, F f) {
    for (i64 j = first + threadIdx.x; j < last; j += blockDim.x) {
        T sum = 0;
#pragma unroll 4
        for (i64 i = top; i < bottom; ++i) sum += f(i, j);
        sums[j] = sum;
    }
}

#define FOR_ROWS(r, rows, width) FOR_BLOCKS(r, rows)

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

// a·b + c in one rounding.
template <class T> DEVICE T multiply_add(T a, T b, T c) { return fma(a, b, c); }

template <class T> DEVICE T exp_(T x) { return exp(x); }

// As block_each, where two i may touch the same: with COUNT, and never at once on a CPU.
#define FOR_THREADS(i, first, last)                                                                \
    for (i64 i = (first) + threadIdx.x; i < (last); i += blockDim.x)
#define COUNT(counts, i) atomicAdd(&(counts)[i], 1u)
#define BARRIER __syncthreads()

// The part of first … last−1 that falls to this thread; what lies before it is earlier threads'.
struct Part { i64 first, last; };
DEVICE Part thread_part(i64 first, i64 last) {
    const i64 size = (last - first + blockDim.x - 1) / blockDim.x;
    const i64 begin = first + size * threadIdx.x, end = begin + size;
    return {begin < last ? begin : last, end < last ? end : last};
}

// The sum of x over the threads before this one.
template <class T> DEVICE T block_before(T x) {
    SHARED(T, sums, 1024);
    sums[threadIdx.x] = x;
    for (u32 distance = 1; distance < blockDim.x; distance *= 2) {
        __syncthreads();
        const T before = threadIdx.x >= distance ? T(sums[threadIdx.x - distance]) : T(0);
        __syncthreads();
        sums[threadIdx.x] = T(sums[threadIdx.x]) + before;
    }
    const T sum = sums[threadIdx.x];
    __syncthreads(); // sums is written again by the next call
    return sum - x;
}

// What a thread keeps from one FOR_THREADS to the next, where those are as many as the block has.
template <class T, int COUNT> struct PerThread {
    T own;
    DEVICE T& operator[](i64) { return own; }
};
