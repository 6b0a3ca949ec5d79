// Gradient compression: the k entries of largest magnitude of residual + g are sent, and the rest
// stays in the residual for the next step (Seide et al. 2014, "1-bit SGD"; Stich et al. 2018,
// "Sparsified SGD with memory"). Of equal magnitudes the lowest indices go first, and NaN before
// all, so that every run and every grid choose the same.
//
// A radix select. A magnitude's bits, read as a whole number, are in the order of magnitudes. Each
// pass counts how often the next 11 bits take each value, among the entries that agree with the
// threshold's bits so far, and thereby finds the next bits of the threshold, the k-th largest. Then
// every block knows where in the result its own entries belong. Bytes an element, in float: 12 for
// the first pass, 4 for each of two more, and 8 to find and fetch what was chosen.
#include "threads.cuh"

constexpr int VALUES = 2048; // of a digit of 11 bits

template <int bytes> struct Word { typedef u32 type; };
template <> struct Word<8> { typedef u64 type; };
typedef Word<sizeof(real)>::type word;

DEVICE word magnitude(real x) {
    constexpr word largest = ~(word)0 >> 1;
    word bits;
    memcpy(&bits, &x, sizeof(bits));
    return x != x ? largest : bits & largest;
}

// The elements first … last−1 are block b's.
DEVICE Part block_part(i64 n, i64 blocks, i64 b) {
    const i64 size = (n + blocks - 1) / blocks, begin = size * b, end = begin + size;
    return {begin < n ? begin : n, end < n ? end : n};
}

// How often the digit at `shift` takes each value. g is added to the residual in the first pass.
BLOCKS(top_k_count,
       real* residual,    // (n)
       const real* g,     // (n) or null
       const u64* chosen, // (2): the threshold's bits so far, and how many to choose among its like
       u32* counts,       // (blocks, 2048)
       u64 known,         // the bits that are found
       u32 shift,         //
       i64 n,             //
       i64 blocks) {
    const word threshold = chosen[0], found = known;
    FOR_BLOCKS(b, blocks, n / blocks) {
        SHARED(u32, mine, VALUES);
        block_each(0, VALUES, [&](i64 i) { mine[i] = 0; });
        BARRIER;
        const Part part = block_part(n, blocks, b);
        if (g) block_each(part.first, part.last, [=](i64 i) { residual[i] += g[i]; });
        FOR_THREADS(i, part.first, part.last) {
            const word key = magnitude(residual[i]);
            if ((key & found) == threshold) COUNT(mine, key >> shift & (VALUES - 1));
        }
        BARRIER;
        block_each(0, VALUES, [&](i64 i) { counts[b * VALUES + i] = mine[i]; });
        // no barrier: each thread sets those of `mine` to 0 that it has just read
    }
}

// The threshold's digit at `shift`: the largest value that leaves enough to choose from.
BLOCKS(top_k_digit,
       const u32* counts, // (blocks, 2048)
       u64* chosen,       // (2)
       u32 shift,         //
       i64 blocks,        //
       i64 one) {
    FOR_BLOCKS(b, one, VALUES) {
        SHARED(u64, sums, VALUES);
        block_each(0, VALUES, [&](i64 i) {
            u64 sum = 0;
            for (i64 row = 0; row < blocks; ++row) sum += counts[row * VALUES + i];
            sums[i] = sum;
        });
        BARRIER;
        if (LEADER) {
            u64 left = chosen[1];
            i64 digit = VALUES - 1;
            for (; digit > 0 && sums[digit] < left; --digit) left -= sums[digit];
            chosen[0] |= (u64)digit << shift;
            chosen[1] = left;
        }
    }
}

// How many of a block's entries are above the threshold, and how many are at it.
BLOCKS(top_k_tally,
       const real* residual, // (n)
       const u64* chosen,    // (2)
       i64* above,           // (blocks)
       i64* at,              // (blocks)
       i64 n,                //
       i64 blocks) {
    const word threshold = chosen[0];
    FOR_BLOCKS(b, blocks, n / blocks) {
        const Part part = block_part(n, blocks, b);
        const i64 more = block_sum<i64>(part.first, part.last, [=](i64 i) {
            return (i64)(magnitude(residual[i]) > threshold);
        });
        const i64 same = block_sum<i64>(part.first, part.last, [=](i64 i) {
            return (i64)(magnitude(residual[i]) == threshold);
        });
        if (LEADER) {
            above[b] = more;
            at[b] = same;
        }
    }
}

// Moves what was chosen out of the residual, in the order of its indices.
BLOCKS(top_k_take,
       real* residual,    // (n)
       const u64* chosen, // (2)
       const i64* above,  // (blocks)
       const i64* at,     // (blocks)
       i64* indices,      // (k)
       real* values,      // (k)
       i64 n,             //
       i64 k,             //
       i64 blocks) {
    const word threshold = chosen[0];
    const i64 ties = chosen[1];
    FOR_BLOCKS(b, blocks, n / blocks) {
        i64 more = block_sum<i64>(0, b, [=](i64 before) { return above[before]; });
        i64 same = block_sum<i64>(0, b, [=](i64 before) { return at[before]; });
        const Part whole = block_part(n, blocks, b), part = thread_part(whole.first, whole.last);
        i64 my_more = 0, my_same = 0;
        for (i64 i = part.first; i < part.last; ++i) {
            my_more += magnitude(residual[i]) > threshold;
            my_same += magnitude(residual[i]) == threshold;
        }
        more += block_exclusive_sum(my_more);
        same += block_exclusive_sum(my_same);
        for (i64 i = part.first; i < part.last; ++i) {
            const word key = magnitude(residual[i]);
            if (key < threshold || (key == threshold && same >= ties)) continue;
            const i64 to = more + (same < ties ? same : ties);
            if (to >= k) continue;
            indices[to] = i;
            values[to] = residual[i];
            residual[i] = 0;
            (key > threshold ? more : same) += 1;
        }
    }
}
