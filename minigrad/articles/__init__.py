"""The five articles' formulas, algorithms, programs, questions and errata, and what checks each."""

from minigrad.articles.command import main
from minigrad.articles.items import ITEMS, KINDS, Item
from minigrad.articles.ledger import Mark, Row, ledger, marks

__all__ = ["ITEMS", "KINDS", "Item", "Mark", "Row", "ledger", "main", "marks"]
