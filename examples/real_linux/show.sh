#!/usr/bin/env bash
# Shows what cbit is for, on an unmodified Linux kernel: an encrypted guest that streams a disk and keeps a
# secret; the same guest without encryption; and a driver's mistake, explained.
#
# usage: examples/real_linux/show.sh [PROGRAM]
#
# PROGRAM is cbit, build/release/cbit if it is not given. Takes Debian's cloud kernel, which cbit fetches
# once. The last part needs that kernel's headers and a compiler, and is left out without them.
set -euo pipefail
cd "$(dirname "$0")/../.."

program=$(realpath "${1-build/release/cbit}")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

title() { printf '\n== %s\n' "$*"; }
# Runs cbit; what is said of it has neither the folder's name nor scripts.
show() {
  local word line='$ cbit'
  for word; do
    [[ $word != *$'\n'* ]] || word="'...'"
    line+=" ${word#"$folder/"}"
  done
  printf '%s\n' "$line"
  "$program" "$@"
}

# The guest makes the secret out of another text, so that it stands in nothing that it was started with.
secret=attack-at-dawn-behind-the-old-mill
disguised=$(tr a-z n-za-m <<< "$secret")
in_guest="dmesg | grep -iE 'memory encryption|software io tlb: mapped'
echo $disguised | tr a-z n-za-m > /tmp/secret
sha256sum /dev/vda"

disk=$folder/disk.img
cat /usr/share/common-licenses/* > "$disk"
truncate -s %1M "$disk"

title "The kernel"
release=$("$program" run --quiet -- uname -r) || {
  echo "No kernel can be booted here, so the model kernel streams a disk instead."
  exec "$program" stream
}
echo "Linux $release, as Debian ships it"

title "Under SEV: the disk goes through the bounce pool, the secret is nowhere but under the guest's key"
sha256sum "$disk"
show run --sev --quiet --disk "$disk,ro" --report --secret "$secret" -- sh -c "$in_guest"

title "The same without encryption: the host finds the secret"
show run --quiet --disk "$disk,ro" --secret "$secret" -- sh -c "$in_guest"

title "A driver that forgets to sync: it works everywhere but under SEV"
headers=/usr/src/linux-headers-$release
if [[ ! -d $headers ]]; then
  echo "Left out: it is built against $headers (apt-get install linux-headers-$release)."
  exit
fi
cp -r tests/guest/driver "$folder/driver"
make -s -C "$folder/driver" HEADERS="$headers" > "$folder/make.log" 2>&1 || {
  cat "$folder/make.log" >&2
  exit 1
}
show run --sev --quiet --device test-dma --module "$folder/driver/cbit_mistakes.ko" \
  --append cbit_mistakes.mistake=no_sync --report -- true
