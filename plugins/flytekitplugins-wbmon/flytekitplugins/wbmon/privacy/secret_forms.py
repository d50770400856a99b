"""Recognises secrets by their names and formats; the only such list in the package.

A text is a secret if it has the format of a key, or if it is stored under the name of a secret.
"""

from __future__ import annotations

import re
from functools import lru_cache

HIDDEN = "[SECRET]"

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
# the end of a name without its separators: `X-Api-Key`, `openaiApiKey`, `OPENAI_API_KEYS`
_NAME_ENDING = re.compile(
    r"(?:(?:api|access|account|private|secret|signing|encryption|shared|subscription)key"
    r"|(?:openai|anthropic|cohere|mistral|groq|wandb|huggingface)key|accesskeyid"
    r"|(?:access|api|auth|refresh|id|session|bearer)token|(?:db|admin|root|user)pass"
    r"|password|passwordconfirmation|passwd"
    r"|passphrase|credential|authorization|connectionstring|webhookurl)s?$"
)
# these count as a word of their own only: `monkeypwd` is anything
_LAST_WORDS = {"token", "secret", "secrets", "pwd", "cookie", "cookies", "jwt", "webhook"}
# `pad_token` is what a language model calls a piece of text
_TEXT_TOKENS = {
    "pad", "eos", "bos", "unk", "mask", "sep", "cls", "stop", "start", "end", "image", "audio",
    "special", "next", "per",
}  # fmt: skip

_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"
    r"|\bAIza[0-9A-Za-z_\-]{35}"
    r"|\bya29\.[0-9A-Za-z_\-]{20,}"
    r"|\b(?:sk|rk|pk)(?:-|_live_|_test_)[A-Za-z0-9_\-]{16,}"
    r"|\b(?:gh[pousr]|gsk|hf|r8|npm|whsec|wandb_v\d+)_[A-Za-z0-9_]{16,}"
    r"|\bgithub_pat_[A-Za-z0-9_]{22,}"
    r"|\b(?:glpat|xai|pplx|dop_v1|xapp|xox[abeoprs])-[A-Za-z0-9\-_]{16,}"
    r"|\blocal-[A-Za-z0-9]{24,}"
    r"|\bhooks\.slack\.com/services/[A-Za-z0-9/]{20,}"
    r"|\bSG\.[A-Za-z0-9_\-]{16,}\.[A-Za-z0-9_\-]{16,}"
    # the header's length is bounded: `ey-ey-ey…` would be read to its end from every `ey`
    r"|\bey[A-Za-z0-9_\-]{8,512}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]*",
    re.DOTALL,
)
# the name of `name=value` in a URL, a traceback, JSON, JSON in JSON; or of `b'name', b'value'`
_ASSIGNMENT = re.compile(
    r"(?<![\w.\-])([\w.\-]{3,100})(?:\\{0,8}[\"']?\]?\s*(?:=>|:=|[:=])\s*|[\"'],\s*(?=b[\"']))"
)
# a name and its value, as in a list of headers
_PAIR = re.compile(
    r"([(\[]\s*[\"']([\w.\-]{3,100})[\"'],\s*[\"'])(?:\\.|[^\"'\\]){3,}(?=[\"']\s*[)\]])"
)
_CLOSING = {"[": "]", "{": "}", "(": ")"}
_MARK = re.compile(r"\[[A-Z]+\]")
_LONGEST_GROUP = 4096
# in quotes it goes on to the last of them, spaces and all
_VALUE = re.compile(
    r"(?P<open>b?\\{0,8}[\"'])?(?!\[)"
    r"(?P<value>(?(open)(?:(?!\\{0,8}[\"'](?:[\s,;:.)}\]&>/]|\Z))(?:\\.|.))+"
    r"|(?:(?:bearer|basic|digest|token|apikey|negotiate|ntlm)\s+)?[^\s\"'\\,;&{}\[\]]{3,}))",
    re.IGNORECASE,
)
_COOKIES = re.compile(
    r"(?i)(?<![a-z])(cookie\\{0,8}[\"']?\s*[:=]\s*(?:b?\\{0,8}[\"'])?)[^\r\n\"'=;\[]{1,200}=[^\r\n\"']*"
)
_SCHEME = re.compile(
    r"(?i)\b(bearer\s+(?=[^\s\"']*[\d+/=_.\-])|basic\s+(?=[^\s\"']*[\d=]))[A-Za-z0-9+/=_.~\-]{8,}"
)
_SIGNATURE = re.compile(
    r"(?i)([?&](?:sig|signature|x-[a-z]{2,9}-(?:signature|security-token))=)[^&\s\"'\[]+"
)
_URL_SECRET = re.compile(r"(?<=://)[^/\s:@\"']*:[^/\s\"']+(?=@)")

# fast checks for text that the slower patterns need in order to match
_IN_WORDS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-."
_WORD_SHAPES = bytes(b"w"[0] if byte in _IN_WORDS else b" "[0] for byte in range(256))
_LONG_WORD = b"w" * 16
_NAME_PARTS = (
    "key", "secret", "passw", "passp", "pwd", "token", "credential", "authorization", "cookie",
    "jwt", "webhook", "connection",
)  # fmt: skip
_SCHEMES = ("bearer", "basic")


@lru_cache(maxsize=1024)
def is_secret_name(name: str) -> bool:
    """Whether a key, variable or header of this name holds a secret, in any usual spelling.

    >>> [is_secret_name(name) for name in ("X-Api-Key", "dbPassword", "max_tokens", "tokenizer")]
    [True, True, False, False]
    """
    words = [word.lower() for word in _WORD.findall(name[-100:])]
    if not words:
        return False
    if words[-1] in _LAST_WORDS:
        return words[-1] != "token" or not _TEXT_TOKENS & set(words[-2:-1])
    return _NAME_ENDING.search("".join(words)) is not None


def hide_secrets(text: str) -> tuple[str, int]:
    """The text with everything that looks like a secret hidden, and how often."""
    n = 0
    words = text.lower()
    if _has_long_word(text):
        text, n = _KEY.subn("[KEY]", text)
    if "cookie" in words:
        text, found = _COOKIES.subn(rf"\1{HIDDEN}", text)
        n += found
    if _has_any(_NAME_PARTS, words):
        text, found = _hide_assigned(text)
        n += found
        text, found = _hide_pairs(text)
        n += found
    if "sig" in words or "security-token" in words:
        text, found = _SIGNATURE.subn(rf"\1{HIDDEN}", text)
        n += found
    if "://" in text:
        text, found = _URL_SECRET.subn("[CREDENTIALS]", text)
        n += found
    if _has_any(_SCHEMES, words):
        text, found = _SCHEME.subn(r"\1[TOKEN]", text)
        n += found
    return text, n


def _hide_assigned(text: str) -> tuple[str, int]:
    kept, n, end = [], 0, 0
    for found in _ASSIGNMENT.finditer(text):
        name = found[1]
        if found.start() < end or not is_secret_name(name):
            continue
        if group_end := _end_of_group(text, found.end()):
            kept += [text[end : found.end()], HIDDEN]
            n, end = n + 1, group_end
            continue
        assigned = _VALUE.match(text, found.end())
        if assigned and (name.lower() != "token" or _is_mixed(assigned["value"])):
            kept += [text[end : assigned.start("value")], HIDDEN]
            n, end = n + 1, assigned.end("value")
    return "".join([*kept, text[end:]]), n


def _hide_pairs(text: str) -> tuple[str, int]:
    n = 0

    def replace(found: re.Match[str]) -> str:
        nonlocal n
        if not is_secret_name(found[2]) or _MARK.fullmatch(found[0][len(found[1]) :]):
            return found[0]
        n += 1
        return f"{found[1]}{HIDDEN}"

    return _PAIR.sub(replace, text), n


def _end_of_group(text: str, start: int) -> int:
    """Where a list, object or tuple that begins there ends; 0 if there is none, or it is empty."""
    close = _CLOSING.get(text[start : start + 1])
    if close is None or _MARK.match(text, start):
        return 0
    opened, depth = text[start], 0
    for at in range(start, min(len(text), start + _LONGEST_GROUP)):
        depth += (text[at] == opened) - (text[at] == close)
        if depth == 0:
            return at + 1 if text[start + 1 : at].strip() else 0
    return min(len(text), start + _LONGEST_GROUP)


def _is_mixed(value: str) -> bool:
    """Whether there are letters and digits: `Token: word` is prose, `token: 5` a count."""
    return any(map(str.isdigit, value)) and any(map(str.isalpha, value))


def _has_any(words: tuple[str, ...], text: str) -> bool:
    for word in words:  # noqa: SIM110 - a generator costs more than the search
        if word in text:
            return True
    return False


def _has_long_word(text: str) -> bool:
    shapes = text.encode("utf-8", "replace").translate(_WORD_SHAPES)
    return _LONG_WORD in shapes or "PRIVATE KEY" in text
