// What common.cuh promises, on a GPU.
#pragma once

#define ON_GPU 1
#define DEVICE __device__ __forceinline__
#define LEADER (threadIdx.x == 0)
#define FOR_BLOCKS(b, count, size) for (i64 b = blockIdx.x; b < (count); b += gridDim.x)

constexpr int WARP = 32;
constexpr u32 ALL_LANES = 0xffffffffu;

// Four neighbours, which move in instructions of up to 16 bytes.
constexpr int PACK = 4;
template <class T> struct alignas(sizeof(T) * PACK < 16 ? sizeof(T) * PACK : 16) Pack { T at[PACK]; };

template <class T> DEVICE bool aligned(const T* p) { return (u64)p % alignof(Pack<T>) == 0; }
template <class T> DEVICE Pack<typename Bare<T>::type> load(T* p, i64 i) {
    return ((const Pack<typename Bare<T>::type>*)p)[i];
}
template <class T> DEVICE void store(T* p, i64 i, const Pack<T>& x) { ((Pack<T>*)p)[i] = x; }
template <class T> DEVICE void store(T* p, i64 i, T x) { p[i] = x; }
template <class T, class X> DEVICE void store(const T*, i64, X) {} // what is const is only read

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
            (store(p, i, x), ...);
        };
        on_packs(load(p, i)...);
    }
    for (i64 i = packs * PACK + first; i < n; i += stride) {
        auto on_copies = [&](typename Bare<T>::type... x) {
            f(x...);
            (store(p, i, x), ...);
        };
        on_copies(p[i]...);
    }
}

template <class F> DEVICE void block_each(i64 first, i64 last, F f) {
    for (i64 i = first + threadIdx.x; i < last; i += blockDim.x) f(i);
}

// What lane (this XOR distance) of the warp has. Types of several words have their own overload.
template <class T> DEVICE T shuffle_xor(T x, int distance) {
    return __shfl_xor_sync(ALL_LANES, x, distance);
}

// join(x of thread 0, x of thread 1, …), in one order whatever runs first; all threads are given it.
// Blocks have whole warps.
template <class T, class Join> DEVICE T block_reduce(T x, Join join) {
    SHARED(T, of_warp, WARP);
    for (int distance = WARP / 2; distance > 0; distance /= 2) {
        x = join(x, shuffle_xor(x, distance));
    }
    if (threadIdx.x % WARP == 0) of_warp[threadIdx.x / WARP] = x;
    __syncthreads();
    x = of_warp[0];
    for (int warp = 1; warp < (int)blockDim.x / WARP; ++warp) x = join(x, of_warp[warp]);
    __syncthreads(); // of_warp is written again by the next call
    return x;
}

// Eight loads are under way before the first is added: one at a time would not keep memory busy.
template <class T, class F> DEVICE T block_sum(i64 first, i64 last, F f) {
    constexpr int AHEAD = 8;
    const i64 step = blockDim.x;
    T sum = 0;
    for (i64 i = first + threadIdx.x; i < last; i += AHEAD * step) {
        T x[AHEAD];
#pragma unroll
        for (int k = 0; k < AHEAD; ++k) x[k] = i + k * step < last ? T(f(i + k * step)) : T(0);
#pragma unroll
        for (int k = 0; k < AHEAD; ++k) sum += x[k];
    }
    return block_reduce(sum, [](T a, T b) { return a + b; });
}

// a·b + c in one rounding.
template <class T> DEVICE T multiply_add(T a, T b, T c) { return fma(a, b, c); }
