"""``minigrad ask``: the 21 questions of the articles, each answered by an experiment."""

from minigrad.ask.answer import Answer
from minigrad.ask.command import main
from minigrad.ask.questions import QUESTIONS, Question

__all__ = ["QUESTIONS", "Answer", "Question", "main"]
