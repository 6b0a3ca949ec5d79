"""How good predictions are: D3 §3.3 (accuracy, precision, recall, F1, ROC and AUC), and top-k.

Each measure belongs to one of two accumulators. :class:`ConfusionMatrix` needs only counts, which
add up over batches and ranks. :class:`Scores` keeps every label and score, because AUC and ROC
depend on pairs of samples that may lie in different batches, so no mean of parts gives them.
The functions fill an accumulator with one batch and ask it. NumPy and CuPy arrays are taken;
the work is done on the host, results are Python floats and NumPy arrays.
"""

from minigrad.metrics.confusion import (
    Average,
    ConfusionMatrix,
    accuracy,
    confusion_matrix,
    f1,
    precision,
    recall,
)
from minigrad.metrics.scores import Scores, auc, one_vs_rest_auc, roc_curve, top_k_accuracy

__all__ = [
    "Average",
    "ConfusionMatrix",
    "Scores",
    "accuracy",
    "auc",
    "confusion_matrix",
    "f1",
    "one_vs_rest_auc",
    "precision",
    "recall",
    "roc_curve",
    "top_k_accuracy",
]
