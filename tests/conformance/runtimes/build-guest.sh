#!/bin/sh
# Builds a tiny virtual machine: Debian's cloud kernel and a busybox initramfs that leases an address.
#
#   build-guest.sh DEST      makes DEST/vmlinuz and DEST/initramfs.gz; does nothing when this very script has made them before
#
# The kernel package is downloaded and unpacked, never installed. What the guest does is the text of
# `init` below: it prints lines that start with "guest " on the serial port and waits to be switched off there.
set -eu

[ $# -eq 1 ] || { echo "usage: build-guest.sh DEST" >&2; exit 2; }
script=$(readlink -f "$0")
mkdir -p "$1"
dest=$(readlink -f "$1")
# Each module stands after the modules it needs: the guest has no modprobe.
modules="virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci failover net_failover virtio_net"
recipe=$(sha256sum <"$script")

if [ -f "$dest/vmlinuz" ] && [ -f "$dest/initramfs.gz" ] && [ "$(cat "$dest/guest.recipe" 2>/dev/null)" = "$recipe" ]; then
    echo "guest: $dest/vmlinuz and $dest/initramfs.gz are up to date"
    exit 0
fi

work=$(mktemp -d "$dest/guest-build.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
chmod 755 "$work"

kernel=$(apt-cache depends --important linux-image-cloud-amd64 | sed -n 's/^ *Depends: *\(linux-image-[0-9].*\)$/\1/p' | head -n 1)
[ -n "$kernel" ] || { echo "guest: linux-image-cloud-amd64 names no kernel package (apt-get update?)" >&2; exit 1; }
echo "guest: 1/3 fetching $kernel"
(cd "$work" && apt-get -q -o APT::Sandbox::User=root download "$kernel")
echo "guest: 2/3 unpacking it"
dpkg -x "$work"/linux-image-*.deb "$work/kernel"

echo "guest: 3/3 packing the initramfs"
root=$work/root
mkdir -p "$root/bin" "$root/dev" "$root/proc" "$root/sys" "$root/modules"
cp /bin/busybox "$root/bin/busybox"
number=10
for module in $modules; do
    cp "$(find "$work/kernel/lib/modules" -name "$module.ko")" "$root/modules/$number-$module.ko"
    number=$((number + 1))
done
cat >"$root/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do insmod "$module"; done
ip link set eth0 up
echo "guest mac $(cat /sys/class/net/eth0/address)"
echo "guest mtu $(cat /sys/class/net/eth0/mtu)"
udhcpc -i eth0 -f -q -n -t 10 -T 1 -s /lease || echo "guest lease none"
echo "guest done"
while read -r word argument; do
    case $word in
    ping) ping -c 1 -W 3 "$argument" >/dev/null && echo "guest ping $argument yes" || echo "guest ping $argument no" ;;
    poweroff) poweroff -f ;;
    esac
done
INIT
cat >"$root/lease" <<'LEASE'
#!/bin/busybox sh
[ "$1" = bound ] || exit 0
ip address add "$ip/$mask" dev "$interface"
echo "guest lease $ip server $serverid"
LEASE
chmod +x "$root/init" "$root/lease"
(cd "$root" && find . | cpio --quiet -o -H newc | gzip -9) >"$work/initramfs.gz"
mv "$work"/kernel/boot/vmlinuz-* "$dest/vmlinuz"
mv "$work/initramfs.gz" "$dest/initramfs.gz"
echo "$recipe" >"$dest/guest.recipe"
echo "guest: built $dest/vmlinuz ($(du -h "$dest/vmlinuz" | cut -f1)) and $dest/initramfs.gz ($(du -h "$dest/initramfs.gz" | cut -f1))"
