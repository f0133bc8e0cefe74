"""The word lists of the lab: themes, their entities, and the attributes with the values they take.

Every entity has a regular plural (the tokenizer splits the final ``s`` off, so that a table and its plural share a
token), and every word that pretraining may use is a single token of the base model (a test asserts it). Two themes and
one value word in six are kept for benchmarks: pretraining never sees them, and the base model spells them out.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What an attribute holds; decides which questions can be asked about it."""

    LABEL = "label"
    CATEGORY = "category"
    NUMBER = "number"
    CODE = "code"


@dataclass(frozen=True, slots=True)
class Attribute:
    """A column as the word lists know it.

    ``values`` are the possible words of a label or category; ``low``, ``high`` and ``step`` bound a number (a ``step``
    below one makes it real). ``most`` and ``least`` are superlatives, ``above`` and ``below`` comparatives.
    """

    name: str
    kind: Kind
    values: tuple[str, ...] = ()
    low: float = 0
    high: float = 0
    step: float = 1
    most: str = ""
    least: str = ""
    above: str = ""
    below: str = ""
    preposition: str = ""


@dataclass(frozen=True, slots=True)
class Entity:
    """A table as the word lists know it: its name and the names of attributes that fit it."""

    name: str
    label: str
    attributes: tuple[str, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


PEOPLE = _words(
    "Alice Bruno Carla David Elena Felix Grace Hugo Irene Jonas Karen Leo Maria Nina Oscar Paula Quentin Rosa Simon "
    "Tara Ursula Victor Wanda Xavier Yara Zoe Adam Bella Chloe Diego Emma Frank Gina Henry Ivan Julia Kevin Laura "
    "Marco Noah Olga Peter Rita Stefan Tina Uma Vera Walter Yusuf Zara Anton Beatrix Cyril Dora Edgar Flora Gustav "
    "Heidi Ingrid Jasper"
)
TITLE_FIRST = _words(
    "Golden Silver Silent Hidden Broken Lucky Distant Bright Frozen Gentle Ancient Crimson Misty Noble"
)
TITLE_SECOND = _words("River Garden Tower Mirror Forest Island Lantern Bridge Meadow Harbor Anchor Castle Valley Comet")
COUNTRIES = _words("France Japan Brazil Kenya Canada Norway India Mexico Spain Egypt Poland Chile Italy Ghana")
CITIES = _words("London Madrid Lisbon Vienna Boston Dublin Prague Oslo Lima Cairo Athens Milan Seoul Denver")
COLORS = _words("red blue green black white yellow purple orange gray brown")
GENRES = _words("jazz rock folk opera techno drama comedy horror fantasy poetry")
MATERIALS = _words("wood steel glass cotton leather marble copper bamboo paper ceramic")
SIZES = _words("tiny small medium large huge")
SHIFTS = _words("morning noon evening night weekend")
LANGUAGES = _words("English French German Arabic Hindi Swahili Korean Dutch Greek Latin")
SUBJECTS = _words("physics biology history algebra music grammar economics geology logic painting")
RANKS = _words("junior senior trainee chief deputy expert")
SEASONS = _words("spring summer autumn winter")
BRANDS = _words("Acme Zenith Orion Vertex Nimbus Apex Delta Sigma Lumen Quasar")
FLAVORS = _words("vanilla lemon cherry mint ginger honey coffee mango")
SURFACES = _words("grass clay sand ice gravel asphalt")

ATTRIBUTES: dict[str, Attribute] = {
    attribute.name: attribute
    for attribute in (
        Attribute("name", Kind.LABEL, PEOPLE),
        Attribute("title", Kind.LABEL),
        Attribute("country", Kind.CATEGORY, COUNTRIES, preposition="from"),
        Attribute("city", Kind.CATEGORY, CITIES, preposition="in"),
        Attribute("color", Kind.CATEGORY, COLORS),
        Attribute("genre", Kind.CATEGORY, GENRES),
        Attribute("material", Kind.CATEGORY, MATERIALS, preposition="made of"),
        Attribute("size", Kind.CATEGORY, SIZES),
        Attribute("shift", Kind.CATEGORY, SHIFTS),
        Attribute("language", Kind.CATEGORY, LANGUAGES),
        Attribute("subject", Kind.CATEGORY, SUBJECTS),
        Attribute("rank", Kind.CATEGORY, RANKS),
        Attribute("season", Kind.CATEGORY, SEASONS),
        Attribute("brand", Kind.CATEGORY, BRANDS, preposition="by"),
        Attribute("flavor", Kind.CATEGORY, FLAVORS),
        Attribute("surface", Kind.CATEGORY, SURFACES, preposition="on"),
        Attribute("age", Kind.NUMBER, (), 18, 79, 1, "oldest", "youngest", "older than", "younger than"),
        Attribute("year", Kind.NUMBER, (), 1970, 2023, 1, "latest", "earliest", "after", "before"),
        Attribute("price", Kind.NUMBER, (), 5, 95, 0.5, "most expensive", "cheapest", "above", "below"),
        Attribute("salary", Kind.NUMBER, (), 1200, 9800, 100, "best paid", "worst paid", "above", "below"),
        Attribute("rating", Kind.NUMBER, (), 1, 9.9, 0.1, "best rated", "worst rated", "above", "below"),
        Attribute("capacity", Kind.NUMBER, (), 20, 990, 10, "largest", "smallest", "above", "below"),
        Attribute("weight", Kind.NUMBER, (), 1, 99, 1, "heaviest", "lightest", "heavier than", "lighter than"),
        Attribute("height", Kind.NUMBER, (), 120, 210, 1, "tallest", "shortest", "taller than", "shorter than"),
        Attribute("length", Kind.NUMBER, (), 10, 500, 5, "longest", "shortest", "longer than", "shorter than"),
        Attribute("distance", Kind.NUMBER, (), 2, 90, 1, "farthest", "nearest", "above", "below"),
        Attribute("speed", Kind.NUMBER, (), 20, 300, 5, "fastest", "slowest", "faster than", "slower than"),
        Attribute("budget", Kind.NUMBER, (), 1000, 9900, 100),
        Attribute("score", Kind.NUMBER, (), 1, 100, 1),
        Attribute("level", Kind.NUMBER, (), 1, 30, 1),
        Attribute("stock", Kind.NUMBER, (), 0, 400, 5),
        Attribute("visits", Kind.NUMBER, (), 10, 900, 10),
        Attribute("votes", Kind.NUMBER, (), 5, 800, 5),
        Attribute("credits", Kind.NUMBER, (), 1, 60, 1),
        Attribute("goals", Kind.NUMBER, (), 0, 60, 1),
        Attribute("pages", Kind.NUMBER, (), 40, 900, 10),
        Attribute("seats", Kind.NUMBER, (), 2, 80, 1),
        Attribute("depth", Kind.NUMBER, (), 1, 90, 1),
        Attribute("area", Kind.NUMBER, (), 10, 900, 10),
        Attribute("duration", Kind.NUMBER, (), 5, 240, 5),
        Attribute("discount", Kind.NUMBER, (), 1, 60, 1),
        Attribute("temperature", Kind.NUMBER, (), 1, 45, 1),
    )
}

CODE_NAMES = _words("stat cls grp typ flg cod")
CODE_MEANINGS = (
    ("status", ("active", "retired", "pending")),
    ("access", ("public", "private", "shared")),
    ("origin", ("local", "foreign", "mixed")),
    ("phase", ("planned", "running", "finished")),
    ("quality", ("fresh", "worn", "damaged")),
    ("contract", ("permanent", "seasonal", "casual")),
)
CODE_LETTERS = _words("A B C D E F G H K M")
MEASURES = _words("margin yield balance impact density rate")
"""Names that only the evidence defines, as a formula over two columns."""
TERMS = _words("veteran premium notable major minor rare popular critical modest elite typical special")


NOT_SUMMED = frozenset(_words("year age rating temperature level height speed depth discount score"))
"""Numbers whose total, or whose quotient with another, says nothing."""

RESERVED_THEMES = ("cinema", "garden")
"""Themes that only benchmarks have."""
_RESERVED_VALUES_ONE_IN = 6


def is_reserved(word: str) -> bool:
    """Whether a value word is kept for benchmarks: a property of the word alone, as with question texts."""
    return hashlib.sha256(f"value {word}".encode()).digest()[0] % _RESERVED_VALUES_ONE_IN == 0


def open_words(values: tuple[str, ...]) -> tuple[str, ...]:
    """Return the value words that pretraining may use."""
    return tuple(value for value in values if not is_reserved(value))


def twins_of(number: str) -> tuple[str, ...]:
    """Return the names of the two columns in which a table may keep a number."""
    return tuple(number + digit for digit in ("1", "2"))


def twin_names() -> tuple[str, ...]:
    """Return the names of all twin columns that a database can have."""
    return tuple(twin for name, found in ATTRIBUTES.items() if found.kind is Kind.NUMBER for twin in twins_of(name))


def category_names() -> tuple[str, ...]:
    """Return the names of the columns that hold words or their codes."""
    return (*(name for name, found in ATTRIBUTES.items() if found.kind is Kind.CATEGORY), *CODE_NAMES)


def _entity(name: str, label: str, attributes: str) -> Entity:
    return Entity(name, label, _words(attributes))


THEMES: dict[str, tuple[Entity, ...]] = {
    "music": (
        _entity("singer", "name", "age country genre rating height salary language"),
        _entity("concert", "title", "year city capacity price season duration votes"),
        _entity("album", "title", "year genre price rating duration votes"),
        _entity("guitar", "title", "color material price weight brand year"),
        _entity("studio", "title", "city area budget rating level"),
    ),
    "school": (
        _entity("student", "name", "age country level score height language rank"),
        _entity("course", "title", "subject credits level duration language season"),
        _entity("teacher", "name", "age salary subject country rating rank"),
        _entity("classroom", "title", "capacity area color seats level"),
        _entity("exam", "title", "year duration score subject pages"),
    ),
    "sport": (
        _entity("player", "name", "age country height weight goals salary speed"),
        _entity("team", "title", "city budget goals color score level"),
        _entity("stadium", "title", "city capacity year surface seats area"),
        _entity("trainer", "name", "age country salary rating rank"),
        _entity("tournament", "title", "year season budget surface visits"),
    ),
    "shop": (
        _entity("product", "title", "price color material size weight stock brand discount"),
        _entity("customer", "name", "age city country level visits discount"),
        _entity("store", "title", "city area budget rating visits"),
        _entity("clerk", "name", "age salary shift rank score"),
        _entity("supplier", "name", "country rating budget distance level"),
    ),
    "library": (
        _entity("book", "title", "year pages language genre price rating"),
        _entity("author", "name", "age country language score votes"),
        _entity("reader", "name", "age city level visits language"),
        _entity("magazine", "title", "year pages price language votes"),
        _entity("archive", "title", "city area year depth visits"),
    ),
    "travel": (
        _entity("hotel", "title", "city rating price capacity year level"),
        _entity("guest", "name", "age country visits language budget"),
        _entity("flight", "title", "distance price duration seats season"),
        _entity("airport", "title", "country area capacity year visits"),
        _entity("pilot", "name", "age salary country rank score"),
    ),
    "farm": (
        _entity("farmer", "name", "age country salary score rank"),
        _entity("field", "title", "area season depth distance surface"),
        _entity("animal", "name", "age weight color height speed"),
        _entity("tractor", "title", "year speed weight price brand color"),
        _entity("barn", "title", "area capacity material year height"),
    ),
    "museum": (
        _entity("painter", "name", "age country rating votes language"),
        _entity("painting", "title", "year price height color material"),
        _entity("visitor", "name", "age city language visits score"),
        _entity("sculptor", "name", "age country rank salary votes"),
        _entity("exhibit", "title", "season budget visits year area"),
    ),
    "kitchen": (
        _entity("chef", "name", "age salary country rank rating"),
        _entity("recipe", "title", "duration level flavor rating votes"),
        _entity("dessert", "title", "price flavor weight size temperature"),
        _entity("restaurant", "title", "city capacity rating year seats"),
        _entity("waiter", "name", "age salary shift language score"),
    ),
    "transport": (
        _entity("driver", "name", "age salary country shift score"),
        _entity("truck", "title", "weight speed capacity brand year color"),
        _entity("route", "title", "distance duration season surface level"),
        _entity("station", "title", "city year area visits seats"),
        _entity("ticket", "title", "price discount season duration"),
    ),
    "science": (
        _entity("researcher", "name", "age country salary subject rank score"),
        _entity("project", "title", "budget year duration level subject"),
        _entity("sample", "title", "weight temperature depth color size"),
        _entity("sensor", "title", "price brand weight distance temperature"),
        _entity("journal", "title", "year subject language pages rating"),
    ),
    "harbor": (
        _entity("captain", "name", "age country salary rank score"),
        _entity("ship", "title", "length speed capacity year color material"),
        _entity("sailor", "name", "age height shift salary country"),
        _entity("dock", "title", "depth length area city level"),
        _entity("container", "title", "weight size color price temperature"),
    ),
    "cinema": (
        _entity("actor", "name", "age country height votes salary"),
        _entity("film", "title", "year genre duration budget language rating"),
        _entity("director", "name", "age country score votes rank"),
        _entity("theater", "title", "city seats area year price"),
        _entity("award", "title", "year votes level season"),
    ),
    "garden": (
        _entity("gardener", "name", "age salary shift country rank"),
        _entity("plant", "title", "height color season price size"),
        _entity("fountain", "title", "depth material height year"),
        _entity("tool", "title", "weight price material brand stock"),
        _entity("park", "title", "city area visits rating year"),
    ),
}

PLACES = _words(
    "amber birch cedar dune ember falcon grove hazel iris jade kestrel lotus maple north olive pine quartz ridge stone "
    "tulip umber violet willow yarrow zinc aspen basil coral dawn elm"
)

_ENGLISH = _words(
    "List Show Give Find Return What Which How For Count list show give find return is are the a of all every each and "
    "or in on by from with without whose that have has any many there not number different values value called named "
    "above below over under greater less more most least than at between average mean total combined lowest minimum "
    "highest maximum difference common per together its refers to known made oldest youngest latest earliest best "
    "worst rated paid expensive cheapest largest smallest heaviest lightest tallest shortest longest farthest nearest "
    "fastest slowest older younger heavier lighter taller shorter longer faster slower after before no such column "
    "table ambiguous name misuse aggregate near syntax error rows none nothing readable correct incorrect select "
    "condition yes id ref text integer real primary key type meaning foreign keys columns linked assigned percentage "
    "ratio divided multiplied share count nearest has no them more included average what which where any only those"
)
_SQL = _words(
    "SELECT FROM WHERE JOIN ON AND OR GROUP BY HAVING ORDER ASC DESC LIMIT DISTINCT COUNT SUM AVG MIN MAX BETWEEN IS "
    "NOT NULL IN LIKE LEFT INNER AS CAST REAL CASE WHEN THEN ELSE END UNION EXISTS None INTEGER TEXT"
)


def open_themes() -> list[str]:
    """Return the themes that pretraining may use, sorted."""
    return sorted(set(THEMES) - set(RESERVED_THEMES))


def reserved_words() -> list[str]:
    """Return every word that only benchmarks have."""
    listed = (*TITLE_FIRST, *TITLE_SECOND, *(value for a in ATTRIBUTES.values() for value in a.values))
    entities = [entity.name for theme in RESERVED_THEMES for entity in THEMES[theme]]
    return sorted({*entities, *(word for word in listed if is_reserved(word))})


def pretraining_words() -> list[str]:
    """Return every word that pretraining may use, invented ones aside, each once, in a fixed order."""
    found: dict[str, None] = {}
    for theme in open_themes():
        for entity in THEMES[theme]:
            found |= dict.fromkeys((entity.name, entity.label, *entity.attributes))
    for attribute in ATTRIBUTES.values():
        phrases = (attribute.most, attribute.least, attribute.above, attribute.below, attribute.preposition)
        found |= dict.fromkeys((attribute.name, *open_words(attribute.values), *" ".join(phrases).split()))
    for topic, meanings in CODE_MEANINGS:
        found |= dict.fromkeys((topic, *meanings))
    titles = (open_words(TITLE_FIRST), open_words(TITLE_SECOND))
    for group in (*titles, CODE_NAMES, CODE_LETTERS, TERMS, MEASURES, _ENGLISH, _SQL):
        found |= dict.fromkeys(group)
    return list(found)
