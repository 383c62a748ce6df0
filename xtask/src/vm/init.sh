#!/bin/busybox sh
# First process of a virtual machine of `cargo xtask vm`: mounts, probe, one test after the other.
# What it says on the second serial port is read by outcome.rs; the first is the kernel's console.
/bin/busybox --install -s /bin
export PATH=/opt/tools:/bin HOME=/root
export PROCESSGUARD_BIN=/opt/processguard PROCESSGUARD_SCALE="$(cat /opt/scale)"
# What tests that would harm another machine ask for.
export PROCESSGUARD_VM=1
# How much slower than the processor all of this is, for tests that must wait.
export PROCESSGUARD_SLOWNESS=8

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
uptime_s() { cut -d' ' -f1 /proc/uptime; }

echo "@kernel $(uname -r) $(cat /sys/kernel/security/lsm)"

/opt/processguard probe --json >/tmp/probe 2>/tmp/log
status=$?
sed 's/^/@probe /' /tmp/probe
sed 's/^/@log /' /tmp/log
echo "@probed $status"

# Our part of the tests, as the command line says.
awk -v part="$PART" -v parts="$PARTS" 'NR % parts == part' /opt/tests >/opt/part
while read -r name; do
    began=$(uptime_s)
    # TARGET::NAME
    timeout -k 5 "$(cat /opt/limit)" "/opt/deps/${name%%::*}" --exact "${name#*::}" --test-threads=1 </dev/null >/tmp/log 2>&1
    status=$?
    # What a test that was ended has left running must not disturb the next one: all but this shell.
    kill -9 -1
    # A name that matches nothing also ends with 0.
    [ $status = 0 ] && { grep -q '^test result: ok. 1 passed' /tmp/log || status=1; }
    [ $status = 0 ] || tail -n 60 /tmp/log | sed 's/^/@log /'
    echo "@test $name $status $began $(uptime_s)"
done </opt/part

dmesg | grep -E 'BUG:|WARNING:|Oops|general protection|verifier bug' >/tmp/log
sed 's/^/@log /' /tmp/log
echo "@complaints $(grep -c . /tmp/log)"
echo "@end"
# The port's last bytes leave before the machine does.
sleep 1
poweroff -f
