// Softmax with cross-entropy, the labels being integers, and its gradient. With p = softmax(z) of a
// row of C logits, its label y, and label smoothing ε (Szegedy et al. 2016):
//
//   loss = (1−ε)(ln Σ exp z − z_y) + ε(ln Σ exp z − mean z)
//   dz   = g (p − t),   t = ε/C, and 1−ε more at y
//
// One pass over the logits with a running maximum (online softmax: Milakov & Gimelshein 2018): what
// was summed is scaled again when the maximum grows. That is once a tile, not once an element.
// Forward reads 4 bytes a logit; backward reads 4 and writes 4. Backward is given each row's maximum
// and ln Σ exp(z − maximum). One number, their sum, would lose the small one beside the large one.
#include "exp.cuh"
#include "tiles.cuh"

// Σ exp(z − top), where top is the largest z so far.
struct Exponentials {
    real top, sum;
};

// Below every finite z: no thread meets −∞ − −∞ unless the row itself is −∞ throughout.
constexpr real LOWEST = sizeof(real) == 4 ? -3.4028234663852886e38 : -1.7976931348623157e308;

DEVICE Exponentials shuffle_xor(Exponentials x, int distance) {
    return {shuffle_xor(x.top, distance), shuffle_xor(x.sum, distance)};
}

BLOCKS(cross_entropy,
       const real* logits, // (rows, classes)
       const i64* labels,  // (rows)
       real* losses,       // (rows)
       real* parts,        // (rows, 2)
       double smoothing,   //
       i64 classes, i64 rows) {
    FOR_BLOCKS(r, rows, classes) {
        const real* z = logits + r * classes;
        const i64 label = labels[r];
        const bool known = 0 <= label && label < classes;
        const real at_label = known ? z[label] : sqrt(real(-1)); // NaN, and no memory touched
        const real origin = at_label >= LOWEST ? at_label : 0;
        Exponentials e = {LOWEST, 0};
        real rest = 0; // Σ (z − origin)
        block_tiles(z, classes, [&](const auto& tile) {
            const real top = tile.max(e.top);
            e.sum *= exp_(e.top - top);
            e.sum += tile.sum([=](real z) { return exp_(z - top); });
            e.top = top;
            if (smoothing) rest += tile.sum([=](real z) { return z - origin; });
        });
        e = block_reduce(e, [](Exponentials a, Exponentials b) {
            const real top = b.top > a.top ? b.top : a.top;
            return Exponentials{top, a.sum * exp_(a.top - top) + b.sum * exp_(b.top - top)};
        });
        if (smoothing) rest = block_reduce(rest, [](real a, real b) { return a + b; });
        if (LEADER) {
            const real log_sum = log(e.sum);
            losses[r] = log_sum + (e.top - at_label) - real(smoothing / classes) * rest;
            parts[2 * r] = e.top;
            parts[2 * r + 1] = known ? log_sum : at_label;
        }
    }
}

BLOCKS(cross_entropy_gradient,
       const real* logits, // (rows, classes)
       const i64* labels,  // (rows)
       const real* parts,  // (rows, 2)
       const real* g,      // (rows)
       real* dlogits,      // (rows, classes)
       double smoothing,   //
       i64 classes, i64 rows) {
    const real others = smoothing / classes, at_label = 1 - smoothing + smoothing / classes;
    FOR_BLOCKS(r, rows, classes) {
        const real top = parts[2 * r], log_sum = parts[2 * r + 1], scale = g[r];
        const i64 label = labels[r];
        real* dz = dlogits + r * classes;
        block_tiles(logits + r * classes, classes, [=](const auto& tile) {
            tile.each([=](real z, i64 i) {
                dz[i] = scale * (exp_((z - top) - log_sum) - (i == label ? at_label : others));
            });
        });
    }
}
