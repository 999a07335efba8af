#!/bin/sh
# Makes a certificate authority for development, and a server and a client certificate under it.
# Needs openssl (1.1.1 or newer) and nothing else. For production, use certificates of your own
# authority: whoever has ca.key can pretend to be any server that trusts ca.pem.
#
# Run it as often as you like: what is there, still valid and fits together stays untouched. A
# private key is never readable by anyone but its owner, not even while it is being written.

set -eu

usage() {
    cat <<'END'
Usage: certs/generate.sh [--out DIRECTORY] [--force] [NAME ...]

  NAME      a host name or IP address that the server certificate is for
            (localhost, 127.0.0.1 and ::1 always are)
  --out     where to write to; the directory of this script otherwise
  --force   make everything anew, the authority too

Writes ca.pem ca.key, server.pem server.key, client.pem client.key.
END
}

ca_days=365
leaf_days=90
# A certificate with less than this left is made anew.
renew_seconds=$((7 * 24 * 60 * 60))

say() { printf '%s\n' "$*"; }
die() { printf 'generate.sh: %s\n' "$*" >&2; exit "${code:-1}"; }

is_address() {
    case $1 in
    *:*) return 0 ;;
    *[!0-9.]*) return 1 ;;
    *) return 0 ;;
    esac
}

# A new P-256 key in $1.
make_key() {
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>"$work/log" ||
        die "openssl could not make a key: $(cat "$work/log")"
}

# Whether key $2 belongs to certificate $1, and the certificate lasts for a while yet.
is_usable() {
    [ -s "$1" ] && [ -s "$2" ] || return 1
    openssl x509 -in "$1" -noout -checkend "$renew_seconds" >/dev/null 2>&1 || return 1
    of_certificate=$(openssl x509 -in "$1" -noout -pubkey 2>/dev/null) || return 1
    of_key=$(openssl pkey -in "$2" -pubout 2>/dev/null) || return 1
    [ "$of_certificate" = "$of_key" ]
}

is_ours() {
    openssl verify -CAfile "$out/ca.pem" -purpose "$2" "$1" >/dev/null 2>&1
}

# Whether the server certificate holds every name that was asked for. "does match" is what
# openssl prints; its exit code says nothing.
covers_names() {
    for name in $names; do
        if is_address "$name"; then check=-checkip; else check=-checkhost; fi
        openssl x509 -in "$out/server.pem" -noout "$check" "$name" 2>/dev/null |
            grep -q 'does match' || return 1
    done
}

# Puts key and certificate $1 in their place: the key first, so that no certificate is ever
# without its key, each by a rename, so that nobody reads half a file.
install_pair() {
    chmod 600 "$work/$1.key"
    chmod 644 "$work/$1.pem"
    mv -f "$work/$1.key" "$out/$1.key"
    mv -f "$work/$1.pem" "$out/$1.pem"
    say "made    $out/$1.pem and $1.key"
}

make_ca() {
    make_key "$work/ca.key"
    cat >"$work/ca.cnf" <<'END'
[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
CN = Attache development CA
[extensions]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
END
    openssl req -x509 -new -sha256 -key "$work/ca.key" -days "$ca_days" \
        -config "$work/ca.cnf" -out "$work/ca.pem" 2>"$work/log" ||
        die "openssl could not make the authority: $(cat "$work/log")"
    install_pair ca
}

# A certificate named $1 for the purpose $2, with the alternative names $3 (or none).
make_leaf() {
    make_key "$work/$1.key"
    {
        say "basicConstraints = critical, CA:FALSE"
        say "keyUsage = critical, digitalSignature"
        say "extendedKeyUsage = $2"
        say "subjectKeyIdentifier = hash"
        say "authorityKeyIdentifier = keyid"
        if [ -n "$3" ]; then say "subjectAltName = $3"; fi
    } >"$work/$1.ext"
    printf '[req]\ndistinguished_name = name\nprompt = no\n[name]\nCN = attache-%s\n' "$1" \
        >"$work/$1.cnf"
    serial=0x$(openssl rand -hex 16)
    {
        openssl req -new -sha256 -key "$work/$1.key" -config "$work/$1.cnf" \
            -out "$work/$1.csr" &&
            openssl x509 -req -sha256 -in "$work/$1.csr" -days "$leaf_days" \
                -CA "$out/ca.pem" -CAkey "$out/ca.key" -set_serial "$serial" \
                -extfile "$work/$1.ext" -out "$work/$1.pem"
    } 2>"$work/log" || die "openssl could not make the $1 certificate: $(cat "$work/log")"
    install_pair "$1"
}

alternative_names() {
    list=
    for name in $names; do
        if is_address "$name"; then kind=IP; else kind=DNS; fi
        list="${list:+$list,}$kind:$name"
    done
    say "$list"
}

case $0 in
*/*) here=${0%/*} ;;
*) here=. ;;
esac
out=$(CDPATH='' cd -- "$here" && pwd)
force=no
names="localhost 127.0.0.1 ::1"
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help)
        usage
        exit 0
        ;;
    --force) force=yes ;;
    --out)
        [ $# -ge 2 ] || code=2 die "--out needs a directory"
        out=$2
        shift
        ;;
    -*) code=2 die "unknown option $1 (--help shows them all)" ;;
    '' | *[!A-Za-z0-9.:_*-]*) code=2 die "'$1' is neither a host name nor an IP address" ;;
    *) names="$names $1" ;;
    esac
    shift
done

# A name like *.example.com is meant as it stands.
set -f

command -v openssl >/dev/null 2>&1 ||
    die "openssl is needed and not installed (Debian: apt-get install openssl)"

umask 077
mkdir -p -- "$out"
# Beside the target, so that the renames stay within one file system.
work=$(mktemp -d "$out/.generate.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
trap 'exit 1' HUP INT TERM

if [ "$force" = no ] && is_usable "$out/ca.pem" "$out/ca.key"; then
    say "kept    $out/ca.pem and ca.key"
else
    make_ca
fi
if [ "$force" = no ] && is_usable "$out/server.pem" "$out/server.key" &&
    is_ours "$out/server.pem" sslserver && covers_names; then
    say "kept    $out/server.pem and server.key"
else
    make_leaf server serverAuth "$(alternative_names)"
fi
if [ "$force" = no ] && is_usable "$out/client.pem" "$out/client.key" &&
    is_ours "$out/client.pem" sslclient; then
    say "kept    $out/client.pem and client.key"
else
    make_leaf client clientAuth ""
fi
# Also where somebody loosened them since.
chmod 600 "$out/ca.key" "$out/server.key" "$out/client.key"
