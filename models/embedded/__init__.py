"""The language model that ships with lmppl: its weights, and the whole recipe that made them.

Run `python -m lmppl.models.embedded.train --minutes 60` to make it again; `MODEL_CARD.md` says what it is.
"""
