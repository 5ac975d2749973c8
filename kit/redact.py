"""Secrets that cannot print themselves, and the functions that mask text.

Everything the kit keeps, shows or writes passes through one of them: transcripts, log lines, findings, reports.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Final, NoReturn

MASKED: Final = "[hidden]"


class Secret:
    """A password, token or key. `reveal()` is the only way to its text.

    It has no useful repr, str, format or hash, is neither copied nor pickled, and compares by identity, so that no
    log line, traceback, dict dump or notebook output can hold it by accident.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError("a Secret is made of text")  # and does not say of what it was made
        self._text = text

    def reveal(self) -> str:
        """The secret itself. Call it where the bytes go to the wire or the vault, nowhere else."""
        return self._text

    def __repr__(self) -> str:
        return f"Secret({MASKED})"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret is neither copied nor pickled")

    def __getstate__(self) -> NoReturn:
        raise TypeError("a Secret is neither copied nor pickled")


# --- what looks like a secret ------------------------------------------------------------------------------------

_BASE64: Final = "[A-Za-z0-9+/_-]"
# What may follow `AUTH PLAIN` or `Basic` and is no secret: a word of prose, or the name of another mechanism
# (RFC 4422: at most 20 capitals, digits, - and _), as EHLO lists them.
_PROSE: Final = r"(?!(?:[A-Za-z]?[a-z/]*|[A-Z0-9_-]{1,20})(?![A-Za-z0-9+/=_]))"
_TAB: Final = r"(?:[ \t]|#011|\\t)"  # as it is, and as rsyslog and others write it

# At most 64 words in all: up to that many a whole log is looked through at the speed of memory, beyond at a fifth of it.
# (words, pattern): at each place where one of the words stands, in any case, the pattern is tried. It keeps its first
# group and hides the rest of its match. No pattern crosses a line, and none can be made to look at a place twice.
_GIVEAWAYS: Final = tuple(
    (words, re.compile(pattern))
    for words, pattern in (
        # Dovecot's auth_verbose_passwords: "(given password: hunter2)", "(SHA1 of given password: f638ff)".
        # The password may itself hold brackets: everything to the last one on the line goes.
        (("given password: ",), r"(.{16})(?:.*(?=\))|.*)"),
        # vpopmail: "password fail (pass: 'hunter2')".
        (("(pass: '",), r"(.{8})(?:.*(?='\))|.*)"),
        # Mailu, of what nginx hands it: "Received undecodable user/password from nginx: 'ann'/'hunter2'".
        (("/password from nginx:",), r"(.{21}(?: '.*?'/')?)(?:.*(?=')|.*)"),
        # Postfix on Cyrus SASL, verbose: what the client sent, decoded. Sendmail: `decode64 error [-5 for "…"]`, nearly base64.
        (("decode",), r"((?i:decoded (?:initial )?response:? |decode64 error \[-?\d{1,4} for \"))(?:(?<=\").*(?=\"\])|.*)"),
        # An AUTH command with an initial response (RFC 4954 section 4), in a transcript or quoted in a log.
        (
            tuple(f"auth {name}" for name in ("plain", "login", "xoauth2", "oauthbearer", "scram-", "cram-", "digest-", "ntlm", "gssapi")),
            rf"(?<![A-Za-z])(.{{5}}[A-Za-z0-9_-]{{1,20}}{_TAB}{{1,4}}['\"]?){_PROSE}{_BASE64}{{8,}}={{0,2}}",
        ),
        # The same in Dovecot's debug log (resp=), Postfix's (init_response), Courier's (cmd:), OpenSMTPD's (of who went on after a 503).
        (
            ("resp=", "init_response ", ",cmd: ", 'failed-command command="'),
            rf"((?i:resp=|init_response |,cmd: |failed-command command=\")){_PROSE}{_BASE64}{{4,}}={{0,2}}",
        ),
        (("cont\t", "cont#011", "cont\\t"), rf"(?<![A-Za-z])(.{{4}}{_TAB}[0-9]{{1,10}}{_TAB}){_BASE64}{{4,}}={{0,2}}"),
        # A bearer token, in an HTTP header or inside the SASL blobs of XOAUTH2 and OAUTHBEARER; Basic has user and password.
        (("bearer",), r"(.{6}(?: |%20)['\"]?)(?![A-Za-z]?[a-z]*\.?(?![\w.~+/=%-]))[A-Za-z0-9_.~+/=%-]{8,}"),
        (("basic ",), rf"(?<![A-Za-z])(.{{6}}){_PROSE}{_BASE64}{{8,}}={{0,2}}"),
        # smtp://user:password@host
        (("://",), r"(://[^\s/:@]{1,200}:)[^\s/@]{1,200}(?=@)"),
        # key=value and key: value, as configuration, scripts and JSON have them; between quotes up to the closing one.
        (
            (
                *(name + sign for name in ("password", "passwd", "pwd") for sign in ("=", ":", " =", " :", '"', "'", "\\")),
                *("passphrase" + sign for sign in ("=", ":", " =", '"', "'", "\\")),
                *(name + sign for name in ("secret", "token") for sign in ("=", " =", '"', "'", "\\")),
                *("pass=", "api_key", "apikey", "api-key"),
            ),
            (
                r"((?>(?i:password|passwd|passphrase|(?<![A-Za-z])(?:pwd|pass(?==))|(?:secret|token)(?![ \t]?:)|api[_-]?key)"
                r"\\{0,3}['\"]?[ \t]?(?:[=:]>?|==|::?)[ \t]{0,4}\\{0,3}['\"]?))"
                r"(?!\[hidden\]|<hidden>)"
                r"(?:(?<=\")(?:[^\"\\\n]|\\[^\n])+|(?<=')(?:[^'\\\n]|\\[^\n])+|(?<!['\"])[^\s'\"]\S*)"
            ),
        ),
    )
)
_WORDS: Final = tuple(word for words, _ in _GIVEAWAYS for word in words)

# --- what may be one ---------------------------------------------------------------------------------------------

# In words that nobody has understood yet, a password may stand anywhere. Each keeps its first group and hides the rest of its match.
# The first letter comes first, so that Python finds the next place quickly.
_CALLED: Final = (
    r"[PpKkMmCcSsWw](?<![A-Za-z].)(?i:(?<=p)(?:ass(?:word|wd|wort|code|phrase)?|wd?)|(?<=k)ennwort|(?<=m)ot de passe"
    r"|(?<=c)ontrase[ñn]a|(?<=s)enha|(?<=w)achtwoord)"
)
_GUESSES: Final = tuple(
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        # pass "hunter2", up to the quote that nothing of a word follows.
        rf"({_CALLED}(?:['\"]?[ \t]?[:=]>?[ \t]?|[ \t])(?P<quote>\\{{0,3}}['\"]))(?!\\{{0,3}}['\"]|\[hidden\]).+?(?=(?P=quote)(?!\w)|$)",
        rf"({_CALLED}[ \t]?[:=][ \t]{{0,4}})(?!\[hidden\]|<hidden>)[^\s'\"]\S*",
        # password hunter2: no word of prose.
        rf"({_CALLED} {{1,4}})(?=[^\s\d]*\d)(?=[^\sA-Za-z]*[A-Za-z])[^\s@<>()\[\]]{{3,}}(?![^\s<>()\[\]])",
        # (ann/hunter2), and neither (256/256), (mx/192.0.2.7) nor (TLSv1.3/TLS_AES_256_GCM_SHA384).
        r"(\((?!\d+/\d|(?:[A-Z0-9_-]+|TLSv[\d.]+)/[A-Z0-9_-]+[) ])[\w.@+-]{1,64}/)(?![\dA-F.:]+\))[^\s()].*?(?=\)(?!\w)|$)",
        # saslauthd -d, where a password is wrong: what the password file holds, on AIX beside the password.
        r"(pw mismatch: ).+",
        r"(\$(?:[1567y]|2[abxy]?|gy|apr1|md5|sha1|argon2[id]{1,2})\$)[\w./$=,+-]{4,}",
        r"(\{(?:[A-Z0-9]{1,16}-)?(?:CRYPT|S?SHA\d{0,3}|S?MD5|PLAIN|CLEARTEXT)\})[^\s'\"]+",
        # MailEnable: command, what the client sent, what it was answered, with a tab between.
        r"(AUTH(?<![A-Za-z].{4})\t)(?!\d+\t)[A-Za-z0-9+/]{2,}={0,2}(?=[\t\r]|$)",
    )
)
# A word of base64, with letters of either case as no other word has them, that is no challenge (334) nor part of a longer one.
_WORD_OF_BASE64: Final = re.compile(
    r"(?<![A-Za-z0-9+/=_.?@-])(?<!334 )(?=[A-Z0-9+/]*[a-z])(?=[A-Z]?[a-z]*[A-Z0-9+/])[A-Za-z0-9+/]{6,}={0,2}(?![A-Za-z0-9+/=_.?@-])"
)
_SHORTEST: Final = 8
_DIVIDERS: Final = dict.fromkeys((0, 1))
_PROMPT: Final = re.compile(rb"(?i)(?:user ?name|user|login|password):?[ \0]*")


def mask(text: str, secrets: Iterable[Secret] = ()) -> str:
    """`text` without its secrets, and without what may well be one: a quoted word behind `pass`, base64 of plain text.

    For words that nobody has understood yet; what a server says to the kit itself goes through `mask_known`.
    """
    text = mask_known(text, secrets)
    for guess in _GUESSES:
        text = guess.sub(_all_but_the_first_group, text)
    return _WORD_OF_BASE64.sub(_unless_harmless, text)


def mask_known(text: str, secrets: Iterable[Secret] = ()) -> str:
    """`text` without its secrets; a queue id or a challenge, which may look like anything, stays.

    Known secrets are hidden wherever they stand: as they are, in JSON, HTML, a URL or a Python literal, and in
    base64 at any of its three alignments (so inside an AUTH PLAIN blob too). One of fewer than four characters is
    hidden only where it stands alone: masking every `a` would tell it. What merely looks like a credential is hidden
    by its surroundings. Length and shape of what was hidden are not kept.
    """
    spellings = [spelling for secret in secrets for spelling in _spellings(secret.reveal())]
    if spellings:
        text = re.sub("|".join(sorted(spellings, key=len, reverse=True)), MASKED, text)
    return _hide_giveaways(text)


def mask_lines(lines: Sequence[str]) -> list[str]:
    """Each line without what looks like a secret, at the cost of one pass over all where hardly any gives something away.

    For lines that were understood: there is no guessing at what else may be one.
    """
    text = "\n".join(lines).encode("utf-8", "surrogatepass").lower()
    found = _word_finder()(text)
    if found and text.count(b"\n") >= len(lines):
        return [_hide_giveaways(line) for line in lines]  # a line that holds a line end cannot be found again by counting them
    masked, number, position = list(lines), 0, 0
    for _, start, _ in found:
        number += text.count(b"\n", position, start)
        position = start
        masked[number] = _hide_giveaways(masked[number])
    return masked


@cache
def _word_finder() -> Callable[[bytes], list[tuple[int, int, int]]]:
    """Finds the giveaway words in a text in lower case: (which, start, end)."""
    import ahocorasick_rs  # noqa: PLC0415 - only those who read logs need it

    find: Callable[[bytes], list[tuple[int, int, int]]] = ahocorasick_rs.BytesAhoCorasick(
        [word.encode() for word in _WORDS], matchkind=ahocorasick_rs.MatchKind.LeftmostFirst
    ).find_matches_as_indexes
    return find


def _hide_giveaways(text: str) -> str:
    lowered = _lower(text)
    for words, pattern in _GIVEAWAYS:
        for word in words:
            pieces: list[str] = []
            done = 0
            at = lowered.find(word)
            while at >= 0:
                if found := pattern.match(text, at):
                    pieces += (text[done : found.end(1)], MASKED)
                    done = found.end()
                at = lowered.find(word, max(done, at + 1))
            if pieces:
                text = "".join((*pieces, text[done:]))
                lowered = _lower(text)
    return text


def _all_but_the_first_group(found: re.Match[str]) -> str:
    return found[1] + MASKED


def _unless_harmless(found: re.Match[str]) -> str:
    """MASKED for base64 of plain text, as an AUTH dialogue has it: fields divided by NUL or Ctrl-A. What ends with the text may be cut."""
    word = found[0]
    if found.end() == len(found.string):
        word = word[: len(word) // 4 * 4]
    if len(word) < _SHORTEST:
        return found[0]
    try:
        plain = base64.b64decode(word, validate=True)
        text = plain.decode().translate(_DIVIDERS)
    except ValueError:
        return found[0]
    return MASKED if text.isprintable() and not _PROMPT.fullmatch(plain) else found[0]


def _lower(text: str) -> str:
    """ASCII letters in lower case and nothing else changed, so that every place keeps its number."""
    return text.encode("utf-8", "surrogatepass").lower().decode("utf-8", "surrogatepass")


def _spellings(secret: str) -> list[str]:
    """Regexes for the forms in which a known secret may stand in a text."""
    import html  # noqa: PLC0415 - these three are needed only where a secret is at hand
    import json  # noqa: PLC0415
    from urllib.parse import quote, quote_plus  # noqa: PLC0415

    raw = secret.encode("utf-8", "surrogatepass")
    markup = html.escape(secret)
    in_url = [quote(raw, safe=""), quote(raw), quote_plus(raw)]
    forms = {
        secret,
        *(json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]),
        *(markup, markup.replace("&#x27;", "&#39;"), html.escape(secret, quote=False)),
        *(*in_url, *(re.sub("%..", lambda code: code[0].lower(), form) for form in in_url)),
        *(repr(secret)[1:-1], ascii(secret)[1:-1], repr(raw)[2:-1]),
    }
    if len(secret) < 4:
        forms.add(base64.b64encode(raw).decode())
        return [rf"(?<!\w){re.escape(form)}(?!\w)" for form in forms if form]
    return [*map(re.escape, forms), *_base64_spellings(raw)]


def _base64_spellings(raw: bytes) -> list[str]:
    """By the three places of a secret in a blob, in both alphabets. Its first and last character may be shared with a neighbour."""
    spellings: list[str] = []
    for before in range(3):
        blob = base64.b64encode(b"\0" * before + raw).decode().rstrip("=")
        left = (0, 2, 3)[before]
        right = 1 if (before + len(raw)) % 3 else 0
        core = blob[left : len(blob) - right]
        both = {core, core.replace("+", "-").replace("/", "_")}
        spellings += (f"{_BASE64 if left else ''}{re.escape(form)}{_BASE64 if right else ''}={{0,2}}" for form in both)
    return spellings
