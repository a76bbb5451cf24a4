# Fetches a page through a proxy by requests: PROXY URL AUTHORITY FILE.
import sys

import requests

proxy, url, authority, file = sys.argv[1:]
answer = requests.get(url, proxies={"https": proxy}, verify=authority, timeout=20)
answer.raise_for_status()
with open(file, "wb") as out:
    out.write(answer.content)
