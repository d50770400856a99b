"""The formats of keys and of other secrets that no name needs to stand before."""

from __future__ import annotations

import re

from flytekitplugins.wbmon.privacy.checksums import is_bitcoin_key

HIDDEN = "[SECRET]"

# every form begins with a letter, not with a choice: so most places of a text are passed quickly
_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----"
    r".*?(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\Z)"
    # with the secret behind it, but not the date of a signature's scope
    r"|(?<![A-Za-z0-9])(?:A(?:[KS]IA[0-9A-Z]{16}(?![^\W_])(?:[:/](?!\d{8}/)[A-Za-z0-9+/%=_.~\-]{16,}"
    r"|[\s\"',:;|]{1,4}[A-Za-z0-9+/]{40}(?![A-Za-z0-9+/]))?"
    # an account of Twilio with its token
    r"|C[0-9a-f]{32}[^0-9a-zA-Z]{1,4}(?:auth.?token[^0-9a-zA-Z]{1,4})?[0-9a-f]{32}(?![^\W_])"
    r"|Iza[0-9A-Za-z_\-]{35}"
    r"|TATT3[A-Za-z0-9_\-=]{40,}|GE-SECRET-KEY-1[0-9A-Z]{58})"
    r"|ya29\.[0-9A-Za-z_\-]{20,}"
    # behind a word that issuers use; else in one piece: `sk-learn-pipeline-model` is none
    r"|sk-(?:proj|ant|svcacct|admin|or|lf|None)-[A-Za-z0-9_\-]{16,}"
    r"|[srp]k(?:-|_live_|_test_)[A-Za-z0-9]{20,}"
    r"|s(?:hp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}|ecret_[A-Za-z0-9]{43}(?![^\W_])|bp_[0-9a-f]{40}(?![^\W_])"
    r"|q0(?:atp|csp|idp)-[A-Za-z0-9_\-]{22,})"
    r"|S(?:K[0-9a-f]{32}(?![^\W_])|G\.[A-Za-z0-9_\-]{16,}\.[A-Za-z0-9_\-]{16,})"
    r"|g(?:h[pousr]|sk|lsa)_[A-Za-z0-9_]{16,}"
    r"|github_pat_[A-Za-z0-9_]{22,}"
    r"|gl(?:pat|ptt|rt|dt|cbt|ft|imt|oas|soat|agent|ffct)-[A-Za-z0-9\-_]{16,}|api_org_[A-Za-z0-9]{30,}|HRKU-[A-Za-z0-9_\-]{30,}|GOCSPX-[A-Za-z0-9_\-]{28}"
    r"|w(?:hsec|andb_v\d+)_[A-Za-z0-9_]{16,}"
    r"|hf_[A-Za-z0-9]{30,}|r8_[A-Za-z0-9]{30,}|n(?:pm_|vapi-)[A-Za-z0-9_\-]{30,}"
    r"|ntn_[A-Za-z0-9]{40,}|NRAK-[A-Z0-9]{27}(?![^\W_])|figd_[A-Za-z0-9_\-]{40}"
    r"|d(?:ckr_pat|op_v1)_[A-Za-z0-9_\-]{20,}|dapi[0-9a-f]{32}(?![^\W_])"
    r"|dp\.(?:pt|st|ct|sa|scim|audit)\.(?:[a-z0-9_\-]{2,35}\.)?[A-Za-z0-9]{40,44}(?![^\W_])"
    r"|l(?:sv2_[ps][tk]_[A-Za-z0-9_]{20,}|ocal-[A-Za-z0-9]{24,}"
    r"|in_(?:api|oauth)_[A-Za-z0-9]{32,})"
    r"|p(?:(?:plx|ypi)-[A-Za-z0-9\-_]{16,}|csk_[A-Za-z0-9_]{20,}"
    r"|scale_(?:tkn|pw|oauth)_[A-Za-z0-9_.=\-]{32,}|at[A-Za-z0-9]{14}\.[0-9a-f]{64}(?![^\W_]))"
    r"|PMAK-[0-9a-f]{24}-[0-9a-f]{34}(?![^\W_])"
    r"|x(?:ai|app|ox[abeoprs](?:\.xox[abp])?)-[A-Za-z0-9\-_]{16,}|tvly-[A-Za-z0-9\-_]{16,}"
    r"|key-(?<![\w\-]key-)(?=[a-z]{0,31}\d)[0-9a-z]{32}(?![^\W_])"
    r"|EAA[A-Z](?<![+/=\-]EAA.)(?=[A-Z]{0,30}\d?[A-Z]{0,30}[a-z])(?=[A-Za-z]{0,40}\d)[A-Za-z0-9]{40,}"
    r"|1//0[A-Za-z0-9_\-]{30,}|[xyzt]prv[1-9A-HJ-NP-Za-km-z]{100,}"
    r"|hvs\.[A-Za-z0-9_\-]{24,}"
    r"|hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/[A-Za-z0-9/]{20,}"
    r"|discord(?:app)?\.com/api/webhooks/\d+/[A-Za-z0-9_\-]{20,}"
    r"|[ow](?:utlook|ebhook)\.office(?:365)?\.com/webhook[a-z0-9]{0,3}/[^\s\"'<>]{20,}"
    r"|bot[0-9]{8,10}:[A-Za-z0-9_\-]{35}(?![A-Za-z0-9_\-])"
    r"|[0-9][0-9]{7,9}:[A-Za-z0-9_\-]{35}(?![A-Za-z0-9_\-])"
    # base64 of `{` and what JSON has behind it; the header's length is bounded, or `eyJ-eyJ-eyJ…`
    # would be read to its end from every `eyJ`
    r"|e(?:yJ|yA|wo|w0)[A-Za-z0-9_\-]{7,512}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]*(?:\.[A-Za-z0-9_\-]*){0,2})",
    re.DOTALL,
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
_ORACLE_SECRET = re.compile(r":thin:[^\s/@\"']{1,64}/[^\s@\"']{1,128}(?=@)")

# known by letters in their middle or at their end
_AZURE = re.compile(r"(?<![\w~.\-])[\w~.\-]{3}\dQ~[\w~.\-]{31,34}(?![\w~\-])")
_MAILCHIMP = re.compile(r"\b[0-9a-f]{32}-us\d{1,2}\b")
_FILE = re.compile(
    r"---- BEGIN SSH2 [A-Z ]{0,20}PRIVATE KEY ----.*?(?:---- END SSH2 [A-Z ]{0,20}KEY ----|\Z)"
    r"|Private-Lines:\s?\d{1,4}(?:\s|\\r?\\?n)"
    r"(?:[A-Za-z0-9+/=]{4,64}(?:\s|\\r?\\?n|(?![A-Za-z0-9+/=]))){1,200}",
    re.DOTALL,
)
# 51 or 52 letters of base58, whose checksum tells that they are a key of Bitcoin
_BITCOIN_KEY = re.compile(
    r"(?<![A-Za-z0-9])(?:5[HJK][1-9A-HJ-NP-Za-km-z]{49}|[KL][1-9A-HJ-NP-Za-km-z]{51})(?![A-Za-z0-9])"
)
# what systems store of passwords: of bcrypt, Argon2, crypt and Django
_HASH = re.compile(
    r"\$2[abxy]\$\d\d\$[./A-Za-z0-9]{22,60}|\$argon2(?:id|i|d)\$[\w=,$+/.\-]{20,300}"
    r"|\$(?:1|5|6|7|y|apr1)\$[^\s:\"'$]{1,64}(?:\$[^\s:\"'$]{1,64})?\$[./A-Za-z0-9]{20,120}"
    r"|pbkdf2_sha\d{1,3}\$\d{1,9}\$[\w+/=]{1,64}\$[\w+/=]{20,128}"
)
# `mysql -phunter2`, `docker login -p hunter2`
_SHORT_FLAG = re.compile(
    r"((?:\bsshpass|\blogin|\bmysql\w{0,8})(?:\s(?!-p)[^\s|;&]{1,100}){0,10}\s-p[ =]?)"
    r"(?!\d{1,5}(?:\s|$|:))[^\s\"'\-][^\s\"']{2,200}"
)
_PGPASS = re.compile(
    r"(?m)(^[\w.*\-]{1,253}:\d{4,5}:[^:\s]{1,63}:[^:\s]{1,63}:)[^\s:\[][^\s]{2,200}$"
)
_DIGEST = re.compile(r"(?i)\bdigest\s(?=(?:username|realm|nonce|uri|qop)=)[^\r\n]{1,2000}")
# fast checks for text that the slower patterns need in order to match
_IN_WORDS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-."
_WORD_SHAPES = bytes(b"w"[0] if byte in _IN_WORDS else b" "[0] for byte in range(256))
_LONG_WORD, _KEY_OF_BITCOIN = b"w" * 16, b"w" * 51
_BY_FORM = (
    (
        "=",
        (
            ("sig", _SIGNATURE, rf"\1{HIDDEN}"),
            ("security-token", _SIGNATURE, rf"\1{HIDDEN}"),
        ),
    ),
    (
        "@",
        (
            ("://", _URL_SECRET, "://[CREDENTIALS]"),
            (":thin:", _ORACLE_SECRET, ":thin:[CREDENTIALS]"),
        ),
    ),
    (":5432:", ((":5432:", _PGPASS, rf"\1{HIDDEN}"),)),
    ("-", (("curl", _CURL_SECRET, rf"\1{HIDDEN}"), (" -p", _SHORT_FLAG, rf"\1{HIDDEN}"))),
    ("bearer", (("bearer", _SCHEME, r"\1[TOKEN]"),)),
    ("basic", (("basic", _SCHEME, r"\1[TOKEN]"),)),
)
_RARE = (
    ("$", _HASH),
    ("Q~", _AZURE),
    ("-us", _MAILCHIMP),
    ("PRIVATE KEY ----", _FILE),
    ("Private-Lines", _FILE),
)


def hide_keys(text: str) -> tuple[str, int]:
    """The text with everything that has the format of a key hidden, and how often."""
    n = 0
    shapes = _shapes(text)
    if _LONG_WORD in shapes or "PRIVATE KEY" in text:
        text, n = _KEY.subn("[KEY]", text)
        if _KEY_OF_BITCOIN in shapes:
            text, found = _hide_bitcoin_keys(text)
            n += found
        for mark, form in _RARE:
            if mark in text:
                text, found = form.subn("[KEY]", text)
                n += found
    if "=" in text and "igest " in text:
        text, found = _DIGEST.subn("[KEY]", text)
        n += found
    return text, n


def _hide_bitcoin_keys(text: str) -> tuple[str, int]:
    n = 0

    def replace(found: re.Match[str]) -> str:
        nonlocal n
        if not is_bitcoin_key(found[0]):
            return found[0]
        n += 1
        return "[KEY]"

    return _BITCOIN_KEY.sub(replace, text), n


def hide_by_form(text: str, words: str) -> tuple[str, int]:
    """The text with what stands in headers, URLs and commands hidden, and how often.

    Args:
        text: The text.
        words: It in small letters; what is hidden in it already may be missing.
    """
    n = 0
    for sign, forms in _BY_FORM:
        if sign in words:
            for mark, form, left in forms:
                if mark in words:
                    text, found = form.subn(left, text)
                    n += found
    return text, n


def _shapes(text: str) -> bytes:
    return text.encode("utf-8", "replace").translate(_WORD_SHAPES)
