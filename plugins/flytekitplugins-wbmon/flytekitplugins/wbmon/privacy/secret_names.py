"""Recognises the names of secrets (of keys, variables, headers, flags), in any usual spelling.

A name alone often does not decide: `token` is a credential or a piece of text, `pass` a password or
a result. So the value is looked at too: flags, fractions, small numbers, special tokens of language
models and paths in `PWD` are no secrets, whatever they are called.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sized
from contextlib import suppress
from functools import lru_cache
from itertools import islice
from typing import Any

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
# the end of a name without its separators: `X-Api-Key`, `openaiApiKey`, `OPENAI_API_KEYS`
_ENDING = re.compile(
    r"(?:(?:api|access|account|private|secret|signing|encryption|decryption|shared|subscription"
    r"|master|license)key|accesskeyid|clientkeydata|sharedaccesssignature"
    r"|(?:access|api|auth|refresh|id|session|bearer|security)token|passw(?:or)?d|passphrase"
    r"|passcode|passkey|(?:recovery|backup)code|seedphrase|securityanswer|credential|authorization|authheader"
    r"|conn(?:ection)?str(?:ing)?|(?:web|slack|discord|teams)hook(?:ur[li])?|sasur[li]"
    r"|(?:serviceaccount|keyfile)json"
    # in other languages, without their accents
    r"|passwort|kennwort|contrasena|motdepasse|wachtwoord|losenord|adgangskode|salasana)s?$"
)
# these count as a word of their own only: `monkeypwd` is anything
_LAST_WORDS = {
    "token", "secret", "secrets", "pass", "pw", "pwd", "cred", "creds", "cookie", "cookies", "jwt",
    "bearer", "dsn", "sas", "otp", "totp", "senha", "haslo", "heslo", "sifre", "jelszo",
}  # fmt: skip
_OTHER_LETTERS = ("пароль", "密码", "密碼", "口令", "パスワード", "暗証番号", "비밀번호", "암호")
_UNFOLDED = str.maketrans("łŁøØıß", "lLoOis")
# a pin is one of a board too, a session an id, and `phone` a kind of device: by the end of a name,
# what is a secret there
_BY_VALUE = (
    (
        re.compile(r"(?:^|card|sim|user)pin(?:code|number)?$"),
        re.compile(r"\d{4,12}|(?=.*\d)(?=.*[A-Za-z])[A-Za-z0-9]{8,40}"),
    ),
    (
        re.compile(r"(?:phone|mobile|tel|telefon|fax)(?:number|no|nr)?$"),
        re.compile(
            r"\d{10,15}|[+(0]\(?\d(?:[ ().\-/]{0,2}\d){5,14}|\d{2,4}(?:[ .\-/]\d{2,5}){2,4}"
        ),
    ),
    (
        re.compile(r"iban$"),
        re.compile(
            r"[A-Za-z]{2}\d{2}(?:[A-Za-z0-9]{10,30}|(?:[ \-][A-Za-z0-9]{4}){2,7}"
            r"(?:[ \-][A-Za-z0-9]{1,4})?)"
        ),
    ),
    (
        re.compile(
            r"(?:creditcard|debitcard|bankcard|^card|paymentcard)(?:number|no|nr)$|^ccnumber$"
        ),
        re.compile(r"\d(?:[ \-]?\d){11,18}"),
    ),
    (
        re.compile(r"(?:^dob|dateofbirth|birth(?:date|day)|geburtsdatum|fechanacimiento)$"),
        re.compile(
            r"\d{4}[\-./]?\d\d[\-./]?\d\d(?:[T ][\d:.Z+]{1,24})?|\d{1,2}[\-./]\d{1,2}[\-./]\d{2,4}"
        ),
    ),
    (
        re.compile(r"^(?:bank)?account(?:number|no|nr)$|routingnumber$"),
        re.compile(r"\d(?:[ \-]?\d){5,16}"),
    ),
    (re.compile(r"(?:cvv2?|cvc2?|^csc|securitycode)$"), re.compile(r"\d{3,9}")),
    (
        re.compile(r"(?:ssn|socialsecurity(?:number|no)?)$"),
        re.compile(r"\d{3}[ \-]?\d{2}[ \-]?\d{4}"),
    ),
    (
        re.compile(r"passport(?:number|no|id)?$"),
        re.compile(r"(?=.*\d)[A-Z0-9]{6,10}", re.IGNORECASE),
    ),
    (
        re.compile(
            r"(?:nationalid|taxid|steuerid|personnummer|^nric|^pesel|^cpf|^bsn|^nino|^imei|aadhaar"
            r"|driver(?:s)?licen[sc]e|drivinglicen[sc]e|kontonummer|reisepass|pasaporte|passeport"
            r"|sortcode)(?:number|no|nr)?$"
        ),
        re.compile(r"(?=.*\d)[A-Za-z0-9](?:[ .\-/]?[A-Za-z0-9]){5,17}"),
    ),
    (re.compile(r"mnemonic$"), re.compile(r"(?:[a-z]{3,8} ){3,23}[a-z]{3,8}")),
    # a password in Spanish, or the key of a table
    (re.compile(r"clave$"), re.compile(r"(?=.*\d)(?=.*[A-Za-z])\S{6,}")),
    (re.compile(r"(?:verification|onetime|confirmation|auth)code$"), re.compile(r"\d{4,8}")),
    (
        re.compile(r"(?:j?sessionid|phpsessid|[cx]srf(?:token)?|connectsid)$"),
        re.compile(r"(?=.{0,64}\d)(?=.{0,64}[A-Za-z])[\w+/=.:%\-]{12,}"),
    ),
)
# `dbpass`, `smtp_pw`: whose password it is, written together with it
_LOGIN = re.compile(
    r"(?:db|database|sql|mysql|pg|postgres|mongo|redis|oracle|jdbc|ldap|smtp|mail|email|s?ftp|ssh"
    r"|store|key|http|proxy|admin|root|user|login|my|auth|account)(?:pass|pw|pwd)$"
)
# `ssh_key`, `openaiKey`; a key of any other kind is a name of a column more often
_KEY_OWNERS = {
    "ssh", "rsa", "pgp", "gpg", "tls", "ssl", "hmac", "aes", "deploy", "service", "auth", "admin",
    "openai", "anthropic", "cohere", "mistral", "groq", "wandb", "huggingface", "hf", "gemini",
    "google", "azure", "aws", "deepseek", "openrouter", "replicate", "perplexity", "nvidia", "ngc",
    "pinecone", "weaviate", "qdrant", "langsmith", "langfuse", "datadog", "sentry", "sendgrid",
    "stripe", "twilio", "mailgun", "tavily", "github", "gitlab", "databricks", "snowflake",
    "consumer", "app", "sa", "ca",
}  # fmt: skip
_TOKEN_OWNERS = {"github", "gitlab", "gh", "git", "azure", "devops", "bitbucket"}
# `password_prod`, `api_key_b64`; not behind a token, whose `value` is a word of a text
_QUALIFIERS = {
    "prod", "production", "dev", "staging", "stage", "test", "old", "new", "backup", "value",
    "plain", "plaintext", "raw", "str", "string", "text", "encoded", "default", "primary",
    "secondary", "current", "previous", "json", "base", "b", "confirm", "confirmation", "repeat",
    "again", "hash",
}  # fmt: skip
# `pad_token` is what a language model calls a piece of text
_TEXT_TOKENS = {
    "pad", "padding", "eos", "bos", "sos", "unk", "unknown", "oov", "mask", "sep", "separator",
    "cls", "class", "dist", "stop", "start", "end", "begin", "eot", "boi", "eoi", "boa", "eoa",
    "image", "img", "audio", "video", "speech", "text", "special", "prefix", "suffix", "middle",
    "fim", "blank", "newline", "word", "sub", "think", "register", "reg", "sentinel", "delimiter",
    "next", "per", "each", "first", "last", "new", "tool", "call", "assistant", "system", "header",
    "role", "turn", "fill", "space", "language", "lang", "input", "output", "prompt", "completion",
    "generated",
}  # fmt: skip
# `forward_pass`, `low_pass`, `n_pass`
_STEPS = {
    "forward", "backward", "single", "first", "second", "third", "two", "multi", "one", "final",
    "last", "next", "low", "high", "band", "all", "by", "n", "num", "max", "min", "per", "each",
    "train", "training", "eval", "inference", "test", "tests", "full", "compiler", "optimizer",
}  # fmt: skip
_SPECIAL_TOKEN = re.compile(r"<[^<>\s]{1,40}>|\[[A-Za-z0-9_]{1,40}\]|.{1,2}", re.DOTALL)
_SWITCHES = {
    "true", "false", "yes", "no", "on", "off", "none", "null", "enabled", "disabled", "default",
    "required", "optional", "missing", "unset", "undefined", "str", "string", "bytes", "secretstr",
    "bool", "granted", "denied",
}  # fmt: skip
# where a program finds it
_REFERENCE = re.compile(r"(?:os\.)?(?:environ|getenv)\b|process\.env\b|getpass\b|\$\{|\{\{|\$\(")
_PATH = re.compile(r"(?:~|\.{1,2})?(?:/|$)|[A-Za-z]:[\\/]")
_ACCESS_TOKEN = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[\w+/=.\-]{16,}", re.DOTALL)
_LOGIN_TEXT = re.compile(rf"(?!\w+://)[^\s:]+:\S+|{_ACCESS_TOKEN.pattern}", re.DOTALL)
# less is a count, whatever it is called
_LEAST_PASSWORD = 1000
COUNTS = ("token", "tokens", "secrets", "cookies")
# of a list or an object under the name of a code: a code is never one of many
_MOST_ITEMS = 16


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Whether a key, variable or header of this name holds a secret, in any usual spelling.

    >>> [is_secret_name(name) for name in ("X-Api-Key", "dbPassword", "max_tokens", "tokenizer")]
    [True, True, False, False]
    """
    words = _words(name)
    if _is_secret_name(words):
        return True
    while len(words) > 1 and words[-1] in _QUALIFIERS:
        words.pop()
        if words[-1] in ("secret", "pwd") or _ENDING.search("".join(words)):
            return True
    return False


@lru_cache(maxsize=4096)
def may_be_secret_name(name: str) -> bool:
    """Whether there may be a secret under a name, which only the value can tell."""
    if is_secret_name(name) or _form_of(name) is not None:
        return True
    return name.lower() == "pat" or name.lower().endswith("auth")


def is_secret(name: str, item: Any) -> bool:
    """Whether a value under a name is a secret: no flag, fraction, count of tokens or nothing."""
    if isinstance(item, float) and item.is_integer():  # as a column of numbers with gaps has it
        item = int(item)
    if item is None or isinstance(item, bool | float):
        return False
    if not is_secret_name(name):
        return _is_login(name, item) or _has_form(name, item)
    if isinstance(item, int):  # a password may be one; as a token it is a count
        is_count = name.lower().endswith(COUNTS)
        return abs(item) >= _LEAST_PASSWORD and not is_count and name.lower() != "pass"
    if isinstance(item, str):
        return not _is_innocent(name.lower(), item)
    if isinstance(item, list | tuple) and name.lower().endswith(COUNTS):  # ids of tokens
        return any(not isinstance(each, int | float) for each in item[:_MOST_ITEMS])
    return not isinstance(item, Sized) or len(item) > 0


def _words(name: str) -> list[str]:
    name = name[-100:]
    if not name.isascii():
        if name.endswith(_OTHER_LETTERS):
            return ["password"]
        letters = unicodedata.normalize("NFKD", name.translate(_UNFOLDED))
        name = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return [word.lower() for word in _WORD.findall(name)]


@lru_cache(maxsize=4096)
def _form_of(name: str) -> re.Pattern[str] | None:
    joined = re.sub(r"[^a-z0-9]", "", name[-100:].lower())
    return next((form for names, form in _BY_VALUE if names.search(joined)), None)


def _has_form(name: str, item: Any) -> bool:
    form = _form_of(name)
    if form is None:
        return False
    items = item.values() if isinstance(item, Mapping) else item
    if isinstance(items, int | str):
        items = (items,)
    with suppress(Exception):  # of any container
        for each in islice(items, _MOST_ITEMS):
            is_plain = isinstance(each, int | float | str) and not isinstance(each, bool)
            written = str(int(each)) if isinstance(each, float) and each.is_integer() else str(each)
            if is_plain and form.fullmatch(written):
                return True
    return False


def _is_secret_name(words: list[str]) -> bool:
    if not words:
        return False
    before, last = words[-2] if len(words) > 1 else "", words[-1]
    if last in _LAST_WORDS:
        kind = {"token": _TEXT_TOKENS, "pass": _STEPS}.get(last, ())
        return before not in kind
    if last in ("key", "keys"):
        return before in _KEY_OWNERS or _ENDING.search("".join(words)) is not None
    if last == "pat":
        return before in _TOKEN_OWNERS
    is_key = last.endswith("key") and last[:-3] in _KEY_OWNERS
    return is_key or any(form.search("".join(words)) for form in (_ENDING, _LOGIN))


def _is_innocent(name: str, item: str) -> bool:
    if not item.strip(".*") or item.lower() in _SWITCHES or _REFERENCE.match(item):
        return True
    if name.endswith("token"):
        return _SPECIAL_TOKEN.fullmatch(item) is not None
    # the working directory has this name too
    return name.endswith("pwd") and _PATH.match(item) is not None


def _is_login(name: str, item: Any) -> bool:
    """Whether it is a user with a password; under `auth` there is the name of a method as often.

    Likewise a `pat` is a personal access token, or the short form of another word.
    """
    if name.lower() == "pat":
        return isinstance(item, str) and _ACCESS_TOKEN.fullmatch(item) is not None
    if not name.lower().endswith("auth"):
        return False
    if isinstance(item, str):
        return _LOGIN_TEXT.fullmatch(item) is not None
    return isinstance(item, list | tuple) and len(item) > 1 and not isinstance(item, Mapping)
