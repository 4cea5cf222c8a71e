# Licensed under the Apache License, Version 2.0; see LICENSE.
# shellcheck shell=bash
#
# What t/demo and t/check have in common besides packages: how they speak, and
# a build outside of the source tree, into which they never write.
# The caller sets $top (the tree) and $scratch (a directory of its own).

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

# copy_sources DIR: the tree without what a build in it may have left; a clone
# knows what belongs to it, and a release brings nothing else.
copy_sources() {
    mkdir -p "$1"
    if [ -e "$top/.git" ] && have git &&
        git -C "$top" ls-files >/dev/null 2>&1; then
        (cd "$top" && git ls-files -z -co --exclude-standard |
            while IFS= read -r -d '' file; do
                [ ! -e "$file" ] || printf '%s\0' "$file"
            done | tar -cf - --null -T -) | tar -xf - -C "$1"
    else
        (cd "$top" && tar -cf - --exclude=./.git --exclude='*.o' \
            --exclude='*.lo' --exclude='*.la' --exclude=.libs \
            --exclude=.deps --exclude=./Makefile --exclude=./config.status .) |
            tar -xf - -C "$1"
    fi
}

# configure_build BUILD OPTION...: make BUILD a configured build directory;
# one that has been configured the same way is taken as it is.
configure_build() {
    local build=$1 source=$top log=$scratch/build.log

    shift
    mkdir -p "$build"
    # configure refuses a source tree that was itself configured
    if [ ! -x "$top/configure" ] || [ -e "$top/config.status" ]; then
        source=$build/source
        copy_sources "$source" >>"$log" 2>&1 ||
            die_with "$log" "the sources could not be copied to $source"
        [ -x "$source/configure" ] || "$source/bootstrap" >>"$log" 2>&1 ||
            die_with "$log" "bootstrap failed"
    fi
    if [ "$(cat "$build/.options" 2>/dev/null)" != "$source $*" ]; then
        (cd "$build" && "$source/configure" "$@") >>"$log" 2>&1 ||
            die_with "$log" "configure failed"
        echo "$source $*" >"$build/.options"
    fi
}

processors() { getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1; }

# make_build BUILD TARGET...: make, quietly unless it fails; then once more, one
# step after the other, so that the log ends with what went wrong.
make_build() {
    local build=$1 log=$scratch/build.log

    shift
    make -C "$build" -j "$(processors)" "$@" >>"$log" 2>&1 ||
        make -C "$build" "$@" >>"$log" 2>&1 ||
        die_with "$log" "the build failed"
}
