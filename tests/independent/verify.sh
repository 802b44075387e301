#!/usr/bin/env bash
# Checks a bundle of `casegate audit export` with nothing but openssl, sha256sum,
# base64, xxd, od, awk, coreutils and bash: sums, the roster chain from the pin,
# checkpoints, cosignatures, the root from all hash tiles, proofs, receipts, and
# of a sample of records the signature, the leaf and the body.
#
#   verify.sh BUNDLE --policy FILE [--records N|all] [--also INDEX]
#
# Prints a line for each finding (`CODE PATH`) and for each log's verdicts, with
# the words of PROTOCOL.md section 15. Of the keys' validity it checks only that a
# roster names them, and of erased bodies only that the bundle calls them so.
# Exit code: 0 nothing wrong, 1 something is wrong, 2 could not run, 5 the bundle has a
# newer format than the one that is read here.
set -u
export LC_ALL=C
unset BASH_ENV POSIXLY_CORRECT

die() { echo "$*" >&2; exit 2; }

bundle= policy= records=200 also= notes_max=12
while [ $# -gt 0 ]; do
    case $1 in
        --policy) policy=${2:?}; shift ;;
        --records) records=${2:?}; shift ;;
        --also) also=${2:?}; shift ;;
        *) bundle=$1 ;;
    esac
    shift
done
[ -n "$bundle" ] && [ -r "$policy" ] || die "usage: verify.sh BUNDLE --policy FILE [--records N|all]"

tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
if [ -f "$bundle" ]; then
    mkdir "$tmp/bundle"; tar -xf "$bundle" -C "$tmp/bundle" || die "no tar file"; bundle=$tmp/bundle
fi
[ -d "$bundle" ] || die "$bundle is no bundle"
bundle=$(cd "$bundle" && pwd)

: >"$tmp/findings"; : >"$tmp/verdicts.all"
find_() { printf '%s %s\n' "$1" "$2" >>"$tmp/findings"; }

setting() { sed -n "s/^$1 *= *\"\{0,1\}\([^\"]*\)\"\{0,1\} *\$/\1/p" "$policy" | head -1; }
federation=$(setting federation); pin=$(setting roster_pin)
[ -n "$federation" ] && [ "${#pin}" = 64 ] || die "the policy names no federation or no pin"
member=$(sed -n 's/.*"member" *: *"\([a-z0-9.-]*\)".*/\1/p' "$bundle/bundle.json" 2>/dev/null | head -1)
[ -n "$member" ] || die "bundle.json names no member"
format=$(sed -n 's/.*"format" *: *\([0-9][0-9]*\) *[,}].*/\1/p; s/.*"format" *: *\([0-9][0-9]*\)$/\1/p' "$bundle/bundle.json" | head -1)
case $format in
    1) ;;
    "" | 0*) die "bundle.json names no format that there ever was" ;;
    *) echo "bundle.newer: format $format; this verifier reads format 1" >&2; exit 5 ;;
esac

# --- bytes -------------------------------------------------------------------

slice() { tail -c +"$(($2 + 1))" "$1" | head -c "$3"; }      # FILE OFFSET LENGTH
unhex() { xxd -r -p; }
hex() { xxd -p | tr -d '\n'; }
sha() { sha256sum | cut -c1-64; }
b64hex() { base64 -d 2>/dev/null <<<"$1" | hex; }
node() { put "01$1$2" | sha; }                                # RFC 6962

# Takes protobuf apart: `PATH VALUE` for numbers, `PATH OFFSET LENGTH` for bytes.
# Messages inside are entered at the paths in $2, such as " 6 6.7 ".
walk() {
    od -An -v -tu1 -w1 "$1" | awk -v inside="$2" '
        { b[NR - 1] = $1 + 0 }
        function varint(end,   n, m) {
            n = 0; m = 1
            while (at < end) {
                n += (b[at] % 128) * m; m *= 128
                if (b[at++] < 128) return n
            }
            bad = 1; return 0
        }
        function message(start, end, path,   tag, kind, size, here) {
            at = start
            while (at < end && !bad) {
                tag = varint(end); kind = tag % 8; here = path (path == "" ? "" : ".") int(tag / 8)
                if (kind == 0) print here, varint(end)
                else if (kind == 2) {
                    size = varint(end)
                    if (at + size > end) { bad = 1; return }
                    print here, at, size
                    if (index(inside, " " here " ")) { message(at, at + size, here) }
                    else at += size
                } else bad = 1
            }
        }
        END { message(0, NR, ""); exit bad }'
}

# --- Ed25519 -----------------------------------------------------------------

# Points of small order, and spellings that are not canonical.
weak() {
    local top; printf -v top %02x $((0x${1:62:2} & 127))
    case ${1:0:62}$top in
        0000000000000000000000000000000000000000000000000000000000000000 | \
        0100000000000000000000000000000000000000000000000000000000000000 | \
        26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05 | \
        c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a) return 0 ;;
        e[c-f]ffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f | \
        f?ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f) return 0 ;;
    esac
    return 1
}

put() { # bytes from hex; few by the shell itself, which is quicker than a process
    [ ${#1} -lt 2048 ] || { xxd -r -p <<<"$1"; return; }
    local out= i
    for ((i = 0; i < ${#1}; i += 2)); do out+=\\x${1:i:2}; done
    printf "$out"
}

holds() { # KEY(hex) SIGNATURE(hex) FILE
    [ "${#1}" = 64 ] && [ "${#2}" = 128 ] && ! weak "$1" && ! weak "${2:0:64}" || return 1
    [ -f "$tmp/key.$1" ] || put "302a300506032b6570032100$1" >"$tmp/key.$1"
    put "$2" >"$tmp/sig"
    openssl pkeyutl -verify -pubin -keyform DER -inkey "$tmp/key.$1" -rawin -in "$3" \
        -sigfile "$tmp/sig" >/dev/null 2>&1
}

pae() { printf 'DSSEv1 %d %s %d ' "${#1}" "$1" "$(stat -c %s "$2")"; cat "$2"; }  # TYPE FILE

# --- SHA256SUMS --------------------------------------------------------------

check_sums() {
    (cd "$bundle" && find . -type f ! -path ./SHA256SUMS | sed 's,^\./,,' | sort) >"$tmp/present"
    : >"$tmp/listed"
    [ -f "$bundle/SHA256SUMS" ] && cut -c67- "$bundle/SHA256SUMS" | sort >"$tmp/listed"
    comm -3 "$tmp/present" "$tmp/listed" | tr -d '\t' | while read -r name; do
        find_ sums.missing "$name"
    done
    [ -f "$bundle/SHA256SUMS" ] || return 0
    { (cd "$bundle" && sha256sum -c --quiet SHA256SUMS 2>/dev/null) || true; } |
        sed -n 's/: FAILED$//p' | while read -r name; do find_ sums.mismatch "$name"; done
}

# --- Rosters -----------------------------------------------------------------

signed_by() { # ROOTS-FILE THRESHOLD: enough of these roots signed $tmp/roster
    local good=0 key signature id seen=" "
    while read -r id signature; do
        key=$(awk -v id="$id" '$1 == id { print $2 }' "$1")
        [ -n "$key" ] || continue
        holds "$key" "$signature" "$tmp/signed" || return 1
        case $seen in *" $id "*) ;; *) good=$((good + 1)); seen="$seen$id " ;; esac
    done <"$tmp/signatures"
    [ "$good" -ge "$2" ]
}

# Fills keys.USE.MEMBER with lines `ID KEY`, witnesses.MEMBER, quorum.
read_members() {
    local roster=$1
    awk '$1 == "6" || $1 == "8" || index($1, "6.") == 1 || index($1, "8.") == 1' "$tmp/fields" >"$tmp/members"
    local who= use= key= path a b
    while read -r path a b; do
        case $path in
            6) who= ;;
            6.1) who=$(slice "$roster" "$a" "$b"); : >"$tmp/witnesses.$who" ;;
            6.7) use= ;;
            6.7.1) use=$a ;;
            6.7.3) key=$(slice "$roster" "$a" "$b" | hex)
                printf '%s %s\n' "$(printf %s "$key" | unhex | sha | cut -c1-8)" "$key" >>"$tmp/keys.$use.$who" ;;
            6.7.6) echo "$a" >"$tmp/revoked.$use.$key"       # at this size
                [ -f "$tmp/since.$use.$key" ] || echo $((number - 1)) >"$tmp/since.$use.$key" ;;
            6.10) slice "$roster" "$a" "$b" >>"$tmp/witnesses.$who"; echo >>"$tmp/witnesses.$who" ;;
            8.4) quorum=$a ;;
        esac
    done <"$tmp/members"
}

quorum=0 versions=0
check_rosters() {
    local number=1 file digest previous= last path
    last=$(cd "$bundle/roster" 2>/dev/null && ls | grep -E '^[0-9]{6,}$' | tail -1 || true)
    last=$((10#${last:-1}))
    for ((number = 1; number <= last; number++)); do
        path=$(printf 'roster/%06d' "$number"); file=$bundle/$path
        if ! one_roster "$file" "$number" "$previous"; then
            find_ "$roster_fault" "$path"; break
        fi
        previous=$digest versions=$number
        { printf '\0'; cat "$tmp/roster"; } | sha >>"$tmp/roster.leaves"
    done
    local setting_; setting_=$(setting quorum); quorum=${setting_:-$quorum}
}

one_roster() {
    local file=$1 number=$2 previous=$3 a b
    roster_fault=roster.chain
    [ -f "$file" ] && walk "$file" " 2 " >"$tmp/outer" || return 1
    read -r _ a b < <(grep '^1 ' "$tmp/outer") || return 1
    slice "$file" "$a" "$b" >"$tmp/roster"
    digest=$(sha <"$tmp/roster")
    [ "$number" != 1 ] || [ "$digest" = "$pin" ] || return 1
    walk "$tmp/roster" " 6 6.7 8 " >"$tmp/fields" || return 1
    field() { awk -v p="$1" '$1 == p { print $2; exit }' "$tmp/fields"; }
    bytes() { awk -v p="$1" '$1 == p { print $2, $3 }' "$tmp/fields"; }
    [ "$(field 1)" = "$number" ] || return 1
    read -r a b < <(bytes 2) && [ "$(slice "$tmp/roster" "$a" "$b")" = "$federation" ] || return 1
    local named=; read -r a b < <(bytes 3) && named=$(slice "$tmp/roster" "$a" "$b" | hex)
    [ "$named" = "$previous" ] || return 1
    bytes 4 | while read -r a b; do
        key=$(slice "$tmp/roster" "$a" "$b" | hex)
        printf '%s %s\n' "$(printf %s "$key" | unhex | sha | cut -c1-8)" "$key"
    done >"$tmp/roots.$number"
    roster_fault=roster.signature
    pae application/vnd.casegate.roster.v1+protobuf "$tmp/roster" >"$tmp/signed"
    awk '$1 == "2.1" { id = $2 " " $3 } $1 == "2.2" { print id, $2, $3 }' "$tmp/outer" |
        while read -r a b c d; do
            printf '%s %s\n' "$(slice "$file" "$a" "$b" | hex)" "$(slice "$file" "$c" "$d" | hex)"
        done >"$tmp/signatures"
    field 5 >"$tmp/threshold.$number"
    signed_by "$tmp/roots.$number" "$(cat "$tmp/threshold.$number")" || return 1
    [ "$number" = 1 ] || signed_by "$tmp/roots.$((number - 1))" "$(cat "$tmp/threshold.$((number - 1))")" || return 1
    read_members "$tmp/roster"
}

# --- Checkpoints -------------------------------------------------------------

note_id() { { printf '%s\n' "$1"; printf '%s%s' "$2" "$3" | unhex; } | sha | cut -c1-8; }

# Opens a note: sets note_size, note_root (hex), note_times, fault.
open_note() { # FILE ORIGIN MEMBER [PATH for findings of cosignatures]
    local file=$1 origin=$2 who=$3 path=${4-} line name raw lines ids= key good=0 invalid=0
    local ends=revoked; [ "$who" != @roster ] || ends=since
    fault=checkpoint.malformed note_times=
    [ -f "$file" ] && [ "$(stat -c %s "$file")" -le 65536 ] || return 1
    local gap; gap=$(grep -n '^$' "$file" | head -1 | cut -d: -f1)
    [ -n "$gap" ] && [ "$gap" -ge 4 ] || return 1
    ! tr -d '\n' <"$file" | grep -q '[[:cntrl:]]' || return 1
    head -n $((gap - 1)) "$file" >"$tmp/text"
    { read -r text_origin; read -r note_size; read -r text_root; } <"$tmp/text"
    [[ $note_size =~ ^(0|[1-9][0-9]{0,18})$ ]] || return 1
    note_root=$(b64hex "$text_root"); [ "${#note_root}" = 64 ] || return 1
    [ "$(printf %s "$note_root" | unhex | base64 -w0)" = "$text_root" ] || return 1
    tail -n +$((gap + 1)) "$file" >"$tmp/lines"
    [ -s "$tmp/lines" ] && [ -z "$(tail -c 1 "$file")" ] || return 1
    while IFS= read -r line; do
        [[ $line =~ ^$'\xe2\x80\x94 '([^ +]+)' '([A-Za-z0-9+/=]+)$ ]] || return 1
        raw=$(b64hex "${BASH_REMATCH[2]}"); [ "${#raw}" -ge 10 ] || return 1
        [ "$(printf %s "$raw" | unhex | base64 -w0)" = "${BASH_REMATCH[2]}" ] || return 1
        printf '%s %s %s\n' "${BASH_REMATCH[1]}" "${raw:0:8}" "${raw:8}"
    done <"$tmp/lines" >"$tmp/parsed" || return 1
    fault=checkpoint.origin; [ "$text_origin" = "$origin" ] || return 1
    fault=checkpoint.signature
    if [ ! -f "$tmp/ids.$who" ]; then : >"$tmp/ids.$who"; fi
    : >"$tmp/own"; : >"$tmp/others"
    sort -u "$tmp/keys.2.$who" 2>/dev/null | while read -r _ key; do
        printf '%s %s\n' "$(note_id "$origin" 01 "$key")" "$key"
    done >"$tmp/log.ids"
    while read -r name id raw; do
        key=$(awk -v id="$id" '$1 == id { print $2 }' "$tmp/log.ids")
        if [ "$name" != "$origin" ] || [ -z "$key" ]; then
            printf '%s %s %s\n' "$name" "$id" "$raw" >>"$tmp/others"; continue
        fi
        holds "$key" "$raw" "$tmp/text" || return 1
        [ -f "$tmp/$ends.2.$key" ] && [ "$note_size" -gt "$(cat "$tmp/$ends.2.$key")" ] || good=1
    done <"$tmp/parsed"
    [ "$good" = 1 ] || return 1
    fault=checkpoint.malformed; [ "$gap" = 4 ] || return 1    # casegate's logs have no extensions
    fault=
    [ -n "$path" ] || return 0
    while read -r name id raw; do cosignature "$name" "$id" "$raw" "$path" "$who"; done <"$tmp/others"
    [ "$invalid" = 0 ] || note_times=
}

cosignature() {
    local name=$1 id=$2 raw=$3 path=$4 who=$5 witness key= found= time
    witness=${name#"$federation/"}; witness=${witness%/witness}
    if [ "$name" = "$federation/$witness/witness" ] && grep -qx "$witness" "$tmp/witnesses.$who" 2>/dev/null; then
        while read -r _ key; do
            [ "$(note_id "$name" 04 "$key")" = "$id" ] && found=$key
        done < <(sort -u "$tmp/keys.3.$witness" 2>/dev/null)
    fi
    [ -n "$found" ] || { find_ cosignature.unknown "$path"; return 0; }
    time=$((0x${raw:0:16}))
    { printf 'cosignature/v1\ntime %d\n' "$time"; cat "$tmp/text"; } >"$tmp/cosigned"
    if holds "$found" "${raw:16}" "$tmp/cosigned"; then
        [ -f "$tmp/revoked.3.$found" ] || note_times="$note_times $witness"
    else find_ cosignature.invalid "$path"; invalid=1; fi
}

# --- The tree ----------------------------------------------------------------

number_path() { # N -> x001/234
    local n=$1 path; path=$(printf %03d $((n % 1000)))
    while [ "$n" -ge 1000 ]; do n=$((n / 1000)); path=$(printf 'x%03d' $((n % 1000)))/$path; done
    printf %s "$path"
}

tile_path() { # LEVEL N WIDTH
    local path; path=tile/$1/$(number_path "$2")
    [ "$3" = 256 ] && printf %s "$path" || printf '%s.p/%s' "$path" "$3"
}

wider() { # a tile's file: of its width, or the narrowest wider one
    local path width full
    path=$(tile_path "$1" "$2" "$3"); full=$(tile_path "$1" "$2" 256)
    if [ ! -f "$dir/$path" ]; then
        for width in $(ls "$dir/$full.p" 2>/dev/null | sort -n); do
            [ "$width" -ge "$3" ] && { printf '%s.p/%s' "$full" "$width"; return; }
        done
        [ -f "$dir/$full" ] && { printf %s "$full"; return; }
    fi
    printf %s "$path"
}

# Hashes each pair of lines of the input; an odd last line stays.
level_up() {
    local count; count=$(wc -l <"$1")
    rm -rf "$tmp/pairs"; mkdir "$tmp/pairs"
    head -n $((count / 2 * 2)) "$1" | paste -d '' - - | sed 's/^/01/' | unhex |
        split -b 65 -a 6 - "$tmp/pairs/"
    (cd "$tmp/pairs" && find . -type f | sort | xargs -r sha256sum | cut -c1-64)
    [ $((count % 2)) = 0 ] || tail -1 "$1"
}

# The root over a file of hashes, one a line (RFC 6962: an odd one moves up).
root_of() {
    cp "$1" "$tmp/level"
    [ -s "$tmp/level" ] || { printf '' | sha; return; }
    while [ "$(wc -l <"$tmp/level")" -gt 1 ]; do
        level_up "$tmp/level" >"$tmp/next"; mv "$tmp/next" "$tmp/level"
    done
    cat "$tmp/level"
}

# Reads all hash tiles into level.N, one hash a line; 1 when level 0 has a hole.
read_tiles() { # SIZE
    local level=0 count=$1 number width path whole=0 name_width
    rm -f "$tmp"/level.*
    while [ "$count" -gt 0 ]; do
        : >"$tmp/level.$level"
        for ((number = 0; number * 256 < count; number++)); do
            width=$((count - number * 256)); [ "$width" -le 256 ] || width=256
            path=$(wider "$level" "$number" "$width")
            name_width=256; [[ $path =~ \.p/([0-9]+)$ ]] && name_width=${BASH_REMATCH[1]}
            if [ -f "$dir/$path" ] && [ "$(stat -c %s "$dir/$path")" = $((32 * name_width)) ]; then
                head -c $((32 * width)) "$dir/$path" | xxd -p -c 32 >>"$tmp/level.$level"
            else
                find_ tile.truncated "$folder/$path"
                [ "$level" != 0 ] || whole=1
                yes "$(printf '%064d' 0)" | head -n "$width" >>"$tmp/level.$level"
            fi
        done
        count=$((count / 256)) level=$((level + 1))
    done
    return $whole
}

# Makes the levels above $tmp/made.0: made.1 has the roots of its full tiles, ...
make_levels() {
    local level=0 full
    rm -f "$tmp"/made.[1-9]
    while full=$(($(wc -l <"$tmp/made.$level") / 256 * 256)); [ "$full" -gt 0 ]; do
        head -n "$full" "$tmp/made.$level" >"$tmp/up"
        for _ in 1 2 3 4 5 6 7 8; do level_up "$tmp/up" >"$tmp/next"; mv "$tmp/next" "$tmp/up"; done
        level=$((level + 1)); mv "$tmp/up" "$tmp/made.$level"
    done
}

root_at() { # SIZE: the open tiles of all levels, from the lowest up
    local count=$1 level=0 part right=
    while [ "$count" -gt 0 ]; do
        part=$((count % 256))
        { [ "$part" = 0 ] || sed -n "$((count - part + 1)),${count}p" "$tmp/made.$level"
          [ -z "$right" ] || echo "$right"; } >"$tmp/open"
        [ ! -s "$tmp/open" ] || right=$(root_of "$tmp/open")
        count=$((count / 256)) level=$((level + 1))
    done
    [ -n "$right" ] || right=$(printf '' | sha)
    echo "$right"
}

differing() { # LEVEL: names its tiles whose hashes are not those that were made
    local number width count zero; count=$(wc -l <"$tmp/made.$1"); zero=$(printf '%064d' 0)
    paste -d ' ' "$tmp/made.$1" "$tmp/level.$1" |
        awk -v zero="$zero" '$1 != $2 && $2 != zero { print int((NR - 1) / 256) }' |
        sort -nu | while read -r number; do
            width=$((count - number * 256)); [ "$width" -le 256 ] || width=256
            find_ tile.root "$folder/$(wider "$1" "$number" "$width")"
        done
}

# Finds the leaves that give the root; sets proven.
check_tree() { # SIZE ROOT
    local level
    read_tiles "$1"
    cp "$tmp/level.0" "$tmp/made.0" 2>/dev/null || : >"$tmp/made.0"
    make_levels
    if [ "$(root_at "$1")" = "$2" ]; then proven=$1
    else
        entry_leaves "$1" >"$tmp/made.0"; make_levels
        if [ "$(root_at "$1")" = "$2" ]; then proven=$1
        else cp "$tmp/level.0" "$tmp/made.0"; make_levels; fi
    fi
    for level in 0 1 2 3 4 5 6 7; do
        [ ! -f "$tmp/made.$level" ] || [ ! -f "$tmp/level.$level" ] || differing "$level"
    done
}

entry_leaves() { # all leaf hashes from the entries; from the tiles where there are none
    local number width path
    for ((number = 0; number * 256 < $1; number++)); do
        width=$(($1 - number * 256)); [ "$width" -le 256 ] || width=256
        path=$dir/$(wider entries "$number" "$width")
        rm -rf "$tmp/leaf"; mkdir "$tmp/leaf"
        if [ -f "$path" ]; then
            offsets "$path" | head -n "$width" | while read -r at size; do
                { printf '\0'; slice "$path" "$at" "$size"; } >"$tmp/leaf/$(printf %09d "$at")"
            done
        fi
        if [ "$(find "$tmp/leaf" -type f | wc -l)" = "$width" ]; then
            (cd "$tmp/leaf" && find . -type f | sort | xargs sha256sum | cut -c1-64)
        else
            sed -n "$((number * 256 + 1)),$((number * 256 + width))p" "$tmp/level.0"
        fi
    done
}

# `OFFSET LENGTH` of each entry of a bundle; a last line `bad` when it ends within one.
offsets() {
    od -An -v -tu1 -w1 "$1" | awk '
        { b[NR - 1] = $1 + 0 }
        END {
            at = 0
            while (at < NR) {
                size = b[at] * 256 + b[at + 1]
                if (at + 2 + size > NR) { print "bad"; exit }
                print at + 2, size; at += 2 + size
            }
        }'
}

# --- Proofs ------------------------------------------------------------------

included() { # INDEX SIZE LEAF ROOT HASHES... (RFC 9162 section 2.1.3.2)
    local fn=$1 sn=$(($2 - 1)) r=$3 root=$4 p; shift 4
    [ "$fn" -le "$sn" ] || return 1
    for p in "$@"; do
        [ "$sn" != 0 ] || return 1
        if [ $((fn & 1)) = 1 ] || [ "$fn" = "$sn" ]; then
            r=$(node "$p" "$r")
            while [ $((fn & 1)) = 0 ] && [ "$fn" != 0 ]; do fn=$((fn >> 1)) sn=$((sn >> 1)); done
        else
            r=$(node "$r" "$p")
        fi
        fn=$((fn >> 1)) sn=$((sn >> 1))
    done
    [ "$sn" = 0 ] && [ "$r" = "$root" ]
}

consistent() { # OLD NEW OLD-ROOT NEW-ROOT HASHES... (RFC 9162 section 2.1.4.2)
    local old=$1 new=$2 first=$3 second=$4 c fr sr; shift 4
    if [ "$old" = "$new" ]; then [ $# = 0 ] && [ "$first" = "$second" ]; return; fi
    [ "$old" -gt 0 ] && [ "$old" -lt "$new" ] && [ $# -gt 0 ] || return 1
    [ $((old & (old - 1))) != 0 ] || set -- "$first" "$@"
    local fn=$((old - 1)) sn=$((new - 1))
    while [ $((fn & 1)) = 1 ]; do fn=$((fn >> 1)) sn=$((sn >> 1)); done
    fr=$1 sr=$1; shift
    for c in "$@"; do
        [ "$sn" != 0 ] || return 1
        if [ $((fn & 1)) = 1 ] || [ "$fn" = "$sn" ]; then
            fr=$(node "$c" "$fr") sr=$(node "$c" "$sr")
            while [ $((fn & 1)) = 0 ] && [ "$fn" != 0 ]; do fn=$((fn >> 1)) sn=$((sn >> 1)); done
        else
            sr=$(node "$sr" "$c")
        fi
        fn=$((fn >> 1)) sn=$((sn >> 1))
    done
    [ "$fr" = "$first" ] && [ "$sr" = "$second" ] && [ "$sn" = 0 ]
}

hashes() { # base64 lines to hex; fails on anything else
    local line raw
    while IFS= read -r line; do
        raw=$(b64hex "$line"); [ "${#raw}" = 64 ] || return 1
        printf '%s ' "$raw"
    done
}

open_proof() { # FILE: sets proof_index, proof_path, writes $tmp/proof.note
    local gap; gap=$(grep -n '^$' "$1" 2>/dev/null | head -1 | cut -d: -f1)
    [ -n "$gap" ] && [ "$(head -1 "$1")" = "c2sp.org/tlog-proof@v1" ] || return 1
    proof_index=$(sed -n '2s/^index \([0-9]*\)$/\1/p' "$1"); [ -n "$proof_index" ] || return 1
    proof_path= # none in a tree of one entry
    [ "$gap" = 3 ] || proof_path=$(sed -n "3,$((gap - 1))p" "$1" | hashes) || return 1
    tail -n +"$((gap + 1))" "$1" >"$tmp/proof.note"
}

check_proofs() {
    local file name leaf gen index
    for file in "$bundle"/proofs/*; do
        [ -f "$file" ] || continue
        name=$(basename "$file" .proof); gen=${name%-*} index=${name##*-}
        [ "$gen" = "$generation" ] || continue
        leaf=$(sed -n "$((index + 1))p" "$tmp/made.0")
        if ! { [ "$index" -lt "$proven" ] && open_proof "$file" && [ "$proof_index" = "$index" ] &&
            open_note "$tmp/proof.note" "$origin" "$member" &&
            included "$index" "$note_size" "$leaf" "$note_root" $proof_path; }; then
            find_ proof.inclusion "proofs/$(basename "$file")"
        fi
    done
}

unopened() { # SIZE: a checkpoint is there, but this run leaves it out
    [ "$(wc -l <"$tmp/sizes")" -gt "$notes_max" ] && [ -f "$dir/checkpoints/$1" ] &&
        ! grep -q "^$1 " "$tmp/opened"
}

check_consistency() {
    local file name old new path a b
    for file in "$dir"/consistency/*; do
        [ -f "$file" ] || continue
        name=$(basename "$file"); old=${name%-*} new=${name#*-}
        if unopened "$old" || unopened "$new"; then continue; fi
        a=$(awk -v s="$old" '$1 == s { print $2; exit }' "$tmp/opened")
        b=$(awk -v s="$new" '$1 == s { print $2; exit }' "$tmp/opened")
        if ! { [ -n "$a" ] && [ -n "$b" ] && path=$(hashes <"$file") &&
            consistent "$old" "$new" "$a" "$b" $path; }; then
            find_ proof.consistency "$folder/consistency/$name"
        fi
    done
}

# --- Records -----------------------------------------------------------------

# Opens an entry in $tmp/entry: sets body_type, body_digest, key_known; 1 when forged.
open_entry() { # ORIGIN
    local fed who kind gen a b c d key sig id
    IFS=/ read -r fed who kind gen <<<"$1"
    [ "$(stat -c %s "$tmp/entry")" -le 512 ] && walk "$tmp/entry" " 2 " >"$tmp/parts" || return 1
    [ "$(cut -d' ' -f1 "$tmp/parts" | tr '\n' ' ')" = "1 2 2.1 2.2 " ] || return 1
    { read -r _ a b; read -r _ _ _; read -r _ c d; id=$(slice "$tmp/entry" "$c" "$d" | hex)
      read -r _ c d; sig=$(slice "$tmp/entry" "$c" "$d" | hex); } <"$tmp/parts"
    slice "$tmp/entry" "$a" "$b" >"$tmp/statement"
    walk "$tmp/statement" "" >"$tmp/parts" || return 1
    declare -A at=() size=()
    while read -r p a b; do at[$p]=$a size[$p]=${b-}; done <"$tmp/parts"
    text() { slice "$tmp/statement" "${at[$1]:-0}" "${size[$1]:-0}"; }
    case $kind in records) kind=1 ;; access) kind=2 ;; esac
    [ "${at[1]-} ${at[3]-} ${at[4]-}" = "1 $kind $gen" ] || return 1
    [ "$(text 2) $(text 5)" = "$fed $who" ] || return 1
    body_type=${at[6]-} body_digest=$(text 7 | hex)
    case $kind-$body_type in 1-[1-6] | 2-16) ;; *) return 1 ;; esac
    [ "${#body_digest}" = 64 ] && [ "$(text 10 | hex)" = "$id" ] || return 1
    key=$(awk -v id="$id" '$1 == id { print $2; exit }' "$tmp/keys.1.$who" 2>/dev/null || true)
    key_known=0; [ -n "$key" ] || return 0
    key_known=1
    pae application/vnd.casegate.statement.v1+protobuf "$tmp/statement" >"$tmp/signed"
    holds "$key" "$sig" "$tmp/signed"
}

# Takes the entries of a bundle apart by their fixed layout. A line each:
# PLACE FITS TYPE KEY-ID BODY-SHA256 SIGNATURE STATEMENT ENTRY, in hex; `bad` at a cut.
split_entries() { # FILE KIND(1|2) GENERATION MEMBER
    od -An -v -tu1 -w1 "$1" | awk -v fed="$federation" -v kind="$2" -v gen="$3" -v who="$4" '
        function hexes(from, to,   i, out) {
            out = ""
            for (i = from; i < to; i++) out = out hx[b[i]]
            return out == "" ? "-" : out
        }
        function text(from, to,   i, out) {
            out = ""
            for (i = from; i < to; i++) out = out sprintf("%c", b[i])
            return out
        }
        function varint(end,   n, m, first) {
            n = 0; m = 1; first = p
            while (p < end) {
                n += (b[p] % 128) * m; m *= 128
                if (b[p++] < 128) { if (b[p - 1] == 0 && p - first > 1) fits = 0; return n }
            }
            fits = 0; return 0
        }
        function statement(end,   tag, field, size, last) {
            last = 0; split("", v)
            while (p < end && fits) {
                tag = varint(end); field = int(tag / 8)
                if (field <= last || field > 10) fits = 0
                last = field
                if (tag % 8 == 0) v[field] = varint(end)
                else if (tag % 8 == 2) {
                    size = varint(end)
                    if (p + size > end) fits = 0
                    else if (field == 7 || field == 10) v[field] = hexes(p, p + size)
                    else v[field] = text(p, p + size)
                    p += size
                } else fits = 0
            }
            if (v[1] != 1 || v[2] != fed || v[3] != kind || v[4] != gen || v[5] != who) fits = 0
            if (length(v[7]) != 64) fits = 0
            if (kind == 1 && !(v[6] >= 1 && v[6] <= 6) || kind == 2 && v[6] != 16) fits = 0
        }
        function entry(from, end,   s, t) {
            fits = 1; p = from; t = end - 74
            if (end - from > 512 || b[p++] != 10) fits = 0
            s = varint(end); s += p
            if (s != t || hexes(t, t + 4) != "12480a04" || hexes(t + 8, t + 10) != "1240") fits = 0
            if (fits) { t = p; statement(s); p = t }
            if (v[10] != hexes(end - 70, end - 66)) fits = 0
            print n++, fits, fits ? v[6] : 0, hexes(end - 70, end - 66), fits ? v[7] : "-", \
                hexes(end - 64, end), fits ? hexes(p, s) : "-", hexes(from, end)
        }
        BEGIN { for (i = 0; i < 256; i++) hx[i] = sprintf("%02x", i) }
        { b[NR - 1] = $1 + 0 }
        END {
            for (at = 0; at < NR; at = end) {
                end = at + 2 + b[at] * 256 + b[at + 1]
                if (end > NR || at + 1 >= NR) { print "bad"; exit }
                entry(at + 2, end)
            }
        }'
}

# `PLACE STATE BODY` of each body, BODY in hex where the place is wanted.
split_bodies() { # FILE STEP FIRST ALSO
    [ -f "$1" ] || return 0
    od -An -v -tu1 -w1 "$1" | awk -v step="$2" -v first="$3" -v also="${4:--1}" '
        BEGIN { for (i = 0; i < 256; i++) hx[i] = sprintf("%02x", i) }
        { b[NR - 1] = $1 + 0 }
        END {
            for (at = 0; at + 5 <= NR; at = end) {
                end = at + 5 + ((b[at + 1] * 256 + b[at + 2]) * 256 + b[at + 3]) * 256 + b[at + 4]
                if (end > NR) exit
                out = ""
                if ((first + n) % step == 0 || first + n == also)
                    for (i = at + 5; i < end; i++) out = out hx[b[i]]
                print n++, b[at], out
            }
        }'
}

signature_holds() { # KEY-ID SIGNATURE STATEMENT, of the log's member; 2: no such key
    local key; key=${key_of[$1]-}
    [ -n "$key" ] || return 2
    { printf 'DSSEv1 46 application/vnd.casegate.statement.v1+protobuf %d ' $((${#3} / 2)); put "$3"; } >"$tmp/signed"
    holds "$key" "$2" "$tmp/signed"
}

check_records() { # SIZE: every bundle's form, and a sample of its records
    local file number width last= step total
    : >"$tmp/verdicts"
    declare -gA key_of=()
    while read -r id key; do key_of[$id]=$key; done < <(cat "$tmp/keys.1.$member" 2>/dev/null)
    (cd "$dir/tile/entries" 2>/dev/null && find . -type f | sed 's,^\./,,') | while read -r file; do
        width=256; [[ $file =~ ^(.*)\.p/([0-9]+)$ ]] && { width=${BASH_REMATCH[2]}; file=${BASH_REMATCH[1]}; }
        file=${file//[x\/]/}; printf '%d %d\n' "$((10#$file))" "$width"
    done | sort -n -k1,1 -k2,2r | sort -n -u -k1,1 >"$tmp/bundles"
    total=$(awk '{ n += $2 } END { print n + 0 }' "$tmp/bundles")
    step=1; [ "$records" = all ] || step=$(((total + records - 1) / records)); [ "$step" -gt 0 ] || step=1
    while read -r number width; do
        while [ -n "$last" ] && [ $((last + 1)) -lt "$number" ]; do
            last=$((last + 1)); find_ entry.missing "$folder/$(tile_path entries "$last" 256)"
            yes missing | head -256 >>"$tmp/verdicts"
        done
        last=$number
        one_bundle "$number" "$width" "$1"
    done <"$tmp/bundles"
}

one_bundle() { # NUMBER WIDTH SIZE
    local path bodies wanted count first=$(($1 * 256)) every=$step number
    path=$folder/$(tile_path entries "$1" "$2"); number=$(number_path "$1"); bodies=$folder/bodies/$number
    wanted=$(($3 - first)); [ "$wanted" -le 256 ] || wanted=256; [ "$wanted" -ge "$2" ] || wanted=$2
    split_entries "$bundle/$path" "$kind_number" "$generation" "$member" >"$tmp/split"
    if grep -q "^bad" "$tmp/split" || [ "$(wc -l <"$tmp/split")" -gt "$2" ]; then
        find_ entry.truncated "$path"
        grep -v "^bad" "$tmp/split" | head -n "$2" >"$tmp/good"; mv "$tmp/good" "$tmp/split"
    fi
    count=$(wc -l <"$tmp/split")
    if [ "$count" -lt "$wanted" ]; then
        every=1; find_ entry.missing "$path"
        yes missing | head -n $((wanted - count)) >>"$tmp/verdicts"
    fi
    split_bodies "$bundle/$bodies" "$every" "$first" "$also" >"$tmp/bodies"
    rm -rf "$tmp/leaf" "$tmp/body"; mkdir "$tmp/leaf" "$tmp/body"
    local place fits type id digest sig statement entry
    while read -r place fits type id digest sig statement entry; do
        [ $(((first + place) % every)) = 0 ] || [ $((first + place)) = "${also:--1}" ] || continue
        put "00$entry" >"$tmp/leaf/$(printf '%03d' "$place")"
    done <"$tmp/split"
    while read -r place fits entry; do
        [ -n "$entry" ] && put "$entry" >"$tmp/body/$place"
    done <"$tmp/bodies"
    : >"$tmp/holding"
    verdicts "$path" "$bodies" "$first" "$wanted"
    check_dsse "$number"
}

verdicts() { # PATH BODIES FIRST WANTED, with split, bodies, leaf/ and body/
    local place fits type id digest sig statement leaf state row signed at known line name
    declare -A leaf_of=() body_of=() state_of=() place_of=() tree_of=()
    while read -r leaf name; do name=${name#./}; leaf_of[$((10#$name))]=$leaf
    done < <(cd "$tmp/leaf" && find . -type f | xargs -r sha256sum)
    while read -r leaf name; do body_of[${name#./}]=$leaf
    done < <(cd "$tmp/body" && find . -type f | xargs -r sha256sum)
    while read -r place state row; do state_of[$place]=$state; done <"$tmp/bodies"
    line=0
    while read -r leaf; do tree_of[$line]=$leaf place_of[$leaf]=$line; line=$((line + 1))
    done < <(sed -n "$(($3 + 1)),$(($3 + $4))p" "$tmp/made.0")
    count=$(wc -l <"$tmp/split")
    while read -r place fits type id digest sig statement _; do
        leaf=${leaf_of[$place]-}; [ -n "$leaf" ] || continue
        [ "$count" -ge "$4" ] || place=${place_of[$leaf]:-$place}
        at=$(($3 + place)) state=${state_of[$place]:-3} known=1 signed=0
        [ "$fits" = 0 ] || signature_holds "$id" "$sig" "$statement"; signed=$?
        [ "$signed" != 2 ] || known=0
        if [ "$fits" = 0 ] || [ "$signed" = 1 ]; then
            find_ entry.forged "$1"; echo forged; continue
        fi
        echo "$place $sig $statement" >>"$tmp/holding"
        if [ "$state" = 1 ] && [ "${body_of[$place]:-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855}" != "$digest" ]; then
            find_ body.forged "$2"; echo forged; continue
        fi
        case $state-$type in 1-* | 4-* | 2-[123]) ;; *) find_ body.missing "$2" ;; esac
        if [ "$at" -ge "$proven" ]; then echo not_logged
        elif [ "${tree_of[$place]-}" != "$leaf" ]; then find_ entry.forged "$1"; echo not_logged
        elif [ "$known" = 0 ]; then echo key_invalid
        elif [ "$state" = 4 ]; then echo erased
        elif [[ $state-$type != 1-* && $state-$type != 2-[123] ]]; then echo missing
        elif [ "$at" -lt "$witnessed" ]; then echo valid
        else echo provisional; fi
    done <"$tmp/split" >>"$tmp/verdicts"
}

check_dsse() { # NUMBER: the envelopes of the sampled entries that hold
    local file=$dir/dsse/$1.jsonl place sig statement payload row
    [ -f "$file" ] || return 0
    while read -r place sig statement; do
        row=$(sed -n "$((place + 1))p" "$file" | tr -d ' \n')
        payload=$(put "$statement" | base64 -w0); sig=$(put "$sig" | base64 -w0)
        case $row in
            *'"payload":"'"$payload"'"'*) case $row in *'"sig":"'"$sig"'"'*) continue ;; esac ;;
        esac
        find_ entry.forged "$folder/dsse/$1.jsonl"; return 0
    done <"$tmp/holding"
}

# --- A log, receipts, evidence -----------------------------------------------

some_checkpoints() { # all of few; of many some neighbours, and the largest
    (cd "$dir" && ls checkpoints 2>/dev/null) | sort -n >"$tmp/sizes"
    awk -v n="$(wc -l <"$tmp/sizes")" -v most="$notes_max" '
        BEGIN { step = int(2 * n / most) + 1 }
        n <= most || NR % step < 2 || NR == n { print "checkpoints/" $1 }' "$tmp/sizes"
}

check_log() {
    local file name size=0 root= largest=0 newest=
    witnessed=0 proven=0; : >"$tmp/opened"; : >"$tmp/made.0"
    for name in checkpoint $(some_checkpoints); do
        file=$dir/$name
        if ! open_note "$file" "$origin" "$member" "$folder/$name"; then
            find_ "$fault" "$folder/$name"; continue
        fi
        case $name in checkpoints/"$note_size" | checkpoint) ;;
            *) find_ checkpoint.malformed "$folder/$name"; continue ;;
        esac
        printf '%s %s %s\n' "$note_size" "$note_root" "$name" >>"$tmp/opened"
        [ "$name" = checkpoint ] && newest=$note_size
        if [ "$note_size" -gt "$size" ] || [ -z "$root" ]; then size=$note_size root=$note_root; fi
        if [ "$quorum" -gt 0 ] && [ "$(wc -w <<<"$note_times")" -ge "$quorum" ] &&
            [ "$note_size" -gt "$witnessed" ]; then witnessed=$note_size; fi
    done
    if [ -n "$newest" ] && [ "$newest" -lt "$size" ]; then find_ checkpoint.smaller "$folder/checkpoint"; fi
    if [ -n "$root" ]; then
        check_tree "$size" "$root"
        while read -r a b name; do
            if [ "$(root_at "$a")" = "$b" ]; then [ "$a" -le "$proven" ] || proven=$a
            else find_ checkpoint.root "$folder/$name"; fi
        done <"$tmp/opened"
        check_consistency
    fi
    check_records "$size"
    [ "$kind" != records ] || check_proofs
    cat "$tmp/verdicts" >>"$tmp/verdicts.all"
    printf '%s %s' "$origin" "$size"
    sort "$tmp/verdicts" | uniq -c | awk '{ printf " %s=%d", $2, $1 } END { print "" }'
}

check_receipts() {
    local entry stem who rest gen index
    for entry in "$bundle"/receipts/*.entry; do
        [ -f "$entry" ] || continue
        stem=$(basename "$entry" .entry) index=${entry##*-}; index=${index%.entry}
        rest=${stem%-*} gen=${rest##*-} who=${rest%-*}
        cp "$entry" "$tmp/entry"
        if ! { open_entry "$federation/$who/records/$gen" && [ "$key_known-$body_type" = 1-5 ] &&
            [ -f "${entry%.entry}.body" ] && [ "$(sha <"${entry%.entry}.body")" = "$body_digest" ] &&
            receipt_of "${entry%.entry}.body" &&
            open_proof "${entry%.entry}.proof" && [ "$proof_index" = "$index" ] &&
            open_note "$tmp/proof.note" "$federation/$who/records/$gen" "$who" &&
            included "$index" "$note_size" "$({ printf '\0'; cat "$entry"; } | sha)" "$note_root" $proof_path; }
        then find_ receipt.forged "receipts/$stem"; fi
    done
}

receipt_of() { # the receipt is about a records log of this member
    local a b
    read -r _ a b < <(walk "$1" "" | grep '^2 ') || return 1
    case $(slice "$1" "$a" "$b") in "$federation/$member/records/"*) ;; *) return 1 ;; esac
}

# The roster log: every member may sign it, and is its witness.
check_roster_log() {
    local file=$bundle/roster/checkpoint path=roster/checkpoint keys
    [ -f "$file" ] || return 0
    cat "$tmp"/keys.2.* | sort -u >"$tmp/keys.2.@roster"
    for keys in "$tmp"/keys.3.*; do echo "${keys##*/keys.3.}"; done >"$tmp/witnesses.@roster"
    if ! open_note "$file" "$federation/roster" @roster "$path"; then find_ "$fault" "$path"; return; fi
    head -n "$note_size" "$tmp/roster.leaves" >"$tmp/some"
    [ "$note_size" -le "$versions" ] && [ "$(root_of "$tmp/some")" = "$note_root" ] ||
        find_ checkpoint.root "$path"
}

check_sums
check_rosters
if [ "$versions" -gt 0 ]; then
    check_roster_log
    for kind in records access; do
        for dir in "$bundle/$kind"/*; do
            [ -d "$dir" ] || continue
            case $kind in records) kind_number=1 ;; *) kind_number=2 ;; esac
            generation=$(basename "$dir") folder=$kind/$(basename "$dir")
            origin=$federation/$member/$kind/$generation
            check_log
        done
    done
    check_receipts
    for pair in "$bundle"/evidence/*; do [ ! -d "$pair" ] || find_ evidence.pair "evidence/$(basename "$pair")"; done
fi
sort -u "$tmp/findings"
if [ -s "$tmp/findings" ] || grep -qE 'forged|not_logged|key_invalid|missing' "$tmp/verdicts.all"; then
    echo "something is wrong"; exit 1
fi
echo "nothing is wrong"
