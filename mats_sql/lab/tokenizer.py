"""The base model's tokenizer: BPE over whole words, so that a name is one and the same token wherever it stands.

A word (letters after anything but a letter or digit) begins with a mark; the single space between two words is implied
by the mark and costs nothing. ``singer`` is therefore one token in ``singer.name``, ``of singer`` and ``'singer'``, and
a regular plural is that token and ``s``. Digits are single tokens, but a twin column's name (``price1``) is one whole:
in two, copying it from among ``price``, ``price1`` and ``price2`` goes wrong at the digit. The formats' fixed strings
are added tokens, and any other text falls back to bytes. ``decode(encode(text)) == text`` for every text without the
mark itself (``U+2581``).
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from mats_sql.lab.invention import invent
from mats_sql.lab.words import twin_names

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

MARK = "\N{LOWER ONE EIGHTH BLOCK}"
END, PAD, SYSTEM, USER, ASSISTANT = "<|end|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>"
SPECIAL = (PAD, END, SYSTEM, USER, ASSISTANT)

CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

FORMATS = (
    " , columns = [\n",
    "]\ntable ",
    "]\nforeign keys:\n",
    "\n]\ntable ",
    "\n]\nforeign keys:\n",
    ".id | primary key ; type: integer\n",
    " | primary key ; type: ",
    " | type: ",
    " | type: text\n",
    " | type: integer\n",
    " | type: real\n",
    "_id | type: integer\n",
    "_ref | type: integer\n",
    " ; meaning: ",
    " ; has None\n",
    " ; values: ",
    "\n\nQuestion: ",
    "\nExternal knowledge: ",
    "\n\nPlanning:",
    "\nExternal knowledge: none\n\nPlanning:",
    "\n\nGenerated SQL query: ",
    "\nExternal knowledge: none\n\nGenerated SQL query: ",
    "\nExecution response: ",
    "\n\nFeedback on SELECT:",
    "\n\nFeedback on CONDITION:",
    "_id = ",
    "_ref = ",
    ".id\n",
    " has no '",
    "' , nearest '",
    " rows : ",
    "\nFeedback for the SQL query:\n",
    "\n\nFIXED SQL:",
    "\n\nIs the SQL correct?",
    "Goal to select: ",
    "\nCondition: ",
    "\nTables to use: ",
    "\nFinal SQL query:\n```sql\n",
    "\n```",
    "SELECT.\nThe query selects: ",
    "CONDITION.\nThe query keeps: ",
    "\nThe question asks for: ",
    "\nConclude: correct.",
    "\nConclude: incorrect.",
)
"""Strings of the agents' prompts and answers that are one token each. None ends in a letter or digit: the word after it
would then lose its mark's meaning."""

_NEW_WORDS = 20_000
"""A piece is in use when one of so many invented words has it."""

_WORD = "[A-Za-z0-9]"
_PIECES = "|".join(
    (
        rf"_{MARK}(?:id|ref)(?!{_WORD})",
        rf"{MARK}[a-z]+[0-9](?!{_WORD})",
        rf"{MARK}?[0-9]",
        rf"{MARK}[a-z]{{2,}}?[a-hj-rt-z](?=s(?!{_WORD}))",
        rf"(?<=[a-hj-rt-z])s(?!{_WORD})",
        rf"{MARK}?[A-Za-z]+",
        rf"[^A-Za-z0-9{MARK}]+",
    )
)


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """Return a tokenizer trained on texts; ``vocabulary`` includes the 256 byte tokens, but none that is added: a twin
    column's name, a format, a role."""
    learner = _pipeline(models.BPE())
    letters = [chr(code) for code in range(32, 127)] + ["\n", "\t", MARK]
    learner.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary - 256, initial_alphabet=letters, show_progress=False, min_frequency=2
        ),
    )
    learned = json.loads(learner.to_str())["model"]
    table: dict[str, int] = dict(learned["vocab"])
    table |= {f"<0x{byte:02X}>": len(table) + byte for byte in range(256)}
    return _with_added_tokens(table, _merges_in_use(table, [tuple(merge) for merge in learned["merges"]]))


def _merges_in_use(table: Mapping[str, int], merges: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the merges without those of pieces that no new word has.

    BPE learns the pieces of whatever word was frequent in its texts, an invented one's too. A piece that pretraining
    then never meets keeps the vector it began with, and no model can copy a new word that falls into such pieces
    (``gardener`` into ``g``, ``arden``, ``er``).
    """
    tokenizer, rng = _pipeline(models.BPE(vocab=dict(table), merges=merges)), random.Random(0)
    seen: Counter[str] = Counter()
    for word in (invent(rng) for _ in range(_NEW_WORDS)):
        seen.update(tokenizer.encode(rng.choice((word, word.capitalize(), word.upper()))).tokens)
    unused = {a + b for a, b in merges if (a + b).strip(MARK).isalpha() and not seen[a + b]}
    return [(a, b) for a, b in merges if unused.isdisjoint((a, b, a + b))]


def _with_added_tokens(table: Mapping[str, int], merges: Iterable[tuple[str, str]]) -> Tokenizer:
    """Return the tokenizer of a learned vocabulary and its merges, with twins' names, formats and roles added.

    A word that the vocabulary has is one token, whatever the merges.
    """
    names = dict(table)
    for name in twin_names():
        names.setdefault(MARK + name, len(names))
    tokenizer = _pipeline(models.BPE(vocab=names, merges=list(merges), byte_fallback=True, ignore_merges=True))
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    tokenizer.add_tokens([_format_token(text) for text in FORMATS])
    return tokenizer


def as_pretrained(tokenizer: Tokenizer, max_tokens: int) -> PreTrainedTokenizerFast:
    """Return the tokenizer as transformers loads it, with its chat template."""
    from transformers import PreTrainedTokenizerFast

    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        model_max_length=max_tokens,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped


def _pipeline(model: models.BPE) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(rf"(?<!{_WORD})(?={_WORD})"), MARK),
            normalizers.Replace(Regex(rf"(?<={_WORD}) {MARK}"), MARK),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_PIECES), behavior="isolated")
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Replace(Regex(rf"(?<={_WORD}){MARK}"), " "),
            decoders.Replace(MARK, ""),
        ]
    )
    return tokenizer


def _format_token(text: str) -> AddedToken:
    return AddedToken(text, normalized=False, special=False)
