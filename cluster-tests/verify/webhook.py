"""Verifies kept webhook calls with the reference library of Standard Webhooks, and that it refuses a changed body."""

import json
import sys

from standardwebhooks import Webhook, WebhookVerificationError

secret, path = sys.argv[1], sys.argv[2]
webhook = Webhook(secret)
with open(path, encoding="utf-8") as file:
    calls = json.load(file)
for call in calls:
    webhook.verify(call["body"], call["headers"])
    try:
        webhook.verify(call["body"] + " ", call["headers"])
    except WebhookVerificationError:
        continue
    sys.exit("a changed body was verified")
print(f"{len(calls)} verified")
