#!/bin/bash
# PID 1 of the guest that uml_run.py boots. It builds a root that the command may write to, runs the command,
# and powers off. At its start / is the host's file system through hostfs, read-only.
#
# It talks with uml_run.py through one host folder: $UMLCTL on the kernel's command line, /run/ctl in the guest.
#   read    cmd       bash script that becomes the command
#           stdin     the command's standard input, if the file exists
#           keep      folders to show although they lie under a mount of the guest's own, each ended by NUL
#           write     host folders to write through to, each ended by NUL
#           modules   kernel modules to load, between blanks
#           moddir    folder with the kernel's modules, one folder a kernel release
#   written init.log  what went wrong here
#           rc        the command's exit status; without it the run has failed
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
STAGE=/run/uml # every mount point is made in a tmpfs: the host never gets a folder from us
NEW=$STAGE/new # the root to be
CTL=$STAGE/ctl

power_off() {
    echo o >/proc/sysrq-trigger
    sleep 10 # the kernel takes a moment; if it cannot, the panic over a dead PID 1 ends the UML too
    exit 1
}

fail() {
    echo "uml-init: $*" >&2
    power_off
}

mount_stage() {
    mount -n -t proc proc /proc || exit 1
    mount -n -t tmpfs -o mode=755 stage /run || fail "no tmpfs"
    mkdir -p $STAGE/rw $NEW $CTL
    mount -n -t hostfs -o "$UMLCTL" none $CTL || fail "no control folder $UMLCTL"
    exec 2>>$CTL/init.log
}

mount_root() {
    local modules
    modules=$(<$CTL/moddir)/$(uname -r)
    insmod "$modules/kernel/fs/overlayfs/overlay.ko" || fail "no overlay module in $modules"
    mount -n -t tmpfs -o mode=755,size=90% rw $STAGE/rw || fail "no tmpfs for the root's writes"
    mkdir $STAGE/rw/upper $STAGE/rw/work
    mount -n -t overlay root $NEW \
        -o "lowerdir=/,upperdir=$STAGE/rw/upper,workdir=$STAGE/rw/work,xino=off,redirect_dir=off" ||
        fail "no overlay root"
    cd $NEW || fail "no new root"
    mkdir -p lib/modules run tmp proc sys dev
    ln -sfn "$modules" "lib/modules/$(uname -r)"
}

# What lies under /tmp, /run or /dev is about to be covered: take a bind mount of it first.
save_kept_folders() {
    local folder count=0
    while IFS= read -r -d '' folder; do
        mkdir -p "$STAGE/keep/$count"
        mount -n --bind "$NEW$folder" "$STAGE/keep/$count" || fail "cannot keep $folder"
        count=$((count + 1))
    done <$CTL/keep
}

show_kept_folders() {
    local folder count=0
    while IFS= read -r -d '' folder; do
        mkdir -p ".$folder"
        mount -n --bind "$STAGE/keep/$count" ".$folder" || fail "cannot show $folder"
        count=$((count + 1))
    done <$CTL/keep
}

make_node() { # NAME MODE MAJOR MINOR: a device whose driver is a module still to be loaded by its opening
    [ -e "dev/$1" ] || mknod -m "$2" "dev/$1" c "$3" "$4"
}

make_link() { # NAME TARGET
    [ -e "dev/$1" ] || ln -s "$2" "dev/$1"
}

mount_system_folders() {
    mount -n -t tmpfs -o mode=755 run run
    mount -n -t tmpfs -o mode=1777 tmp tmp
    mount -n -t proc proc proc
    mount -n -t sysfs sys sys
    mount -n -t cgroup2 cgroup sys/fs/cgroup
    mount -n -t devtmpfs dev dev
    mkdir -p dev/pts dev/shm dev/net run/lock run/netns run/ctl
    mount -n -t devpts -o gid=5,mode=620,ptmxmode=666 pts dev/pts
    mount -n -t tmpfs -o mode=1777 shm dev/shm
    mount -n --bind $CTL run/ctl || fail "no /run/ctl"
    make_node net/tun 666 10 200
    make_node loop-control 660 10 237
    make_node fuse 666 10 229
    make_link fd /proc/self/fd
    make_link stdin /proc/self/fd/0
    make_link stdout /proc/self/fd/1
    make_link stderr /proc/self/fd/2
}

mount_written_folders() {
    local folder
    while IFS= read -r -d '' folder; do
        mkdir -p ".$folder"
        mount -n -t hostfs -o "$folder" none ".$folder" || fail "cannot write through to $folder"
    done <$CTL/write
}

# pivot_root and not chroot: it moves the kernel's own threads too, so modules autoload from the new /lib/modules.
enter_root() {
    mkdir -p run/oldroot
    pivot_root . run/oldroot || fail "no pivot_root"
    cd / || fail "no root"
    umount -n -l /run/oldroot
    rmdir /run/oldroot
    CTL=/run/ctl
    exec 2>>$CTL/init.log
}

set_up_system() {
    local module
    ip link set lo up
    hostname uml
    ulimit -n 65536 -c 0
    for module in $(<$CTL/modules); do
        modprobe "$module" || fail "cannot load module $module"
    done
}

# The command writes into two FIFOs, not to the serial lines themselves: to it they would be terminals.
run_command() {
    local command input=/dev/null
    stty -F /dev/ttyS0 raw -echo
    stty -F /dev/ttyS1 raw -echo
    mkfifo /run/out /run/err
    cat </run/out >/dev/ttyS0 &
    out=$!
    cat </run/err >/dev/ttyS1 &
    err=$!
    [ -e $CTL/stdin ] && input=$CTL/stdin
    setsid /bin/bash $CTL/cmd <$input >/run/out 2>/run/err &
    command=$!
    wait $command
    status=$?
}

# Processes that the command left behind may hold its output open: wait a moment for the last of it, not for ever.
drain_output() {
    local count
    for ((count = 0; count < 15; count++)); do
        kill -0 $out || kill -0 $err || break
        sleep 0.1
    done 2>/dev/null
    stty -F /dev/ttyS0 raw # changing a setting waits until everything before it is sent
    stty -F /dev/ttyS1 raw
}

# hostfs writes late: whatever is not on the host at power-off is lost.
hand_back() {
    local _ folder type
    while read -r _ folder type _; do
        [ "$type" = hostfs ] && sync -f "$(printf %b "$folder")"
    done </proc/mounts
    echo "$status" >$CTL/rc.new
    mv $CTL/rc.new $CTL/rc
    sync -f $CTL/rc
}

mount_stage
mount_root
save_kept_folders
mount_system_folders
show_kept_folders
mount_written_folders
enter_root
set_up_system
run_command
drain_output
hand_back
power_off
