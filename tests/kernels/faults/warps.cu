// Small kernels for the block executor's own tests: what it lets pass, and what it objects to.
#include "common.cuh"

ELEMENTS(visit,
         u32* seen_by, // (n)
         real* x,      // (n)
         i64 n) {
    each(n, [](u32& seen, real& x) {
        ++seen;
        x += 1;
    }, seen_by, x);
}

// Lane by lane: what shuffles and votes give. out is (8, lanes).
BLOCKS(lanes,
       const i32* x, // (lanes)
       i32* out,     // (8, lanes)
       i64 lanes) {
    const int i = threadIdx.x, mine = x[i];
    out[i] = __shfl_xor_sync(ALL_LANES, mine, 5);
    out[lanes + i] = __shfl_sync(ALL_LANES, mine, 7);
    out[2 * lanes + i] = __shfl_up_sync(ALL_LANES, mine, 3);
    out[3 * lanes + i] = __shfl_down_sync(ALL_LANES, mine, 3);
    out[4 * lanes + i] = __ballot_sync(ALL_LANES, mine > 0);
    out[5 * lanes + i] = __any_sync(ALL_LANES, mine > 0) + 2 * __all_sync(ALL_LANES, mine > 0);
    out[6 * lanes + i] = __syncthreads_count(mine > 0);
    out[7 * lanes + i] = __syncthreads_or(mine > 0) + 2 * __syncthreads_and(mine > 0);
}

// Odd and even lanes shuffle among themselves, in branches of their own.
BLOCKS(halves,
       i32* x, // (lanes)
       i64 lanes) {
    const int i = threadIdx.x;
    if (i >= lanes) return;
    if (i % 2) {
        x[i] = __shfl_xor_sync(0xaaaaaaaa, x[i], 2);
    } else {
        x[i] = __shfl_xor_sync(0x55555555, x[i], 4);
    }
}

// Each warp turns its 32 numbers round in shared memory, where __syncwarp() is enough.
BLOCKS(turned,
       i32* x, // (lanes)
       i64 lanes) {
    SHARED(i32, all, 1024);
    const int i = threadIdx.x, other = i ^ (WARP - 1);
    if (i >= lanes) return;
    all[i] = x[i];
    __syncwarp();
    x[i] = all[other];
    __syncwarp();
    all[i] = 0;
}

BLOCKS(counted,
       const i32* x, // (lanes)
       i32* bins,    // (4)
       i64 lanes) {
    SHARED(i32, bin, 4);
    if (threadIdx.x < 4) bin[threadIdx.x] = 0;
    __syncthreads();
    if (threadIdx.x < lanes) atomicAdd(&bin[x[threadIdx.x]], 1);
    __syncthreads();
    if (threadIdx.x < 4) atomicAdd(&bins[threadIdx.x], bin[threadIdx.x]);
}

// One fault for each value of `fault`.
BLOCKS(wrong,
       i32* x, // (64)
       i64 fault) {
    SHARED(i32, all, 64);
    const int i = threadIdx.x;
    if (fault == 0) x[i] = all[i];
    if (fault == 1) all[i + 1] = x[i];
    if (fault == 2) all[i / 2] = x[i];
    if (fault == 3) {
        if (LEADER) all[0] = x[0];
        x[i] = all[0];
    }
    if (fault == 4 && i < 16) x[i] = __shfl_sync(ALL_LANES, x[i], 0);
    if (fault == 5) x[i] = __shfl_sync(0xffffu << i / 16 * 16, x[i], 20);
    if (fault == 6 && i % 2) __syncthreads();
    if (fault == 6 && i % 2 == 0) __syncthreads();
    if (fault == 7) load((i64*)(x + 1), i);
    if (fault == 8) x[-1] = 0;
    if (fault == 9) __syncwarp(1);
    if (fault == 10) {
        all[i] = x[i];
        __syncwarp();
        x[i] = all[63 - i];
    }
    if (fault == 11) *(volatile i32*)nullptr = 0;
    if (fault == 12) for (i32 i = 2147483000; i > 0; ++i) x[0] = i;
    if (fault == 13) {
        if (LEADER) all[0] = 0;
        __syncthreads();
        if (LEADER) atomicAdd(&all[0], 1);
        if (i == 1) x[i] = all[0];
    }
    if (fault == 14) { // ordered for the first warp, and not for the second
        if (LEADER) all[0] = 0;
        __syncwarp();
        if (i == 1 || i == 32) x[i] = all[0];
    }
}
