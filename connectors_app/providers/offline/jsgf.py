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


@dataclass(frozen=True, slots=True)
class Grammar:
    rules: dict[str, Node]
    public: tuple[str, ...]

    def words(self) -> frozenset[str]:
        return frozenset(word for node in self.rules.values() for word in _words(node))

    def fewest_words(self) -> int:
        """Of the shortest sentence."""
        return min(self._fewest(Rule(name)) for name in self.public)

    def pattern(self, name: str) -> str:
        """A regular expression of what the rule matches, each word followed by a space."""
        return self._pattern(Rule(name))

    def sentences(self, name: str) -> Iterator[str]:
        """All of them: for small rules only."""
        return (" ".join(words) for words in self._sentences(Rule(name)))

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
    return _checked(Grammar(rules, tuple(public)))


def expression(grammar: Grammar, *rules: str) -> re.Pattern[str]:
    """Matches what one of the rules says, a space after its last word included."""
    return re.compile("|".join(grammar.pattern(name) for name in rules))


def of_phrases(phrases: "tuple[str, ...]") -> str:
    """The text of a grammar whose sentences are these phrases."""
    return f"#JSGF V1.0;\ngrammar phrases;\npublic <phrase> = {' | '.join(phrases)};\n"


class _Parser:
    """Recursive descent over one rule's right-hand side."""

    def __init__(self, rule: str, text: str) -> None:
        self._rule = rule
        self._tokens = self._split(text)
        self._next = 0

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
            inside = self._choice()
            self._expect(")" if token == "(" else "]")
            return inside if token == "(" else Choice((inside, _NOTHING))
        return Rule(token[1:-1]) if token.startswith("<") else Word(token.lower())

    def _expect(self, bracket: str) -> None:
        if self._take() != bracket:
            raise BadGrammar(f'rule <{self._rule}>: a "{bracket}" is missing')


def _checked(grammar: Grammar) -> Grammar:
    if not grammar.public:
        raise BadGrammar("no rule is public: write public <sentence> = …; for what can be said")
    for name in grammar.rules:
        _follow(grammar, name, ())
    return grammar


def _follow(grammar: Grammar, name: str, path: tuple[str, ...]) -> None:
    if name in path:
        raise BadGrammar(f"rule <{name}> contains itself")
    for inner in _names(grammar.rules[name]):
        if inner not in grammar.rules:
            raise BadGrammar(f"rule <{name}> uses <{inner}>, which does not exist")
        _follow(grammar, inner, (*path, name))


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
