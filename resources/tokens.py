"""What well-known kinds of secrets look like: one list, for masking output and judging patches.

Every repetition is bounded or starts at the beginning of a word only, so that hostile text cannot
make the search slow.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

SECRET = "secret"
"""The group of a pattern that is the secret itself, where the rest is what tells it."""

_WORD = r"(?<![A-Za-z0-9])"
_NAME = r"(?<![A-Za-z0-9_-])"
_END = r"(?![A-Za-z0-9])"


@dataclass(frozen=True)
class TokenKind:
    """One kind of token.

    Attributes:
        name: what it is, for people.
        hint: text that every such token has; a cheap first look.
        pattern: the token, and all that is masked in output; a group `SECRET` is the token proper.
        certain: its form alone tells it from other text; else it must look random too.
    """

    name: str
    hint: str
    pattern: re.Pattern[str]
    certain: bool

    def found_in(self, text: str) -> Iterator[tuple[int, str]]:
        """Everything in a text that has this form: where it begins, and the token."""
        if self.hint in text:
            group = SECRET if SECRET in self.pattern.groupindex else 0
            for found in self.pattern.finditer(text):
                yield found.start(group), found[group]


def _kind(name: str, hint: str, pattern: str, certain: bool = True) -> TokenKind:
    return TokenKind(name, hint, re.compile(pattern), certain)


def _after(*starts: str) -> str:
    return "(?:" + "|".join(f"(?<={re.escape(start)})" for start in starts) + ")"


_SLACK_HOOK = r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/_-]{20,200}"
_DISCORD_HOOK = r"discord(?:app)?\.com/api/(?:v[0-9]{1,2}/)?webhooks/[0-9]{17,20}/[\w-]{60,90}"
_TEAMS_HOOK = r"webhook\.office\.com/webhookb2/[\w@-]{36,80}/[\w/-]{40,160}"
_AZURE = _after("AccountKey=", "account-key ", "account-key=")
_GIVEN = r'\s{0,4}:\s{0,4}"'
_DIGITS_IN_BASE64 = r"[MNO](?<![\w-].)[DTjz][AEIMQUYcgk][w-z0-5]"
_DIGITS_IN_BASE64 += r"(?:[MNO][DTjz][AEIMQUYcgk][w-z0-5]){4,5}[A-Za-z]{0,3}"
"""Of 17 to 20 digits, such as Discord's number of a bot."""

# What stands around a password that has no form of its own.
_PASSWORD = rf"""(?=[^\s"'<>]{{0,64}}[0-9])(?P<{SECRET}>[^\s"'<>]{{8,256}})"""
_USER = r"""["']?[^\s:"'/]{1,64}:"""
_CURL = _after(*(f"{option}{gap}" for option in ("-u", "-U", "-user") for gap in " =")) + "|"
_CURL += _after(" -u", " -U", *(f"{option}{q}, {q}" for option in ("-u", "-user") for q in "\"'"))
_OPTION = _after(
    *(f"--pass{rest}{gap}" for rest in ("word", "wd", "phrase", "") for gap in " ="),
    *("--http-password ", "--ftp-password ", "--http-password=", "--ftp-password=", "sshpass -p "),
)
_NETRC = r"(?:machine\s{1,20}\S{1,253}|default)\s{1,20}login\s{1,20}\S{1,128}\s{1,20}"
_NETRC += r"(?:account\s{1,20}\S{1,128}\s{1,20})?password\s{1,20}"
_ELEMENT = r"<[\w.:-]{0,40}(?i:passw(?:or)?d|passphrase|pwd|secret|token|(?:api|access)-?key)"
_ELEMENT += r"[\w.-]{0,20}(?:\s[^<>]{0,200})?>\s{0,20}"
_PUTTY = r"Private-Lines: [0-9]{1,4}(?:\s|\\[nr]|[\"',+#*]){1,12}"
_PUTTY += r"(?:[A-Za-z0-9+/=]{16,64}(?:\s|\\[nr]|[\"',+#*]){0,12}){2,200}"

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
    _kind("AWS access key", "AKIA", _WORD + r"AKIA(?![A-Z0-9]{9}EXAMPLE)[A-Z0-9]{16}" + _END),
    _kind("AWS access key", "ASIA", _WORD + r"ASIA(?![A-Z0-9]{9}EXAMPLE)[A-Z0-9]{16}" + _END),
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
    _kind("Telegram token", ":AA", rf"(?:(?<=bot)|{_NAME})[0-9]{{8,10}}:AA[A-Za-z0-9_-]{{33}}"),
    _kind("Discord token", ".", _DIGITS_IN_BASE64 + r"\.[\w-]{6}\.[\w-]{27,38}"),
    _kind("Discord webhook", "/webhooks/", _DISCORD_HOOK),
    _kind("Teams webhook", "/webhookb2/", _TEAMS_HOOK),
    _kind("Twilio key", "SK", _WORD + r"SK[0-9a-f]{32}" + _END),
    _kind("Mailgun key", "key-", r"(?<=api:)key-[0-9a-f]{32}" + _END),
    _kind("Mailchimp key", "-us", _NAME + r"[0-9a-f]{32}-us[0-9]{1,2}" + _END),
    _kind("Linear key", "lin_api_", _NAME + r"lin_api_[A-Za-z0-9]{40}"),
    _kind("Notion token", "ntn_", _NAME + r"ntn_[A-Za-z0-9]{40,64}"),
    _kind("Atlassian token", "ATATT3", _NAME + r"ATATT3[A-Za-z0-9_=-]{100,300}"),
    _kind("Postman key", "PMAK-", _NAME + r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}"),
    _kind("New Relic key", "NRAK-", _NAME + r"NRAK-[A-Z0-9]{27}"),
    _kind("Sentry token", "sntry", _NAME + r"sntry[su]_[A-Za-z0-9_=+/-]{32,255}"),
    _kind("Groq key", "gsk_", _NAME + r"gsk_[A-Za-z0-9]{48,64}"),
    _kind("xAI key", "xai-", _NAME + r"xai-[A-Za-z0-9]{70,100}"),
    _kind("Replicate token", "r8_", _NAME + r"r8_[A-Za-z0-9]{37}" + _END),
    _kind("Supabase token", "sbp_", _NAME + r"sbp_[a-f0-9]{40}"),
    _kind("Tailscale key", "tskey-", _NAME + r"tskey-[a-z]{3,10}-[A-Za-z0-9]{8,24}-\w{16,48}"),
    _kind("Pulumi token", "pul-", _NAME + r"pul-[a-f0-9]{40}"),
    _kind("Terraform token", ".atlasv1.", r"(?<![\w.-])[A-Za-z0-9]{14}\.atlasv1\.[\w=-]{60,80}"),
    _kind("Airtable token", "pat", _NAME + r"pat[A-Za-z0-9]{14}\.[a-f0-9]{64}"),
    _kind("Figma token", "figd_", _NAME + r"figd_[A-Za-z0-9_-]{38,60}"),
    _kind("Azure storage key", "==", _AZURE + r"[A-Za-z0-9+/]{86}=="),
    _kind("Azure access key", "AccessKey=", r"(?<=AccessKey=)[A-Za-z0-9+/]{43}="),
    _kind("Azure client secret", "Q~", r"(?<![\w~.-])[\w~.]{3}[0-9]Q~[\w~.-]{31,34}(?![\w~.-])"),
    _kind("npm token", "_authToken=", r"(?<=_authToken=)[0-9a-f]{8}-[0-9a-f-]{14}-[0-9a-f]{12}"),
    _kind("Docker login", '"auth"', rf'"auth"{_GIVEN}(?P<{SECRET}>[\w+/]{{16,512}}=*)', False),
    _kind("private web key", '"kty"', rf'"d"{_GIVEN}(?P<{SECRET}>[A-Za-z0-9_-]{{32,1024}})', False),
    _kind("PuTTY key", "Private-Lines: ", _PUTTY),
    _kind("password of curl", "curl", f"(?:{_CURL}){_USER}{_PASSWORD}", False),
    _kind("password of a command", "pass", f"{_OPTION}[\"']?(?!-){_PASSWORD}", False),
    _kind("password of netrc", "login", _NETRC + _PASSWORD, False),
    _kind("secret in an element", "</", rf"{_ELEMENT}{_PASSWORD}(?=\s{{0,20}}</)", False),
    _kind(
        "JSON web token",
        "eyJ",
        r"(?<![\w.-])eyJ[\w-]{8,4096}\.[\w-]{8,8192}\.[\w-]{8,4096}",
    ),
)
