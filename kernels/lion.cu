// Lion (Chen et al. 2023): 20 bytes a float parameter.
#include "optimizers.cuh"

struct Lion : Common {
    double eta, beta1, beta2;
};

ELEMENTS(lion,
         real* theta,       // (n)
         real* g,           // (n)
         real* m,           // (n)
         const Lion* hyper, //
         const Norm* norm,  //
         i64 n) {
    const Lion h = *hyper;
    const real eta = h.eta;
    const real beta1 = h.beta1, alpha1 = 1 - h.beta1;
    const real beta2 = h.beta2, alpha2 = 1 - h.beta2;
    update(n, h, *norm, [=](real& theta, real g, real& m) {
        theta -= eta * sign(beta1 * m + alpha1 * g);
        m = beta2 * m + alpha2 * g;
    }, theta, g, m);
}
