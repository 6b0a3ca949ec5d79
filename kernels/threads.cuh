// For algorithms whose threads work together through shared memory. A block of a CPU is one thread,
// which does the work of all.
//
//   FOR_THREADS(i, a, b)  as block_each, where two i may touch the same: with COUNT, and one after
//                         the other on a CPU
//   COUNT(counts, i)      counts[i] += 1, whichever thread is there first
//   BARRIER               where threads wait for each other
//   thread_part(a, b)     the part of a … b−1 that is this thread's; earlier threads have what is before
//   block_exclusive_sum(x)       the sum of x over earlier threads
//   PerThread<T, N>   what each of a block's N threads keeps from one FOR_THREADS to the next
#pragma once

#include "common.cuh"

struct Part { i64 first, last; };

#if ON_GPU

#define FOR_THREADS(i, first, last)                                                                \
    for (i64 i = (first) + threadIdx.x; i < (last); i += blockDim.x)
#define COUNT(counts, i) atomicAdd(&(counts)[i], 1u)
#define BARRIER __syncthreads()

DEVICE Part thread_part(i64 first, i64 last) {
    const i64 size = (last - first + blockDim.x - 1) / blockDim.x;
    const i64 begin = first + size * threadIdx.x, end = begin + size;
    return {begin < last ? begin : last, end < last ? end : last};
}

template <class T> DEVICE T block_exclusive_sum(T x) {
    SHARED(T, sums, 1024);
    sums[threadIdx.x] = x;
    for (u32 distance = 1; distance < blockDim.x; distance *= 2) {
        __syncthreads();
        const T before = threadIdx.x >= distance ? T(sums[threadIdx.x - distance]) : T(0);
        __syncthreads();
        sums[threadIdx.x] = T(sums[threadIdx.x]) + before;
    }
    return T(sums[threadIdx.x]) - x; // after the last barrier each looks at its own alone
}

template <class T, int N> struct PerThread {
    T own;
    DEVICE T& operator[](i64) { return own; }
};

#else

#define FOR_THREADS(i, first, last) for (i64 i = (first); i < (last); ++i)
#define COUNT(counts, i) ++(counts)[i]
#define BARRIER

DEVICE Part thread_part(i64 first, i64 last) { return {first, last}; }
template <class T> DEVICE T block_exclusive_sum(T) { return 0; }

template <class T, int N> struct PerThread {
    T all[N];
    T& operator[](i64 t) { return all[t]; }
};

#endif
