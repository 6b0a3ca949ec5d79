// Layer norm (Ba et al. 2016) over the last axis, and its gradient. With d = √(var + ε):
//
//   y  = z · scale + shift,   z = (x − mean)/d
//   dx = (u − mean u − z · mean(u z))/d,   u = g · scale
//   dscale = Σ g z,   dshift = Σ g   over the rows
//
// The variance is that of the centred row, in a second pass over it: E x² − (E x)² would cancel.
// A row is fetched from memory once, and read again from the caches: forward moves 8 bytes a float
// element, backward 12. The sums over rows are made in two stages, in one order whatever runs first:
// a block adds up its group of rows, and the caller the groups, in 8/rows-a-group bytes an element.
#include "common.cuh"

struct Row {
    real mean, inverse; // 1/√(var + ε)
};

DEVICE Row measured(const real* x, i64 features, double epsilon) {
    const real mean = block_sum<real>(0, features, [=](i64 i) { return x[i]; }) / features;
    const real squares = block_sum<real>(0, features, [=](i64 i) {
        return (x[i] - mean) * (x[i] - mean);
    });
    return {mean, 1 / sqrt(squares / features + real(epsilon))};
}

BLOCKS(layer_norm,
       const real* x,     // (rows, features)
       const real* scale, // (features)
       const real* shift, // (features)
       real* y,           // (rows, features)
       double epsilon,    //
       i64 features, i64 rows) {
    FOR_BLOCKS(r, rows, features) {
        const real* row = x + r * features;
        real* out = y + r * features;
        const Row m = measured(row, features, epsilon);
        block_each(0, features, [=](i64 i) {
            out[i] = (row[i] - m.mean) * m.inverse * scale[i] + shift[i];
        });
    }
}

BLOCKS(layer_norm_gradient,
       const real* x,     // (rows, features)
       const real* scale, // (features)
       const real* g,     // (rows, features)
       real* dx,          // (rows, features)
       real* dscale,      // (groups, features)
       real* dshift,      // (groups, features)
       double epsilon,    //
       i64 group,         // rows that a block adds up
       i64 features, i64 rows, i64 groups) {
    FOR_BLOCKS(b, groups, group * features) {
        real* to_scale = dscale + b * features;
        real* to_shift = dshift + b * features;
        block_each(0, features, [=](i64 i) { to_scale[i] = to_shift[i] = 0; });
        for (i64 r = b * group; r < rows && r < (b + 1) * group; ++r) {
            const real* row = x + r * features;
            const real* gr = g + r * features;
            real* out = dx + r * features;
            const Row m = measured(row, features, epsilon);
            const real mean_u = block_sum<real>(0, features, [=](i64 i) {
                return gr[i] * scale[i];
            }) / features;
            const real mean_uz = block_sum<real>(0, features, [=](i64 i) {
                return gr[i] * scale[i] * ((row[i] - m.mean) * m.inverse);
            }) / features;
            block_each(0, features, [=](i64 i) {
                const real z = (row[i] - m.mean) * m.inverse;
                out[i] = (gr[i] * scale[i] - mean_u - z * mean_uz) * m.inverse;
                to_scale[i] += gr[i] * z;
                to_shift[i] += gr[i];
            });
        }
    }
}
