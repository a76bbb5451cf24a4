#!/usr/bin/env bash
# Three demo servers, a forwarder over them and a CONNECT proxy, on loopback. Ends with Ctrl-C.
# TCPFORWARD names the program; it is built first if it isn't there.
set -euo pipefail
cd "$(dirname "$0")/.."
tcpforward=${TCPFORWARD:-target/release/tcpforward}
[ -x "$tcpforward" ] || cargo build --release --locked --package tcpforward

pids=()
end() {
  trap - EXIT INT TERM
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait
}
trap end EXIT
trap 'exit 0' INT TERM

for i in 1 2 3; do
  "$tcpforward" demo-server --name "server-$i" --listen "127.0.0.1:900$i" &
  pids+=($!)
done
"$tcpforward" run examples/local/load-balancing.yaml examples/local/connect.yaml &
pids+=($!)

cat <<TEXT

  A forwarder listens on 127.0.0.1:8888 and balances over three servers.
  A CONNECT proxy listens on 127.0.0.1:8080 and lets clients reach them, and example.com.

  Try, in another terminal:
    for i in 1 2 3 4 5 6; do curl -s http://127.0.0.1:8888/; done     # three names in turn
    kill ${pids[0]}                                                     # server-1 dies: no curl fails
    $tcpforward demo-server --name server-1 --listen 127.0.0.1:9001     # it is back: it is used again, after about 30 s if five dials had failed
    curl -s -p -x http://127.0.0.1:8080 http://127.0.0.1:9002/          # server-2, through the proxy
    curl -s -p -x http://127.0.0.1:8080 http://127.0.0.1:9901/ -v       # 403: no rule allows that port
    curl -s http://127.0.0.1:9901/debug/forwards                        # conditions, backends, sessions
    curl -s http://127.0.0.1:9901/metrics | grep ^tcpforward            # counters
  Edit examples/local/load-balancing.yaml or connect.yaml: it takes effect within a second.

  Ctrl-C ends all of them.

TEXT
wait "${pids[3]}"
