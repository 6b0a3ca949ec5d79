"""Exercises of tutorial 11, the ReLU family. Replace each NotImplementedError, then:
minigrad check 11"""


def dead_units(x, W, b):
    """Which units of the layer relu(x @ W + b) are dead.

    x: (rows, inputs), all of the data; W: (inputs, units); b: (units,).
    Returns an array of units booleans.
    """
    raise NotImplementedError


def prelu_backward(x, slope, g):
    """Backward through y = x where x > 0, else slope * x.

    x: an array; slope: one number for all of it; g: the loss's gradient for y, of x's shape.
    Returns the loss's gradient for x, of the same shape, and that for slope, a number.
    """
    raise NotImplementedError


def dead_in_box(low, high, W, b):
    """Which units of relu(x @ W + b) are 0 at every x with low <= x <= high.

    low, high: (inputs,), the ends of the box in each coordinate; W, b: as above.
    Returns an array of units booleans.
    """
    raise NotImplementedError
