// The global norm of a gradient, in two stages and one order: every block adds up the squares of its
// piece, then one block adds up the pieces. No atomics, so the same gradient has the same norm to the
// last bit, whichever block came first. 4 bytes a float parameter.
//
// Squares are added in double: of float gradients none overflows, and the norm is infinite or NaN
// just where an element is. (A double gradient beyond 1e150 counts as not finite.)
#include "optimizers.cuh"

BLOCKS(norm_pieces,
       const real* g,  // (n)
       double* pieces, // (count)
       i64 n,          //
       i64 count) {
    const i64 length = (n + count - 1) / count;
    FOR_BLOCKS(b, count, length) {
        const i64 first = b * length, last = first + length;
        const double sum = block_sum<double>(first, last < n ? last : n, [=](i64 i) {
            return (double)g[i] * g[i];
        });
        if (LEADER) pieces[b] = sum;
    }
}

// ‖g‖ of all pieces; the scale that brings it to `limit` (PyTorch's clip_grad_norm_), 1 where it is
// not finite; the mark by which updates skip themselves, and how often it was set.
BLOCKS(norm_record,
       const double* pieces, // (all)
       Norm* norm,           //
       double limit,         //
       i64 all,              //
       i64 count) {
    FOR_BLOCKS(b, count, all) {
        const double norm2 = block_sum<double>(0, all, [=](i64 i) { return pieces[i]; });
        if (LEADER) {
            const double length = sqrt(norm2);
            const bool finite = length - length == 0;
            norm->norm = length;
            norm->scale = finite ? smaller(1.0, limit / (length + 1e-6)) : 1.0;
            norm->not_finite = !finite;
            norm->skipped += !finite;
        }
    }
}
