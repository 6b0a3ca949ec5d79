// What all optimizer updates share: the step's numbers, and the gradient that a rule sees.
#pragma once

#include "common.cuh"

// What the global norm of the gradient came to (norm.cu); neutral where nobody measured it.
struct Norm {
    double norm;       // ‖g‖
    double scale;      // min(1, limit/(‖g‖ + 1e-6)): the gradient is multiplied by it
    double not_finite; // 1 where ‖g‖ is infinite or NaN: then nothing is updated
    double skipped;    // how many updates that has cost so far
};

// The numbers of a group in this step, made on the host in double. A rule's own follow them.
struct Common {
    double scale;       // multiplies the gradient: un-scales a mixed-precision loss
    double clip_value;  // each element of the gradient is held to ±this
    double l1, l2;      // penalties, added to the gradient: l1·sign(θ) + l2·θ
    double keep;        // 1 − ηλ, decoupled weight decay: multiplies θ before the update
    double threshold;   // ητ, proximal L1: θ moves so far towards 0 after the update, and no further
    double plain;       // 1 where clip_value, l1, l2 and threshold do nothing
    double zero;        // 1 to leave zeros where the gradient was
};

// The gradient that a rule sees: scaled, clipped by value, penalised.
struct Effective {
    real scale, limit, l1, l2;
    DEVICE Effective(const Common& h, const Norm& norm)
        : scale(h.scale * norm.scale), limit(h.clip_value), l1(h.l1), l2(h.l2) {}
    DEVICE real operator()(real g, real theta) const {
        return clamp(scale * g, limit) + l2 * theta + l1 * sign(theta);
    }
};

// f(θ, g, state…) for every element; where `zero` is set, zeros are left where the gradient was.
template <class F, class... State>
DEVICE void sweep(i64 n, bool zero, F f, real* theta, real* g, State*... state) {
    if (zero) {
        each(n, [=](real& theta, real& g, State&... s) {
            f(theta, g, s...);
            g = 0;
        }, theta, g, state...);
    } else {
        each(n, f, theta, (const real*)g, state...); // what is const is not written back
    }
}

// One update: rule(θ, g, state…) for every element. Each buffer is read once and written once.
template <class Rule, class... State>
DEVICE void update(i64 n, const Common& h, const Norm& norm, Rule rule, real* theta, real* g,
                   State*... state) {
    if (norm.not_finite) {
        if (h.zero) each(n, [](real& g) { g = 0; }, g);
        return;
    }
    const Effective effective(h, norm);
    const real scale = effective.scale, keep = h.keep, threshold = h.threshold;
    if (h.plain) {
        sweep(n, h.zero, [=](real& theta, real g, State&... s) {
            theta *= keep;
            rule(theta, scale * g, s...);
        }, theta, g, state...);
    } else {
        sweep(n, h.zero, [=](real& theta, real g, State&... s) {
            g = effective(g, theta);
            theta *= keep;
            rule(theta, g, s...);
            theta -= clamp(theta, threshold);
        }, theta, g, state...);
    }
}
