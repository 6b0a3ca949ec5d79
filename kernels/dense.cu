// What a dense layer does to its product z = x·W: bias and activation in one pass over u = z + b, and
// backward in another. ReLU is max(u, 0). GELU is Hendrycks & Gimpel's tanh form (2016), which is
// u·σ(v) with v = √(8/π)·(u + 0.044715u³), because (1 + tanh w)/2 = σ(2w).
//
// Bytes a float element: ReLU forward 8 (in place), GELU forward 8, both backward 12. Done op by op,
// ReLU moves 16 and 20.
//
// The bias's gradient is a sum over rows. Blocks add up `height` rows of `width` columns each, and
// add_rows joins what they found: no atomics, so it is the same to the last bit in every run.
#include "columns.cuh"
#include "exp.cuh"

ELEMENTS(bias_relu,
         real* z,       // (rows, m)
         const real* b, // (m)
         i64 rows,      //
         i64 m,         //
         i64 n) {
    (void)n; // rows·m, which the grid covers
    each_in_columns(rows, m, [](real b, real& z) { z = larger(z + b, (real)0); }, b, z);
}

// What one block of a backward does: its part of dz = slope(i, j), and the sums of its columns. Each
// group of `height` rows is the work of `tiles` blocks.
template <class F>
DEVICE void backward(real* dz, real* sums, i64 height, i64 width, i64 rows, i64 m, i64 tiles, i64 b,
                     F slope) {
    const i64 group = b / tiles, top = group * height, first = b % tiles * width;
    const i64 bottom = top + height < rows ? top + height : rows;
    block_columns(top, bottom, first, first + width < m ? first + width : m, sums + group * m,
                  [=](i64 i, i64 j) { return dz[i * m + j] = slope(i * m + j, j); });
}

BLOCKS(bias_relu_gradient,
       const real* g, // (rows, m)
       const real* y, // (rows, m)
       real* dz,      // (rows, m)
       real* sums,    // (groups, m)
       i64 height,    //
       i64 width,     //
       i64 rows,      //
       i64 m,         //
       i64 groups,    //
       i64 blocks) {
    FOR_BLOCKS(block, blocks, height * width) {
        backward(dz, sums, height, width, rows, m, blocks / groups, block,
                 [=](i64 at, i64) { return g[at] * (real)(y[at] > 0); });
    }
}

// σ(v), and σ(v)·(1 − σ(v)), which is σ's slope.
struct Sigmoid {
    real value, slope;
    DEVICE explicit Sigmoid(real v) {
        const real e = exp_(-fabs(v)), s = 1 / (1 + e);
        value = v < 0 ? e * s : s;
        slope = e * s * s;
    }
};

constexpr real C = 1.5957691216057308; // √(8/π)
constexpr real A = 0.044715;

DEVICE real gelu(real u) { return u * Sigmoid(C * (u + A * u * u * u)).value; }
DEVICE real gelu_slope(real u) {
    const Sigmoid s(C * (u + A * u * u * u));
    return s.value + u * s.slope * (C * (1 + 3 * A * u * u));
}

ELEMENTS(bias_gelu,
         const real* z, // (rows, m)
         const real* b, // (m)
         real* y,       // (rows, m)
         i64 rows,      //
         i64 m,         //
         i64 n) {
    (void)n; // rows·m, which the grid covers
    each_in_columns(rows, m, [](real b, real z, real& y) { y = gelu(z + b); }, b, z, y);
}

BLOCKS(bias_gelu_gradient,
       const real* g, // (rows, m)
       const real* z, // (rows, m)
       const real* b, // (m)
       real* dz,      // (rows, m)
       real* sums,    // (groups, m)
       i64 height,    //
       i64 width,     //
       i64 rows,      //
       i64 m,         //
       i64 groups,    //
       i64 blocks) {
    FOR_BLOCKS(block, blocks, height * width) {
        backward(dz, sums, height, width, rows, m, blocks / groups, block,
                 [=](i64 at, i64 j) { return g[at] * gelu_slope(z[at] + b[j]); });
    }
}

// total[j] = Σ sums[i, j].
BLOCKS(add_rows,
       const real* sums, // (groups, m)
       real* total,      // (m)
       i64 groups,       //
       i64 m) {
    FOR_BLOCKS(j, m, groups) {
        const real sum = block_sum<real>(0, groups, [=](i64 i) { return sums[i * m + j]; });
        if (LEADER) total[j] = sum;
    }
}
