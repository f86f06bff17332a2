"""Grammars in JSGF, the part of it that a recogniser with a closed grammar needs: rules, groups, [], | and comments."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_HEADER = re.compile(r"\s*#JSGF\s+V1\.0[^;]*;\s*grammar\s+[\w.-]+\s*;")
_RULE = re.compile(r"\s*(public\s+)?<(\w+)>\s*=([^;]*);")
_TOKEN = re.compile(r"\s*(<\w+>|[\[\]()|]|[\w'-]+)")


class BadGrammar(ValueError):
    """The text is not a grammar that can be used here; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Word:
    text: str


@dataclass(frozen=True, slots=True)
class Rule:
    name: str


@dataclass(frozen=True, slots=True)
class Sequence:
    parts: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of `options`; `[x]` is a choice between x and nothing."""

    options: "tuple[Node, ...]"


Node = Word | Rule | Sequence | Choice
_NOTHING = Sequence(())

MOST_WORDS = 5_000
"""Of a grammar in which every rule is written out where it is used."""
DEEPEST = 50


@dataclass(frozen=True, slots=True)
class Grammar:
    rules: dict[str, Node]
    public: str
    """The rule that says what a sentence is."""

    def words(self) -> frozenset[str]:
        return frozenset(word for node in self.rules.values() for word in _words(node))

    def fewest_words(self) -> int:
        """Of the shortest sentence."""
        return self._fewest(Rule(self.public))

    def text(self) -> str:
        """As JSGF."""
        rules = (f"{'public ' * (name == self.public)}<{name}> = {_text(node)};" for name, node in self.rules.items())
        return "\n".join(("#JSGF V1.0;", "grammar closed;", *rules))

    def expression(self, *names: str) -> re.Pattern[str]:
        """Matches what one of the rules says, a space after its last word included."""
        return re.compile("|".join(self._pattern(Rule(name)) for name in names))

    def sentences(self, name: str) -> Iterator[str]:
        """All of them: for small rules only."""
        return (" ".join(words) for words in self._sentences(Rule(name)))

    def examples(self) -> tuple[str, ...]:
        """One sentence for each alternative of the public rule, without what may be left out."""
        node = self.rules[self.public]
        return tuple(self._example(option) for option in (node.options if isinstance(node, Choice) else (node,)))

    def _example(self, node: Node) -> str:
        match node:
            case Word(text):
                return text
            case Rule(name):
                return self._example(self.rules[name])
            case Sequence(parts):
                return " ".join(filter(None, map(self._example, parts)))
            case Choice(options):
                return "" if _NOTHING in options else self._example(options[0])

    def _fewest(self, node: Node) -> int:
        match node:
            case Word():
                return 1
            case Rule(name):
                return self._fewest(self.rules[name])
            case Sequence(parts):
                return sum(map(self._fewest, parts))
            case Choice(options):
                return min(map(self._fewest, options))

    def _pattern(self, node: Node) -> str:
        match node:
            case Word(text):
                return re.escape(text) + " "
            case Rule(name):
                return self._pattern(self.rules[name])
            case Sequence(parts):
                return "".join(map(self._pattern, parts))
            case Choice(options):
                return f"(?:{'|'.join(map(self._pattern, options))})"

    def _sentences(self, node: Node) -> Iterator[tuple[str, ...]]:
        match node:
            case Word(text):
                yield (text,)
            case Rule(name):
                yield from self._sentences(self.rules[name])
            case Sequence(parts):
                for chosen in product(*(list(self._sentences(part)) for part in parts)):
                    yield tuple(word for words in chosen for word in words)
            case Choice(options):
                for option in options:
                    yield from self._sentences(option)


def parse(text: str) -> Grammar:
    """Raises BadGrammar."""
    rest = _COMMENT.sub(" ", text)
    header = _HEADER.match(rest)
    if not header:
        raise BadGrammar('a grammar begins with "#JSGF V1.0; grammar name;"')
    rules: dict[str, Node] = {}
    public: list[str] = []
    position = header.end()
    while rest[position:].strip():
        rule = _RULE.match(rest, position)
        if not rule:
            raise BadGrammar(f'expected "<name> = …;" at: {rest[position:].strip()[:40]}')
        rules[rule[2]] = _Parser(rule[2], rule[3]).parse()
        public += [rule[2]] if rule[1] else []
        position = rule.end()
    if len(public) != 1:
        raise BadGrammar(f"one rule is public, the one that says what a sentence is; here there are {len(public)}")
    _check(rules)
    return Grammar(rules, public[0])


def of_phrases(phrases: "tuple[str, ...]") -> str:
    """The text of a grammar whose sentences are these phrases."""
    return f"#JSGF V1.0;\ngrammar phrases;\npublic <phrase> = {' | '.join(phrases)};\n"


class _Parser:
    """Recursive descent over one rule's right-hand side."""

    def __init__(self, rule: str, text: str) -> None:
        self._rule = rule
        self._tokens = self._split(text)
        self._next = 0
        self._depth = 0

    def parse(self) -> Node:
        node = self._choice()
        if self._peek():
            raise BadGrammar(f'rule <{self._rule}>: "{self._peek()}" has no opening bracket')
        return node

    def _split(self, text: str) -> list[str]:
        tokens, position, text = [], 0, text.strip()
        while position < len(text):
            token = _TOKEN.match(text, position)
            if not token:
                raise BadGrammar(f'rule <{self._rule}>: "{text[position:].strip()[:20]}" is not understood here')
            tokens.append(token[1])
            position = token.end()
        return tokens

    def _peek(self) -> str:
        return self._tokens[self._next] if self._next < len(self._tokens) else ""

    def _take(self) -> str:
        token = self._peek()
        self._next += 1
        return token

    def _choice(self) -> Node:
        options = [self._sequence()]
        while self._peek() == "|":
            self._take()
            options.append(self._sequence())
        return options[0] if len(options) == 1 else Choice(tuple(options))

    def _sequence(self) -> Node:
        parts: list[Node] = []
        while self._peek() not in ("", "|", ")", "]"):
            parts.append(self._part())
        if not parts:
            raise BadGrammar(f"rule <{self._rule}>: an alternative is empty")
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _part(self) -> Node:
        token = self._take()
        if token in ("(", "["):
            inside = self._inside(")" if token == "(" else "]")
            return inside if token == "(" else Choice((inside, _NOTHING))
        return Rule(token[1:-1]) if token.startswith("<") else Word(token.lower())

    def _inside(self, bracket: str) -> Node:
        self._depth += 1
        if self._depth > DEEPEST:
            raise BadGrammar(f"rule <{self._rule}>: more than {DEEPEST} brackets in each other")
        node = self._choice()
        if self._take() != bracket:
            raise BadGrammar(f'rule <{self._rule}>: a "{bracket}" is missing')
        self._depth -= 1
        return node


def _check(rules: dict[str, Node]) -> None:
    """Every rule that is used exists, none contains itself, and written out they have an end."""
    sizes: dict[str, int] = {}
    for name in rules:
        _measure(rules, name, sizes, ())


def _measure(rules: dict[str, Node], name: str, sizes: dict[str, int], path: tuple[str, ...]) -> None:
    if name in sizes:
        return
    if name in path or len(path) > DEEPEST:
        raise BadGrammar(f"rule <{name}> contains itself" if name in path else f"rule <{name}> is in too many others")
    used = list(_names(rules[name]))
    for inner in used:
        if inner not in rules:
            raise BadGrammar(f"rule <{name}> uses <{inner}>, which does not exist")
        _measure(rules, inner, sizes, (*path, name))
    sizes[name] = sum(1 for _ in _words(rules[name])) + sum(sizes[inner] for inner in used)
    if sizes[name] > MOST_WORDS:
        raise BadGrammar(f"rule <{name}> has more than {MOST_WORDS} words when it is written out")


def _text(node: Node) -> str:
    match node:
        case Word(text):
            return text
        case Rule(name):
            return f"<{name}>"
        case Sequence(parts):
            return " ".join(map(_text, parts)) or "<NULL>"
        case Choice(options):
            return f"({' | '.join(map(_text, options))})"


def _children(node: Node) -> tuple[Node, ...]:
    match node:
        case Sequence(inside) | Choice(inside):
            return inside
    return ()


def _words(node: Node) -> Iterator[str]:
    if isinstance(node, Word):
        yield node.text
    for child in _children(node):
        yield from _words(child)


def _names(node: Node) -> Iterator[str]:
    if isinstance(node, Rule):
        yield node.name
    for child in _children(node):
        yield from _names(child)
