"""Recognises secrets in texts: by the formats of keys, and by the names that stand before values.

With `secret_names` this is the only such list in the package.
"""

from __future__ import annotations

import re

from flytekitplugins.wbmon.privacy.secret_names import is_secret, is_secret_name

HIDDEN = "[SECRET]"

# every form begins with a letter, not with a choice: so most places of a text are passed quickly
_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----"
    r".*?(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\Z)"
    # with the secret behind it, but not the date of a signature's scope
    r"|\b(?:A(?:[KS]IA[0-9A-Z]{16}\b(?:[:/](?!\d{8}/)[A-Za-z0-9+/%=_.~\-]{16,})?"
    r"|Iza[0-9A-Za-z_\-]{35}"
    r"|TATT3[A-Za-z0-9_\-=]{40,}|GE-SECRET-KEY-1[0-9A-Z]{58})"
    r"|ya29\.[0-9A-Za-z_\-]{20,}"
    # behind a word that issuers use; else in one piece: `sk-learn-pipeline-model` is none
    r"|sk-(?:proj|ant|svcacct|admin|or|lf|None)-[A-Za-z0-9_\-]{16,}"
    r"|[srp]k(?:-|_live_|_test_)[A-Za-z0-9]{20,}"
    r"|s(?:hp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}|ecret_[A-Za-z0-9]{43}\b|bp_[0-9a-f]{40}\b"
    r"|q0(?:atp|csp|idp)-[A-Za-z0-9_\-]{22,})"
    r"|S(?:K[0-9a-f]{32}\b|G\.[A-Za-z0-9_\-]{16,}\.[A-Za-z0-9_\-]{16,})"
    r"|g(?:h[pousr]|sk|lsa)_[A-Za-z0-9_]{16,}"
    r"|github_pat_[A-Za-z0-9_]{22,}"
    r"|glpat-[A-Za-z0-9\-_]{16,}|GOCSPX-[A-Za-z0-9_\-]{28}"
    r"|w(?:hsec|andb_v\d+)_[A-Za-z0-9_]{16,}"
    r"|hf_[A-Za-z0-9]{30,}|r8_[A-Za-z0-9]{30,}|n(?:pm_|vapi-)[A-Za-z0-9_\-]{30,}"
    r"|ntn_[A-Za-z0-9]{40,}|NRAK-[A-Z0-9]{27}\b|figd_[A-Za-z0-9_\-]{40}"
    r"|d(?:ckr_pat|op_v1)_[A-Za-z0-9_\-]{20,}|dapi[0-9a-f]{32}\b"
    r"|dp\.(?:pt|st|ct|sa|scim|audit)\.(?:[a-z0-9_\-]{2,35}\.)?[A-Za-z0-9]{40,44}\b"
    r"|l(?:sv2_[ps][tk]_[A-Za-z0-9_]{20,}|ocal-[A-Za-z0-9]{24,}"
    r"|in_(?:api|oauth)_[A-Za-z0-9]{32,})"
    r"|p(?:(?:plx|ypi)-[A-Za-z0-9\-_]{16,}|csk_[A-Za-z0-9_]{20,}"
    r"|scale_(?:tkn|pw|oauth)_[A-Za-z0-9_.=\-]{32,}|at[A-Za-z0-9]{14}\.[0-9a-f]{64}\b)"
    r"|PMAK-[0-9a-f]{24}-[0-9a-f]{34}\b"
    r"|x(?:ai|app|ox[abeoprs])-[A-Za-z0-9\-_]{16,}|tvly-[A-Za-z0-9\-_]{16,}"
    r"|key-(?<![\w\-]key-)[0-9a-f]{32}\b"
    r"|hvs\.[A-Za-z0-9_\-]{24,}"
    r"|hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/]{20,}"
    r"|discord(?:app)?\.com/api/webhooks/\d+/[A-Za-z0-9_\-]{20,}"
    r"|[ow](?:utlook|ebhook)\.office(?:365)?\.com/webhook[a-z0-9]{0,3}/[^\s\"'<>]{20,}"
    r"|bot[0-9]{8,10}:[A-Za-z0-9_\-]{35}(?![A-Za-z0-9_\-])"
    r"|[0-9][0-9]{7,9}:[A-Za-z0-9_\-]{35}(?![A-Za-z0-9_\-])"
    # base64 of `{` and what JSON has behind it; the header's length is bounded, or `eyJ-eyJ-eyJ…`
    # would be read to its end from every `eyJ`
    r"|e(?:yJ|yA|wo|w0)[A-Za-z0-9_\-]{7,512}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]*)",
    re.DOTALL,
)
# the name of `name=value` in a URL, a traceback, JSON, JSON in JSON; or of `b'name', b'value'`
_ASSIGNMENT = re.compile(
    r"(?<![\w.\-])([\w.\-]{3,100}|[Pp][Ww])(?:\\{0,8}[\"']?\]?\s*(?:=>|:=|[:=])\s*|[\"'],\s*(?=b[\"']))"
)
# a name and its value, as in a list of headers
_PAIR = re.compile(
    r"([(\[]\s*[\"']([\w.\-]{2,100})[\"'],\s*[\"'])(?:\\.|[^\"'\\]){3,}(?=[\"']\s*[)\]])"
)
# `--password hunter2`, and the same as two items of a list
_FLAG = re.compile(
    r"(?<![\w\-])--([A-Za-z][\w.\-]{0,60})(?:[\"'],\s*(?P<quote>[\"'])|[ \t]+)"
    r"(?P<value>(?(quote)(?:\\.|(?!(?P=quote)).)+|[^\s\"'\-\[|,;:)=][^\s\"']{2,}))"
)
_PROSE = {
    "the", "and", "for", "option", "argument", "flag", "must", "was", "with", "not", "has", "can",
    "from", "given", "value", "instead", "requires", "required", "without", "should", "may", "are",
}  # fmt: skip
# `{"name": "DB_PASSWORD", "value": "hunter2"}`, as the variables of a pod are written
_NAMED_VALUE = re.compile(
    r"(?i)([\"'](?:name|key)\\{0,8}[\"']:\s*\\{0,8}[\"']([\w.\-]{2,100})\\{0,8}[\"'],\s*"
    r"\\{0,8}[\"']value\\{0,8}[\"']:\s*\\{0,8}(?P<quote>[\"']))(?:\\.|(?!(?P=quote)).)+"
)
_CLOSING = {"[": "]", "{": "}", "(": ")"}
_MARK = re.compile(r"\[[A-Z]+\]")
_LONGEST_GROUP = 4096
_SEPARATOR = re.compile(r"[,;&]")
# in quotes it goes on to the last of them, spaces and all
_VALUE = re.compile(
    r"(?P<open>b?\\{0,8}[\"'])?(?!\[)"
    r"(?P<value>(?(open)(?:(?!\\{0,8}[\"'](?:[\s,;:.)}\]&>/]|\Z))(?:\\.|.))+"
    r"|(?:(?:bearer|basic|digest|token|apikey|negotiate|ntlm)\s+)?"
    # a separator ends it only in front of a blank or of another `name=`
    r"[^\s\"'\\,;&{}\[\]](?:[^\s\"'\\,;&{}\[\]]"
    r"|[,;&\"'](?=[^\s\"'\\,;&{}\[\]()])(?![\w.\-]{1,100}\s?[=:])){2,}))",
    re.IGNORECASE,
)
_COOKIES = re.compile(
    r"(?i)(?<![a-z])(cookie\\{0,8}[\"']?\s*[:=]\s*(?:b?\\{0,8}[\"'])?)[^\r\n\"'=;\[]{1,200}=[^\r\n\"']*"
)
_SCHEME = re.compile(
    r"(?i)\b(bearer\s+(?=[^\s\"']*[\d+/=_.\-])|basic\s+(?=[^\s\"']*[\d=]))[A-Za-z0-9+/=_.~\-]{8,}"
)
_SIGNATURE = re.compile(
    r"(?i)((?:[?&](?:sig|signature|x-[a-z]{2,9}-(?:signature|security-token))"
    r"|\bsig(?=(?:=[A-Za-z0-9+/%]{20})))=)[^&\s\"'\[]+"
)
# a password may hold blanks, quotes, `/` and `@`; digits behind the colon are a port
_URL_SECRET = re.compile(
    # a key may be hidden in it already
    r"://(?:(?!\[(?!KEY\]))[^/\s:\"']{0,256}:(?!\d{1,5}(?:[/?#\s\"',;)\]}]|$))"
    r"(?:(?:(?!://)[^\n\"?]){1,128}(?=@[\w.\-]{1,255}(?::\d+)?(?:[/?\"']|$))|[^/\s\"']+(?=@))"
    r"|\[KEY\][^\s\"'@]{1,256}(?=@)"
    # in place of a user: digits in a long word, or all kinds of letters in a shorter one
    r"|(?=[^@/\s]{0,64}\d)(?:[\w\-]{20,256}|(?=[^@/\s]*[a-z])(?=[^@/\s]*[A-Z])[\w\-]{12,19})(?=@))"
)
_CURL_SECRET = re.compile(
    r"(?<![\w\-])((?:-[uU]|--(?:proxy-)?user)(?:[\"'],\s*|[ =])?[\"']?[^\s:\"']{1,64}:)"
    r"(?!\d{1,6}(?:[\s\"']|$))[^\s\"'\[][^\s\"']*"
)
# `<token>word</token>` is a piece of text
_ELEMENT = re.compile(
    r"(<(?!token>[^\d<]*<)([\w.:\-]{2,60})(?:\s[^<>]{0,200})?>)([^<>]{1,1000})(?=</)"
)
# how pydantic tells of a value: the name stands on the line above, or in a list of names
_INVALID_FIELD = re.compile(
    r"((?:^|\\n)([\w.\-]{2,200})(?:\n|\\n)  [^\n]{1,1000}?\[type=[\w.]{1,80}, input_value=)"
    r"([^\n]+?)(?=, input_type=)",
    re.MULTILINE,
)
_INVALID_ITEM = re.compile(
    r"([\"']loc[\"']:\s*[(\[]([^)\]\n]{1,300})[)\]],\s*[\"']msg[\"']:\s*"
    r"(?:\"[^\"\n]{0,1000}\"|'[^'\n]{0,1000}'),\s*[\"']input[\"']:\s*)"
    r"(\"(?:\\.|[^\"\\])+\"|'(?:\\.|[^'\\])+'|\[[^\]\n]{1,1000}\]|\{[^}\n]{1,1000}\}|\d+)"
)
_INVALID = (_INVALID_FIELD, _INVALID_ITEM)
_PART = re.compile(r"[\w\-]+")
_ORACLE_SECRET = re.compile(r":thin:[^\s/@\"']{1,64}/[^\s@\"']{1,128}(?=@)")

# fast checks for text that the slower patterns need in order to match
_IN_WORDS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-."
_WORD_SHAPES = bytes(b"w"[0] if byte in _IN_WORDS else b" "[0] for byte in range(256))
_LONG_WORD = b"w" * 16
_NAME_PARTS = (
    "key", "secret", "token", "authorization", "cookie", "jwt", "hook", "bearer", "pw",
)  # fmt: skip
_AFTER_NAMES = ("=", ":", "',", '",', "--", "</")
# parts of many other words, so what stands behind them is looked at too
_MORE_NAME_PARTS = (
    "pass", "cred", "conn", "dsn", "sas", "pat", "auth", "otp", "recovery", "seed", "service",
)  # fmt: skip
_MORE_NAMES = re.compile(
    r"passw|passph|passcode|credential|conn(?:ection)?[_.\- ]?str"
    r"|auth\\{0,8}[\"']?\]?\s?[:=]\s?[(\[]|(?:pass|creds?|dsn|pat|otp|sas(?:[_.\-]?ur[li])?)\\{0,8}[\"']?(?:\]?\s?[:=]|[,\n>]|\\n)"
    r"|recovery.?code|seed.?phrase|service.?account.?json"
)
# by what a text must hold for a form to be found in it
_BY_NAME = (
    (("'", '"'), _PAIR),
    (("value'", 'value"', "value\\"), _NAMED_VALUE),
    (("</",), _ELEMENT),
    (("input_value=",), _INVALID_FIELD),
    (("input'", 'input"'), _INVALID_ITEM),
)
_BY_FORM = (
    ("sig", _SIGNATURE, rf"\1{HIDDEN}"),
    ("security-token", _SIGNATURE, rf"\1{HIDDEN}"),
    ("://", _URL_SECRET, "://[CREDENTIALS]"),
    (":thin:", _ORACLE_SECRET, ":thin:[CREDENTIALS]"),
    ("curl", _CURL_SECRET, rf"\1{HIDDEN}"),
    ("bearer", _SCHEME, r"\1[TOKEN]"),
    ("basic", _SCHEME, r"\1[TOKEN]"),
)


def hide_secrets(text: str) -> tuple[str, int]:
    """The text with everything that looks like a secret hidden, and how often."""
    n = 0
    words = text.lower()
    if _has_long_word(text):
        text, n = _KEY.subn("[KEY]", text)
    if _has_any(_AFTER_NAMES, text) and _has_name(words):
        text, found = _hide_by_name(text, words)
        n += found
    for mark, form, left in _BY_FORM:
        if mark in words:
            text, found = form.subn(left, text)
            n += found
    return text, n


def _hide_by_name(text: str, words: str) -> tuple[str, int]:
    n = 0
    if "cookie" in words:
        text, n = _COOKIES.subn(rf"\1{HIDDEN}", text)
    text, found = _hide_assigned(text)
    n += found
    for marks, form in _BY_NAME:
        if _has_any(marks, words):
            text, found = _hide_named(form, text)
            n += found
    if "--" in text:
        text, found = _hide_flags(text)
        n += found
    return text, n


def _hide_assigned(text: str) -> tuple[str, int]:
    kept, n, end = [], 0, 0
    for found in _ASSIGNMENT.finditer(text):
        name = found[1]
        is_named = is_secret_name(name) or _is_login(text, found)
        if found.start() < end or not (is_named or name.lower() == "pat"):  # whose value decides
            continue
        if is_named and (group_end := _end_of_group(text, found.end())):
            kept += [text[end : found.end()], HIDDEN]
            n, end = n + 1, group_end
            continue
        assigned = _VALUE.match(text, found.end())
        if assigned and _is_told(name, assigned):
            kept += [text[end : assigned.start("value")], HIDDEN]
            n, end = n + 1, assigned.end("value")
    return "".join([*kept, text[end:]]), n


def _is_login(text: str, name: re.Match[str]) -> bool:
    """Whether it is `auth=("user", "password")`; any other `auth` is the name of a method."""
    return name[1].lower().endswith("auth") and text.startswith(("(", "["), name.end())


def _hide_named(form: re.Pattern[str], text: str) -> tuple[str, int]:
    """Hide what follows the first group of a form if the second is the name of a secret."""
    n = 0

    def replace(found: re.Match[str]) -> str:
        nonlocal n
        value, names, quote = found[0][len(found[1]) :], [found[2]], ""
        if form in _INVALID:
            names = _PART.findall(found[2])
            quote = value[0] if value[0] in "\"'" else ""
        if _MARK.fullmatch(value) or not any(is_secret(each, value.strip("\"'")) for each in names):
            return found[0]
        n += 1
        return f"{found[1]}{quote}{HIDDEN}{quote}"

    return form.sub(replace, text), n


def _hide_flags(text: str) -> tuple[str, int]:
    n = 0

    def replace(found: re.Match[str]) -> str:
        nonlocal n
        is_prose = not found["quote"] and found["value"].lower().rstrip(".,;:") in _PROSE
        if is_prose or not is_secret_name(found[1]) or _MARK.fullmatch(found["value"]):
            return found[0]
        n += 1
        return f"{found[0][: -len(found['value'])]}{HIDDEN}"

    return _FLAG.sub(replace, text), n


def _is_told(name: str, assigned: re.Match[str]) -> bool:
    """Whether what is assigned is a secret: `Token: word` is prose, `pass: 5` a count."""
    first = assigned["value"] if assigned["open"] else _SEPARATOR.split(assigned["value"], 1)[0]
    if not (is_secret(name, assigned["value"]) and is_secret(name, first)):
        return False
    if name.lower() == "token":
        return _is_mixed(assigned["value"])
    return name.lower() != "pass" or assigned["open"] is not None or _is_mixed(assigned["value"])


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
    """Whether there are letters and digits."""
    return any(map(str.isdigit, value)) and any(map(str.isalpha, value))


def _has_any(words: tuple[str, ...], text: str) -> bool:
    for word in words:  # noqa: SIM110 - a generator costs more than the search
        if word in text:
            return True
    return False


def _has_name(words: str) -> bool:
    if _has_any(_NAME_PARTS, words):
        return True
    return _has_any(_MORE_NAME_PARTS, words) and _MORE_NAMES.search(words) is not None


def _has_long_word(text: str) -> bool:
    shapes = text.encode("utf-8", "replace").translate(_WORD_SHAPES)
    return _LONG_WORD in shapes or "PRIVATE KEY" in text
