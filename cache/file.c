/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The file of the ring: what is found at its path, and how a new one comes to
 * be there. What is in it is cache/segment.c's.
 *
 * The one idea: the path may lie where others can write, in /tmp say, and the
 * server may be root. So nothing is ever opened through a link, waited for,
 * truncated or written to where it lies: what is there is looked at through a
 * descriptor and copied whole, and what is new is made under a name that
 * nobody can guess and renamed into place. What is not plainly ours is left
 * alone, and so is what another server has locked: a server holds the lock of
 * its file for as long as one of its processes has the descriptor.
 */

#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "file.h"
#include "segment.h"
#include "staple_text.h"

#define NOTHING STAPLE_CACHE_FOUND_NOTHING
#define RING STAPLE_CACHE_FOUND_RING
#define BROKEN STAPLE_CACHE_FOUND_BROKEN
#define FOREIGN STAPLE_CACHE_FOUND_FOREIGN

/* ---- The file that is found. ---- */

typedef staple_cache_found_t found_t;
typedef staple_cache_search_t search_t;

static found_t found(staple_cache_found_e what, const char *why)
{
    found_t result;

    result.what = what;
    result.why = why;
    result.base = NULL;
    result.size = 0;
    return result;
}

/* As pread, but whole; fewer bytes only at the end of the file. */
static ssize_t read_at(int fd, void *to, apr_size_t size, apr_size_t offset)
{
    apr_size_t done = 0;

    while (done < size) {
        ssize_t n = pread(fd, (char *)to + done, size - done,
                          (off_t)(offset + done));

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return -1;
        }
        if (n == 0) {
            break;
        }
        done += (apr_size_t)n;
    }
    return (ssize_t)done;
}

/* Whether a file is one to look into at all; NULL, or what it is instead. */
static const char *check_inode(const struct stat *st, int is_visitor)
{
    if (S_ISDIR(st->st_mode)) {
        return "is a directory";
    }
    if (!S_ISREG(st->st_mode)) {
        return "is not a regular file";
    }
    if (!is_visitor && st->st_uid != geteuid()) {
        return "belongs to another user";
    }
    if (st->st_nlink > 1) { /* 0: another has just taken its place */
        return "has more than one name (hard links)";
    }
    return NULL;
}

/* A file that begins with 0 is one that a crash left blank. */
static int is_blank(const header_t *header, apr_size_t size)
{
    static const char blank[sizeof(header->magic)];

    return !memcmp(header->magic, blank,
                   size < sizeof(blank) ? size : sizeof(blank));
}

/* Copy the whole file into memory of our own: what happens to it meanwhile
 * can make the copy wrong, never this process fail. Only the copy is used. */
static found_t load(int fd, apr_size_t size, apr_pool_t *p)
{
    void *base = staple_cache_private(size);
    found_t result = found(RING, NULL);

    if (!base) {
        return found(FOREIGN, apr_psprintf(p, "cannot be read: %s",
                                           staple_text_error(ENOMEM, p)));
    }
    if (read_at(fd, base, size, 0) != (ssize_t)size
        || staple_cache_update(&base, &size)) {
        munmap(base, size);
        return found(BROKEN, "changed while it was read");
    }
    result.base = base;
    result.size = size;
    return result;
}

static int is_same_file(const struct stat *st, int fd)
{
    struct stat ours;

    return fd >= 0 && fstat(fd, &ours) == 0 && ours.st_dev == st->st_dev
           && ours.st_ino == st->st_ino;
}

/* A shared lock, which the one of a server does not allow. Linux gives no other
 * to a descriptor that only reads, where the file system is NFS (flock(2)). */
static int lock_shared(int fd)
{
    return flock(fd, LOCK_SH | LOCK_NB);
}

/* A file system without locks has none that another could hold. */
static int is_locked(int fd, const struct stat *st, const search_t *search)
{
    return !search->is_visitor && !is_same_file(st, search->held)
           && lock_shared(fd) < 0 && errno == EWOULDBLOCK;
}

/* What is there is a ring, by its first bytes. */
static found_t examine_ring(int fd, const struct stat *st,
                              const header_t *header, const search_t *search,
                              apr_pool_t *p)
{
    apr_size_t size = (apr_size_t)st->st_size;
    const char *why;

    if (is_locked(fd, st, search)) {
        return found(FOREIGN, "is in use by another server");
    }
    if (st->st_mode & (S_IWGRP | S_IWOTH)) {
        return found(BROKEN, "can be written by others than its owner");
    }
    why = staple_cache_check_header(header, size);
    if (why) {
        return found(BROKEN, why);
    }
    if (!search->size_max) {
        return found(RING, NULL);
    }
    return size > search->size_max ? found(BROKEN, "is too large to be read")
                                   : load(fd, size, p);
}

static found_t examine(int fd, const search_t *search, apr_pool_t *p)
{
    const char *why;
    struct stat st;
    header_t header;
    apr_size_t size;

    if (fstat(fd, &st) < 0) {
        return found(FOREIGN, staple_text_error(errno, p));
    }
    why = check_inode(&st, search->is_visitor);
    if (why) {
        return found(FOREIGN, why);
    }
    size = (apr_size_t)st.st_size;
    memset(&header, 0, sizeof(header));
    if (read_at(fd, &header, sizeof(header), 0) < 0) {
        return found(FOREIGN, apr_psprintf(p, "cannot be read: %s",
                                           staple_text_error(errno, p)));
    }
    if (is_blank(&header, size)) {
        return found(BROKEN, "is empty");
    }
    if (size < sizeof(header.magic)
        || memcmp(header.magic, STAPLE_CACHE_MAGIC, sizeof(header.magic))) {
        return found(FOREIGN, "is not a ring file");
    }
    return examine_ring(fd, &st, &header, search, p);
}

/*
 * Open what lies at path without being led elsewhere (O_NOFOLLOW), made to
 * wait (O_NONBLOCK: it might be a FIFO) or given a terminal.
 */
found_t staple_cache_file_find(const search_t *search, apr_pool_t *p)
{
    found_t result;
    int fd = open(search->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC
                        | O_NOCTTY);

    if (fd < 0) {
        switch (errno) {
        case ENOENT:
            return found(NOTHING, "does not exist");
        case ELOOP:
            return found(FOREIGN, "is a symbolic link");
        case ENXIO:
            return found(FOREIGN, "is not a regular file");
        default:
            return found(FOREIGN, apr_psprintf(p, "cannot be opened: %s",
                                               staple_text_error(errno, p)));
        }
    }
    result = examine(fd, search, p);
    close(fd);
    return result;
}

apr_status_t staple_cache_open_file(staple_cache_t **cache, const char *path,
                                    const char **reason, apr_pool_t *p)
{
    search_t search = { path, 1, -1, APR_SIZE_MAX };
    found_t there = staple_cache_file_find(&search, p);

    *cache = NULL;
    *reason = there.why;
    switch (there.what) {
    case RING:
        return staple_cache_attach(cache, there.base, there.size, p);
    case NOTHING:
        return APR_ENOENT;
    default:
        return APR_EGENERAL;
    }
}

/* ---- The file that is made. ---- */

/* Temporary names are path + this + 16 hexadecimal digits. */
#define NEW_INFIX ".new."
#define NEW_DIGITS 16

static const char *new_name(const char *path, apr_pool_t *p)
{
    unsigned char bytes[NEW_DIGITS / 2];

    if (apr_generate_random_bytes(bytes, sizeof(bytes)) != APR_SUCCESS) {
        return NULL;
    }
    return apr_pstrcat(p, path, NEW_INFIX,
                       staple_text_hex(bytes, sizeof(bytes), p), NULL);
}

static int is_new_name(const char *name, const char *base)
{
    apr_size_t len = strlen(base);

    return !strncmp(name, base, len)
           && !strncmp(name + len, NEW_INFIX, strlen(NEW_INFIX))
           && strspn(name + len + strlen(NEW_INFIX), "0123456789ABCDEFabcdef")
              == NEW_DIGITS
           && strlen(name) == len + strlen(NEW_INFIX) + NEW_DIGITS;
}

/* Remove a temporary file unless it is in the making: then it is locked. */
static void remove_stale(int dir, const char *name)
{
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC
                               | O_NOCTTY);
    struct stat st;

    if (fd < 0) {
        return;
    }
    if (fstat(fd, &st) == 0 && !check_inode(&st, 0)
        && lock_shared(fd) == 0) {
        unlinkat(dir, name, 0);
    }
    close(fd);
}

/* Remove what a start that was killed has left behind. */
void staple_cache_file_remove_stale(const char *path, apr_pool_t *p)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    apr_size_t dir_len = (apr_size_t)(base - path);
    DIR *dir = opendir(slash ? apr_pstrmemdup(p, path, dir_len) : ".");
    struct dirent *entry;

    if (!dir) {
        return;
    }
    while ((entry = readdir(dir)) != NULL) {
        if (is_new_name(entry->d_name, base)) {
            remove_stale(dirfd(dir), entry->d_name);
        }
    }
    closedir(dir);
}

/* SIGXFSZ would end the process, so ask before. */
static int is_above_limit(apr_size_t size)
{
    struct rlimit limit;

    return getrlimit(RLIMIT_FSIZE, &limit) == 0
           && limit.rlim_cur != RLIM_INFINITY && size > limit.rlim_cur;
}

/*
 * Reserve the blocks, so that a disk that fills up later does not keep the copy
 * from its own places. Where a file system cannot reserve, writing all bytes
 * does it.
 */
static int fill_file(int fd, const void *bytes, apr_size_t size)
{
    apr_size_t done = 0;
    int rv;

    do {
        rv = posix_fallocate(fd, 0, (off_t)size);
    } while (rv == EINTR);
    if (rv && rv != EINVAL && rv != EOPNOTSUPP && rv != ENOSYS) {
        return rv;
    }
    while (done < size) {
        ssize_t n = write(fd, (const char *)bytes + done, size - done);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? errno : ENOSPC;
        }
        done += (apr_size_t)n;
    }
    return 0;
}

/* Which step failed, and why. */
static const char *step_text(const char *step, int error, apr_pool_t *p)
{
    return apr_psprintf(p, "%s: %s", step, staple_text_error(error, p));
}

/* Whether a new file may take the place of what has this name. */
static const char *check_place(const char *path, apr_pool_t *p)
{
    struct stat st;

    if (lstat(path, &st) < 0) {
        return errno == ENOENT ? NULL : staple_text_error(errno, p);
    }
    return S_ISLNK(st.st_mode) ? "is a symbolic link" : check_inode(&st, 0);
}

/* Fill and rename the file that was opened under a temporary name. */
static const char *finish_file(int fd, const char *path, const char *temp,
                               const void *bytes, apr_size_t size,
                               apr_pool_t *p)
{
    const char *why;
    int rv;

    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        return step_text("it cannot be locked", errno, p);
    }
    if (fchmod(fd, S_IRUSR | S_IWUSR) < 0) {
        return step_text("its mode cannot be set", errno, p);
    }
    rv = fill_file(fd, bytes, size);
    if (rv) {
        return step_text("its room cannot be reserved", rv, p);
    }
    why = check_place(path, p);
    if (!why && rename(temp, path) < 0) {
        why = step_text("it cannot be renamed into place", errno, p);
    }
    return why;
}

const char *staple_cache_file_make(const char *path, const void *bytes,
                                   apr_size_t size, int *result, apr_pool_t *p)
{
    const char *temp = new_name(path, p);
    const char *why;
    int fd;

    if (!temp) {
        return "no random bytes for a temporary name";
    }
    if (is_above_limit(size)) {
        return step_text("it cannot be that large", EFBIG, p);
    }
    fd = open(temp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
              S_IRUSR | S_IWUSR);
    if (fd < 0) {
        return step_text("a file cannot be opened there", errno, p);
    }
    why = finish_file(fd, path, temp, bytes, size, p);
    if (why) {
        unlink(temp);
        close(fd);
        return why;
    }
    *result = fd;
    return NULL;
}

const char *staple_cache_file_set_aside(const char *path,
                                        const char **aside_path,
                                        apr_pool_t *p)
{
    const char *aside = apr_pstrcat(p, path, ".bad", NULL);
    const char *why = check_place(aside, p);

    if (why) {
        return apr_psprintf(p, "what is there could not be renamed to %s, "
                            "which %s", aside, why);
    }
    if (rename(path, aside) < 0) {
        return apr_psprintf(p, "what is there could not be renamed to %s: %s",
                            aside, staple_text_error(errno, p));
    }
    *aside_path = aside;
    return NULL;
}

/* ---- Before a start. ---- */

/* The directory that a file lies in. */
static const char *directory_of(const char *path, apr_pool_t *p)
{
    const char *slash = strrchr(path, '/');

    return slash == path ? "/"
           : apr_pstrmemdup(p, path, slash ? (apr_size_t)(slash - path) : 0);
}

/* Why files cannot be made in a directory, or can be taken away by others;
 * NULL: neither. */
static const char *check_directory(const char *directory, apr_pool_t *p)
{
    struct stat st;

    if (stat(directory, &st) < 0) {
        return apr_psprintf(p, "the directory %s: %s", directory,
                            staple_text_error(errno, p));
    }
    if (!S_ISDIR(st.st_mode)) {
        return apr_psprintf(p, "%s is no directory", directory);
    }
    if (access(directory, W_OK | X_OK) < 0) {
        return apr_psprintf(p, "no file can be made in %s: %s", directory,
                            staple_text_error(errno, p));
    }
    return st.st_mode & S_IWOTH && !(st.st_mode & S_ISVTX)
           ? apr_psprintf(p, "anybody may remove files in %s", directory)
           : NULL;
}

/* A start makes a new file beside the one that is there. */
static const char *check_space(const char *directory, apr_size_t size,
                               apr_pool_t *p)
{
    struct statvfs fs;
    apr_uint64_t bytes;

    if (statvfs(directory, &fs) < 0) {
        return NULL; /* who cannot say is asked when the file is made */
    }
    bytes = (apr_uint64_t)fs.f_bavail * fs.f_frsize;
    return bytes < size
           ? apr_psprintf(p, "%s has room for %" APR_UINT64_T_FMT " bytes "
                          "more, and the file needs %" APR_SIZE_T_FMT,
                          directory, bytes, size)
           : NULL;
}

const char *staple_cache_foresee(const char *path, apr_size_t size,
                                 apr_pool_t *p)
{
    const char *directory = directory_of(path, p);
    const char *why = check_directory(directory, p);

    if (!why) {
        why = check_place(path, p);
        why = why ? apr_psprintf(p, "what is there %s", why) : NULL;
    }
    return why ? why : check_space(directory, size, p);
}
