#!/usr/bin/env bash
# Shows what Conclave does: on a Kubernetes that it starts on this machine, or with
# CLUSTER=current on kubectl's. make demo runs it; it can be run again, and goes on
# with what there is.
set -euo pipefail
cd "$(dirname "$0")/../.."
sample=config/samples/election.yaml
sample_image=conclave-candidate:demo
cc=coordinationcluster/demo deployment=deployment/worker lease=lease/worker-leader
# patience bounds every wait, in seconds: it matters only when something is broken.
patience=${PATIENCE:-600}
bold='' command='' plain=''
[ ! -t 1 ] || bold=$'\e[1m' command=$'\e[36m' plain=$'\e[0m'

number=0 title='before the first' waiting='' seen='' problem='' remedy='' deployed=''

step() { # step TITLE
  number=$((number + 1)) title=$1 problem='' remedy=''
  printf '\n%s=== %d of 10: %s%s\n' "$bold" "$number" "$title" "$plain"
}

tell() { printf '    %s\n' "$@"; }

# show prints a command as one types it, and runs it.
show() {
  local word line='$'
  for word; do
    [[ $word =~ ^[-A-Za-z0-9_./:=,]+$ ]] || word="'$word'"
    line+=" $word"
  done
  printf '%s%s%s\n' "$command" "$line" "$plain"
  problem="this failed: ${line#* }"
  "$@"
  problem=''
}

fail() { # fail PROBLEM REMEDY
  problem=$1 remedy=${2:-}
  exit 1
}

# ended tells of a failure all that it takes to find out why.
ended() {
  local code=$?
  trap '' INT TERM
  [ "$code" != 0 ] || return 0
  set +e
  exec >&2
  if [ "$code" = 130 ]; then
    printf '\nInterrupted in step %d, %s. What there is stays; make demo goes on with it.\n' "$number" "$title"
    exit 130
  fi
  printf '\n%sFAILED in step %d, %s%s\n' "$bold" "$number" "$title" "$plain"
  tell "${problem:-the last line above says why}"
  [ -z "$waiting" ] || tell "it waited for $waiting" "and saw last: ${seen:-nothing}"
  if [ -n "$deployed" ]; then
    printf '\nThe pods, the last events, and the last words of the operator:\n'
    kubectl get pods -o wide
    kubectl get events --sort-by=.lastTimestamp | tail -n 15
    kubectl --namespace=conclave-system get pods
    kubectl --namespace=conclave-system logs deployment/conclave-operator --tail=5
  fi
  printf '\nWhat to do: %s.\n' "${remedy:-mend what is named above and run make demo again, which goes on with what there is}"
  [ -n "${CLUSTER:-}" ] || [ "$number" -lt 3 ] || printf 'To begin from nothing: make cluster-down, and then make demo.\n'
  exit "$code"
}
trap ended EXIT
trap 'exit 130' INT TERM

# await WHAT COMMAND...: waits until the command returns 0. What it prints is shown
# whenever it changes, and every 15 s, so that nobody looks at nothing.
await() {
  waiting=$1 seen=''
  shift
  local start=$SECONDS told=$SECONDS now done=''
  tell "waiting for $waiting"
  while [ -z "$done" ]; do
    if now=$("$@" 2>&1); then done=yes; fi
    if [ "$now" != "$seen" ] || ((SECONDS - told >= 15)); then
      printf '    %4d s  %s\n' $((SECONDS - start)) "$now"
      seen=$now told=$SECONDS
    fi
    if [ -z "$done" ]; then
      ((SECONDS - start < patience)) || fail "it did not come about within $patience s"
      sleep 0.3
    fi
  done
  waiting=''
}

get() { kubectl get "$1" --ignore-not-found -o jsonpath="$2"; }
field() { printf '{.status.conditions[?(@.type=="%s")].%s}' "$1" "$2"; }
sessions() { get $cc '{range .status.sessions.atRisk[?(@.pod.owner=="Deployment/worker")]}{.pod.name}{" "}{.id}{"\n"}{end}' | sort; }
holder() { get $lease '{.spec.holderIdentity}'; }
token() { get $lease '{.metadata.annotations.conclave\.dev/fencing-token}'; }

# What await waits for. Each prints what it sees.

settled() { # settled VOTERS
  local ready said voters generation observed available reason
  IFS='|' read -r ready said voters generation observed available reason <<<"$(get $cc "{.status.ready}|$(field Progressing message)|{.spec.replicas}|{.metadata.generation}|{.status.observedGeneration}|$(field Available status)|$(field Progressing reason)")"
  printf '%s ready: %s' "${ready:-none}" "${said:-the operator has not seen it yet}"
  [ "$voters $ready $available $reason" = "$1 $1/$1 True Settled" ] && [ "$generation" = "$observed" ]
}

in_line() { # every candidate has a session, and one of them the Lease
  local pods with why
  pods=$(kubectl get pods -l app=worker -o jsonpath='{range .items[*]}{.metadata.name}{"\n"}{end}' | sort)
  with=$(sessions | cut -d' ' -f1)
  why=$(kubectl get pods -l app=worker -o jsonpath='{.items[*].status.containerStatuses[*].state.waiting.reason}')
  printf '%s of %s pods have a session%s; leader: %s' "$(grep -c . <<<"$with")" "$(grep -c . <<<"$pods")" "${why:+ ($why)}" "$(holder)"
  [ "$(get $deployment '{.metadata.generation} {.status.readyReplicas} {.status.replicas}')" = "$(get $deployment '{.status.observedGeneration}') 3 3" ] &&
    [ "$pods" = "$with" ] && grep -qx "$(holder)" <<<"$pods"
}

moved() { # moved HOLDER TOKEN: to somebody else, with a higher token
  local who
  who=$(holder)
  printf 'holder: %s' "$who"
  [ -n "$who" ] && [ "$who" != "$1" ] && [ "$(token)" -gt "$2" ]
}

expiry() { # expiry SESSION: an event tells of it
  local text
  text=$(kubectl get events --field-selector=reason=SessionExpired -o jsonpath='{range .items[*]}{.message}{"\n"}{end}' | grep -F "$1" | head -n 1)
  printf '%s' "${text:-no event SessionExpired yet}"
  [ -n "$text" ]
}

show_lease() {
  show kubectl get $lease -o 'custom-columns=HOLDER:.spec.holderIdentity,SINCE:.spec.acquireTime,TRANSITIONS:.spec.leaseTransitions,FENCING-TOKEN:.metadata.annotations.conclave\.dev/fencing-token'
}

needs() { # needs PROGRAM...
  local program missing=''
  for program; do
    command -v "$program" >/dev/null || missing+=" $program"
  done
  [ -z "$missing" ] || fail "not in PATH:$missing" 'install it (Debian: apt-get install golang git make; a newer Go is at https://go.dev/dl)'
}

own_cluster() {
  step 'What this machine has to have'
  [ "$(uname -s) $(id -u)" = 'Linux 0' ] ||
    fail 'a Kubernetes on this machine needs Linux and root, for namespaces, mounts and cgroups; this is '"$(uname -s), user $(id -un)" \
      'run it as root (sudo make demo), in a virtual machine if you like, or on a Kubernetes that you have: make demo CLUSTER=current (it says what else it needs)'
  needs go git
  tell "Linux, root, git, $(go version | cut -d' ' -f3): it has them"
  [ -z "${KUBECONFIG:-}" ] || tell 'KUBECONFIG is left aside; make demo CLUSTER=current would use it'

  step 'Build the programs'
  tell 'conclave-server, conclave-operator and the plugin kubectl-conclave, into bin; the first time, Go fetches modules'
  show make --no-print-directory build VERSION="$version"

  step 'A Kubernetes on this machine'
  tell 'the first time it is compiled, which takes 11 minutes or more on two cores, and 6 GB; then it starts in 15 s'
  local nodes line
  nodes=${NODES:-$(go run ./hack/localcluster status 2>/dev/null | grep -c '^control *node' || true)}
  [ "$nodes" != 0 ] || nodes=1
  problem='the cluster did not start'
  line=$(go run ./hack/localcluster up -nodes "$nodes")
  eval "$line"
  export PATH=$PWD/bin:$PATH
  next="${line%:\$PATH}:$PWD/bin:\$PATH"
  end='make cluster-down                                 # ends this Kubernetes, and leaves nothing behind'
  show kubectl get nodes

  step 'The images, and the operator'
  IMG=conclave:$version DEMO_IMG=$sample_image
  tell 'two images, without Docker: Conclave, and the small ZooKeeper client of which three are to elect a leader'
  problem='an image could not be built'
  local arch
  arch=$(go env GOARCH)
  VERSION=$version BUILT=$(git log -1 --format=%cI 2>/dev/null) ARCHS=$arch hack/image/archive.sh dist/demo/conclave.tar "$IMG"
  ARCHS=$arch hack/demo/image.sh dist/demo/candidate.tar "$DEMO_IMG"
  problem='a node did not take an image'
  go run ./hack/localcluster load dist/demo/conclave.tar
  go run ./hack/localcluster load dist/demo/candidate.tar
}

current_cluster() {
  step "What there has to be for kubectl's current cluster"
  needs go git kubectl
  [ -n "${IMG:-}" ] && [ -n "${DEMO_IMG:-}" ] || fail 'CLUSTER=current needs IMG and DEMO_IMG, two images that the cluster can pull' \
    'make image TAG=REGISTRY/conclave:1 and make demo-image DEMO_IMG=REGISTRY/candidate:1 write them to dist; push both (docker load and docker push will do), and then run make demo CLUSTER=current IMG=REGISTRY/conclave:1 DEMO_IMG=REGISTRY/candidate:1'
  show kubectl config current-context

  step 'Build the programs'
  tell 'the plugin kubectl-conclave is among them, into bin; the first time, Go fetches modules'
  show make --no-print-directory build VERSION="$version"
  export PATH=$PWD/bin:$PATH
  next="export PATH=$PWD/bin:\$PATH"
  end='make undeploy                                     # the operator goes; what it runs stays, and serves'

  step 'The cluster that kubectl names'
  show kubectl get nodes

  step 'The images, and the operator'
  tell "$IMG" "$DEMO_IMG"
}

version=$(git describe --tags --always --dirty 2>/dev/null || echo dev)
# Another build has to have another name, or no pod would be started anew for it.
[[ $version != *-dirty ]] || version+=-$(git diff HEAD | sha256sum | cut -c1-8)
case ${CLUSTER:-} in
  '') own_cluster ;;
  current) current_cluster ;;
  *) fail "CLUSTER=$CLUSTER" 'leave CLUSTER out for a Kubernetes on this machine, or set it to current' ;;
esac
deployed=yes
show make --no-print-directory deploy IMG="$IMG"
show kubectl --namespace=conclave-system rollout status deployment/conclave-operator --timeout="${patience}s"

step 'An ensemble of three, and three programs that elect a leader'
tell 'a CoordinationCluster, with a rule that shows elections as Leases, and a Deployment of ordinary ZooKeeper clients'
if [ "$DEMO_IMG" = $sample_image ]; then
  show kubectl apply -f $sample
else
  tell "$sample, with the image $DEMO_IMG"
  sed "s|$sample_image|$DEMO_IMG|" $sample | show kubectl apply -f -
fi
await 'the ensemble: 3/3 ready, and nothing left to do' settled 3
show kubectl get cc demo
tell 'what the operator says of it:'
show kubectl get cc demo -o 'jsonpath={range .status.conditions[*]}{.type}={.status} ({.reason}): {.message}{"\n"}{end}'

step 'Who is connected, and who leads'
await 'a session for each candidate, and a leader' in_line
tell 'the ensemble knows its sessions, and the status shows them, with the pods that they are of:'
show kubectl get cc demo -o 'jsonpath={range .status.sessions.atRisk[*]}{.id} {.state} timeout {.timeoutMilliseconds} ms, {.pod.owner}: {.pod.name}{"\n"}{end}'
tell 'the election is a Lease, whose holder is the pod that leads:'
show kubectl get leases
show kubectl conclave who demo /election/worker

step "The leader's pod is deleted"
show_lease
who=$(holder) fence=$(token)
show kubectl delete pod "$who" --wait=false
tell 'it closes its session on the way out, so that the next in line leads at once:'
await "another holder than $who" moved "$who" "$fence"
show_lease
tell 'the fencing token rises with every leader: what the leader writes to can refuse one who was'
await 'the new pod, in line' in_line

step 'The leader crashes'
who=$(holder) fence=$(token)
session=$(sessions | awk -v pod="$who" '$1 == pod {print $2}')
# The container may be gone before kubectl has heard how the command ended.
show kubectl exec "$who" -- /candidate crash || true
problem=''
tell "nobody has closed session $session: it expires when its client has been silent for 6 s"
await "another holder than $who" moved "$who" "$fence"
show_lease
await 'an event that says what went with the session' expiry "$session"
await 'the container that crashed, started again and in line' in_line

step 'From three members to five'
before=$(sessions) who=$(holder) fence=$(token)
show kubectl scale cc demo --replicas=5
await 'the ensemble: 5/5 ready, and nothing left to do' settled 5
show kubectl get cc demo
show kubectl get pods -l conclave.dev/cluster=demo
await 'a session for each candidate, and a leader' in_line
[ "$before" = "$(sessions)" ] || fail "sessions were lost: there were"$'\n'"$before"$'\n'"and there are"$'\n'"$(sessions)"
[ "$who $fence" = "$(holder) $(token)" ] || fail "the leader changed from $who to $(holder)"
tell 'the candidates have the sessions that they had before:'
cut -d' ' -f2 <<<"$before" | sed 's/^/    /'
tell 'and the same one leads, with the same token:'
show_lease

step 'What to try next'
cat <<TXT
    It took $SECONDS s, and everything is left running. Paste this line into a shell:

$next

and then

    kubectl get cc,pods,leases
    kubectl describe cc demo                          # conditions, sessions, and the story in events
    kubectl conclave status demo                      # members, leader, sessions at a glance
    kubectl conclave sessions demo --watch            # every change of a session as it happens
    kubectl conclave ephemerals demo                  # ephemeral nodes, whose they are, and their Leases
    kubectl get leases -w                             # and meanwhile, in another shell:
    kubectl delete pod -l app=worker                  #   all candidates, or
    kubectl delete pod demo-0                         #   a member of the ensemble: no session ends
    kubectl logs -l app=worker --prefix               # what the candidates see of all that
    kubectl delete -f $sample    # the ensemble and the candidates go
    $end
TXT
