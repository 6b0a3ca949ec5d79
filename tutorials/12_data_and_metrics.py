r"""
12. Data preparation and metrics
================================

Articles: A11, F8

.. grid:: 1 1 2 2

   .. grid-item-card:: You will learn

      * how to clean, scale and split data so that the test stays honest
      * five ways to say how good a model is, and what each is blind to
      * why F1 and AUC cannot be averaged over batches or processes

   .. grid-item-card:: You need

      * :doc:`tutorial 3 <03_mini_batches>`
      * mean and standard deviation

The problem
-----------

Is this image a 3? Of 1,797 digits of 8 × 8 pixels, a bad scanner has lost a fifth of the pixels:
they are NaN ("not a number"). Here is a model that needs none:
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from minigrad import metrics, nn, ops, optim
from minigrad.data import from_arrays
from minigrad.distributed import world

comm = world()  # the processes that mpirun started, or this one alone


def say(*words):
    if comm.rank == 0:
        print(*words)


x, digit = load_digits(return_X_y=True)
x[np.random.default_rng(0).random(x.shape) < 0.2] = np.nan
y = (digit == 3).astype(int)  # 1 for a 3, which is called positive; else 0, negative
never = np.zeros_like(y)
say(f"always no: {(never == y).mean():.0%} are right, 0 of {y.sum()} threes found")

# %%
# 90% right, and useless. It takes clean data and better measures.
#
# The formula
# -----------
#
# First the data. D1 §2.3 says what comes before training:
#
# .. article:: A11
#
#    这包括数据清洗、数据转换、数据分割等步骤，以确保数据质量并提高模型的泛化能力。
#
# *Splitting*: a model is judged by rows that it has never seen, the :term:`test set`. A
# :term:`stratified split` has the same share of threes in both parts. *Cleaning*: a
# :term:`missing value` becomes the mean of its column. *Conversion*: each column is shifted and
# scaled to mean 0 and :term:`standard deviation` 1. Both are measured on the training rows alone.
# Else something of the test rows reaches training: :term:`data leakage`.


def prepare(x, train, test):
    mean = np.nanmean(x[train], axis=0)  # of those that are there
    x = np.where(np.isnan(x), mean, x)
    sigma = x[train].std(axis=0)
    x = (x - mean) / np.where(sigma > 0, sigma, 1)  # a constant column becomes 0
    return x[train], x[test]


rows = np.arange(len(x))
train, test = train_test_split(rows, test_size=0.2, random_state=0, stratify=y)
x_train, x_test = prepare(x, train, test)
spoilt = x.copy()
spoilt[test] *= 1000  # whatever the test rows hold,
np.testing.assert_array_equal(prepare(spoilt, train, test)[0], x_train)  # training is the same

# %%
# The last line can check any preparation. Now a model. By :term:`softmax` each test row has a score
# :math:`s` from 0 to 1; from one half on we predict a 3:

y_train, y_test = y[train], y[test]
model = nn.Dense(64, 2, rng=np.random.default_rng(0), dtype="float64")
optimizer = optim.SGD(model, lr=0.5)
for _ in range(200):
    optimizer.zero_grad()
    ops.cross_entropy(model(x_train), y_train).backward()
    optimizer.step()
s = ops.softmax(model(x_test), axis=1).data[:, 1]
predicted = (s >= 0.5).astype(int)

# %%
# How good is it? D3 §3.3:
#
# .. article:: F8
#
#    它将正确预测的样本数量除以总样本数量
#    它将正确预测的正样本数量除以实际正样本数量
#    它将精确度和召回率的调和平均值计算出来
#    它将真阳性率（Recall）与假阳性率（False Positive Rate）之间的关系绘制成一个曲线
#
# These are :term:`accuracy`, :term:`recall`, :term:`F1 score` and :term:`ROC curve`.
# :term:`Precision <precision>`, which F1 needs, is the share of the predicted threes that are
# threes. The area under the curve, :term:`AUC`, is the share of pairs, a positive and a negative,
# in which the positive scores higher. A tie counts one half.


def four(y, predicted):
    precision = y[predicted == 1].mean()
    recall = predicted[y == 1].mean()
    f1 = 2 / (1 / precision + 1 / recall)  # harmonic mean: near the smaller of the two
    return (predicted == y).mean(), precision, recall, f1


def auc(y, s):
    order = np.sign(s[y == 1][:, None] - s[y == 0])  # of each pair: 1, 0 for a tie, or -1
    return (1 + order).mean() / 2


ours = four(y_test, predicted)
say("accuracy {:.3f}, precision {:.3f}, recall {:.3f}, F1 {:.3f}".format(*ours))
say(f"AUC {auc(y_test, s):.3f}, and {auc(y, never)} for always no")

# %%
# Always no ties every pair, so AUC sees through it.
#
# The library
# -----------
#
# It prepares in one call, and has all these measures. Both must agree:

names = [str(i) for i in range(64)]
data = from_arrays(
    x, y, name="threes", feature_names=names, class_names=("no", "3"), dtype="float64"
)
np.testing.assert_allclose(data.x_train, x_train, atol=1e-12)
np.testing.assert_allclose(data.x_test, x_test, atol=1e-12)
measures = (metrics.accuracy, metrics.precision, metrics.recall, metrics.f1)
theirs = [measure(y_test, predicted) for measure in measures]
np.testing.assert_allclose(theirs, ours, rtol=1e-14)
np.testing.assert_allclose(metrics.auc(y_test, s), auc(y_test, s), rtol=1e-14)

# %%
# The picture
# -----------
#
# Of the others, the share taken for a 3 is the :term:`false positive rate`. A higher
# :term:`threshold` than one half lowers it, and finds fewer threes. The ROC curve shows all
# choices, the :term:`confusion matrix` the four counts at one.

fpr, tpr, thresholds = metrics.roc_curve(y_test, s)
counts = metrics.confusion_matrix(y_test, predicted, classes=2)
figure, (left, right) = plt.subplots(
    1, 2, figsize=(9, 3.8), layout="constrained", width_ratios=(1.3, 1),
    num="Left: the ROC curve, far above the diagonal of guessing, with the thresholds "
    "0.9, 0.5 and 0.1 on it. Right: the confusion matrix at 0.5.",
)  # fmt: skip
left.plot(fpr, tpr, color="#0072B2", label=f"AUC = {metrics.auc(y_test, s):.3f}")
left.plot([0, 1], [0, 1], ":", color="#999999", label="guessing: 0.5")
for threshold, mark in ((0.9, "v"), (0.5, "o"), (0.1, "^")):
    point = np.sum(thresholds >= threshold) - 1
    at = f"threshold {threshold}"
    left.plot(fpr[point], tpr[point], mark, color="#D55E00", label=at)
left.set(xlabel="false positive rate", ylabel="true positive rate (recall)")
left.legend(loc="lower right")
right.imshow(np.sqrt(counts), cmap="Blues", vmax=25)
for (true, said), count in np.ndenumerate(counts):
    right.text(said, true, count, ha="center", va="center", fontsize=16)
right.set_xticks([0, 1], ["no", "3"])
right.set_yticks([0, 1], ["no", "3"])
right.set(xlabel="predicted", ylabel="true")
if comm.rank == 0:
    plt.show()

# %%
# Proof
# -----
#
# For any labels and scores, the area is that share of pairs:
#
# .. property-test:: tests/documents/test_d3.py::test_f8_auc_ties_count_one_half
#
# On many ranks
# -------------
#
# Each process (a :term:`rank`) tests its share of the rows; ``merge`` unites counts and scores:

mine = np.array_split(np.arange(len(y_test)), comm.size)[comm.rank]
table, scores = metrics.ConfusionMatrix(2), metrics.Scores(2)
table.update(y_test[mine], predicted[mine])
scores.update(y_test[mine], s[mine])
own = np.array([table.f1(), scores.auc()])
say(*comm.all_gather_text("rank {}: F1 {:.3f}, AUC {:.4f};".format(comm.rank, *own)))
comm.all_reduce(own)
say("means:   F1 {:.3f}, AUC {:.4f}".format(*own / comm.size))
table, scores = table.merge(comm), scores.merge(comm)
say(f"merged:  F1 {table.f1():.3f}, AUC {scores.auc():.4f}")
assert (table.f1(), scores.auc()) == (theirs[3], metrics.auc(y_test, s))

# %%
# On two ranks:
#
# .. recorded:: tutorials/recorded/12.txt
#
# Merged, they are those of one process. The means are not: counts add up, F1 does not, and AUC
# compares rows of different ranks. So it is with batches; one without a 3 has no AUC.
#
# Three misconceptions
# --------------------
#
# * *"Unlike accuracy, F1 cannot be fooled."* It depends on which class is called positive. Let it
#   be "not a 3": always saying so has an F1 of 0.95.
# * *"A high AUC means right predictions."* It sees only the order of scores. Divide all by 3: the
#   AUC stays, and no row reaches one half, so no 3 is found.
# * *"A split makes the test honest."* Not if rows stand twice. Double the digits, toss a coin for
#   the label of each pair, split: repeating the label of the nearest training row is right in 89%
#   of the test (mean of five draws). Remove copies before the split.
#
# Exercises
# ---------
#
# Write your answers in ``tutorials/exercises/12.py``; ``minigrad check 12`` looks at them.
#
# 1. ``standardise``: both parts, without leakage.
# 2. ``threshold_for``: the highest threshold at which a wanted recall is reached.
# 3. ``f1_of_all``: each rank has a share of the rows. What has to be added up?
#
# Words: :term:`data leakage` · :term:`precision` · :term:`recall` · :term:`F1 score` ·
# :term:`AUC` · :term:`confusion matrix`
