// The gradient of an embedding: the rows of g, each added to the row of the weight that it was read
// from. Words repeat, so rows of g meet. With the ids sorted, in a stable way, equal ones stand
// together; one block adds the rows of one word, in their order, and is the only one to write there:
// no atomics, the same to the last bit in every run, and as if added one by one. 4 bytes a float
// element of g, and 4 a row that is written; the rest of the weight's gradient isn't touched.
#include "columns.cuh"

// order sorts ids: ids[order[0]] ≤ ids[order[1]] ≤ …. The gradient dW comes in as zeros. A block does
// the words whose first place in that order is one of its `length` places.
BLOCKS(embedding_gradient,
       const real* g,    // (n, features)
       const i64* ids,   // (n)
       const i64* order, // (n)
       real* dW,         // (words, features)
       i64 length,       //
       i64 n,            //
       i64 features,     //
       i64 words,        //
       i64 blocks) {
    FOR_BLOCKS(b, blocks, length * features) {
        const i64 last = (b + 1) * length < n ? (b + 1) * length : n;
        for (i64 first = b * length; first < last; ++first) {
            const i64 word = ids[order[first]];
            if (first > 0 && ids[order[first - 1]] == word) continue; // another block's, or done
            if (word < 0 || word >= words) continue; // on a GPU nobody has looked at them
            i64 end = first + 1;
            while (end < n && ids[order[end]] == word) ++end;
            block_columns(first, end, 0, features, dW + word * features,
                          [=](i64 i, i64 j) { return g[order[i] * features + j]; });
        }
    }
}
