"""Item text: the template that writes it, the encoders that read it, the cache of their vectors.

Knows nothing of RecBole. Importing it imports neither torch nor transformers.
"""

from recbole_ext.text.cache import Embeddings, embed, look_up
from recbole_ext.text.encoder import FORMS, TextEncoder, make_encoder
from recbole_ext.text.template import (
    FIELDS,
    choose_fields,
    choose_title,
    item_texts,
    item_titles,
    texts_fingerprint,
)
from recbole_ext.text.vectors import VectorFile

__all__ = [
    "FIELDS",
    "FORMS",
    "Embeddings",
    "TextEncoder",
    "VectorFile",
    "choose_fields",
    "choose_title",
    "embed",
    "item_texts",
    "item_titles",
    "look_up",
    "make_encoder",
    "texts_fingerprint",
]
