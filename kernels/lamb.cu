// LAMB (You et al. 2020), whose step has a length of its own for each tensor: three launches.
//
// An arena group is cut into pieces of 16384 elements at most, of which none crosses from one tensor
// (span) to the next. lamb_direction makes every piece's direction r and the squares of ‖θ‖ and ‖r‖;
// lamb_ratio adds these up over a span, in order; lamb_apply takes the step. 28 bytes a float
// parameter for the first (and 8 from the cache), 12 for the last.
#include "optimizers.cuh"

struct Lamb : Common {
    double eta, beta1, beta2;
    double correction; // c/(1−β₁ᵗ) with c = √(1−β₂ᵗ)
    double epsilon;    // c·ε
    double weight_decay;
};

BLOCKS(lamb_direction,
       real* theta,       // (n)
       real* g,           // (n)
       real* m,           // (n)
       real* v,           // (n)
       real* r,           // (n)
       const i64* first,  // (pieces)
       const i64* last,   // (pieces)
       double* squares,   // (pieces, 2)
       const Lamb* hyper, //
       const Norm* norm,  //
       i64 pieces) {
    const Lamb h = *hyper;
    const Effective effective(h, *norm);
    const bool skip = norm->not_finite, zero = h.zero;
    const real beta1 = h.beta1, alpha1 = 1 - h.beta1;
    const real beta2 = h.beta2, alpha2 = 1 - h.beta2;
    const real correction = h.correction, epsilon = h.epsilon, decay = h.weight_decay;
    FOR_BLOCKS(b, pieces, 16384) {
        if (!skip) {
            block_each(first[b], last[b], [=](i64 i) {
                const real t = theta[i], e = effective(g[i], t); // all is read, then written
                const real first_moment = beta1 * m[i] + alpha1 * e;
                const real second_moment = beta2 * v[i] + alpha2 * (e * e);
                m[i] = first_moment;
                v[i] = second_moment;
                r[i] = correction * first_moment / (sqrt(second_moment) + epsilon) + decay * t;
            });
            const double theta2 = block_sum<double>(first[b], last[b], [=](i64 i) {
                return (double)theta[i] * theta[i];
            });
            const double r2 = block_sum<double>(first[b], last[b], [=](i64 i) {
                return (double)r[i] * r[i];
            });
            if (LEADER) {
                squares[2 * b] = theta2;
                squares[2 * b + 1] = r2;
            }
        }
        if (zero) block_each(first[b], last[b], [=](i64 i) { g[i] = 0; });
    }
}

BLOCKS(lamb_ratio,
       const double* squares, // (pieces, 2)
       const i64* begin,      // (spans)
       const i64* end,        // (spans)
       double* ratio,         // (spans)
       i64 spans) {
    FOR_BLOCKS(s, spans, 1) {
        const double theta2 = block_sum<double>(begin[s], end[s], [=](i64 b) {
            return squares[2 * b];
        });
        const double r2 = block_sum<double>(begin[s], end[s], [=](i64 b) {
            return squares[2 * b + 1];
        });
        if (LEADER) ratio[s] = theta2 > 0 && r2 > 0 ? sqrt(theta2) / sqrt(r2) : 1;
    }
}

BLOCKS(lamb_apply,
       real* theta,         // (n)
       const real* r,       // (n)
       const i64* first,    // (pieces)
       const i64* last,     // (pieces)
       const i64* span,     // (pieces)
       const double* ratio, // (spans)
       const Lamb* hyper,   //
       const Norm* norm,    //
       i64 pieces) {
    if (norm->not_finite) return;
    const Lamb h = *hyper;
    const real threshold = h.threshold;
    FOR_BLOCKS(b, pieces, 16384) {
        const real step = h.eta * ratio[span[b]];
        block_each(first[b], last[b], [=](i64 i) {
            const real moved = theta[i] - step * r[i];
            theta[i] = moved - clamp(moved, threshold);
        });
    }
}
