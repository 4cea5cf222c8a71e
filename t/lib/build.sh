# Licensed under the Apache License, Version 2.0; see LICENSE.
# shellcheck shell=bash
#
# What t/demo and t/check have in common besides packages: how they speak, and
# a build outside of the source tree, into which they never write.
# The caller sets $top (the tree), and calls make_scratch before all else.

step() { printf '  %-10s  %s\n' "$1" "$2"; }

# die LINE...: say why, and end. Runs in the main shell only.
die() {
    printf '\n%s: ' "${0##*/}" >&2
    printf '%s\n' "$@" >&2
    exit 1
}

# die_with LOG WHY: the same, with the end of a log that tells more.
die_with() {
    printf '\n%s: %s\n\n' "${0##*/}" "$2" >&2
    tail -n 25 "$1" 2>/dev/null | sed 's/^/    /' >&2
    exit 1
}

# make_scratch NAME: a directory for this run in $scratch, which the caller
# removes at its end. make and libtool take no path with a blank, so where
# TMPDIR has one, this and all that is started here use /tmp.
make_scratch() {
    case ${TMPDIR:=/tmp} in
    *[[:space:]]*)
        step scratch "in /tmp, because TMPDIR has a blank in it"
        TMPDIR=/tmp
        ;;
    esac
    export TMPDIR
    scratch=$(mktemp -d "$TMPDIR/staple-$1.XXXXXX") ||
        die "no scratch directory could be made in $TMPDIR"
}

# is_ours DIR: a directory of ours that nobody else can write to.
is_ours() {
    [ -d "$1" ] && [ ! -L "$1" ] && [ -O "$1" ] &&
        [ -z "$(find "$1" -maxdepth 0 -perm /022)" ]
}

# choose_build OPTION...: where to build, in $build: STAPLE_BUILD, or a directory
# that the next run of the same tree with the same options finds again. For root
# it is below TMPDIR, for httpd's children have to come near it; for others below
# their cache. One that belongs to somebody else, or in which another run is at
# work, is not used.
# shellcheck disable=SC2120 # t/demo has no options
choose_build() {
    local parent=${XDG_CACHE_HOME:-${HOME:-}/.cache} name

    if [ -n "${STAPLE_BUILD:-}" ]; then
        build=$STAPLE_BUILD
        return
    fi
    [ "$(id -u)" != 0 ] || parent=$TMPDIR
    case $parent in
    /.cache | *[[:space:]]*) parent=$TMPDIR ;;
    esac
    name=mod_staple-build-$(id -u)-$(printf '%s\n' "$top" "${CC:-}" "$@" |
        cksum | cut -d ' ' -f 1)
    build=$parent/$name
    mkdir -p "$parent" 2>/dev/null
    mkdir -m 755 "$build" 2>/dev/null
    if ! is_ours "$build" || ! lock_build; then
        build=$scratch/build
    fi
}

# Held until this shell ends, by a descriptor.
lock_build() {
    have flock || return 0
    exec 9>"$build/.lock" && flock -n 9
}

# The files of the tree, without what a build in it may have left, each ended by
# a NUL; a clone knows what belongs to it, and a release brings nothing else.
list_sources() {
    local file

    cd "$top" || return
    if [ -e .git ] && have git && git ls-files >/dev/null 2>&1; then
        git ls-files -z -co --exclude-standard
    else
        find . \( -name .git -o -name .libs -o -name .deps \) -prune -o \
            -type f ! -name '*.o' ! -name '*.lo' ! -name '*.la' \
            ! -path ./Makefile ! -path ./config.status -print0
    fi | while IFS= read -r -d '' file; do
        [ ! -e "$file" ] || printf '%s\0' "$file"
    done
}

# copy_sources DIR: what was there and is no more goes, what is unchanged keeps
# its time, so that a build goes on where it was.
copy_sources() {
    local list=$1.files gone

    mkdir -p "$1"
    (list_sources) >"$list.new" || return
    if [ -e "$list" ]; then
        comm -z -23 <(sort -z "$list") <(sort -z "$list.new") |
            while IFS= read -r -d '' gone; do
                rm -f "$1/$gone"
            done
    fi
    mv "$list.new" "$list"
    tar -C "$top" -cf - --null -T "$list" | tar -xf - -C "$1"
}

since() { echo "$((SECONDS - $1)) s"; }

# configure_build BUILD OPTION...: make BUILD a configured build directory;
# one that has been configured the same way is taken as it is.
configure_build() {
    local build=$1 source=$top log=$scratch/build.log begin=$SECONDS

    shift
    mkdir -p "$build"
    # configure refuses a source tree that was itself configured
    if [ ! -x "$top/configure" ] || [ -e "$top/config.status" ]; then
        source=$build/source
        copy_sources "$source" >>"$log" 2>&1 ||
            die_with "$log" "the sources could not be copied to $source"
        if [ ! -x "$source/configure" ]; then
            "$source/bootstrap" >>"$log" 2>&1 ||
                die_with "$log" "bootstrap failed"
            step bootstrap "$(since "$begin")"
        fi
    fi
    if [ "$(cat "$build/.options" 2>/dev/null)" != "$source $*" ]; then
        begin=$SECONDS
        # make does not see that the flags of the compiler are others
        [ ! -e "$build/Makefile" ] || make -C "$build" clean >>"$log" 2>&1 ||
            die_with "$log" "the last build could not be removed"
        (cd "$build" && "$source/configure" "$@") >>"$log" 2>&1 ||
            die_with "$log" "configure failed"
        echo "$source $*" >"$build/.options"
        step configure "$(since "$begin")"
    fi
}

processors() { getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1; }

# make_build BUILD TARGET...: make, quietly unless it fails; then once more, one
# step after the other, so that the log ends with what went wrong.
make_build() {
    local build=$1 log=$scratch/build.log begin=$SECONDS

    shift
    make -C "$build" -j "$(processors)" "$@" >>"$log" 2>&1 ||
        make -C "$build" "$@" >>"$log" 2>&1 ||
        die_with "$log" "the build failed"
    step make "$(since "$begin")"
}
