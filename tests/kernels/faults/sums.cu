// A right block reduction, and what can be wrong with one: each kernel below `sum` has one fault,
// which the block executor must name. Sums x: one number a block.
#include "common.cuh"

BLOCKS(sum,
       const double* x, // (blocks, width)
       double* total,   // (blocks)
       i64 width,       //
       i64 blocks) {
    FOR_BLOCKS(b, blocks, 1) {
        const double sum = block_sum<double>(b * width, (b + 1) * width, [=](i64 i) {
            return x[i];
        });
        if (LEADER) total[b] = sum;
    }
}

// What each thread brings, in shared memory; joined by halves. Its threads are 64.
BLOCKS(missing_barrier,
       const double* x, // (64)
       double* total,   // (1)
       i64 blocks) {
    SHARED(double, parts, 64);
    parts[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    for (u32 half = 32; half > 0; half /= 2) {
        if (threadIdx.x < half) parts[threadIdx.x] += parts[threadIdx.x + half];
        // the fault: no __syncthreads() here
    }
    if (LEADER && blocks) *total = parts[0];
}

BLOCKS(off_by_one,
       const double* x, // (blocks, width)
       double* total,   // (blocks)
       i64 width,       //
       i64 blocks) {
    FOR_BLOCKS(b, blocks, 1) {
        const double sum = block_sum<double>(b * width, (b + 1) * width, [=](i64 i) {
            return x[i + 1]; // the fault
        });
        if (LEADER) total[b] = sum;
    }
}

BLOCKS(past_the_warp,
       const double* x, // (32)
       double* total,   // (1)
       i64 blocks) {
    double sum = x[threadIdx.x];
    for (int distance = WARP; distance > 0; distance /= 2) { // the fault: WARP / 2 is the first
        sum += shuffle_xor(sum, distance);
    }
    if (LEADER && blocks) *total = sum;
}

BLOCKS(barrier_for_some,
       const double* x, // (n)
       double* total,   // (1)
       i64 n) {
    SHARED(double, parts, 64);
    if (threadIdx.x >= n) return; // the fault: they are missed at the barrier
    parts[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    if (!LEADER) return;
    *total = 0;
    for (i64 i = 0; i < n; ++i) *total += parts[i];
}
