"""Secrets in what a patch adds: found, named by their hash, never told."""

import base64
import hashlib
import random
import string
import time

import pytest

from resources.commands.redaction import MASK, Redactor
from resources.patch_policy import Scope, judge
from resources.patch_policy.secrets import find_secrets
from resources.specs import PolicySpec
from tests.resources.changes import Bench, verdict

CHANCE = random.Random(7)


def some(length: int, characters: str = string.ascii_letters + string.digits) -> str:
    """Random characters, the same in every run."""
    return "".join(CHANCE.choices(characters, k=length))


HEX, UPPER = string.hexdigits.lower()[:16], string.ascii_uppercase + string.digits
BASE64 = string.ascii_letters + string.digits + "+/"


def password() -> str:
    """One that is no word with a number behind it, whatever chance says."""
    return f"{some(6)}4{some(6)}9"


def key_block(kind: str = "") -> str:
    lines = "\n".join(some(64, BASE64) for _ in range(3))
    return f"-----BEGIN {kind}PRIVATE" + f" KEY-----\n{lines}\n-----END {kind}PRIVATE" + " KEY-----"


# In parts, so that no scanner takes this file for a leak.
SECRETS = {
    "GitHub": "gh" + "p_" + some(36),
    "GitHub, fine-grained": "github" + "_pat_" + some(82),
    "GitLab": "glpat" + "-" + some(20),
    "AWS": "AK" + "IA" + some(16, UPPER),
    "AWS for a session": "AS" + "IA" + some(16, UPPER),
    "Slack": "xox" + "b-" + some(12, string.digits) + "-" + some(24),
    "Slack hook": "https://hooks.slack.com" + "/services/T0000000/B0000000/" + some(24),
    "Google": "AI" + "za" + some(35),
    "Stripe": "sk" + "_live_" + some(24),
    "Stripe for tests": "rk" + "_test_" + some(24),
    "OpenAI": "sk" + "-" + some(48),
    "OpenAI project": "sk" + "-proj-" + some(48),
    "Anthropic": "sk" + "-ant-api03-" + some(80),
    "npm": "npm" + "_" + some(36),
    "PyPI": "py" + "pi-AgEI" + some(80),
    "JWT": "ey" + "J" + some(20) + ".eyJ" + some(30) + "." + some(43),
    "RSA": key_block("RSA "),
    "PKCS8": key_block(),
    "OpenSSH": key_block("OPENSSH "),
    "key in one line": key_block("EC ").replace("\n", "\\n"),
    "assigned": f'token = "{some(32)}"',
    "in JSON": f'  "clientSecret": "{some(40, BASE64)}",',
    "typed": f'API_KEY: str = "{some(40, HEX)}"',
    "in a dotenv file": f"DB_PASSWORD={some(24)}Aa1",
    "in YAML": f"  secret_key: {some(30)}zZ9",
    "AWS secret": f"aws_secret_access_key = {some(38, BASE64)}aB",
    "password": 'password = "' + "Xk7$" + some(9) + 'b1!"',
    "plain key": f'key = "{some(40)}aB3"',
    "address": f"postgres://me:{some(20)}1a@db.internal/app",
    "Azure": "Account" + f"Key={some(86, BASE64)}==",
    "bearer": f"Authorization: Bearer {some(40)}",
}
# Of others the form is told as well; all of these are masked in output too.
FORMS = {
    "Slack trigger": "https://hooks.slack.com" + "/triggers/T0000000/123456/" + some(32),
    "Telegram": some(10, "123456789") + ":A" + "A" + some(33),
    "Telegram address": "https://api.telegram.org/bot" + "1234567890:A" + "A" + some(33) + "/getMe",
    "Discord": base64.b64encode(b"123456789012345678").decode() + ".Gh4x-Q." + some(38),
    "Discord, longer": base64.b64encode(b"1234567890123456789").decode()[:26]
    + ".GabcdE."
    + some(27),
    "Discord hook": "https://discord.com/api" + "/webhooks/123456789012345678/" + some(68),
    "Twilio": "S" + "K" + some(32, HEX),
    "SendGrid": "SG" + "." + some(22) + "." + some(43),
    "Mailgun": "api:" + "key" + "-" + some(32, HEX),
    "Mailchimp": some(32, HEX) + "-us" + "12",
    "old npm token": "//registry.npmjs.org/:_auth" + "Token=123e4567-e89b-12d3-a456-426614174000",
    "age": "AGE-SECRET" + "-KEY-1" + some(58, UPPER),
    "Azure command": "az storage blob list --account" + f"-key {some(86, BASE64)}==",
    "Azure bus": "Endpoint=sb://x/;SharedAccess" + f"Key={some(43, BASE64)}=",
    "Azure secret": "abc8" + "Q~" + some(34),
    "Postman": "PMA" + "K-" + some(24, HEX) + "-" + some(34, HEX),
    "Terraform": some(14) + ".atlas" + "v1." + some(64),
    "Docker": f'{{"auths": {{"x": {{"auth": "{some(40)}"}}}}}}',
    "web key": f'{{"kty": "EC", "crv": "P-256", "d": "{some(43)}"}}',
    "PuTTY": "PuTTY-User-Key-File-3: ssh-rsa\nEncryption: none\nPrivate"
    + "-Lines: 3\n"
    + "\n".join(some(64, BASE64) for _ in range(3))
    + "\nPrivate-MAC: 12",
    "PuTTY in a string": "Private"
    + "-Lines: 2\\r\\n"
    + f"{some(64, BASE64)}\\r\\n{some(40, BASE64)}==",
    "curl": f"curl -u ann:{password()} https://example.org",
    "curl, joined": f"curl -sS -X POST -uann:{password()} https://example.org",
    "curl, over lines": f"curl https://example.org \\\n  --user 'ann:{password()}'",
    "curl as arguments": f'["curl", "-u", "ann:{password()}", url]',
    "curl's proxy": f"curl --proxy-user=ann:{password()} https://example.org",
    "command": f"mysql --password={password()} -e 'select 1'",
    "command, apart": f"wget --http-password {password()} https://example.org",
    "sshpass": f"sshpass -p '{password()}' ssh host",
    "netrc": f"machine api.example.org login ann password {password()}",
    "netrc, over lines": f"machine example.org\n  login ann\n  password {password()}",
    "netrc, default": f"default login ann password {password()}",
    "XML": f"<password>{password()}</password>",
    "XML with a prefix": f'<cfg:dbPassword type="x">\n  {password()}\n</cfg:dbPassword>',
    "XML key": f"<apiKey>{some(32)}</apiKey>",
}
SETTINGS = {
    "properties": "db.pass" + "word=Xk7$pq9!zrW",
    "dotenv with signs": "export SMTP_PASS" + "WORD=q8#Lm2^vTz%4",
    "YAML with signs": "  pass" + "word: Zt5&kQ!91xb",
    "storage key": "AZURE_STORAGE_" + f"KEY={some(86, BASE64)}==",
    "Django token": "Authorization: Token " + some(40, HEX),
}
SECRETS |= FORMS | SETTINGS


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_are_found(name: str) -> None:
    (finding,) = find_secrets(f"before\n{SECRETS[name]}\nafter")
    assert finding.at >= len("before\n")


@pytest.mark.parametrize("name", FORMS)
def test_what_is_known_by_its_form_is_masked_in_output_too(name: str) -> None:
    text = f"before\n{FORMS[name]}\nafter"
    (finding,) = find_secrets(text)
    masked = Redactor()(text)
    assert MASK in masked
    assert text[finding.at : finding.at + 12] not in masked
    assert masked.startswith("before")
    assert masked.endswith("after")


@pytest.mark.parametrize(
    "text",
    [
        "gh" + "p_" + "x" * 36,
        "AKI" + "AIOSFODNN7EXAMPLE",
        "https://hooks.slack.com" + "/services/T00000000/B00000000/" + "X" * 24,
        "curl -u user:password https://example.org",
        "curl -u admin:changeme https://example.org",
        "curl -u ${USER}:${PASS_2} https://example.org",
        "curl -u $USER:$PASSWORD_1 https://example.org",
        "curl -u <user>:<token-2> https://example.org",
        "curl --user 1000:1000 http://localhost:8080",
        "curl -u ann:xxxxxxxx1 https://example.org",
        "curl -sS https://example.org/a:b1c2d3e4f5 -o user.txt",
        "docker run --user 1000:1000 -u node:node12345 image",
        "machine example.org login ann password changeme-1",
        "machine example.org login ann password $NETRC_PASSWORD_1",
        "the machine asks for a login and a password 12345678",
        "<password>${db.password1}</password>",
        "<password>changeme</password>",
        "<password>your-password-123</password>",
        "<password>{COQLCE6DU6GtcS5P=}</password>",
        "<password></password>",
        "<token>identifier</token>",
        "<tokenizer>WordPiece2</tokenizer>",
        "<NextToken>page-2-of-9</NextToken>",
        "usage: x [--password PASSWORD] [--pass-through N]",
        "mysql --password=$MYSQL_PASSWORD_1",
        "Private-Lines: 14",
        '{"kty": "EC", "x": "' + "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU" + '"}',
        '{"auth": "basic-authentication-handler"}',
        "SKU: " + "SK" + "12345678",
        "module.function.attribute_of_something_long_enough_to_be_one",
        "token_source = arn:aws:secretsmanager:eu-west-1:123456789012:secret:x-AbC123",
        "password_reset_from=No-Reply2@mail.example.org",
        "password: p@ss1",
        "password: !vault-reference",
        "secret: ${{ secrets.DEPLOY_1! }}",
        'token = os.environ["TOKEN"]',
        "token = secrets.token_urlsafe(32)",
        'password = getpass.getpass("Password: ")',
        "password: ${{ secrets.DEPLOY_PASSWORD_2024 }}",
        'API_KEY = "${API_KEY:-your-api-key-here-0123}"',
        'api_key = "your-api-key-1234567890"',
        'SECRET_KEY = "change-me-please-0001"',
        'secret_name = "projects/prod-1/secrets/database-password-2"',
        'token_url = "https://login.example.org/oauth2/v2.0/token"',
        'TOKEN = "abcdefghijklmnopqrstuvwxyz0123456789"',
        'token = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1"',
        'token: "123e4567-e89b-12d3-a456-426614174000"',
        'password = "hunter2"',
        'password="Password123"',
        f'"integrity": "sha512-{some(86, BASE64)}=="',
        f'checksum = "{some(64, HEX)}"',
        f'content-hash = "{some(64, HEX)}"',
        f'key = "{some(40, HEX)}"',
        f"commit {some(40, HEX)}",
        f"actions/checkout@{some(40, HEX)}",
        "https://user:password@localhost:5432/db",
        "postgresql://postgres:postgres@127.0.0.1/test",
        "-----BEGIN " + "PRIVATE KEY-----",
        'if "-----BEGIN ' + 'PRIVATE KEY-----" in text:\n    raise ValueError("a private key")',
        "-----BEGIN CERTIFICATE-----\n" + some(64, BASE64) + "\n-----END CERTIFICATE-----",
        "ssh-rsa " + some(200, BASE64) + " me@host",
        "task-runner sk-learn-is-a-library-for-people",
        ".sk-folding-cube-angle-2-before { color: red }",
        'primary_key="organization_user_identifier"',
        "tokenizer = AutoTokenizerForSequences2",
        "The bearer of this letter",
    ],
)
def test_what_only_resembles_a_secret_is_left_alone(text: str) -> None:
    assert find_secrets(text) == []


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench.in_folder(tmp_path_factory.mktemp("secrets"))


def test_the_message_names_place_and_hash_and_never_the_secret(bench: Bench) -> None:
    token = SECRETS["GitHub"]
    change = bench.change({"a.py": "x\ny\n"}, {"a.py": f'x\nz\nTOKEN = "{token}"\ny\n'})
    (reason,) = judge(change, Scope(), PolicySpec())
    sha256 = hashlib.sha256(token.encode()).hexdigest()
    assert (reason.code, reason.path) == ("secret", "a.py")
    assert "line 3 of a.py looks like a secret (GitHub token)" in reason.message
    assert sha256 in reason.message
    assert token not in reason.message
    assert verdict(change, allow_secrets=[sha256]) == []
    assert verdict(change, allow_secrets=[sha256.upper(), "0" * 64]) == []
    assert verdict(change, allow_secrets=["0" * 64]) == [("secret", "a.py")]


def test_only_added_lines_count(bench: Bench) -> None:
    line = f'TOKEN = "{SECRETS["GitHub"]}"\n'
    body = "".join(f"line {n}\n" for n in range(20))
    assert verdict(bench.change({"a": line + "x\n"}, {"a": line + "y\n"})) == []
    assert verdict(bench.change({"a": line + "x\n"}, {"a": "x\n"})) == []
    assert verdict(bench.change({"a": line + body}, {"b": line + body + "more\n"})) == []
    assert verdict(bench.change({"a": "x\n"}, {"a": "x\n" + line})) == [("secret", "a")]


def test_each_secret_is_told_once_per_file(bench: Bench) -> None:
    one, other = SECRETS["GitHub"], SECRETS["npm"]
    change = bench.change({}, {"a": f"{one}\n{one}\n{other}\n", "b": f"{one}\n"})
    assert verdict(change) == [("secret", "a"), ("secret", "a"), ("secret", "b")]


def test_a_key_block_is_one_finding(bench: Bench) -> None:
    change = bench.change({}, {"id_rsa": SECRETS["RSA"] + "\n"})
    assert verdict(change) == [("secret", "id_rsa")]


def test_allowed_binary_files_are_searched_too(bench: Bench) -> None:
    change = bench.change({}, {"a.bin": b"\0\0" + SECRETS["AWS"].encode() + b"\0"})
    assert verdict(change) == [("binary", "a.bin")]
    assert verdict(change, allow_binary=True) == [("secret", "a.bin")]
    wide = bench.change({}, {"a.txt": f"key: {SECRETS['GitHub']}\n".encode("utf-16")})
    assert verdict(wide, allow_binary=True) == [("secret", "a.txt")]


@pytest.mark.parametrize(
    "unit",
    [
        *("secret", 'token="', "key = ", "password: a", "api_key" + " " * 9, "token:a "),
        *("-----BEGIN PRIVATE" + " KEY-----\n", "-----BEGIN A ", "://a:bbbbbbbb", "eyJaaaaaaaa."),
        *("curl -u a", "curl -u a:", "--password ", "machine a login a ", "<password ", "<token"),
        *(
            "<a:password>a1",
            "Private-Lines: 1\n",
            '"kty" "d": "',
            '"auth": "',
            "MTIz",
            "curl user:",
        ),
        *("password=a!", "\npassword", "\n" + " " * 39 + "token.", "Authorization: Token "),
        *("sk-", "gh" + "p_", "Bearer ", "AIza", "a", "0", "secret_secret-", 'token = "a1B2'),
    ],
)
def test_hostile_text_does_not_make_the_search_slow(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    began = time.thread_time()
    find_secrets(text)
    assert time.thread_time() - began < 5.0
