#!/bin/sh
# Fetches NVIDIA's user-space driver from Debian's non-free components and unpacks it into a folder.
#
#   scripts/fetch-driver.sh [--smi-only] DIR
#
# DIR becomes a driver root: /usr/bin/nvidia-smi, the libraries with their SONAME links, the firmware.
# With --smi-only it holds nvidia-smi alone. The machine's own apt sources, lists and cache stay as they are.
# Nothing is done when DIR is there already. Nothing of it may be redistributed: never commit a file of it.
set -eu

SUITE_KEYRING=debian-archive-keyring
COMPONENTS="contrib non-free non-free-firmware"
TRIPLE=x86_64-linux-gnu

SMI="nvidia-smi"
COMPUTE="libcuda1 libcudadebugger1 libnvidia-nvvm4 libnvidia-ptxjitcompiler1 libnvidia-pkcs11-openssl3
    nvidia-opencl-common nvidia-opencl-icd nvidia-cuda-mps"
UTILITY="libnvidia-ml1 libnvidia-cfg1 nvidia-driver-bin"
GRAPHICS="libegl-nvidia0 libgl1-nvidia-glvnd-glx libgles-nvidia1 libgles-nvidia2 libglx-nvidia0
    libnvidia-allocator1 libnvidia-api1 libnvidia-eglcore libnvidia-fbc1 libnvidia-glcore libnvidia-glvkspirv
    libnvidia-rtcore libnvoptix1 nvidia-egl-common nvidia-egl-icd nvidia-vulkan-common nvidia-vulkan-icd"
VIDEO="libnvcuvid1 libnvidia-encode1 libnvidia-opticalflow1 nvidia-vdpau-driver"
NGX="libnvidia-ngx1"
FIRMWARE="firmware-nvidia-gsp"

usage() {
    echo "usage: scripts/fetch-driver.sh [--smi-only] DIR" >&2
    exit 2
}

fail() {
    echo "fetch-driver: $1" >&2
    exit 1
}

packages="$SMI $COMPUTE $UTILITY $GRAPHICS $VIDEO $NGX $FIRMWARE"
if [ "${1-}" = --smi-only ]; then
    packages=$SMI
    shift
fi
[ $# -eq 1 ] || usage
case $1 in -*) usage ;; esac
dir=$1

wanted=$(echo $packages)
[ "$(cat "$dir/.fetch-driver" 2>/dev/null || true)" = "$wanted" ] && exit 0
[ -e "$dir" ] && [ -n "$(ls -A "$dir")" ] && [ ! -e "$dir/.fetch-driver" ] &&
    fail "$dir is not empty and was not made by this script: name another folder"
command -v apt-get >/dev/null || fail "apt-get not found: this needs Debian 12"

mkdir -p "$(dirname "$dir")"
dir=$(cd "$(dirname "$dir")" && pwd)/$(basename "$dir")
# One caller fetches, the others wait and find it done.
exec 9>"$dir.lock"
flock 9
[ "$(cat "$dir/.fetch-driver" 2>/dev/null || true)" = "$wanted" ] && exit 0
work=$dir.partial
rm -rf "$work"
mkdir "$work"
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP

# The machine's own Debian sources, with our components in place of theirs. Both of apt's formats are read.
private_sources() {
    mkdir -p "$work/apt/sources"
    for file in /etc/apt/sources.list.d/*.sources; do
        [ -e "$file" ] || continue
        awk -v components="$COMPONENTS" -v keyring="$SUITE_KEYRING" 'BEGIN { RS = ""; ORS = "\n\n" }
            index($0, keyring) || (!/Signed-By:/ && /URIs:[^\n]*debian/) { gsub(/Components:[^\n]*/, "Components: " components); print }' "$file"
    done >"$work/apt/sources/private.sources"
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
        awk -v keyring="$SUITE_KEYRING" '!/signed-by=/ || index($0, keyring)' |
        sed -nE "s/^(deb +(\[[^]]*\] +)?[^ ]*debian[^ ]* +[^ ]+) .*/\1 $COMPONENTS/p" \
            >"$work/apt/sources/private.list" || true
    [ -s "$work/apt/sources/private.sources" ] || [ -s "$work/apt/sources/private.list" ] ||
        fail "no Debian source in /etc/apt/sources.list or /etc/apt/sources.list.d: this needs Debian 12"
}

private_apt() {
    mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial" "$work/debs"
    cat >"$work/apt/apt.conf" <<CONF
Dir::Etc::SourceList "/dev/null";
Dir::Etc::SourceParts "$work/apt/sources";
Dir::State::Lists "$work/apt/lists";
Dir::Cache "$work/apt/cache";
APT::Architecture "amd64";
APT::Architectures { "amd64"; };
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
#clear APT::Update::Post-Invoke-Success;
#clear APT::Update::Post-Invoke;
#clear DPkg::Post-Invoke;
CONF
}

apt() {
    apt-get -q -c "$work/apt/apt.conf" "$@" >>"$work/log" 2>&1
}

# A mirror in the middle of a change answers with files that do not match: ask again.
with_retry() {
    for pause in 2 10 30 0; do
        "$@" && return 0
        sleep "$pause"
    done
    tail -n 5 "$work/log" >&2
    return 1
}

download() {
    (cd "$work/debs" && apt download $packages)
}

# What the packages' scripts do with update-alternatives: the names that programs look for.
link_names() {
    root=$work/root
    mkdir -p "$root/usr/bin"
    for program in nvidia-smi nvidia-debugdump nvidia-bug-report.sh; do
        [ -e "$root/usr/lib/nvidia/current/$program" ] || continue
        ln "$root/usr/lib/nvidia/current/$program" "$root/usr/bin/$program"
    done
    current=$root/usr/lib/$TRIPLE/nvidia/current
    [ -d "$current" ] || return 0
    for library in "$current"/lib*.so*; do
        name=$(basename "$library")
        case $name in
        libvdpau_nvidia.*) link_library vdpau "$name" ;;
        *) link_library . "$name" ;;
        esac
    done
    [ ! -e "$current/nvidia-drm_gbm.so" ] && [ ! -L "$current/nvidia-drm_gbm.so" ] || link_library gbm nvidia-drm_gbm.so
    [ ! -e "$current/nvoptix.bin" ] || link_name usr/share/nvidia/nvoptix.bin "../../lib/$TRIPLE/nvidia/current/nvoptix.bin"
}

link_library() {
    case $1 in
    .) link_name "usr/lib/$TRIPLE/$2" "nvidia/current/$2" ;;
    *) link_name "usr/lib/$TRIPLE/$1/$2" "../nvidia/current/$2" ;;
    esac
}

link_name() {
    mkdir -p "$(dirname "$root/$1")"
    [ -e "$root/$1" ] || [ -L "$root/$1" ] || ln -s "$2" "$root/$1"
}

echo "fetch-driver: fetching NVIDIA's user-space driver into $dir" >&2
private_sources
private_apt
with_retry apt update || fail "cannot read the package lists of $COMPONENTS"
with_retry download || fail "cannot fetch the packages: $wanted"
mkdir "$work/root"
for deb in "$work/debs"/*.deb; do
    dpkg -x "$deb" "$work/root"
done
link_names
[ -x "$work/root/usr/bin/nvidia-smi" ] || fail "the packages hold no nvidia-smi"
chmod 755 "$work/root"
echo "$wanted" >"$work/root/.fetch-driver"
if [ -e "$dir" ]; then
    mv "$dir" "$work/old"
fi
mv -T "$work/root" "$dir"
