// Adam and AdamW (Kingma & Ba 2015; Loshchilov & Hutter 2019; D1 §3.3): 28 bytes a float parameter.
#include "optimizers.cuh"

struct Adam : Common {
    double beta1, beta2;
    double eta;     // η·c/(1−β₁ᵗ) with c = √(1−β₂ᵗ): both bias corrections
    double epsilon; // c·ε, or ε̂ itself (the paper's shorter form)
};

ELEMENTS(adam,
         real* theta,       // (n)
         real* g,           // (n)
         real* m,           // (n)
         real* v,           // (n)
         const Adam* hyper, //
         const Norm* norm,  //
         i64 n) {
    const Adam h = *hyper;
    const real beta1 = h.beta1, alpha1 = 1 - h.beta1;
    const real beta2 = h.beta2, alpha2 = 1 - h.beta2;
    const real eta = h.eta, epsilon = h.epsilon;
    update(n, h, *norm, [=](real& theta, real g, real& m, real& v) {
        m = beta1 * m + alpha1 * g;
        v = beta2 * v + alpha2 * (g * g);
        theta -= eta * m / (sqrt(v) + epsilon);
    }, theta, g, m, v);
}
