"""What secrets look like: the forms of keys that services issue, one regular expression a kind.

The forms are those of public detectors, shortened at their end, so that a cut key is recognized too: gitleaks
(github.com/gitleaks/gitleaks, config/gitleaks.toml, MIT) and detect-secrets (github.com/Yelp/detect-secrets,
Apache-2.0). Forms of machine-learning services are from their own documentation.

detect-secrets 1.5.0 itself is not imported. One plugin loads requests, which takes 0.26 s; the whole command line takes
0.4 s. Without its entropy plugins it recognizes 72 of the 267 secrets of tests/trust/secrets_corpus.py; with them it
takes 1,538 of 2,245 lines of the documents for secrets.
"""

from __future__ import annotations

import re

MIXED = r"(?=[A-Za-z_-]*[0-9]|[a-z0-9_-]*[A-Z])"  # a word of lowercase letters only is a name, as in hf_transfer
WORD = r"[A-Za-z0-9_-]"

KEYS = {
    # models and data
    "openai": rf"\bsk-{MIXED}{WORD}{{8,}}",  # Anthropic, OpenRouter, DeepSeek, Langfuse and LiteLLM too
    "hugging_face": rf"\b(?:hf|api_org)_{MIXED}[A-Za-z0-9]{{8,}}",
    "wandb": r"\bwandb_v1_\w{16,}",
    "nvidia": rf"\bnvapi-{WORD}{{12,}}",
    "groq": r"\bgsk_[A-Za-z0-9]{12,}",
    "google_api": rf"\bAIza{WORD}{{16,}}",
    "google_oauth": rf"\bya29\.{WORD}{{12,}}|\bGOCSPX-{WORD}{{12,}}|\b1//0{WORD}{{30,}}",
    "xai": r"\bxai-[A-Za-z0-9]{20,}",
    "perplexity": r"\bpplx-[A-Za-z0-9]{20,}",
    "replicate": r"\br8_[A-Za-z0-9]{20,}",
    "together": rf"\btgp_v1_{WORD}{{20,}}",
    "fireworks": rf"\bfw_{MIXED}[A-Za-z0-9]{{20,}}",
    "cerebras": r"\bcsk-[A-Za-z0-9]{20,}",
    "langsmith": r"\blsv2_(?:pt|sk)_[A-Za-z0-9_]{20,}",
    "tavily": rf"\btvly-{WORD}{{20,}}",
    "jina": r"\bjina_[A-Za-z0-9_-]{20,}",
    "anyscale": r"\besecret_[A-Za-z0-9]{16,}",
    "kaggle": r"\bKGAT_[A-Za-z0-9]{16,}",
    "databricks": r"\bdapi[a-f0-9]{32}(?:-\d)?\b",
    # code and packages
    "github": rf"\bgh[opusr]_{MIXED}[A-Za-z0-9_]{{8,}}|\bgithub_pat_\w{{12,}}",
    "gitlab": rf"\bgl(?:pat|dt|ft|soat|rt|cbt|ptt|oas|agent|imt|ffct)-{WORD}{{12,}}",
    "bitbucket": rf"\bATATT3[\w=-]{{20,}}|\bATBB{WORD}{{20,}}",
    "npm": r"\bnpm_[A-Za-z0-9]{20,}",
    "pypi": rf"\bpypi-AgE{WORD}{{16,}}",
    "docker": rf"\bdckr_(?:pat|oat)_{WORD}{{16,}}",
    "rubygems": r"\brubygems_[a-f0-9]{32,}",
    # clouds
    "aws": r"\b(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b",
    "aws_bedrock": r"\bABSK[A-Za-z0-9+/=]{40,}|\bbedrock-api-key-[A-Za-z0-9+/=]{20,}",
    "azure_client": r"(?<![\w.~-])[\w~.]{3}\dQ~[\w~.-]{31,34}",
    "alibaba": r"\bLTAI[A-Za-z0-9]{12,}",
    "tencent": r"\bAKID[A-Za-z0-9]{13,}",
    "digitalocean": r"\bdo[por]_v1_[a-f0-9]{32,}",
    "supabase": r"\bsbp_[a-f0-9]{32,}|\bsb_secret_[\w-]{20,}",
    "vault": rf"\bhv[sbr]\.{WORD}{{20,}}",
    "pulumi": r"\bpul-[a-f0-9]{40}\b",
    "terraform": rf"\b[A-Za-z0-9]{{14}}\.atlasv1\.{WORD}{{40,}}",
    "doppler": r"\bdp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9._-]{20,}",
    "one_password": r"\bops_eyJ[A-Za-z0-9+/=]{20,}|\bA3-[A-Z0-9]{6}-[A-Z0-9-]{20,}",
    # messages, payments, monitors
    "slack": r"\bxox[abeoprs](?:\.xox[bp])?-[A-Za-z0-9-]{10,}|\bxapp-[A-Za-z0-9-]{10,}",
    "webhook": r"(?<=hooks\.slack\.com/)[\w/-]{12,}|(?<=/api/webhooks/)\d+/[\w-]{20,}",
    "discord": rf"\b[MNO]{WORD}{{23,27}}\.{WORD}{{6}}\.{WORD}{{27,}}",
    "telegram": rf"\b\d{{8,10}}:AA{WORD}{{30,}}",
    "stripe": r"\b(?:[srp]k_(?:live|test|prod)|whsec)_[A-Za-z0-9]{8,}",
    "sendgrid": rf"\bSG\.{WORD}{{12,}}\.{WORD}{{12,}}",
    "mailgun": r"\bkey-[a-f0-9]{32}\b",
    "mailchimp": r"\b[a-f0-9]{32}-us\d{1,2}\b",
    "twilio": r"\b(?:AC|SK)[a-f0-9]{32}\b",
    "square": rf"\bsq0[a-z]{{3}}-{WORD}{{20,}}",
    "shopify": r"\bshp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}\b",
    "grafana": r"\bgl(?:sa|c)_[A-Za-z0-9+/=_]{20,}",
    "sentry": r"\bsntry[su]_[A-Za-z0-9+/=_]{20,}",
    "new_relic": r"\bNRAK-[A-Z0-9]{20,}",
    "postman": r"\bPMAK-[a-f0-9-]{30,}",
    "notion": r"\bntn_[A-Za-z0-9]{20,}",
    "linear": r"\blin_api_[A-Za-z0-9]{20,}",
    "figma": rf"\bfigd_{WORD}{{20,}}",
    # forms of several services
    "jwt": rf"\bey[IJ]{WORD}{{8,}}\.{WORD}{{8,}}(?:\.{WORD}*){{0,3}}",
    "age": r"\bAGE-SECRET-KEY-1[A-Z0-9]{20,}",
}
PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----[\s\S]*?(?:-----END [A-Z0-9 ]*-----|\Z)")
# The words that can hold a key, also behind the n of a line end that is spelled \\n. Only these are searched, which is
# several times as fast.
LONG_WORD = re.compile(r"(?<![\w.~+/=:-])((?<=\\)[nrt])?(?=[a-z_.~+/=:-]*[A-Z0-9])([\w.~+/=:-]{10,})")
ANY_KEY = re.compile("|".join(f"(?:{form})" for form in KEYS.values()))

# Names. A name is split into its words; the last one decides, with what stands before it.
ALWAYS = {
    "password", "passwords", "passwd", "passphrase", "passwort", "secret", "secrets", "credential", "credentials",
    "creds", "auth", "authorization", "cookie", "cookies", "session", "sessionid", "pat", "pats", "dsn", "apikey",
    "apikeys", "authtoken", "privatekey", "authkey", "keys", "key", "token", "tokens",
    "pass", "pwd", "pw", "jwt", "bearer", "sas",
}  # fmt: skip
ENDINGS = ("password", "passwd", "apikey", "apikeys", "secret", "accesstoken", "accesskey", "accountkey", "secretkey")
WEAK = {"key", "keys", "token", "tokens", "auth", "session"}  # alone in a text they need a value that looks random
NEVER_COUNTED = {"password", "passwd", "passphrase", "pwd", "pw", "secret", "apikey", "key", "pat"}
# In an address as ?NAME=VALUE only.
SIGNATURES = {"sig", "signature", "code", "credential", "x-amz-signature", "x-goog-signature"}
# Words after which key or token is a column's, a vocabulary's, a count's.
PLAIN_KEYS = {
    "prompt", "chosen", "rejected", "input", "output", "label", "image", "images", "text", "message", "messages",
    "primary", "foreign", "sort", "group", "partition", "row", "column", "index", "unique", "cache", "unknown", "extra",
    "missing", "known", "config", "state", "dict", "json", "public", "answer", "response", "question", "dataset",
    "num", "value", "values", "restore", "by", "the", "a",
}  # fmt: skip
PLAIN_TOKENS = {
    "eos", "bos", "pad", "unk", "sep", "cls", "mask", "stop", "start", "end", "special", "added", "max", "min", "new",
    "num", "n", "prompt", "completion", "total", "score", "image", "video", "audio", "batched", "reused", "per", "bad",
    "generated", "input", "output", "next", "last", "first", "single", "any", "answer", "chat", "system", "think",
    "ignore", "identical", "context", "cached", "request", "of", "in", "and", "kept", "mean", "label",
    "role", "turn", "the", "a",
}  # fmt: skip
PLAIN_BEFORE = {"pass": {"forward", "backward", "first", "second", "by", "to"}, "session": {"desktop", "xdg"}}
QUALIFIERS = {"prod", "production", "dev", "staging", "live", "test", "old", "base", "b64", "base64", "json", "value"}
PHRASES = {("use", "wandb"), ("connection", "string"), ("conn", "str"), ("connectionstring",), ("service", "account")}
