#!/bin/busybox sh
# First process of a virtual machine of `cargo xtask vm`: mounts, probe, one test after the other; then systemd becomes the first
# process, if a test is for it, and calls this again.
# What it says on the second serial port is read by outcome.rs; the first is the kernel's console.
export PATH=/opt/tools:/bin HOME=/root
[ -e /bin/cat ] || /bin/busybox --install -s /bin
export PROCESSGUARD_BIN=/opt/processguard PROCESSGUARD_SCALE="$(cat /opt/scale)"
# What tests that would harm another machine ask for.
export PROCESSGUARD_VM=1
# How much slower than the processor all of this is, for tests that must wait.
export PROCESSGUARD_SLOWNESS=8

uptime_s() { cut -d' ' -f1 /proc/uptime; }

# Runs the tests of a list, TARGET::NAME. What one that was ended has left running must not disturb the next one: with `alone`, all
# but this shell is killed.
run_tests() {
    while read -r name; do
        began=$(uptime_s)
        timeout -k 5 "$(cat /opt/limit)" "/opt/deps/${name%%::*}" --exact "${name#*::}" --test-threads=1 </dev/null >/tmp/log 2>&1
        status=$?
        [ "$2" = alone ] && kill -9 -1
        # A name that matches nothing also ends with 0.
        [ $status = 0 ] && { grep -q '^test result: ok. 1 passed' /tmp/log || status=1; }
        [ $status = 0 ] || tail -n 60 /tmp/log | sed 's/^/@log /'
        echo "@test $name $status $began $(uptime_s)"
    done <"$1"
}

conclude() {
    dmesg | grep -E 'BUG:|WARNING:|Oops|general protection|verifier bug' >/tmp/log
    sed 's/^/@log /' /tmp/log
    echo "@complaints $(grep -c . /tmp/log)"
    echo "@end"
    # The port's last bytes leave before the machine does.
    sleep 1
    poweroff -f
}

if [ "$1" = under-systemd ]; then
    exec </dev/null >/dev/ttyS1 2>&1
    run_tests /opt/under-systemd
    conclude
fi

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
mkdir -p /dev/pts /dev/shm
mount -t devpts -o ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
ln -s /proc/self/fd /dev/fd
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tracefs tracefs /sys/kernel/tracing
mount -t bpf bpf /sys/fs/bpf
mount -t securityfs securityfs /sys/kernel/security
ip link set lo up
# What the kernel says from here on is about us.
dmesg -c >/dev/null

exec </dev/null >/dev/ttyS1 2>&1

echo "@kernel $(uname -r) $(cat /sys/kernel/security/lsm)"

/opt/processguard probe --json >/tmp/probe 2>/tmp/log
status=$?
sed 's/^/@probe /' /tmp/probe
sed 's/^/@log /' /tmp/log
echo "@probed $status"

# Our part of the tests, as the command line says.
awk -v part="$PART" -v parts="$PARTS" 'NR % parts == part' "$LIST" >/opt/part
grep -v '^vm::systemd::' /opt/part >/opt/without-systemd
grep '^vm::systemd::' /opt/part >/opt/under-systemd
run_tests /opt/without-systemd alone
[ -s /opt/under-systemd ] || conclude
exec /lib/systemd/systemd --unit=tests.service --log-target=kmsg --show-status=no
