"""Tags that say something of a copy or of who owns it, and nothing of the item: rules, not a list. Ours.

The authors keep all tags (`dvd`, `bd-r` and somebody's DVDs are among their concepts). A rule knows English words for media,
owning, wishing and seeing; names, abbreviations and other languages pass it.
"""

from __future__ import annotations

import re

_MEDIUM = (
    r"(?:hd[- ]?)?dvd(?:[- ]?(?:r|rw|ram|rip|video))?s?|blu[- ]?rays?|bd(?:[- ]?(?:r|re|rom|rip|video))|(?:\(s\)|s)?vcds?"
    r"|vhs|betamax|laser ?dis[ck]s?|clv|cav|divx\d*|xvid|avi|mkv|mp4"
)
_TO = r"(?:see|watch|re-?watch|rent|buy|get|own|have)"
_THINGS = rf"(?:{_MEDIUM}|movies?|films?|videos?|tapes?|dis[ck]s?|collection|library|queue|picks|favou?rites?|to {_TO}.*)"
_GROUPS = r"(?:wo)?men|child(?:ren)?|kids?|boys?|girls?|people|famil(?:y|ies)"
"""Whose films are a kind of film."""
_AGAIN = r"(?: (?:it|this|again|soon|later|list|on (?:tv|dvd|vhs)))*"
_WHEN = (
    r"(?: (?:it|this|already|before|once|twice|again|more than once|\w+ times|\d{4}"
    r"|(?:at|in|on) (?:the |a )?(?:cinemas?|(?:movie )?theat(?:er|re)s?|tv|plane)))*"
)

KINDS: dict[str, re.Pattern[str]] = {
    kind: re.compile(rule)
    for kind, rule in {
        # Not somebody's list: it is a film's name.
        "somebody's": rf"(?!(?:{_GROUPS})['’])\S+(?: \S+)?['’]s? {_THINGS}|(?:my|our) (?:{_THINGS}|list)",
        "medium": rf"(?:(?:on|have|own|get|buy) )?(?:{_MEDIUM})(?: (?:collection|only|copy))?"
        r"|on (?:my )?(?:computer|dis[ck]|hard ?(?:dis[ck]|drive)|pc|laptop|ipod|ipad|dvr)",
        "owned": r"(?:i |not |already )*(?:own(?:ed|s)?|have|got|bought|buy|get|rented|borrowed)(?: it| this)?"
        r"|(?:i )?don['’]?t (?:own|have)(?: it| this)?",
        "wish": rf"want|(?:(?:i )?(?:want|need|wish|hope|plan|would like|have) )?to[- ]{_TO}{_AGAIN}"
        r"|(?:re-?)?watch(?: again| soon| later)?|(?:watch|wish|to[- ]?see|queue)[- ]?list|(?:in (?:\w+ )?)?queued?",
        "seen": rf"(?:already |have |i |i['’]ve )*(?:seen|watched){_WHEN}|(?:un|not )(?:seen|watched)"
        r"|(?:can['’]?t|don['’]?t) remember|haven['’]?t seen(?: it)?",
        "service": r"(?:\w+ )?(?:netflix\w*|tivo\w*|lovefilm|blockbuster)(?: (?:queue|instant|streaming))?"
        r"|in netflix queue|(?:\w+ )+lib(?:rary)?|bibliothek",
        "rating": r"(?:\d(?:\.\d+)?|10)(?: ?/ ?(?:5|10))?|(?:\d(?:\.\d)?|one|two|three|four|five)[- ]stars?"
        r"|(?:(?:my|almost|all[- ]time) )*favou?rites?",
    }.items()
}
"""Kind of tag -> what all of it, in lower case, looks like; the first that fits."""


def kind_of(name: str) -> str | None:
    """The kind of personal or format tag that a name is; None for what may be a concept."""
    return next((kind for kind, rule in KINDS.items() if rule.fullmatch(name)), None)
