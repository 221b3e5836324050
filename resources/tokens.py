"""What well-known kinds of secrets look like: one list, for masking output and judging patches.

Every repetition is bounded or starts at the beginning of a word only, so that hostile text cannot
make the search slow.
"""

import re
from dataclasses import dataclass

_WORD = r"(?<![A-Za-z0-9])"
_NAME = r"(?<![A-Za-z0-9_-])"


@dataclass(frozen=True)
class TokenKind:
    """One kind of token.

    Attributes:
        name: what it is, for people.
        hint: text that every such token has; a cheap first look.
        pattern: the whole token.
        certain: its form alone tells it from other text; else it must look random too.
    """

    name: str
    hint: str
    pattern: re.Pattern[str]
    certain: bool


def _kind(name: str, hint: str, pattern: str, certain: bool = True) -> TokenKind:
    return TokenKind(name, hint, re.compile(pattern), certain)


_SLACK_HOOK = r"hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/_-]{20,200}"

TOKEN_KINDS: tuple[TokenKind, ...] = (
    _kind("GitHub token", "github_pat_", r"github_pat_[A-Za-z0-9_]{20,255}"),
    _kind("GitHub token", "gh", _WORD + r"gh[opsur]_[A-Za-z0-9]{20,255}"),
    _kind("GitLab token", "glpat-", _NAME + r"glpat-[A-Za-z0-9_.-]{20,255}"),
    _kind("GitLab token", "gl", _NAME + r"gl(?:dt|rt|ft|oas|cbt|ptt|agent)-[A-Za-z0-9_.-]{20,255}"),
    _kind("Anthropic key", "sk-ant-", _NAME + r"sk-ant-[A-Za-z0-9_-]{16,255}"),
    _kind("OpenAI key", "sk-", _NAME + r"sk-(?:proj|svcacct|admin|or-v1)-[A-Za-z0-9_-]{16,255}"),
    _kind("OpenAI key", "sk-", _NAME + r"sk-[A-Za-z0-9]{40,255}"),
    _kind("secret key", "sk-", _NAME + r"sk-(?=[A-Za-z_-]{0,64}[0-9])[A-Za-z0-9_-]{16,255}", False),
    _kind("Stripe key", "_live_", _NAME + r"[rs]k_live_[A-Za-z0-9]{16,255}"),
    _kind("Stripe key", "_test_", _NAME + r"[rs]k_test_[A-Za-z0-9]{16,255}"),
    _kind("Stripe webhook secret", "whsec_", _NAME + r"whsec_[A-Za-z0-9]{24,255}"),
    _kind("AWS access key", "AKIA", _WORD + r"AKIA[A-Z0-9]{16}(?![A-Za-z0-9])"),
    _kind("AWS access key", "ASIA", _WORD + r"ASIA[A-Z0-9]{16}(?![A-Za-z0-9])"),
    _kind("Slack token", "xox", _NAME + r"xox[a-z]-[A-Za-z0-9-]{10,255}"),
    _kind("Slack token", "xapp-", _NAME + r"xapp-[0-9]-[A-Za-z0-9-]{20,255}"),
    _kind("Slack webhook", "hooks.slack.com", _SLACK_HOOK),
    _kind("Google key", "AIza", _NAME + r"AIza[A-Za-z0-9_-]{35}"),
    _kind("Google client secret", "GOCSPX-", _NAME + r"GOCSPX-[A-Za-z0-9_-]{28}"),
    _kind("Google token", "ya29.", _NAME + r"ya29\.[A-Za-z0-9_-]{20,512}"),
    _kind("npm token", "npm_", _NAME + r"npm_[A-Za-z0-9]{36}"),
    _kind("PyPI token", "pypi-", _NAME + r"pypi-[A-Za-z0-9_-]{32,255}"),
    _kind("Docker token", "dckr_pat_", _NAME + r"dckr_pat_[A-Za-z0-9_-]{20,255}"),
    _kind("RubyGems key", "rubygems_", _NAME + r"rubygems_[a-f0-9]{48}"),
    _kind("Hugging Face token", "hf_", _NAME + r"hf_[A-Za-z0-9]{30,255}"),
    _kind("DigitalOcean token", "do", _NAME + r"do[opr]_v1_[a-f0-9]{64}"),
    _kind("SendGrid key", "SG.", _NAME + r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),
    _kind("Shopify token", "shp", _NAME + r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}"),
    _kind("Vault token", "hvs.", _NAME + r"hvs\.[A-Za-z0-9_-]{24,255}"),
    _kind("Databricks token", "dapi", _NAME + r"dapi[a-f0-9]{32}"),
    _kind("Grafana token", "gl", _NAME + r"gl(?:sa|c)_[A-Za-z0-9_=+/-]{32,255}"),
    _kind("age key", "AGE-SECRET-KEY-", r"AGE-SECRET-KEY-1[A-Z0-9]{58}"),
    _kind("Telegram token", ":AA", _NAME + r"[0-9]{8,10}:AA[A-Za-z0-9_-]{33}"),
    _kind("Azure storage key", "AccountKey=", r"(?<=AccountKey=)[A-Za-z0-9+/]{86}=="),
    _kind(
        "JSON web token",
        "eyJ",
        r"(?<![\w.-])eyJ[\w-]{8,4096}\.[\w-]{8,8192}\.[\w-]{8,4096}",
    ),
)
