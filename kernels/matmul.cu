// Matrix products for a step that is captured as a CUDA graph, where CuPy refuses to call cuBLAS:
// C = A·B, and the two that a dense layer's backward needs, Aᵀ·B and A·Bᵀ. All are row by row.
//
// Why tiles. C takes m·n·k multiply-adds. A thread that reads a row and a column of its own moves 8
// bytes (floats) for each: an H100, which moves 3.3 TB and adds 33 T times a second, needs one byte
// for ten. So a block fetches a tile of A and one of B, 64 x 32 numbers each, into shared memory and
// uses each number 64 times: 1/8 byte a multiply-add. Shared memory, about ten times as fast, would
// be the next to be too slow, so a thread keeps 4 x 4 sums in registers: 8 numbers fetched for 16
// multiply-adds; and while it computes, its share of the next tiles is on its way. (cuBLAS goes on:
// larger tiles, copies past the registers, tensor cores.)
//
// A product of a small batch has few tiles and a long k: 32 x 784 by 784 x 128 has two. Then k is cut
// into pieces, a block for each, and split_k_sum adds up what they found. The order of a sum depends
// on the sizes alone, so its bits are the same in every run.
//
// A block has 256 threads, no others.
#include "columns.cuh"
#include "threads.cuh"

constexpr int EDGE = 64;         // of a tile of C
constexpr int DEPTH = 32;        // of the tiles of A and B, along k
constexpr int SIDE = 16;         // threads along an edge
constexpr int OWN = EDGE / SIDE; // sums along the edge of a thread's share
constexpr int BLOCK = SIDE * SIDE;
constexpr int PITCH = EDGE + 1; // the odd number spreads a column over all banks

// One of the two operands, (rows, k), or (k, rows) where it is transposed, and this block's part of
// it: EDGE rows, and DEPTH of each at a time. Either way, neighbouring threads read neighbours.
template <bool TRANSPOSED> struct Operand {
    const real* x;
    i64 rows, k, first, until; // nothing is read below row `rows` or at k = until and after it

    static constexpr int SHARE = EDGE * DEPTH / BLOCK; // of one thread
    struct Part { real at[SHARE]; };
    DEVICE static int row(int i) { return TRANSPOSED ? i % EDGE : i / DEPTH; }
    DEVICE static int depth(int i) { return TRANSPOSED ? i / EDGE : i % DEPTH; }

    // From memory into registers: all loads are under way before the first is needed.
    DEVICE void read(PerThread<Part, BLOCK>& part, i64 from) const {
        FOR_THREADS(t, 0, BLOCK) {
            for (int s = 0; s < SHARE; ++s) {
                const int i = t + s * BLOCK;
                const i64 r = first + row(i), d = from + depth(i);
                const i64 at = TRANSPOSED ? d * rows + r : r * k + d;
                part[t].at[s] = r < rows && d < until ? x[at] : real(0);
            }
        }
    }
    // From registers into shared memory, as tile[k][row].
    template <class Tile> DEVICE static void lay(Tile& tile, PerThread<Part, BLOCK>& part) {
        FOR_THREADS(t, 0, BLOCK) {
            for (int s = 0; s < SHARE; ++s) {
                const int i = t + s * BLOCK;
                tile[depth(i) * PITCH + row(i)] = part[t].at[s];
            }
        }
    }
};

struct Sums { real at[OWN][OWN]; };

// c[p] = op(A)·op(B) over the p-th piece of k.
template <bool A_TRANSPOSED, bool B_TRANSPOSED>
DEVICE void multiply(const real* a, const real* b, real* c, i64 m, i64 n, i64 k, i64 pieces,
                     i64 blocks) {
    typedef Operand<A_TRANSPOSED> A;
    typedef Operand<!B_TRANSPOSED> B;
    const i64 across = (n + EDGE - 1) / EDGE, tiles = (m + EDGE - 1) / EDGE * across;
    FOR_BLOCKS(block, blocks, EDGE * EDGE) {
        SHARED(real, a_tile, DEPTH * PITCH);
        SHARED(real, b_tile, DEPTH * PITCH);
        const i64 piece = block / tiles, tile = block % tiles;
        const i64 top = tile / across * EDGE, left = tile % across * EDGE;
        const i64 depth = (k + DEPTH * pieces - 1) / (DEPTH * pieces) * DEPTH;
        const i64 begin = piece * depth, until = begin + depth < k ? begin + depth : k;
        const A rows = {a, m, k, top, until};
        const B columns = {b, n, k, left, until};
        PerThread<Sums, BLOCK> sums = {};
        PerThread<typename A::Part, BLOCK> a_part;
        PerThread<typename B::Part, BLOCK> b_part;
        rows.read(a_part, begin);
        columns.read(b_part, begin);
        for (i64 from = begin; from < until; from += DEPTH) {
            A::lay(a_tile, a_part);
            B::lay(b_tile, b_part);
            BARRIER;
            rows.read(a_part, from + DEPTH); // the next, while these are multiplied
            columns.read(b_part, from + DEPTH);
            FOR_THREADS(t, 0, BLOCK) {
                const int row = t / SIDE, column = t % SIDE; // and each SIDE-th after it
                Sums& sum = sums[t];
                for (int d = 0; d < DEPTH; ++d) {
                    real x[OWN], y[OWN];
                    for (int i = 0; i < OWN; ++i) x[i] = a_tile[d * PITCH + row + i * SIDE];
                    for (int j = 0; j < OWN; ++j) y[j] = b_tile[d * PITCH + column + j * SIDE];
                    for (int i = 0; i < OWN; ++i) {
                        for (int j = 0; j < OWN; ++j) sum.at[i][j] = multiply_add(x[i], y[j], sum.at[i][j]);
                    }
                }
            }
            BARRIER; // the tiles are written again
        }
        FOR_THREADS(t, 0, BLOCK) {
            for (int i = 0; i < OWN; ++i) {
                for (int j = 0; j < OWN; ++j) {
                    const i64 r = top + t / SIDE + i * SIDE, s = left + t % SIDE + j * SIDE;
                    if (r < m && s < n) c[(piece * m + r) * n + s] = sums[t].at[i][j];
                }
            }
        }
    }
}

// C = A·B
BLOCKS(matmul,
       const real* a, // (m, k)
       const real* b, // (k, n)
       real* c,       // (pieces, m, n)
       i64 m, i64 n, i64 k, i64 pieces,
       i64 blocks) {
    multiply<false, false>(a, b, c, m, n, k, pieces, blocks);
}

// C = Aᵀ·B, the gradient of a layer's weight: xᵀ·g
BLOCKS(matmul_a_transposed,
       const real* a, // (k, m)
       const real* b, // (k, n)
       real* c,       // (pieces, m, n)
       i64 m, i64 n, i64 k, i64 pieces,
       i64 blocks) {
    multiply<true, false>(a, b, c, m, n, k, pieces, blocks);
}

// C = A·Bᵀ, the gradient of a layer's input: g·Wᵀ
BLOCKS(matmul_b_transposed,
       const real* a, // (m, k)
       const real* b, // (n, k)
       real* c,       // (pieces, m, n)
       i64 m, i64 n, i64 k, i64 pieces,
       i64 blocks) {
    multiply<false, true>(a, b, c, m, n, k, pieces, blocks);
}

// c[i, j] = Σ found[p, i, j] over p, in that order; a block adds `width` of the columns.
BLOCKS(split_k_sum,
       const real* found, // (pieces, n)
       real* c,           // (n)
       i64 width,         //
       i64 pieces, i64 n,
       i64 blocks) {
    FOR_BLOCKS(block, blocks, width * pieces) {
        const i64 first = block * width, last = first + width < n ? first + width : n;
        block_columns(0, pieces, first, last, c, [=](i64 p, i64 j) { return found[p * n + j]; });
    }
}
