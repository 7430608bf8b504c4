"""Prose out of MediaWiki markup."""

from __future__ import annotations

import pytest

from fedspallm_secure.runtime.assets.wikitext import prose


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("'''Albedo''' is ''white''.", "Albedo is white."),
        ("A [[reflection coefficient]] of [[Surface (optics)|surfaces]].", "A reflection coefficient of surfaces."),
        ("Words<ref name=a>Smith, ''Book''</ref> go<ref name=a/> on<!-- or do\nthey -->.", "Words go on."),
        ("{{Infobox|a={{nested|b}}\n|c=d}}\nText.", "Text."),
        ("{| class=x\n| cell {| inner |}\n|}\nText.", "Text."),
        ("[[File:a.svg|thumb|A caption with a [[link]]]]Text.[[Category:Light]][[de:Albedo]]", "Text."),
        ("It has {{convert|468|km2|abbr=on}} and {{lang|fr|gloire}}.", "It has 468 km2 and gloire."),
        ("'''Anna''' ({{IPA|x}}; ) was [http://example.org here].", "Anna was here."),
        ("H<sub>2</sub>O&nbsp;is a &lt; b", "H2O is a < b"),
        ("* one\n** two\n\n# three", "one\ntwo\nthree"),
    ],
)
def test_markup_goes_and_words_stay(markup: str, text: str) -> None:
    assert prose(markup) == text


def test_sections_of_sources_go_with_what_is_under_them_and_the_next_section_stays() -> None:
    markup = "Body.\n==History==\nOld.\n== See also ==\nLinks.\n=== More ===\nLinks.\n== Use ==\nNew."
    assert prose(markup) == "Body.\nHistory\nOld.\nUse\nNew."
