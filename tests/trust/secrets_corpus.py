"""Made-up secrets of every kind, put together at run time, so that no scanner finds one in this repository.

None was ever issued: the letters come from a seeded generator. What a service would refuse (a checksum at the end) does
not matter here, since keys are recognized by their beginning.
"""

from __future__ import annotations

import base64
import json
import random
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass

ALNUM = string.ascii_letters + string.digits
URL = ALNUM + "-_"
HEX = "0123456789abcdef"
UPPER = string.ascii_uppercase + string.digits
BASE64 = ALNUM + "+/"
EACH = 3  # secrets of a kind
WINDOW = 8  # so many characters of a secret in a row are a leak


@dataclass(frozen=True)
class Secret:
    """text: the secret as it stands in a sentence, where its form does not give it away with its name."""

    kind: str
    name: str
    value: str
    text: str
    beginning: str = ""  # what all keys of the kind begin with, which is no secret

    def leaks(self, output: str) -> bool:
        """Whether any part of it that is long enough to matter stands there."""
        value = self.value.removeprefix(self.beginning).replace("\n", "")
        spelled = output.replace("\\n", "").replace("\n", "").replace("\\", "")
        return any(value[i : i + WINDOW] in spelled for i in range(max(1, len(value) - WINDOW + 1)))


def secrets() -> list[Secret]:
    """All of them, the same at each call."""
    return [*_by_form(), *_by_name(), *_in_context()]


def _text(rng: random.Random, letters: str, count: int) -> str:
    """So many letters, a digit and a capital among them where there are any, as in nearly every key."""
    kinds = [kind for kind in (string.digits, string.ascii_uppercase) if set(kind) <= set(letters)]
    start = [rng.choice(kind) for kind in kinds]
    rest = rng.choices(letters, k=count - len(start))
    return "".join(rng.sample([*start, *rest], count))


def _by_form() -> Iterator[Secret]:
    """Keys that give themselves away: beginning, letters, length."""
    for kind, name, start, letters, count in _FORMS:
        rng = random.Random(kind)
        for _ in range(EACH):
            value = "".join(start) + _text(rng, letters, count)
            yield Secret(kind, name, value, value, "".join(start))
    rng = random.Random("forms of several parts")
    for _ in range(EACH):
        for kind, name, make in _PARTS:
            value = make(rng)
            yield Secret(kind, name, value, value)


def _by_name() -> Iterator[Secret]:
    """What could be any text: only the name before it tells."""
    for kind, name, letters, count in _NAMES:
        rng = random.Random(name)
        for _ in range(EACH):
            value = _text(rng, letters, count)
            yield Secret(kind, name, value, f"{name}={value}")


def _in_context() -> Iterator[Secret]:
    """What an address or a header lets in. The value is the part that must go; the text is the whole."""
    rng = random.Random("contexts")
    for _ in range(EACH):
        for kind, name, make in _CONTEXTS:
            value, text = make(rng)
            yield Secret(kind, name, value, text)


# kind, variable, beginning (in pieces), letters, length of the rest
_FORMS = (
    ("openai", "OPENAI_API_KEY", ("s", "k-"), ALNUM, 48),
    ("openai project", "OPENAI_API_KEYS", ("s", "k-pro", "j-"), URL, 120),
    ("anthropic", "ANTHROPIC_API_KEY", ("s", "k-an", "t-api03-"), URL, 95),
    ("openrouter", "OPENROUTER_API_KEY", ("s", "k-or-", "v1-"), HEX, 64),
    ("hugging face", "HF_TOKEN", ("h", "f_"), ALNUM, 34),
    ("hugging face organization", "HUGGINGFACE_TOKEN", ("api_", "org_"), ALNUM, 34),
    ("github classic", "GH_PAT", ("gh", "p_"), ALNUM, 36),
    ("github oauth", "GITHUB_TOKEN", ("gh", "o_"), ALNUM, 36),
    ("github user", "GITHUB_TOKEN", ("gh", "u_"), ALNUM, 36),
    ("github server", "GITHUB_TOKEN", ("gh", "s_"), ALNUM, 36),
    ("github refresh", "GITHUB_REFRESH_TOKEN", ("gh", "r_"), ALNUM, 76),
    ("github fine-grained", "GH_PAT", ("github", "_pat_"), ALNUM + "_", 82),
    ("gitlab", "GITLAB_TOKEN", ("gl", "pat-"), URL, 20),
    ("gitlab deploy", "GITLAB_DEPLOY_TOKEN", ("gl", "dt-"), URL, 20),
    ("aws key id", "AWS_ACCESS_KEY_ID", ("AK", "IA"), UPPER, 16),
    ("aws temporary key id", "AWS_ACCESS_KEY_ID", ("AS", "IA"), UPPER, 16),
    ("google api", "GOOGLE_API_KEY", ("AI", "za"), URL, 35),
    ("google oauth", "GOOGLE_ACCESS_TOKEN", ("ya", "29."), URL, 60),
    ("google client secret", "GOOGLE_CLIENT_SECRET", ("GOC", "SPX-"), URL, 28),
    ("slack app", "SLACK_APP_TOKEN", ("xa", "pp-1-"), ALNUM, 40),
    ("groq", "GROQ_API_KEY", ("gs", "k_"), ALNUM, 52),
    ("nvidia", "NVIDIA_API_KEY", ("nv", "api-"), URL, 64),
    ("xai", "XAI_API_KEY", ("xa", "i-"), ALNUM, 80),
    ("perplexity", "PERPLEXITY_API_KEY", ("pp", "lx-"), ALNUM, 48),
    ("replicate", "REPLICATE_API_TOKEN", ("r", "8_"), ALNUM, 37),
    ("together", "TOGETHER_API_KEY", ("tgp", "_v1_"), URL, 43),
    ("npm", "NPM_TOKEN", ("np", "m_"), ALNUM, 36),
    ("pypi", "PYPI_TOKEN", ("py", "pi-Ag", "EIcHlwaS5vcmc"), URL, 90),
    ("docker", "DOCKER_PAT", ("dckr", "_pat_"), URL, 27),
    ("stripe", "STRIPE_SECRET_KEY", ("s", "k_li", "ve_"), ALNUM, 24),
    ("digitalocean", "DO_TOKEN", ("do", "p_v1_"), HEX, 64),
    ("databricks", "DATABRICKS_TOKEN", ("da", "pi"), HEX, 32),
    ("vault", "VAULT_TOKEN", ("hv", "s."), URL, 90),
    ("shopify", "SHOPIFY_TOKEN", ("shp", "at_"), HEX, 32),
    ("langsmith", "LANGSMITH_API_KEY", ("lsv2", "_pt_"), HEX, 32),
    ("mailgun", "MAILGUN_KEY", ("ke", "y-"), HEX, 32),
    ("twilio", "TWILIO_KEY", ("S", "K"), HEX, 32),
    ("alibaba", "ALIBABA_KEY_ID", ("LT", "AI"), ALNUM, 20),
    ("linear", "LINEAR_TOKEN", ("lin", "_api_"), ALNUM, 40),
    ("grafana", "GRAFANA_TOKEN", ("gl", "sa_"), ALNUM, 32),
)
# kind, variable, letters, length
_NAMES = (
    ("wandb", "WANDB_API_KEY", HEX, 40),
    ("aws secret", "AWS_SECRET_ACCESS_KEY", BASE64, 40),
    ("mistral", "MISTRAL_API_KEY", ALNUM, 32),
    ("cohere", "CO_API_KEY_2", ALNUM, 40),
    ("azure storage", "AccountKey", BASE64, 86),
    ("azure devops", "ADO_PAT", string.ascii_lowercase + "234567", 52),
    ("database password", "DB_PASS", ALNUM + "!#%*+/@^~_-", 20),
    ("postgres password", "PGPASSWORD", ALNUM + "!#%*+/@^~_-", 20),
    ("passwd", "MYSQL_PASSWD", ALNUM, 12),
    ("passphrase", "SSH_PASSPHRASE", ALNUM, 30),
    ("session", "SESSION", ALNUM, 32),
    ("cookie", "SITE_COOKIE", ALNUM, 32),
    ("auth", "REDIS_AUTH", ALNUM, 24),
    ("credentials", "AZURE_CREDENTIALS", ALNUM, 40),
    ("private key", "SIGNING_PRIVATE_KEY", BASE64, 64),
    ("use_wandb", "use_wandb", HEX, 40),
    ("api_keys", "api_keys", ALNUM, 32),
    ("dotted option", "logger.wandb.key", HEX, 40),
    ("secret word", "CLIENT_SECRET", string.ascii_lowercase, 14),
)


def _jwt(rng: random.Random) -> str:
    def part(data: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip("=")

    return f"{part({'alg': 'HS256', 'n': rng.random()})}.{part({'sub': _text(rng, ALNUM, 20)})}.{_text(rng, URL, 43)}"


def _pem(rng: random.Random) -> str:
    body = "\n".join(_text(rng, BASE64, 64) for _ in range(6))
    kind = rng.choice(("RSA ", "EC ", "OPENSSH ", ""))
    return f"-----BEGIN {kind}PRIV" + f"ATE KEY-----\n{body}\n-----END {kind}PRIV" + "ATE KEY-----"


_PARTS: tuple[tuple[str, str, Callable[[random.Random], str]], ...] = (
    ("jwt", "SUPABASE_JWT", _jwt),
    ("pem", "DEPLOY_KEY", _pem),
    ("slack bot", "SLACK_BOT_TOKEN", lambda r: "xo" + f"xb-{_text(r, string.digits, 12)}-{_text(r, ALNUM, 24)}"),
    ("slack user", "SLACK_TOKEN", lambda r: "xo" + f"xp-{_text(r, string.digits, 12)}-{_text(r, HEX, 32)}"),
    ("sendgrid", "SENDGRID_API_KEY", lambda r: "S" + f"G.{_text(r, URL, 22)}.{_text(r, URL, 43)}"),
    ("telegram", "TELEGRAM_TOKEN", lambda r: f"{_text(r, string.digits, 10)}:A" + f"A{_text(r, URL, 33)}"),
    ("discord", "DISCORD_TOKEN", lambda r: "M" + f"{_text(r, ALNUM, 25)}.{_text(r, ALNUM, 6)}.{_text(r, URL, 38)}"),
    ("azure client", "AZURE_CLIENT_SECRET", lambda r: f"{_text(r, ALNUM, 3)}8Q" + f"~{_text(r, ALNUM, 34)}"),
    ("mailchimp", "MAILCHIMP_KEY", lambda r: f"{_text(r, HEX, 32)}-us" + "12"),
)


def _login(rng: random.Random) -> tuple[str, str]:
    value = base64.b64encode(f"user:{_text(rng, ALNUM, 17)}".encode()).decode()
    return value, f"the request had Basic {value} in it"


def _address(start: str, letters: str, end: str) -> Callable[[random.Random], tuple[str, str]]:
    def make(rng: random.Random) -> tuple[str, str]:
        value = f"{_text(rng, ALNUM, 9)}{letters}{_text(rng, ALNUM, 9)}"
        return value, f"{start}{value}{end}"

    return make


_CONTEXTS: tuple[tuple[str, str, Callable[[random.Random], tuple[str, str]]], ...] = (
    ("basic header", "PROXY_AUTHORIZATION", _login),
    ("bearer header", "BEARER", _address("Authorization: Bearer ", "", "")),
    ("bearer alone", "ACCESS_TOKEN", _address("sent Bearer ", "", " to the server")),
    ("x-api-key header", "x-api-key", _address("x-api-key: ", "", "")),
    ("cookie header", "cookie", _address("Cookie: theme=dark; sid=", "", "; lang=en")),
    ("postgres with a slash", "DATABASE_PASSWORD", _address("postgresql://me:", "/", "@db.example:5432/runs")),
    ("postgres with an at", "DATABASE_PASSWORD", _address("postgres://me:", "@", "@db.example/runs")),
    ("mongodb", "MONGO_PASSWORD", _address("mongodb+srv://me:", "", "@cluster.example/db?retryWrites=true")),
    ("redis", "REDIS_PASSWORD", _address("redis://:", "/@", "@cache.example:6379/0")),
    ("http login", "PROXY_PASSWORD", _address("http://me:", "", "@proxy.example:3128")),
    ("http login with a slash", "PROXY_PASSWORD", _address("https://me:", "/", "@proxy.example:3128/v1")),
    ("http token", "GIT_TOKEN", _address("https://", "", "@git.example/owner/name.git")),
    ("query key", "api-key", _address("https://host.example/v1?model=a&api_key=", "", "&n=1")),
    ("azure signature", "AZURE_SAS", _address("https://a.blob.example/c?sv=2024-01-01&sig=", "%2B", "&se=2030")),
    ("aws signature", "SIGNATURE_TOKEN", _address("https://b.s3.example/k?X-Amz-Signature=", "", "&X-Amz-Date=2")),
    ("connection string", "CONNECTION_STRING", _address("Server=db;User=me;Password=", "", ";Encrypt=true")),
    ("slack webhook", "SLACK_WEBHOOK_SECRET", _address("https://hooks.slack" + ".com/services/T0001/B0001/", "", "")),
    ("netrc", "NETRC_PASSWORD", _address("machine api.example login me password ", "", "")),
    ("wandb login", "WANDB_LOGIN_KEY", lambda r: (v := _text(r, HEX, 40), f"wandb: wandb login {v}")),
    ("token scheme", "REPLICATE_TOKEN", lambda r: (v := _text(r, HEX, 40), f"sent Token {v} to the server")),
    ("curl login", "CURL_PASSWORD", _address("curl -u me:", "/", " https://host.example")),
    ("sshpass", "SSH_PASSWORD", _address("sshpass -p ", "", " ssh me@host.example")),
    ("mysql", "MYSQL_PASSWORD", _address("mysql -u me -p", "", " runs")),
    ("two words", "API_KEY", _address("run --api-key ", "", " --verbose")),
    ("json list", "API_KEYS", _address('{"api_keys": ["', "", '", "second"]}')),
    ("json in json", "API_TOKEN", _address('{\\"auth_token\\": \\"', "", '\\", \\"n\\": 1}')),
)
