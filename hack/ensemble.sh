#!/usr/bin/env bash
# Starts an ensemble of three on this machine, with data under ./run, and keeps
# it in the foreground until Ctrl-C, or until all members have ended: if one ends,
# the others go on. Run again, it goes on with the same data.
set -euo pipefail
cd "$(dirname "$0")/.."
base=${CLIENT_PORT:-2181}
bin=$PWD/bin/conclave-server
[ -x "$bin" ] || { echo "hack/ensemble.sh: $bin is missing: run 'make server' first" >&2; exit 1; }

servers=
for n in 1 2 3; do
  servers+="server.$n=127.0.0.1:$((base + 700 + n)):$((base + 710 + n));127.0.0.1:$((base + n - 1))"$'\n'
done
# Process ids, by the members' numbers; one that has ended is taken out.
pids=()
stop() {
  trap - EXIT
  trap '' HUP INT TERM
  kill "${pids[@]}" 2>/dev/null || true
  for pid in "${pids[@]}"; do
    while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
  done
}
trap stop EXIT
trap 'exit 0' HUP INT TERM
for n in 1 2 3; do
  dir=run/server$n
  mkdir -p "$dir/data"
  echo "$n" > "$dir/data/myid"
  cat > "$dir/zoo.cfg" <<CFG
tickTime=2000
initLimit=10
syncLimit=5
dataDir=$PWD/$dir/data
4lw.commands.whitelist=*
admin.enableServer=false
metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider
metricsProvider.httpHost=127.0.0.1
metricsProvider.httpPort=$((base + 4819 + n))
$servers
CFG
  # In a process group of its own: Ctrl-C would reach it too, and with stop's signal as
  # the second one it would end at once, without letting go of its clients.
  set -m
  "$bin" --config "$dir/zoo.cfg" >> "$dir/log" 2>&1 &
  set +m
  pids[n]=$!
  disown # what is to be said of its end is said below
done

ask() { # ask PORT WORD
  exec 3<>"/dev/tcp/127.0.0.1/$1" && printf '%s' "$2" >&3 && cat <&3
  exec 3>&- 3<&-
} 2>/dev/null
for _ in $(seq 300); do
  for n in "${!pids[@]}"; do
    kill -0 "${pids[n]}" 2>/dev/null || { echo "member $n ended; its log: run/server$n/log" >&2; tail -n 3 "run/server$n/log" >&2; exit 1; }
  done
  ready=0
  for n in 1 2 3; do
    [[ $(ask $((base + n - 1)) srvr || true) == *Mode:\ [lf]* ]] && ready=$((ready + 1))
  done
  [ "$ready" = 3 ] && break
  sleep 0.1
done
[ "$ready" = 3 ] || { echo "the ensemble is not ready after 30 s; see run/server*/log" >&2; exit 1; }

for n in 1 2 3; do
  echo "server.$n  $(ask $((base + n - 1)) srvr | grep Mode)  clients 127.0.0.1:$((base + n - 1))  metrics http://127.0.0.1:$((base + 4819 + n))/metrics  log run/server$n/log"
done
cat <<TXT

Connect with any ZooKeeper client, to

    127.0.0.1:$base,127.0.0.1:$((base + 1)),127.0.0.1:$((base + 2))

Ctrl-C stops the ensemble; its data stays under ./run.
TXT
while [ ${#pids[@]} -gt 0 ]; do
  # In the background, so that a signal interrupts the wait.
  sleep 0.5 &
  wait $! || true
  for n in "${!pids[@]}"; do
    kill -0 "${pids[n]}" 2>/dev/null && continue
    unset "pids[n]"
    echo "member $n ended (${#pids[@]} go on); its log: run/server$n/log" >&2
    tail -n 3 "run/server$n/log" >&2
  done
done
echo "all members have ended" >&2
exit 1
