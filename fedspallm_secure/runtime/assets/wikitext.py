"""Readable prose out of MediaWiki markup.

Only as much of the language as an encyclopaedia's articles need in order to become text that a language model may be
calibrated on: templates, tables, references and files go, links and emphasis leave their words, sections that are lists
of sources go with their headings. What nests is removed from the inside out, so no grammar is needed.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable

__all__ = ["prose"]

_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_EMPTY_REFERENCE = re.compile(r"<ref[^<>]*/>", re.IGNORECASE)
_ELEMENT = re.compile(r"<(ref|math|gallery|timeline|imagemap|source|pre|score|chem)\b[^<>]*>.*?</\1>", re.I | re.S)
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_TEMPLATE = re.compile(r"\{\{([^{}]*)\}\}")
_TABLE = re.compile(r"\{\|(?:(?!\{\||\|\}).)*\|\}", re.DOTALL)
_LINK = re.compile(r"\[\[([^\[\]]*)\]\]")
_NOT_PROSE = re.compile(r"\s*(file|image|category|media|[a-z]{2,3}(-[a-z]+)*)\s*:", re.IGNORECASE)
_EXTERNAL = re.compile(r"\[(?:https?:|ftp:)?//[^\s\]]*\s*([^\]]*)\]")
_HEADING = re.compile(r"(={2,6})\s*(.+?)\s*\1\s*")
_BACK_MATTER = re.compile(
    "bibliography|citations|external links|footnotes|further reading|gallery|literature|notes|notes and references|"
    "publications|references|see also|sources|works cited",
    re.IGNORECASE,
)
_MEASURES = frozenset(["convert", "cvt"])
_WRAPPERS = frozenset(["lang", "nowrap", "small", "transl"])


def prose(markup: str) -> str:
    """The article's running text, one paragraph or heading a line.

    Args:
        markup: an article as MediaWiki stores it, without its XML.

    Returns:
        Text without markup; empty where nothing readable is left.
    """
    text = _ELEMENT.sub("", _EMPTY_REFERENCE.sub("", _COMMENT.sub("", markup)))
    text = _until_stable(lambda t: _TEMPLATE.sub(_template_words, t), text)
    text = _until_stable(lambda t: _TABLE.sub("", t), text)
    text = _until_stable(lambda t: _LINK.sub(_link_words, t), text)
    text = re.sub(r"'{2,}|\[\[|\]\]", "", _EXTERNAL.sub(r"\1", text))
    text = html.unescape(_TAG.sub("", text)).replace("\N{NO-BREAK SPACE}", " ")
    text = re.sub(r"\(\s*[,;\s]*\)", "", text)
    text = re.sub(r"\s+([,.;:)])", r"\1", re.sub(r"[ \t]+", " ", re.sub(r"\(\s*[,;]\s*", "(", text)))
    return "\n".join(_body(text.split("\n")))


def _until_stable(step: Callable[[str], str], text: str) -> str:
    while (after := step(text)) != text:
        text = after
    return text


def _template_words(template: re.Match[str]) -> str:
    """The words that the few templates which stand inside sentences would show, nothing for any other."""
    name, *arguments = (part.strip() for part in template[1].split("|"))
    words = [argument for argument in arguments if "=" not in argument]
    if name.lower() in _MEASURES:
        return " ".join(words[:2])
    return words[-1] if words and name.lower() in _WRAPPERS else ""


def _link_words(link: re.Match[str]) -> str:
    target, *rest = link[1].split("|")
    if _NOT_PROSE.match(target):
        return ""
    return rest[-1] if rest else target


def _body(lines: list[str]) -> list[str]:
    """The lines without list marks, blanks, and the sections that only list sources."""
    kept: list[str] = []
    dropped_level = 7
    for line in lines:
        if heading := _HEADING.fullmatch(line.strip()):
            level = len(heading[1])
            if level <= dropped_level:
                dropped_level = level if _BACK_MATTER.fullmatch(heading[2]) else 7
            words = heading[2]
        else:
            words = line.lstrip("*#:; ").strip()
        if words and dropped_level == 7:
            kept.append(words)
    return kept
