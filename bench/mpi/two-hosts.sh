#!/usr/bin/env bash
# Two network namespaces of this machine as two hosts, `left` and `right`, with one cable between them: MPI's TCP transport, and what a
# generation takes over a slow link, without a cluster. Needs Linux, root, and iproute2.
#
#   two-hosts.sh up [MBIT]        makes them; the cable carries MBIT Mbit/s each way (default: as fast as it can)
#   two-hosts.sh in HOST COMMAND  runs a command on one of them
#   two-hosts.sh mpirun ARGS      Open MPI's launcher on `left`, for ranks on both: mpirun --host left:1,right:1 -np 2 node ...
#   two-hosts.sh mpiexec ARGS     MPICH's launcher, the same: mpiexec -hosts left:1,right:1 -n 2 node ...
#   two-hosts.sh bytes            what the cable has carried, in bytes
#   two-hosts.sh down             takes them away
#
# Launchers start what belongs to them on other hosts by a remote shell; this script is one: two-hosts.sh left|right COMMAND.
set -euo pipefail
self=$(realpath "$0")

inside() { # host, command
  local host=$1
  shift
  ip netns exec "$host" unshare --uts sh -c 'hostname "$0" && exec "$@"' "$host" "$@"
}

up() {
  ip netns add left
  ip netns add right
  ip link add cable netns left type veth peer name cable netns right
  local number=1
  for host in left right; do
    ip -n $host link set lo up
    ip -n $host addr add 10.77.0.$number/24 dev cable
    ip -n $host link set cable up
    if [ -n "${1:-}" ]; then tc -n $host qdisc add dev cable root tbf rate "$1mbit" burst 256kb latency 50ms; fi
    mkdir -p /etc/netns/$host
    printf '127.0.0.1 localhost\n10.77.0.1 left\n10.77.0.2 right\n' >/etc/netns/$host/hosts
    number=$((number + 1))
  done
}

down() {
  for host in left right; do
    ip netns del $host 2>/dev/null || true
    rm -rf /etc/netns/$host
  done
}

# The flags of ssh, which launchers put before the host or after it.
while [[ ${1:-} == -* ]]; do shift; done
command=${1:-help}
[ $# -gt 0 ] && shift
case $command in
  up) up "$@" ;;
  down) down ;;
  in) inside "$@" ;;
  bytes) inside left cat /sys/class/net/cable/statistics/tx_bytes ;;
  mpirun)
    export OMPI_MCA_plm_rsh_agent=$self OMPI_MCA_btl=tcp,self OMPI_MCA_pml=ob1
    export OMPI_MCA_btl_tcp_if_include=cable OMPI_MCA_oob_tcp_if_include=cable
    export PRTE_MCA_plm_ssh_agent=$self PRTE_MCA_prte_if_include=cable
    inside left mpirun --allow-run-as-root --bind-to none "$@"
    ;;
  mpiexec)
    # Else UCX finds the shared memory that the two really have.
    export HYDRA_LAUNCHER=ssh HYDRA_LAUNCHER_EXEC=$self HYDRA_IFACE=cable UCX_TLS=tcp,self UCX_NET_DEVICES=cable
    inside left "$(command -v mpiexec.mpich || command -v mpiexec)" "$@"
    ;;
  left | right)
    while [[ ${1:-} == -* ]]; do shift; done
    inside "$command" sh -c "$*"
    ;;
  *) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$self" ;;
esac
