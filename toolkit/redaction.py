"""Secrets taken out of texts, arguments and settings: each is replaced by ***.

A secret is recognized in four ways: by its form (secret_patterns.KEYS), by the name before it (API_KEY=..., "token":
"...", --password ..., Authorization: ...), by its place in an address (://NAME:PASSWORD@, ?sig=...), and because a
variable of such a name in this process's environment holds it. What merely counts tokens or names a column stays.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from toolkit import secret_patterns as names
from toolkit.secret_patterns import ANY_KEY, LONG_WORD, PRIVATE_KEY

MASK = "***"
# How a variable must be named for its value to be hidden; for pydantic, whose patterns cannot look back.
SECRET_NAME = "(?i)(keys?|tokens?|secrets?|password|passwd|passphrase|credentials?|auth|_pat|_pass)$"
SHORTEST = 8  # characters of an environment's secret; a shorter one would be found in every other word

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_NUMBER = re.compile(r"[-+]?[\d.,_]+(?:[eE][-+]?\d+)?")
_PLAIN = re.compile(  # switches, placeholders, types, names of variables
    r"(?i)|true|false|none|null|yes|no|on|off|auto|empty|default|required|optional|str|string|int|bool|bytes|"
    r"value|(?-i:TEXT|KEY|TOKEN|NAME|FILE|PASSWORD|[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)|[*.…]+|<[^>]*>|(?-i:\$\{?[A-Z][A-Z0-9_]*\}?)|\$\{\{|\{\w*\}|<\|\w+\|>"
)
_CHOICE = re.compile(r"[a-z_]+")  # as every choice of a recipe: a stored recipe has to be parsed again
_START = r"(?:\b|(?<=\\[nrt]))"  # of a word, or behind a line end that is spelled \n
_VALUE = re.compile(
    r"""(?P<escape>\\+)"(?:(?!(?P=escape)").)*(?P=escape)"|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|\[[^\]\n]*\]|\{[^{}\n]*\}|"""
    # up to the next setting, or the end of the sentence
    r"""[^\s"'\[{](?:(?![,;&]\s*["']?[\w.-]+["']?\s?[=:]|[,;.)\]}]*(?:\s|$))[^\s"'])*"""
)
# A name, in quotes or not, then : or =; or an option, and a space.
_NAME = re.compile(
    r"""(?<![\w.-])(?:(?<=\\)[nrt])?(?P<name>-{0,2}[A-Za-z_][\w.-]*)"""
    r"""(?P<sign>\\*["']?[ \t]{0,20}(?:=>|=(?!=)|:)[ \t]*)"""
)
_OPTION = re.compile(r"(?:(?<!\S)|(?<=\\[nrt])|(?<=[\"'`(]))(?P<name>--?[A-Za-z][\w.-]*)(?P<sign>[ \t]+)")
_SCHEME = re.compile(rf"(?i){_START}(bearer|basic)(\s+)([A-Za-z0-9._~+/=-]{{8,}})")
_HEADER = re.compile(
    rf"""(?i){_START}((?:(?:proxy-)?authorization|(?:set-)?cookie)\\*["']?\s*[:=](?!\s*[\[{{])\s*\\*["']?)([^\r\n"'\\]+)"""
)
# `wandb login KEY`, `Token KEY`; -u NAME:PASSWORD of curl; passwords of sshpass and mysql.
_LOGIN = re.compile(rf"(?i)({_START}login\s+)([0-9a-f]{{32,}})\b")
_TOKEN = re.compile(rf"(?i)({_START}token\s+)(?=[A-Za-z_.-]*\d)([A-Za-z0-9_.-]{{20,}})")
_LOGIN_OPTION = re.compile(r"-u|-U|--user|--proxy-user")
_USER = re.compile(rf"""((?<!\S)(?:{_LOGIN_OPTION.pattern})[ \t=]+["']?[^\s:"'=]+:)(?!\d+(?:\s|$))([^\s"']+)""")
_PASSWORD_OPTION = re.compile(
    rf"""({_START}sshpass\s+-p\s*["']?|{_START}mysql\w*\b[^\n|;]{{0,200}}?\s-p["']?)([^\s"'-][^\s"']*)"""
)
# Settings and options that name models. OWNER/NAME is there a repository of the hub, also where it resembles a key.
_NAMING = re.compile(r"-{0,2}(?:\w+\.)*(?:model|by|judge|reference|name_or_path)")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{1,95}/[\w.-]{1,96}")
_NETRC = re.compile(rf"(?i)({_START}login\s+\S+\s+password\s+)(\S+)")
# ://NAME:PASSWORD@, where the password may hold / and @; ://TOKEN@; and what a database's address holds.
_DATABASES = r"(?:postgres(?:ql)?|mysql|mariadb|mongodb|rediss?|amqps?|mssql|oracle|clickhouse|sqlserver|snowflake)"
_IN_ADDRESS = re.compile(
    rf"""(?i)({_START}{_DATABASES}(?:\+\w+)?://)[^\s"'<>]{{0,500}}(?=@)"""
    r"""|(://)[^\s"'<>/?#@:\[]{0,200}:(?!\d{1,5}(?:[/?#\s"']|$))[^\s"'<>]{0,500}(?=@)"""
    r"""|(://)[^/?#\s"'<>]{1,500}(?=@)"""
)
_QUERY = re.compile(r"""([?&;])([\w.%-]+)=([^&#?\s"'<>;\\]+)""")


@lru_cache(maxsize=4096)
def secret_name(name: str) -> bool:
    """Whether a variable, option or key of this name holds a secret: OPENAI_API_KEYS, --gh-pat, trainer.auth."""
    section, _, leaf = name.rpartition(".")
    words = _words(leaf)
    while len(words) > 1 and (words[-1].isdigit() or words[-1] in names.QUALIFIERS):
        words.pop()
    if not words or leaf in ("PWD", "OLDPWD"):
        return False
    if any(tuple(words[-len(phrase) :]) == phrase for phrase in names.PHRASES):
        return True
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if last in ("key", "keys") and (before in names.PLAIN_KEYS or section.split(".")[-1] == "data"):
        return False
    if last in ("token", "tokens") and before in names.PLAIN_TOKENS:
        return False
    return (last in names.ALWAYS or last.endswith(names.ENDINGS)) and before not in names.PLAIN_BEFORE.get(last, ())


def hidden(text: str) -> str:
    """The text without what looks like a secret, and without those that this process's environment holds."""
    return _without_forms(_without_held(text))


def redact(arguments: Sequence[str]) -> tuple[str, ...]:
    """Arguments of a command line. The value of --api-key VALUE is a word of its own."""
    clean: list[str] = []
    before = option = ""  # the secret's option whose value comes next; the word before
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if before and not argument.startswith("--"):
            clean.append(argument if _harmless(before, argument) else MASK)
        elif _is_place(argument) or _names_model(*_setting(option, argument)):
            clean.append(_without_held(argument))
        elif _LOGIN_OPTION.fullmatch(option):
            clean.append(hidden(f"{option} {argument}").removeprefix(f"{option} "))
        elif equals and re.fullmatch(r"[\w.-]+", name) and secret_name(name):
            clean.append(argument if _harmless(name, value) else f"{name}={MASK}")
        else:
            clean.append(hidden(argument))
        before = argument if argument.startswith("-") and not equals and secret_name(argument) else ""
        option = argument
    return tuple(clean)


def redact_mapping(data: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings. What stands under the name of a secret goes whole, lists and tables too."""
    return {hidden(key): _redact_value(key, value) for key, value in data.items()}


def redact_file(path: Path) -> str:
    """Take secrets out of a child's log, readable to this user alone; its text. A full disk leaves it as it was."""
    text = path.read_text(encoding="utf-8", errors="replace")
    clean = hidden(text)
    path.chmod(0o600)
    if clean != text:
        aside = path.with_name(f"{path.name}.redacted")
        try:
            aside.touch(0o600)
            aside.write_text(clean, encoding="utf-8")
            aside.replace(path)
        except OSError:
            aside.unlink(missing_ok=True)
    return clean


def holds_secret(name: str, value: Any) -> bool:
    """Whether this setting is a secret by its name or its value."""
    return bool(_redact_value(name, value) != (list(value) if isinstance(value, tuple) else value))


def _redact_value(key: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return redact_mapping({k: _all_masked(v) for k, v in value.items()} if secret_name(key) else value)
    if isinstance(value, list | tuple):
        return [_redact_value(key, item) for item in value]
    if isinstance(value, str):
        if secret_name(key):
            return value if _harmless(key, value) else MASK
        if _names_model(key, value):
            return _without_held(value)
        return value if _CHOICE.fullmatch(value) else hidden(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and secret_name(key):
        return value if _counts(key) else MASK
    return value


def _all_masked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _all_masked(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_all_masked(inner) for inner in value]
    return MASK if isinstance(value, str) and not _PLAIN.fullmatch(value) else value


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORDS.findall(name)]


def _counts(name: str) -> bool:
    """Whether a number under this name counts something: tokens, keys, sessions."""
    words = _words(name)
    return words in (["key"], ["keys"]) or not words or words[-1] not in names.NEVER_COUNTED


def _harmless(name: str, value: str) -> bool:
    """Whether the value of a secret's name is none: a switch, a placeholder, a variable's name, a count."""
    return bool(_PLAIN.fullmatch(value)) or (bool(_NUMBER.fullmatch(value)) and _counts(name))


def _setting(option: str, argument: str) -> tuple[str, str]:
    """Name and value of --name VALUE, --name=VALUE, name=VALUE and --set=name=VALUE."""
    name, equals, value = argument.removeprefix("--set=").partition("=")
    return (name, value) if equals else (option, argument)


def _is_place(word: str) -> bool:
    """Whether this word of a command line is a file or folder that exists, so that its name is not a secret."""
    try:
        return ("." in word or "/" in word) and Path(word).exists()
    except (OSError, ValueError):  # too long a name, a NUL
        return False


def _names_model(name: str, value: str) -> bool:
    return bool(_NAMING.fullmatch(name) and _REPOSITORY.fullmatch(value))


def _without_held(text: str) -> str:
    for value in _held():
        text = text.replace(value, MASK)
    return text


def _held() -> list[str]:
    """The secrets of the environment, as they are and as addresses and JSON spell them, the longest first."""
    held = {value for name, value in os.environ.items() if len(value) >= SHORTEST and secret_name(name)}
    held = {value for value in held if not _PLAIN.fullmatch(value) and value.strip()}
    spelled = {form for value in held for form in (value, quote(value, ""), quote_plus(value), json.dumps(value)[1:-1])}
    return sorted(spelled, key=len, reverse=True)


def _without_forms(text: str) -> str:
    text = LONG_WORD.sub(lambda m: (m[1] or "") + ANY_KEY.sub(MASK, m[2]), PRIVATE_KEY.sub(MASK, text))
    text = _IN_ADDRESS.sub(lambda m: f"{m[1] or m[2] or m[3]}{MASK}", text)
    text = _QUERY.sub(_queried, text)
    text = _HEADER.sub(rf"\1{MASK}", text)
    text = _SCHEME.sub(_schemed, text)
    for form in (_NETRC, _LOGIN, _TOKEN, _USER, _PASSWORD_OPTION):
        text = form.sub(rf"\1{MASK}", text)
    return _without_named(_without_named(text, _NAME), _OPTION)


def _without_named(text: str, form: re.Pattern[str]) -> str:
    """Values of secrets' names masked. The value of another name is searched in turn: "message": "api_key=..."."""
    parts, done = [], 0
    for name in form.finditer(text):
        if name.start() < done or not secret_name(name["name"].lstrip("-")):
            continue
        if value := _VALUE.match(text, name.end()):
            parts += [text[done : value.start()], _masked(name, value)]
            done = value.end()
    return "".join((*parts, text[done:]))


def _queried(match: re.Match[str]) -> str:
    sign, name, value = match.groups()
    if not (name.lower() in names.SIGNATURES or secret_name(name)) or _harmless(name, value):
        return match[0]
    return f"{sign}{name}={MASK}"


def _schemed(match: re.Match[str]) -> str:
    scheme, space, value = match.groups()
    secret = _is_login(value) if scheme.lower() == "basic" else _random(value)
    return f"{scheme}{space}{MASK}" if secret else match[0]


def _is_login(value: str) -> bool:
    """Whether this is base64 of NAME:PASSWORD."""
    try:
        return b":" in base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
    except (binascii.Error, ValueError):
        return False


def _random(value: str) -> bool:
    """Whether a word of a text is rather a key than prose."""
    return len(value) >= SHORTEST and sum(bool(re.search(form, value)) for form in ("[a-z]", "[A-Z]", r"\d")) > 1


def _masked(name: re.Match[str], value: re.Match[str]) -> str:
    """The value as it may be shown, in its own quotes."""
    text = value[0]
    quoted = re.match(r"\\*[\"']", text)
    mark = quoted[0] if quoted else '"' if text[0] in "[{" else ""
    bare = text[len(mark) : len(text) - len(mark)] if quoted else text
    if _harmless(name["name"], bare) or (not quoted and _prose(name, value)):
        return text
    return f"{mark}{MASK}{mark}"


def _prose(name: re.Match[str], value: re.Match[str]) -> bool:
    """Whether an unquoted value is a word of a sentence or of code: password: the one ..., key=len, tokens=[1, 2]."""
    words, text = _words(name["name"]), value[0]
    if text[0] in "[{":
        return not re.search(r"[\"']", text)
    if len(words) == 1 and words[0] in names.WEAK:
        return not _random(text) or bool(re.search(r"[\[(]", text))
    word = text.isalpha() and (text.islower() or text.isupper() or text.istitle())
    return (
        "=" not in name["sign"] and word and bool(re.match(r"[ \t]+\w", value.string[value.end() : value.end() + 40]))
    )
