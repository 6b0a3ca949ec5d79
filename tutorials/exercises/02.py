"""Exercises of tutorial 2, backpropagation. Replace each NotImplementedError, then:
minigrad check 2"""


def tanh_rule(u, g):
    """What u = tanh(v) hands back to v, without v.

    u: the output; g: dJ/du; arrays of one shape. Returns dJ/dv.
    """
    raise NotImplementedError


def dense_rules(X, W, b, g):
    """What Z = X @ W + b hands back to its three arguments.

    X: (m, n); W: (n, k); b: (k,), added to each row; g: dJ/dZ, (m, k).
    Returns dJ/dX, dJ/dW and dJ/db, each of the shape of its argument.
    """
    raise NotImplementedError


def topological_order(made_from, last):
    """All that the value `last` depends on, each after everything it was made from.

    made_from: a dict from the name of a value to the list of names it was made from; a name may
    stand there twice, and values without a list of their own are not in it. Chains may be 10,000
    values long. Returns a list of names, each once, `last` at the end.
    """
    raise NotImplementedError
