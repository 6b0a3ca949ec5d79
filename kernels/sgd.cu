// Gradient descent and the heavy ball in both conventions (D1 §3.1, D2 §3.1, §3.2): 12 bytes a float
// parameter, 20 with momentum.
#include "optimizers.cuh"

struct SGD : Common {
    double eta;
};

ELEMENTS(sgd,
         real* theta,      // (n)
         real* g,          // (n)
         const SGD* hyper, //
         const Norm* norm, //
         i64 n) {
    const SGD h = *hyper;
    const real eta = h.eta;
    update(n, h, *norm, [=](real& theta, real g) { theta -= eta * g; }, theta, g);
}

// v ← μv + own·g, θ ← θ + along·v + across·g. What the three are says minigrad/optim/sgd.py: for
// Keras −η, 1, 0, for PyTorch 1, −η, 0; with Nesterov −η, μ, −η and 1, −ημ, −η.
struct Momentum : Common {
    double mu, own, along, across;
};

ELEMENTS(momentum,
         real* theta,           // (n)
         real* g,               // (n)
         real* v,               // (n)
         const Momentum* hyper, //
         const Norm* norm,      //
         i64 n) {
    const Momentum h = *hyper;
    const real mu = h.mu, own = h.own, along = h.along, across = h.across;
    update(n, h, *norm, [=](real& theta, real g, real& v) {
        v = mu * v + own * g;
        theta += along * v + (across != 0 ? across * g : 0); // 0 times infinity would be NaN
    }, theta, g, v);
}
