#!/usr/bin/env bash
# Checks a bundle of `casegate audit export` with nothing but openssl, sha256sum,
# base64, xxd, od, awk, coreutils and bash: sums, the roster chain from the pin,
# checkpoints, cosignatures, the root from all hash tiles, proofs, receipts, and
# of a sample of records the signature, the leaf and the body, and of lines of an
# access log what their officer signed.
#
#   verify.sh BUNDLE --policy FILE [--records N|all] [--also INDEX]
#
# Prints a line for each finding (`CODE PATH`) and for each log's verdicts, with
# the words of PROTOCOL.md section 15, and how many of the sample are newer. Of the keys'
# validity it checks only that a roster names them, of erased bodies only that the bundle
# calls them so, of a body its digest and encoding; and it does not look for what an
# officer signed once and stands in the log twice.
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
    local good=0 unchecked=0 key signature id seen=" "
    while read -r id signature; do
        key=$(awk -v id="$id" '$1 == id { print $2 }' "$1")
        [ -n "$key" ] || continue
        if [ "$key" != newer ]; then holds "$key" "$signature" "$tmp/signed" || return 1; fi
        case $seen in *" $id "*) continue ;; esac
        seen="$seen$id "
        if [ "$key" = newer ]; then unchecked=$((unchecked + 1)); else good=$((good + 1)); fi
    done <"$tmp/signatures"
    [ "$good" -ge "$2" ] || { [ $((good + unchecked)) -lt "$2" ] || roster_fault=key.newer; return 1; }
}

# Fills keys.USE.MEMBER with lines `ID KEY`, newer.USE.MEMBER with those of algorithms
# that are not known here, witnesses.MEMBER, quorum.
read_members() {
    local roster=$1
    awk '$1 == "6" || $1 == "8" || index($1, "6.") == 1 || index($1, "8.") == 1' "$tmp/fields" >"$tmp/members"
    local who= use= id= key= path a b
    while read -r path a b; do
        case $path in
            6) who= ;;
            6.1) who=$(slice "$roster" "$a" "$b"); : >"$tmp/witnesses.$who" ;;
            6.2) echo "$a" >"$tmp/role.$number.$who" ;;
            6.5) slice "$roster" "$a" "$b" | openssl x509 -inform DER >"$tmp/ca.$number.$who" 2>/dev/null ;;
            6.7) use= ;;
            6.7.1) use=$a ;;
            6.7.2) id=$(slice "$roster" "$a" "$b" | hex) ;;
            6.7.3) key=$(slice "$roster" "$a" "$b" | hex)
                if [ "${id:0:2}" = 01 ]; then echo "$id $key" >>"$tmp/keys.$use.$who"
                else echo "$id" >>"$tmp/newer.$use.$who"; key=newer; fi ;;
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
    walk "$tmp/roster" " 4 6 6.7 8 " >"$tmp/fields" || return 1
    field() { awk -v p="$1" '$1 == p { print $2; exit }' "$tmp/fields"; }
    bytes() { awk -v p="$1" '$1 == p { print $2, $3 }' "$tmp/fields"; }
    [ "$(field 1)" = "$number" ] || return 1
    read -r a b < <(bytes 2) && [ "$(slice "$tmp/roster" "$a" "$b")" = "$federation" ] || return 1
    local named=; read -r a b < <(bytes 3) && named=$(slice "$tmp/roster" "$a" "$b" | hex)
    [ "$named" = "$previous" ] || return 1
    awk '$1 == "4.1" { n = $2 } $1 == "4.2" { print n, $2, $3 }' "$tmp/fields" |
        while read -r algorithm a b; do
            printf -v algorithm %02x "$algorithm"
            key=$(slice "$tmp/roster" "$a" "$b" | hex)
            id=$algorithm$(printf %s "$algorithm$key" | unhex | sha | cut -c1-14)
            [ "$algorithm" = 01 ] || key=newer
            printf '%s %s\n' "$id" "$key"
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
    printf '%s %s\n' "$(field 9)" "$(field 10)" >"$tmp/span.$number"
    read_members "$tmp/roster"
}

# --- Checkpoints -------------------------------------------------------------

note_id() { { printf '%s\n' "$1"; printf '%s%s' "$2" "$3" | unhex; } | sha | cut -c1-8; }

# Opens a note: sets note_size, note_root (hex), note_times, fault.
open_note() { # FILE ORIGIN MEMBER [PATH for findings of cosignatures]
    local file=$1 origin=$2 who=$3 path=${4-} line name raw lines ids= key good=0 own=0 invalid=0
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
        own=1
        [ -f "$tmp/$ends.2.$key" ] && [ "$note_size" -gt "$(cat "$tmp/$ends.2.$key")" ] || good=1
    done <"$tmp/parsed"
    [ "$own" = 1 ] || [ ! -f "$tmp/newer.2.$who" ] || fault=key.newer
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
    if [ -z "$found" ]; then
        # Nor is a line an unknown one that a key of a newer algorithm may have made.
        [ "$name" = "$federation/$witness/witness" ] && [ -f "$tmp/newer.3.$witness" ] ||
            find_ cosignature.unknown "$path"
        return 0
    fi
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

# A type that is not known here may stand in either log.
stands_in() { # KIND TYPE
    case $1-$2 in 1-16 | 2-[1-6] | ?-0 | ?-) return 1 ;; esac
    [ ${#2} -le 10 ] && [ "$2" -lt 2147483648 ]
}

is_known() { case $1 in [1-6] | 16) ;; *) return 1 ;; esac }

# Opens an entry in $tmp/entry: sets body_type, body_digest, key_known (2 for a key of an
# algorithm that is not known here); 1 when forged.
open_entry() { # ORIGIN
    local fed who kind gen a b c d key sig id ids= one most parts first= max
    IFS=/ read -r fed who kind gen <<<"$1"
    most=$(stat -c %s "$tmp/entry")
    [ "$most" -le 16384 ] && walk "$tmp/entry" " 2 " >"$tmp/parts" || return 1
    parts=$(cut -d' ' -f1 "$tmp/parts" | tr '\n' ' ')
    [[ $parts =~ ^1\ (2\ 2\.1\ 2\.2\ ){1,4}$ ]] || return 1
    read -r _ a b <"$tmp/parts"; slice "$tmp/entry" "$a" "$b" >"$tmp/statement"
    max=434
    while read -r _ a b; do
        read -r _ c d; id=$(slice "$tmp/entry" "$a" "$b" | hex)
        sig=$(slice "$tmp/entry" "$c" "$d" | hex)
        [ "${#id}" = 16 ] && [ -n "$sig" ] && [[ $ids != *" $id:"* ]] || return 1
        if [ "${id:0:2}" = 01 ]; then [ "${#sig}" = 128 ] || return 1; max=$((max + 78)); else max=99999; fi
        ids="$ids $id:$sig"; [ -n "$first" ] || first=$id
    done < <(grep '^2\.' "$tmp/parts")
    [ "$most" -le "$max" ] || return 1
    id=$first
    walk "$tmp/statement" "" >"$tmp/parts" || return 1
    declare -A at=() size=()
    while read -r p a b; do at[$p]=$a size[$p]=${b-}; done <"$tmp/parts"
    text() { slice "$tmp/statement" "${at[$1]:-0}" "${size[$1]:-0}"; }
    case $kind in records) kind=1 ;; access) kind=2 ;; esac
    [ "${at[1]-} ${at[3]-} ${at[4]-}" = "1 $kind $gen" ] || return 1
    [ "$(text 2) $(text 5)" = "$fed $who" ] || return 1
    body_type=${at[6]-} body_digest=$(text 7 | hex)
    stands_in "$kind" "$body_type" || return 1
    [ "${#body_digest}" = 64 ] && [ "$(text 10 | hex)" = "$id" ] || return 1
    pae application/vnd.casegate.statement.v1+protobuf "$tmp/statement" >"$tmp/signed"
    key_known=0
    ! grep -qx "$id" "$tmp/newer.1.$who" 2>/dev/null || key_known=2
    for one in $ids; do
        key=$(awk -v id="${one%:*}" '$1 == id { print $2; exit }' "$tmp/keys.1.$who" 2>/dev/null || true)
        [ -n "$key" ] || continue
        [ "${one%:*}" != "$id" ] || key_known=1
        holds "$key" "${one#*:}" "$tmp/signed" || return 1
    done
}

# Takes the entries of a bundle apart by their fixed layout. A line each:
# PLACE FITS TYPE KEY-ID BODY-SHA256 SIGNATURES STATEMENT ENTRY, in hex; `bad` at a cut.
# SIGNATURES are ID:SIGNATURE with commas between them.
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
            if (v[6] < 1 || v[6] >= 2147483648) fits = 0
            if (kind == 1 && v[6] == 16 || kind == 2 && v[6] <= 6) fits = 0
        }
        function bytes(tag, end,   size) {    # a field of bytes: ends at `to`
            if (b[p++] != tag) fits = 0
            size = varint(end); to = p + size
            if (to > end) { fits = 0; to = end }
        }
        function entry(from, end,   s, t, max, many, stop, id, sigs, first) {
            fits = 1; p = from; max = 434; many = 0; sigs = first = ""
            bytes(10, end); t = p; s = to; p = s
            while (p < end && fits) {
                bytes(18, end); stop = to
                bytes(10, stop); id = hexes(p, to); p = to
                bytes(18, stop)
                if (to != stop || length(id) != 16 || p == to || index(sigs, id ":") || ++many > 4) fits = 0
                if (substr(id, 1, 2) != "01") max = 16384
                else { if (to - p != 64) fits = 0; if (max < 16384) max += 78 }
                sigs = sigs (many > 1 ? "," : "") id ":" hexes(p, to); p = to
                if (many == 1) first = id
            }
            if (end - from > max || many == 0) fits = 0
            if (fits) { p = t; statement(s) }
            if (v[10] != first) fits = 0
            print n++, fits, fits ? v[6] : 0, fits ? first : "-", fits ? v[7] : "-", \
                fits ? sigs : "-", fits ? hexes(t, s) : "-", hexes(from, end)
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

# `PLACE STATE HOW BODY` of each body, BODY in hex where the place is wanted, and HOW it
# reads by the type that its entry names: read, newer or broken (PROTOCOL.md section 5).
#
# F has the fields of each message in order: n number, b bytes, wN a word up to N, lN one
# that decides about what follows it, mX a message X; `+` after it says repeated.
split_bodies() { # FILE STEP FIRST ALSO TYPES
    [ -f "$1" ] || return 0
    od -An -v -tu1 -w1 "$1" | awk -v step="$2" -v first="$3" -v also="${4:--1}" -v types="$5" '
        BEGIN {
            for (i = 0; i < 256; i++) hx[i] = sprintf("%02x", i)
            n = split(types, type_of, " "); n = 0
            F["a"] = "l4 b+"; F["r"] = "n n"
            F[1] = "b b b b w23 b b b w4 n ma b n n"; F[2] = "b b b n b n ma"
            F[3] = "b n b n ma b n"; F[4] = "b mr+ w4"
            F[5] = "b b mi+"; F["i"] = "mr w2 n n"
            F[6] = "b me+"; F["e"] = "mr n w4 n n b+"
            F[16] = "b w6 b b b mo+ ms+ b n mk+ b b b b n b+"
            F["o"] = "b b b n"; F["s"] = "b b b b n"; F["k"] = "b b n"
        }
        { b[NR - 1] = $1 + 0 }
        function varint(end,   n, m, from) {
            n = 0; m = 1; from = p
            while (p < end && p < from + 10) {
                if (p == from + 9 && b[p] > 1) break
                n += (b[p] % 128) * m; m *= 128
                if (b[p++] < 128) { if (b[p - 1] == 0 && p - 1 > from) bad = 1; return n }
            }
            bad = 1; return 0
        }
        function message(end, what,   known, count, last, tag, field, form, value, led) {
            count = split(F[what], known, " "); last = 0; led = 0
            while (p < end && !bad) {
                tag = varint(end); field = int(tag / 8); tag %= 8
                if (field < 1 || field < last || field >= 536870912) { bad = 1; return }
                form = field <= count ? known[field] : ""
                if (field == last && form != "" && form !~ /[+]$/ && !led) { bad = 1; return }
                last = field
                if (form == "") {
                    later = 1
                    if (tag == 0) varint(end)
                    else if (tag == 1) p += 8
                    else if (tag == 5) p += 4
                    else if (tag == 2) { value = varint(end); p += value }
                    else bad = 1
                    if (p > end) bad = 1
                } else if (form ~ /^[nwl]/) {
                    if (tag != 0) { bad = 1; return }
                    value = varint(end)
                    if (value == 0 && !led) bad = 1
                    if (form ~ /^[wl]/ && value >= 2147483648) bad = 1
                    if (form ~ /^[wl]/ && value > substr(form, 2) + 0) {
                        later = 1
                        if (form ~ /^l/) led = 1
                    }
                } else {
                    if (tag != 2) { bad = 1; return }
                    value = varint(end)
                    if (p + value > end || value == 0 && form == "b" && !led) { bad = 1; return }
                    if (form ~ /^m/) { message(p + value, substr(form, 2, 1)) } else p += value
                }
            }
        }
        function reads(type, from, end) {
            if (!(type in F)) return "newer"
            p = from; bad = later = 0
            if (b[from] != 10 || b[from + 1] != 16) return "broken"    # a nonce of 16 bytes
            message(end, type)
            return bad ? "broken" : later ? "newer" : "read"
        }
        END {
            for (at = 0; at + 5 <= NR; at = end) {
                end = at + 5 + ((b[at + 1] * 256 + b[at + 2]) * 256 + b[at + 3]) * 256 + b[at + 4]
                if (end > NR) exit
                out = ""; how = "-"
                if ((first + n) % step == 0 || first + n == also) {
                    for (i = at + 5; i < end; i++) out = out hx[b[i]]
                    if (b[at] == 1) how = reads(type_of[n + 1], at + 5, end)
                }
                print n++, b[at], how, out
            }
        }'
}

# 2: no roster names the key; 3: it is of an algorithm that is not known here.
signature_holds() { # KEY-ID SIGNATURES STATEMENT, of the log's member
    local key one known=2
    [ "${key_of[$1]-}" != newer ] || known=3
    { printf 'DSSEv1 46 application/vnd.casegate.statement.v1+protobuf %d ' $((${#3} / 2)); put "$3"; } >"$tmp/signed"
    for one in ${2//,/ }; do
        key=${key_of[${one%:*}]-}
        [ -n "$key" ] && [ "$key" != newer ] || continue
        [ "${one%:*}" != "$1" ] || known=0
        holds "$key" "${one#*:}" "$tmp/signed" || return 1
    done
    return "$known"
}

check_records() { # SIZE: every bundle's form, and a sample of its records
    local file number width last= step total
    : >"$tmp/verdicts"
    declare -gA key_of=()
    while read -r id key; do key_of[$id]=$key; done < <(cat "$tmp/keys.1.$member" 2>/dev/null)
    while read -r id; do key_of[$id]=newer; done < <(cat "$tmp/newer.1.$member" 2>/dev/null)
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
    split_bodies "$bundle/$bodies" "$every" "$first" "$also" "$(types "$wanted" "$first")" >"$tmp/bodies"
    rm -rf "$tmp/leaf" "$tmp/body"; mkdir "$tmp/leaf" "$tmp/body"
    local place fits type id digest sig statement entry
    while read -r place fits type id digest sig statement entry; do
        [ $(((first + place) % every)) = 0 ] || [ $((first + place)) = "${also:--1}" ] || continue
        put "00$entry" >"$tmp/leaf/$(printf '%03d' "$place")"
    done <"$tmp/split"
    while read -r place fits _ entry; do
        [ -n "$entry" ] && put "$entry" >"$tmp/body/$place"
    done <"$tmp/bodies"
    : >"$tmp/holding"
    verdicts "$path" "$bodies" "$first" "$wanted"
    check_dsse "$number"
}

# The types of a bundle's entries, each at its place; where some are missing, by the tree.
types() { # WANTED FIRST, with split
    if [ "$(wc -l <"$tmp/split")" -ge "$1" ]; then cut -d' ' -f3 "$tmp/split" | tr '\n' ' '; return; fi
    local place fits type entry leaf line=0
    declare -A at=() of=()
    while read -r leaf; do at[$leaf]=$line line=$((line + 1))
    done < <(sed -n "$(($2 + 1)),$(($2 + $1))p" "$tmp/made.0")
    while read -r place fits type _ _ _ _ entry; do
        leaf=$(put "00$entry" | sha); of[${at[$leaf]:-$place}]=$type
    done <"$tmp/split"
    for ((line = 0; line < $1; line++)); do printf '%s ' "${of[$line]:-0}"; done
}

verdicts() { # PATH BODIES FIRST WANTED, with split, bodies, leaf/ and body/
    local place fits type id digest sig statement leaf state row withheld signed at known line name
    declare -A leaf_of=() body_of=() state_of=() how_of=() place_of=() tree_of=()
    while read -r leaf name; do name=${name#./}; leaf_of[$((10#$name))]=$leaf
    done < <(cd "$tmp/leaf" && find . -type f | xargs -r sha256sum)
    while read -r leaf name; do body_of[${name#./}]=$leaf
    done < <(cd "$tmp/body" && find . -type f | xargs -r sha256sum)
    while read -r place state row _; do state_of[$place]=$state how_of[$place]=$row; done <"$tmp/bodies"
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
        [ "$signed" != 3 ] || { known=2; find_ key.newer "$1"; }
        if [ "$fits" = 0 ] || [ "$signed" = 1 ]; then
            find_ entry.forged "$1"; echo forged; continue
        fi
        echo "$place $sig $statement" >>"$tmp/holding"
        row=${how_of[$place]:--}
        [ "$state" != 1 ] ||
            [ "${body_of[$place]:-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855}" = "$digest" ] || row=broken
        if ! is_known "$type" || [ "$row" = newer ]; then newer=$((newer + 1)); fi
        if [ "$row" = broken ]; then find_ body.forged "$2"; echo forged; continue; fi
        case $state-$type-$row in 1-16-read) check_line "$tmp/body/$place" "$statement" "$2" ;; esac
        withheld=0
        if [ "$state-$kind" = 2-records ] && { [[ $type = [123] ]] || ! is_known "$type"; }; then withheld=1; fi
        case $state-$withheld in 1-* | 4-* | 2-1) ;; *) find_ body.missing "$2" ;; esac
        if [ "$at" -ge "$proven" ]; then echo not_logged
        elif [ "${tree_of[$place]-}" != "$leaf" ]; then find_ entry.forged "$1"; echo not_logged
        elif [ "$known" = 0 ]; then echo key_invalid
        elif [ "$known" = 2 ]; then echo unchecked
        elif [ "$state" = 4 ]; then echo erased
        elif [ "$state-$withheld" != 1-0 ] && [ "$withheld" = 0 ]; then echo missing
        elif [ "$at" -lt "$witnessed" ]; then echo valid
        else echo provisional; fi
    done <"$tmp/split" >>"$tmp/verdicts"
}

# --- What officers signed ----------------------------------------------------

near() { [ $(($1 - $2)) -le 300 ] && [ $(($2 - $1)) -le 300 ]; } # SECONDS SECONDS

# The payload of the PAE in $tmp/pae, by its length; 1 when it is none.
officer_payload() {
    local total digits size type=application/vnd.casegate.desk.v3+protobuf
    total=$(stat -c %s "$tmp/pae")
    for digits in 1 2 3 4 5 6; do
        size=$((total - ${#type} - 12 - digits))
        [ "$size" -ge 0 ] && [ "${#size}" = "$digits" ] || continue
        tail -c "$size" "$tmp/pae" >"$tmp/payload"
        pae "$type" "$tmp/payload" | cmp -s - "$tmp/pae" && return 0
    done
    return 1
}

officer_signed() { # SCHEME, with cert.der, pae and officer.sig: the certificate's key signed
    local der=$tmp/officer.der
    openssl x509 -inform DER -in "$tmp/cert.der" -pubkey -noout >"$tmp/officer.pub" 2>/dev/null || return 1
    openssl pkey -pubin -in "$tmp/officer.pub" -outform DER -out "$der" 2>/dev/null || return 1
    is() { openssl pkey -pubin -in "$tmp/officer.pub" -text_pub -noout | grep -q "$1"; }
    made() { openssl dgst "$@" -verify "$tmp/officer.pub" -signature "$tmp/officer.sig" "$tmp/pae" >/dev/null 2>&1; }
    case $1 in
        2055) [ "$(head -c 12 "$der" | hex)" = 302a300506032b6570032100 ] &&
            holds "$(tail -c 32 "$der" | hex)" "$(hex <"$tmp/officer.sig")" "$tmp/pae" ;;
        1027) is prime256v1 && made -sha256 ;;
        1283) is secp384r1 && made -sha384 ;;
        2052) is Modulus && made -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32 ;;
        *) return 1 ;;
    esac
}

officer_counts() { # CALLER OUTCOME TAKEN-AT, with cert.der and chain.pem
    local uri fed role who kind name number=0 from to words=(- bureau department auditor) more=()
    [ ! -s "$tmp/chain.pem" ] || more=(-untrusted "$tmp/chain.pem")
    uri=$(openssl x509 -inform DER -in "$tmp/cert.der" -noout -ext subjectAltName 2>/dev/null |
        tr ',' '\n' | sed -n 's/^ *URI://p')
    [ -n "$uri" ] && [ "$(wc -l <<<"$uri")" = 1 ] || return 1
    IFS=/ read -r _ _ fed role who kind name <<<"$uri"
    [ "$fed" = "$federation" ] || return 1
    [ "$who-$kind-$name" = "$member-officer-$1" ] || { [ "$2" != ok ] && [ "$uri" = "$1" ]; } || return 1
    openssl x509 -inform DER -in "$tmp/cert.der" -out "$tmp/cert.pem" 2>/dev/null || return 1
    while [ "$number" -lt "$versions" ]; do
        number=$((number + 1))
        [ -s "$tmp/ca.$number.$who" ] || continue
        [ "${words[$(cat "$tmp/role.$number.$who")]}" = "$role" ] || continue
        read -r from to <"$tmp/span.$number"
        [ "$3" -ge $((from - 300)) ] && [ "$3" -lt "$to" ] || continue
        openssl verify -attime "$3" -purpose sslclient -trusted "$tmp/ca.$number.$who" \
            "${more[@]}" "$tmp/cert.pem" >/dev/null 2>&1 && return 0
    done
    return 1
}

noted_first() { # METHOD, with request: its line comes when it ends
    case $1 in
        Desk.Import | Desk.Publish | Desk.Retract | Desk.Keygen) return 0 ;;
        Desk.Query) walk "$tmp/request" "" 2>/dev/null | grep -q '^3 1$' ;;
        *) return 1 ;;
    esac
}

check_line() { # BODY STATEMENT(hex) PATH
    local p a b method= caller= outcome= taken=0 request= said= nonce=0 signed_at=0 scheme=0 issued=0
    [ -f "$1" ] && walk "$1" "" >"$tmp/line" || return 0
    rm -f "$tmp/cert.der"; : >"$tmp/chain.pem"; : >"$tmp/officer.sig"; : >"$tmp/request"
    while read -r p a b; do
        case $p in
            4) method=$(slice "$1" "$a" "$b") ;;
            5) caller=$(slice "$1" "$a" "$b") ;;
            8) outcome=$(slice "$1" "$a" "$b") ;;
            11) slice "$1" "$a" "$b" >"$tmp/pae"; request=1 ;;
            12) slice "$1" "$a" "$b" >"$tmp/officer.sig" ;;
            13) slice "$1" "$a" "$b" >"$tmp/cert.der" ;;
            15) taken=$a ;;
            16) slice "$1" "$a" "$b" | openssl x509 -inform DER >>"$tmp/chain.pem" 2>/dev/null ;;
        esac
    done <"$tmp/line"
    if [ -z "$request" ]; then
        case $outcome-$method in ok-Desk.*) find_ officer.unsigned "$3" ;; esac
        return 0
    fi
    officer_counts "$caller" "$outcome" "$taken" || find_ officer.certificate "$3"
    if officer_payload && walk "$tmp/payload" "" >"$tmp/said"; then
        while read -r p a b; do
            case $p in
                1) said=$(slice "$tmp/payload" "$a" "$b") ;;
                2) nonce=$b ;;
                3) signed_at=$a ;;
                4) scheme=$a ;;
                5) slice "$tmp/payload" "$a" "$b" >"$tmp/request" ;;
            esac
        done <"$tmp/said"
    fi
    if ! openssl x509 -inform DER -in "$tmp/cert.der" -noout 2>/dev/null; then return 0; fi
    if [ "$nonce" != 16 ] || [ "$said" != "$method" ] || ! officer_signed "$scheme"; then
        find_ officer.signature "$3"; return 0
    fi
    put "$2" >"$tmp/statement"; issued=$(walk "$tmp/statement" "" | awk '$1 == "8" { print $2 }')
    if ! near "$taken" "$signed_at" || [ "${issued:-0}" -lt $((taken - 300)) ] ||
        { [ "$issued" -gt $((taken + 300)) ] && [ "$outcome" = ok ] && ! noted_first "$said"; }; then
        find_ officer.untimely "$3"
    fi
}

check_dsse() { # NUMBER: the envelopes of the sampled entries that hold
    local file=$dir/dsse/$1.jsonl place sig statement payload row one fits
    [ -f "$file" ] || return 0
    while read -r place sig statement; do
        row=$(sed -n "$((place + 1))p" "$file" | tr -d ' \n')
        payload=$(put "$statement" | base64 -w0); fits=1
        [[ $row == *'"payload":"'"$payload"'"'* ]] || fits=0
        for one in ${sig//,/ }; do
            one='"keyid":"'${one%:*}'","sig":"'$(put "${one#*:}" | base64 -w0)'"'
            [[ $row == *"{$one}"* ]] || fits=0
        done
        [ "$fits" = 1 ] || { find_ entry.forged "$folder/dsse/$1.jsonl"; return 0; }
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
    witnessed=0 proven=0 newer=0; : >"$tmp/opened"; : >"$tmp/made.0"
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
    sort "$tmp/verdicts" | uniq -c | awk '{ printf " %s=%d", $2, $1 }'
    [ "$newer" = 0 ] || printf ' newer=%d' "$newer"
    echo
}

check_receipts() {
    local entry stem who rest gen index
    for entry in "$bundle"/receipts/*.entry; do
        [ -f "$entry" ] || continue
        stem=$(basename "$entry" .entry) index=${entry##*-}; index=${index%.entry}
        rest=${stem%-*} gen=${rest##*-} who=${rest%-*}
        cp "$entry" "$tmp/entry"
        key_known=0
        if open_entry "$federation/$who/records/$gen" && [ "$key_known" = 2 ]; then
            find_ key.newer "receipts/$stem"; continue
        fi
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
    ! cat "$tmp"/newer.2.* >"$tmp/newer.all" 2>/dev/null || mv "$tmp/newer.all" "$tmp/newer.2.@roster"
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
        for dir in "$bundle/logs/$kind"/*; do
            [ -d "$dir" ] || continue
            case $kind in records) kind_number=1 ;; *) kind_number=2 ;; esac
            generation=$(basename "$dir") folder=logs/$kind/$(basename "$dir")
            origin=$federation/$member/$kind/$generation
            check_log
        done
    done
    check_receipts
    for pair in "$bundle"/evidence/*; do [ ! -d "$pair" ] || find_ evidence.pair "evidence/$(basename "$pair")"; done
fi
sort -u "$tmp/findings"
if [ -s "$tmp/findings" ] || grep -qE 'forged|not_logged|key_invalid|unchecked|missing' "$tmp/verdicts.all"; then
    echo "something is wrong"; exit 1
fi
echo "nothing is wrong"
