"""Every update rule, in each of its conventions: ``from rules import RULES``."""

from minigrad import optim

RULES = {
    "sgd": (optim.SGD, {}),
    "keras momentum": (optim.SGD, {"momentum": 0.9}),
    "keras nesterov": (optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "pytorch momentum": (optim.SGD, {"momentum": 0.9, "convention": "pytorch"}),
    "pytorch nesterov": (
        optim.SGD,
        {"momentum": 0.9, "convention": "pytorch", "nesterov": True},
    ),
    "adagrad": (optim.Adagrad, {}),
    "rmsprop": (optim.RMSprop, {}),
    "rmsprop inside": (optim.RMSprop, {"epsilon_placement": "inside"}),
    "adam": (optim.Adam, {}),
    "adam hat": (optim.Adam, {"epsilon_placement": "hat", "epsilon": 1e-7}),
    "adamw": (optim.AdamW, {}),
    "lion": (optim.Lion, {}),
    "lamb": (optim.LAMB, {}),
}
