// Dropout (Srivastava et al. 2014) by Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy
// as 1, 2, 3", 2011): the n-th random number is a function of n and a key, so a thread computes just
// those it needs, and backward draws the mask again instead of keeping it. 8 bytes a float element.
//
// A block of Philox is 256 bits, eight numbers of 32: as many neighbours of one row. The numbers are
// those of np.random.Philox(key, counter), which adds 1 to its counter before each block.
#include "common.cuh"

// a·b: the upper 64 bits, and the lower.
#if ON_GPU
DEVICE u64 mulhi(u64 a, u64 b, u64& low) {
    low = a * b;
    return __umul64hi(a, b);
}
#else
DEVICE u64 mulhi(u64 a, u64 b, u64& low) {
    const unsigned __int128 product = (unsigned __int128)a * b;
    low = product;
    return product >> 64;
}
#endif

struct Words { u64 a, b, c, d; };

// Ten rounds: two products, their halves crosswise, and a key that walks by the golden ratio and √3.
DEVICE Words philox(Words x, u64 key0, u64 key1) {
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        u64 low0, low1;
        const u64 high0 = mulhi(0xD2E7470EE14C6C93, x.a, low0);
        const u64 high1 = mulhi(0xCA5A826395121157, x.c, low1);
        x = {high1 ^ x.b ^ key0, low1, high0 ^ x.d ^ key1, low0};
        key0 += 0x9E3779B97F4A7C15;
        key1 += 0xBB67AE8584CAA73B;
    }
    return x;
}

// The counter x, n further on.
DEVICE Words skip_ahead(Words x, u64 n) {
    x.a += n;
    x.b += x.a < n;
    x.c += x.a < n && !x.b;
    x.d += x.a < n && !x.b && !x.c;
    return x;
}

// y = x·scale where a number is above `limit`, else x·0. A block does `length` blocks of Philox.
BLOCKS(dropout,
       const real* x, // (rows, width)
       real* y,       // (rows, width)
       u64 key0,      //
       u64 key1,      //
       u64 counter0,  //
       u64 counter1,  //
       u64 counter2,  //
       u64 counter3,  //
       u32 limit,     //
       real scale,    //
       i64 length,    //
       i64 rows,      //
       i64 width,     //
       i64 blocks) {
    const i64 in_row = (width + 7) / 8, all = rows * in_row;
    const Words start = {counter0, counter1, counter2, counter3};
    FOR_BLOCKS(b, blocks, 8 * length) {
        const i64 first = b * length, last = first + length;
        block_each(first, last < all ? last : all, [=](i64 n) {
            const Words drawn = philox(skip_ahead(start, n + 1), key0, key1);
            const u32 numbers[8] = {
                (u32)drawn.a, (u32)(drawn.a >> 32), (u32)drawn.b, (u32)(drawn.b >> 32),
                (u32)drawn.c, (u32)(drawn.c >> 32), (u32)drawn.d, (u32)(drawn.d >> 32),
            };
            real factors[8];
#pragma omp simd // a branch on a random number is a wrong guess every other time
            for (int k = 0; k < 8; ++k) factors[k] = numbers[k] > limit ? scale : (real)0;
            const i64 row = n / in_row, column = 8 * (n - row * in_row);
            const real* from = x + row * width + column;
            real* to = y + row * width + column;
#if ON_GPU
            if (width % 8 == 0 && aligned(from) && aligned(to)) { // two packs, not eight numbers
                for (int half = 0; half < 2; ++half) {
                    Pack<real> part = load(from, half);
#pragma unroll
                    for (int k = 0; k < PACK; ++k) part.at[k] *= factors[PACK * half + k];
                    store(to, half, part);
                }
                return;
            }
#endif
            if (column + 8 <= width) {
#pragma unroll
                for (int k = 0; k < 8; ++k) to[k] = from[k] * factors[k];
            } else {
#pragma unroll
                for (int k = 0; k < 8; ++k) if (column + k < width) to[k] = from[k] * factors[k];
            }
        });
    }
}
