// A rate for each parameter from its squared gradients: Adagrad and RMSprop (D3 §3.1.4): 20 bytes a
// float parameter.
#include "optimizers.cuh"

struct Adagrad : Common {
    double eta, epsilon;
};

ELEMENTS(adagrad,
         real* theta,          // (n)
         real* g,              // (n)
         real* v,              // (n)
         const Adagrad* hyper, //
         const Norm* norm,     //
         i64 n) {
    const Adagrad h = *hyper;
    const real eta = h.eta, epsilon = h.epsilon;
    update(n, h, *norm, [=](real& theta, real g, real& v) {
        v += g * g;
        theta -= eta * g / (sqrt(v) + epsilon);
    }, theta, g, v);
}

struct RMSprop : Common {
    double eta, rho;
    double inside, outside; // ε is one of them, the other 0: √(v + inside) + outside
};

ELEMENTS(rmsprop,
         real* theta,          // (n)
         real* g,              // (n)
         real* v,              // (n)
         const RMSprop* hyper, //
         const Norm* norm,     //
         i64 n) {
    const RMSprop h = *hyper;
    const real eta = h.eta, rho = h.rho, alpha = 1 - h.rho;
    const real inside = h.inside, outside = h.outside;
    update(n, h, *norm, [=](real& theta, real g, real& v) {
        v = rho * v + alpha * (g * g);
        theta -= eta * g / (sqrt(v + inside) + outside);
    }, theta, g, v);
}
